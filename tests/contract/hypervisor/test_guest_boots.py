"""A guest that boots again in its QEMU: real libvirt and the simulated twin, held to the same."""

from tests.support.hypervisors import HypervisorWorld, guest_xml, tag
from tests.support.waiting import eventually, see
from vmha.hypervisor.port import DomainState


async def test_reset_guest_boots_again_in_the_same_qemu(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web", epoch=7))
    before = world.one.boots_again("web")
    await world.one.reset("web")

    async def look() -> bool:
        return world.one.boots_again("web") > before

    await eventually(look)
    assert (await see(world.one, "web", DomainState.RUNNING)).tag == tag("web", 7)
    assert world.one.find_ending("web") is None


async def test_guest_that_is_asked_to_and_obeys_boots_again_in_the_same_qemu(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web", epoch=7))
    before = world.one.boots_again("web")

    async def ask_until_heard() -> bool:
        await world.one.reboot("web")  # a guest still in its BIOS does not hear the first
        return world.one.boots_again("web") > before

    await eventually(ask_until_heard)
    assert (await see(world.one, "web", DomainState.RUNNING)).tag == tag("web", 7)
