"""What only a real libvirtd and a real QEMU can do wrong, and what the adapter makes of it."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.support.hypervisors import CLUSTER, RealWorld, add_slow_hook, guest_xml, tag
from tests.support.libvirt import HostError, LibvirtHosts
from tests.support.waiting import eventually, find, see, see_gone
from vmha.fencing.qemu_processes import QemuProcesses
from vmha.hypervisor.port import DomainState, Ending, HypervisorUnavailable
from vmha.hypervisor.real.adapter import LibvirtHypervisor
from vmha.model.clock import SystemClock
from vmha.model.errors import Refused

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def hosts() -> Iterator[LibvirtHosts]:
    with LibvirtHosts() as hosts:
        yield hosts


@pytest_asyncio.fixture
async def world(hosts: LibvirtHosts) -> AsyncIterator[RealWorld]:
    world = RealWorld(hosts)
    await world.prepare()
    yield world
    await eventually(world.is_reachable)
    await world.clean()


async def test_frozen_libvirtd_fails_calls_by_their_deadline_and_never_holds_up_the_loop(world: RealWorld) -> None:
    await world.one.start(guest_xml("web"))
    heard: list[str] = []
    world.one.subscribe(lambda event: heard.append(event.kind))
    ticks = 0

    loop = asyncio.get_running_loop()

    def tick() -> None:
        nonlocal ticks, ticking
        ticks += 1
        ticking = loop.call_later(0.01, tick)

    ticking = loop.call_later(0.01, tick)
    world.hosts.one.signal_libvirtd(signal.SIGSTOP)
    try:
        calls = [world.one.inventory(), world.one.capacity(), world.one.suspend("web"), world.one.destroy("web")]
        async with asyncio.timeout(60):
            results = await asyncio.gather(*calls, return_exceptions=True)
        assert [result for result in results if not isinstance(result, HypervisorUnavailable)] == []
        assert ticks >= 100  # of some 500: the loop went on

        async def look() -> bool:
            return any(kind.startswith("disconnected") for kind in heard)

        await eventually(look)
        with pytest.raises(HypervisorUnavailable, match="no connection"):
            await world.one.inventory()
    finally:
        world.hosts.one.signal_libvirtd(signal.SIGCONT)
        ticking.cancel()

    async def reconnected() -> bool:
        return "connected" in heard

    await eventually(reconnected)


async def test_opening_a_frozen_libvirtd_fails_by_its_deadline(world: RealWorld) -> None:
    late = LibvirtHypervisor(world.hosts.one.uri, cluster=CLUSTER, clock=SystemClock())
    world.hosts.one.signal_libvirtd(signal.SIGSTOP)
    try:
        async with asyncio.timeout(30):
            with pytest.raises(HypervisorUnavailable, match="did not answer"):
                await late.open()
    finally:
        world.hosts.one.signal_libvirtd(signal.SIGCONT)

    async def open_at_last() -> bool:
        with contextlib.suppress(HypervisorUnavailable):
            await late.open()
            return True
        return False

    await eventually(open_at_last)
    await late.close()


async def test_absent_libvirtd_is_unavailable_and_names_the_address(world: RealWorld) -> None:
    uri = "qemu+unix:///system?socket=/nowhere/libvirt-sock"
    with pytest.raises(HypervisorUnavailable, match="/nowhere/libvirt-sock"):
        await LibvirtHypervisor(uri, cluster=CLUSTER, clock=SystemClock()).open()


async def test_guest_that_died_while_libvirtd_was_down_ended_unknown(world: RealWorld) -> None:
    await world.one.start(guest_xml("web"))
    await asyncio.to_thread(world.hosts.one.stop_libvirtd)
    world.hosts.one.signal_qemu("web", signal.SIGKILL)
    await asyncio.to_thread(world.hosts.one.start_libvirtd)

    async def look() -> Ending | None:
        return world.one.find_ending("web")

    assert await eventually(look) is Ending.UNKNOWN
    assert await find(world.one, "web") is None


async def test_frozen_qemu_hides_neither_itself_nor_others_and_can_be_destroyed(world: RealWorld) -> None:
    await world.one.start(guest_xml("web"))
    await world.one.start(guest_xml("db"))
    world.hosts.one.signal_qemu("web", signal.SIGSTOP)
    stuck = [asyncio.create_task(world.one.suspend("web")) for _ in range(2)]
    for task in stuck:
        with pytest.raises(HypervisorUnavailable):
            await task
    assert {view.name: view.state for view in await world.one.inventory()} == {
        "db": DomainState.RUNNING,
        "web": DomainState.RUNNING,
    }
    await world.one.suspend("db")
    await world.one.destroy("web")
    assert await find(world.one, "web") is None


async def test_frozen_qemu_can_be_destroyed_when_all_that_was_asked_of_it_hangs(world: RealWorld) -> None:
    await world.one.start(guest_xml("web"))
    world.hosts.one.signal_qemu("web", signal.SIGSTOP)
    calls = [world.one.suspend("web") for _ in range(5)]  # more than a lane has slots
    said = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(error, HypervisorUnavailable) for error in said)
    await world.one.destroy("web")
    assert await find(world.one, "web") is None
    await world.one.start(guest_xml("db"))
    await world.one.suspend("db")  # the lane is free again


async def test_qemu_frozen_while_it_migrates_does_not_hide_the_others(world: RealWorld) -> None:
    await world.one.start(guest_xml("web"))
    await world.one.start(guest_xml("db"))
    await world.virsh_migrate("web", slow=True)
    await see(world.two, "web", DomainState.INCOMING)
    world.hosts.one.signal_qemu("web", signal.SIGSTOP)
    for _ in range(6):  # more often than a lane has slots
        assert {view.name for view in await world.one.inventory()} == {"db", "web"}
    await world.one.destroy("web")
    await see_gone(world.one, "web")


@pytest.mark.parametrize("side", ["one", "two"])
async def test_halves_of_a_post_copy_by_hand_are_told_from_a_migration_under_way(world: RealWorld, side: str) -> None:
    """While the target pulls it is one guest, running there. Then the QEMU of ``side`` dies."""
    await world.one.start(guest_xml("web"))
    await world.virsh_migrate("web", slow=True, post_copy=True)
    await see(world.two, "web", DomainState.INCOMING)

    async def switch() -> bool:
        with contextlib.suppress(HostError):  # not copying yet
            await asyncio.to_thread(world.hosts.one.virsh, "migrate-postcopy", "web")
        view = await find(world.two, "web")
        return view is not None and view.state is DomainState.RUNNING

    async def ending() -> Ending | None:
        return world.one.find_ending("web")

    await eventually(switch)
    leaving = await find(world.one, "web")
    assert leaving is not None
    assert (leaving.state, leaving.reason, leaving.migrating) == (DomainState.OUTGOING, "postcopy", True)
    (world.hosts.one if side == "one" else world.hosts.two).signal_qemu("web", signal.SIGKILL)
    if side == "one":
        assert (await see(world.two, "web", DomainState.CRASHED)).reason == "postcopy_failed"
        assert await eventually(ending) is Ending.MIGRATED
        return

    async def is_left() -> bool:
        view = await find(world.one, "web")
        return view is not None and view.reason == "postcopy_failed" and not view.migrating

    await eventually(is_left)
    with pytest.raises(Refused):
        await world.one.resume("web")
    await world.one.destroy("web")
    assert await eventually(ending) is Ending.MIGRATED


async def test_source_whose_virsh_died_at_the_end_of_its_migration_stands_with_none_under_way(world: RealWorld) -> None:
    """Without --p2p virsh carries the word between the two: stopped while memory is copied, killed when all is sent."""
    await world.one.start(guest_xml("web"))
    virsh = await world.virsh_migrate_directly("web")
    await see(world.two, "web", DomainState.INCOMING)
    virsh.send_signal(signal.SIGSTOP)
    assert (await see(world.one, "web", DomainState.OUTGOING)).migrating

    async def is_answered() -> bool:  # before that libvirtd does not yet mind that its client is gone
        return world.hosts.one.migration_phase("web") == "perform3_done"

    await eventually(is_answered)
    virsh.kill()

    async def is_left() -> bool:
        view = await find(world.one, "web")
        return view is not None and view.state is DomainState.OUTGOING and not view.migrating

    await eventually(is_left)
    await see_gone(world.two, "web")


async def test_host_shutdowns_sigterm_is_not_taken_for_the_guests_wish(world: RealWorld) -> None:
    await world.one.start(guest_xml("web"))
    world.hosts.one.signal_qemu("web", signal.SIGTERM)

    async def look() -> Ending | None:
        return world.one.find_ending("web")

    assert await eventually(look) is Ending.HOST_SHUTDOWN


async def test_saved_guest_is_told_as_saved(world: RealWorld) -> None:
    await world.one.start(guest_xml("web"))
    await asyncio.to_thread(world.hosts.one.virsh, "save", "web", "/run/web.save")

    async def look() -> Ending | None:
        return world.one.find_ending("web")

    assert await eventually(look) is Ending.SAVED


async def test_handover_ended_by_hand_loses_its_mark_so_that_a_later_pause_is_a_pause(world: RealWorld) -> None:
    await world.one.start(guest_xml("web"))
    await world.one.migrate(world.order("web", epoch=2))
    await asyncio.to_thread(world.hosts.two.virsh, "resume", "web")
    assert (await see(world.two, "web", DomainState.RUNNING)).tag == tag("web", 2)

    async def look() -> bool:
        return "handover" not in world.hosts.two.virsh("dumpxml", "web")

    await eventually(look)
    await world.virsh_suspend("web")
    assert (await see(world.two, "web", DomainState.PAUSED)).tag == tag("web", 2)


async def test_guard_tells_what_came_in_and_stands_there_from_what_comes_in_and_what_runs(world: RealWorld) -> None:
    """It has libvirt's files and nothing else, as libvirt writes them."""
    host = world.hosts.two
    processes = QemuProcesses(CLUSTER, str(host.inside("/run/libvirt/qemu")), str(host.inside("/proc")))

    def found() -> list[tuple[str, int | None]]:
        return [(guest.vm, guest.came_in) for guest in processes.scan().guests]

    await world.one.start(guest_xml("web", epoch=1))
    migrating = asyncio.create_task(world.one.migrate(world.order("web", epoch=2, slow=True)))
    await see(world.two, "web", DomainState.INCOMING)
    assert found() == [("web", None)]
    await migrating
    assert found() == [("web", 2)]
    await world.two.resume("web")
    await see(world.two, "web", DomainState.RUNNING)
    assert found() == [("web", None)]
    await world.virsh_suspend("web")
    await see(world.two, "web", DomainState.PAUSED)
    assert found() == [("web", None)]


