"""Ways of a migration, tunnelled or not, and one that is barred: real libvirt and its twin, held to the same."""

from dataclasses import replace

import pytest

from tests.support.hypervisors import HypervisorWorld, guest_xml, tag
from tests.support.waiting import eventually, find, see
from vmha.hypervisor.port import DomainState, Ending, MigrationFailed


async def test_tunnelled_guest_stands_at_the_target_until_resumed_too(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web", epoch=7))
    await world.one.migrate(replace(world.order("web", epoch=8), tunnelled=True))
    assert await find(world.one, "web") is None

    async def has_left() -> bool:
        return world.one.find_ending("web") is Ending.MIGRATED

    await eventually(has_left)
    assert (await see(world.two, "web", DomainState.ARRIVED)).tag == tag("web", 8)
    await world.two.resume("web")
    await see(world.two, "web", DomainState.RUNNING)


async def test_migration_by_a_transport_that_the_target_does_not_speak_fails_with_the_remedy(
    world: HypervisorWorld,
) -> None:
    await world.one.start(guest_xml("web"))
    order = world.order("web", epoch=2)
    secret = replace(order, target_uri=order.target_uri.replace("qemu+tcp", "qemu+tls"), encrypts_memory=True)
    with pytest.raises(MigrationFailed, match=r"libvirtd-tls\.socket|/etc/pki/libvirt"):
        await world.one.migrate(secret)
    assert (await see(world.one, "web", DomainState.RUNNING)).tag == tag("web", 1)
    assert await find(world.two, "web") is None
