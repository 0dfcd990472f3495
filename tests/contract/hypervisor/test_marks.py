"""Marks of guests that run beside the rightful one, or may: real libvirt and its twin, held to the same."""

from dataclasses import replace

import pytest

from tests.support.hypervisors import HypervisorWorld, guest_xml, tag
from tests.support.waiting import eventually, see
from vmha.hypervisor.port import DomainState
from vmha.model.errors import Refused


async def test_guest_that_was_set_aside_loses_that_mark_when_it_runs_whoever_lets_it(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web", epoch=4))
    for let_go in (world.one.resume, world.virsh_resume):
        await world.one.suspend("web")
        await see(world.one, "web", DomainState.PAUSED)
        await world.one.set_tag("web", replace(tag("web", 4), aside=True))
        await world.one.set_tag("web", tag("web", 5))
        assert (await see(world.one, "web", DomainState.PAUSED)).tag == replace(tag("web", 5), aside=True)
        await let_go("web")

        async def lost_it() -> bool:
            return (await see(world.one, "web", DomainState.RUNNING)).tag == tag("web", 5)

        await eventually(lost_it)


async def test_second_copy_keeps_its_mark_whatever_is_done_to_it_and_is_not_resumed(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web", epoch=4))
    marked = replace(tag("web", 4), second=True)
    await world.one.set_tag("web", marked)
    assert (await see(world.one, "web", DomainState.RUNNING)).tag == marked
    await world.one.suspend("web")
    await world.reopen()
    assert (await see(world.one, "web", DomainState.PAUSED)).tag == marked
    with pytest.raises(Refused, match="second copy"):
        await world.one.resume("web")
    await world.one.set_tag("web", tag("web", 5))
    await world.virsh_resume("web")
    assert (await see(world.one, "web", DomainState.RUNNING)).tag == replace(tag("web", 5), second=True)
    await world.restart_libvirtd()
    assert (await see(world.one, "web", DomainState.RUNNING)).tag == replace(tag("web", 5), second=True)
    await world.one.set_tag("web", None)
    await world.one.set_tag("web", tag("web", 6))
    assert (await see(world.one, "web", DomainState.RUNNING)).tag == tag("web", 6)