async def test_target_libvirtd_killed_half_way_leaves_the_guest_running_at_its_source(world: RealWorld) -> None:
    await world.one.start(guest_xml("web", epoch=1))
    migrating = asyncio.create_task(world.one.migrate(world.order("web", epoch=2, slow=True)))
    await see(world.two, "web", DomainState.INCOMING)
    await asyncio.to_thread(world.hosts.two.restart_libvirtd)
    with pytest.raises(Exception, match="web"):
        await migrating
    view = await see(world.one, "web", DomainState.RUNNING)
    assert view.tag == tag("web", 1)
    assert not view.migrating
    await eventually(world.is_reachable)
    await see_gone(world.two, "web")


async def test_persistent_definition_without_a_qemu_is_shown_as_shut_off(world: RealWorld) -> None:
    world.hosts.one.inside("/run/web.xml").write_text(guest_xml("web"))
    await world.one.start(guest_xml("web"))
    xml_path = str(world.hosts.one.inside("/run/web.xml"))
    await asyncio.to_thread(world.hosts.one.virsh, "define", xml_path)
    assert (await see(world.one, "web", DomainState.RUNNING)).persistent
    await world.one.destroy("web")
    view = await see(world.one, "web", DomainState.SHUTOFF)
    assert view.persistent
    assert view.reason == "destroyed"
    await world.one.destroy("web")
    await asyncio.to_thread(world.hosts.one.virsh, "undefine", "web")
    await see_gone(world.one, "web")


async def test_start_held_up_past_its_deadline_is_called_off_and_leaves_nothing(world: RealWorld) -> None:
    hook = add_slow_hook(world.hosts.one, seconds=4)
    await world.restart_libvirtd()
    await eventually(world.is_reachable)
    try:
        with pytest.raises(HypervisorUnavailable, match="called off"):
            await world.one.start(guest_xml("web"), timeout_s=1.0)
    finally:
        hook.unlink()

    async def start_at_last() -> bool:
        with contextlib.suppress(HypervisorUnavailable):
            await world.one.start(guest_xml("web", epoch=2))
            return True
        return False

    await eventually(start_at_last)
    assert (await see(world.one, "web", DomainState.RUNNING)).tag == tag("web", 2)
