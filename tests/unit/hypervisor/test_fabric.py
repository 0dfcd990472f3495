"""The simulated world on virtual time: power, frost, faults, hands that reach past vmha, and its truthful history."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import pytest

from tests.support.hypervisors import guest_xml, tag
from tests.support.until import until
from tests.support.virtual_time import run_virtual
from vmha.hypervisor.port import (
    DomainEvent,
    DomainState,
    Ending,
    HypervisorUnavailable,
    MigrationFailed,
    MigrationOrder,
    SaveFailed,
    StartFailed,
)
from vmha.hypervisor.twin.fabric import SimulatedFabric
from vmha.hypervisor.twin.simulated import SimulatedHypervisor


class LoopClock:
    """The event loop's own time."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        return self.now()


class World:
    """Hosts h1 to h3, a network that can be cut, an adapter on each host."""

    def __init__(self) -> None:
        self.cut: set[str] = set()
        self.fabric = SimulatedFabric(LoopClock(), reachable=lambda one, other: not self.cut & {one, other})
        self.sides: dict[str, SimulatedHypervisor] = {}
        for name in ("h1", "h2", "h3"):
            self.fabric.add_host(name)
            self.sides[name] = SimulatedHypervisor(self.fabric, name)

    async def state(self, host: str, name: str) -> DomainState | None:
        return next((view.state for view in await self.sides[host].inventory() if view.name == name), None)

    def deeds(self, name: str) -> list[str]:
        return [f"{fact.host} {fact.deed}" for fact in self.fabric.history if fact.vm == name]


def simulated(test: Callable[[World], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a test on virtual time."""

    async def main() -> None:
        world = World()
        for side in world.sides.values():
            await side.open()
        await test(world)

    @wraps(test)
    def run() -> None:
        run_virtual(main())

    del run.__wrapped__  # type: ignore[attr-defined]  # pytest would ask for a fixture named world
    return run


def order(name: str, target: str, *, epoch: int = 2, timeout_s: float = 600.0, paused: bool = True) -> MigrationOrder:
    return MigrationOrder(
        name=name,
        target_uri=f"qemu+tcp://{target}/system",
        data_uri=f"tcp://{target}",
        tag=tag(name, epoch),
        timeout_s=timeout_s,
        paused_at_target=paused,
    )


@simulated
async def test_start_and_migration_take_their_time_and_are_written_down(world: World) -> None:
    began = world.fabric.clock.now()
    await world.sides["h1"].start(guest_xml("web"))
    assert world.fabric.clock.now() - began == pytest.approx(0.3)
    await world.sides["h1"].migrate(order("web", "h2"))
    assert world.fabric.clock.now() - began == pytest.approx(0.8)
    await world.sides["h2"].resume("web")
    assert world.deeds("web") == ["h1 runs", "h2 stands", "h1 stands", "h2 stands", "h1 ends", "h2 runs"]
    assert [fact.epoch for fact in world.fabric.history] == [1, 2, 1, 2, 1, 2]
    assert world.fabric.running_instances("web") == [("h2", pytest.approx(began + 0.8))]


@simulated
async def test_power_cut_ends_every_guest_of_the_host_and_nothing_elsewhere(world: World) -> None:
    await world.sides["h1"].start(guest_xml("web"))
    await world.sides["h2"].start(guest_xml("db"))
    world.fabric.power_off("h1")
    assert world.fabric.instances("web") == []
    assert [host for host, _ in world.fabric.running_instances("db")] == ["h2"]
    with pytest.raises(HypervisorUnavailable):
        await world.sides["h1"].inventory()
    world.fabric.power_on("h1")
    again = SimulatedHypervisor(world.fabric, "h1")
    await again.open()
    assert await again.inventory() == ()


@simulated
async def test_power_cut_of_the_source_takes_what_was_on_its_way_along(world: World) -> None:
    await world.sides["h1"].start(guest_xml("web"))
    migrating = asyncio.create_task(world.sides["h1"].migrate(order("web", "h2")))
    await asyncio.sleep(0.2)
    world.fabric.power_off("h1")
    with pytest.raises((MigrationFailed, HypervisorUnavailable)):
        await migrating
    await asyncio.sleep(10)
    assert world.fabric.instances("web") == []
    assert world.sides["h2"].find_ending("web") is Ending.INCOMING_FAILED


@simulated
async def test_power_cut_of_the_target_leaves_the_guest_running_at_its_source(world: World) -> None:
    await world.sides["h1"].start(guest_xml("web"))
    migrating = asyncio.create_task(world.sides["h1"].migrate(order("web", "h2")))
    await asyncio.sleep(0.2)
    world.fabric.power_off("h2")
    with pytest.raises(MigrationFailed):
        await migrating
    assert world.fabric.instances("web") == [("h1", DomainState.RUNNING)]


@simulated
async def test_network_cut_half_way_breaks_the_migration_when_it_is_noticed(world: World) -> None:
    await world.sides["h1"].start(guest_xml("web"))
    migrating = asyncio.create_task(world.sides["h1"].migrate(order("web", "h2")))
    await asyncio.sleep(0.2)
    world.cut.add("h2")
    with pytest.raises(MigrationFailed, match="client socket is closed"):
        await migrating
    await asyncio.sleep(1)
    assert world.fabric.instances("web") == [("h1", DomainState.RUNNING)]


@simulated
async def test_lost_reply_leaves_the_source_running_and_the_target_standing(world: World) -> None:
    await world.sides["h1"].start(guest_xml("web"))
    world.fabric.lose_migration_reply("web")
    with pytest.raises(MigrationFailed):
        await world.sides["h1"].migrate(order("web", "h2"))
    assert world.fabric.instances("web") == [("h1", DomainState.RUNNING), ("h2", DomainState.ARRIVED)]
    await world.sides["h2"].destroy("web")
    assert world.fabric.instances("web") == [("h1", DomainState.RUNNING)]


@simulated
async def test_lost_reply_of_a_direct_switch_makes_two_as_libvirt_does(world: World) -> None:
    await world.sides["h1"].start(guest_xml("web"))
    world.fabric.lose_migration_reply("web")
    with pytest.raises(MigrationFailed):
        await world.sides["h1"].migrate(order("web", "h2", paused=False))
    assert [host for host, _ in world.fabric.running_instances("web")] == ["h1", "h2"]


@simulated
async def test_frozen_host_answers_nothing_and_its_guests_stand_until_it_thaws(world: World) -> None:
    await world.sides["h1"].start(guest_xml("web"))
    world.fabric.freeze("h1")
    assert world.fabric.running_instances("web") == []
    with pytest.raises(HypervisorUnavailable):
        await world.sides["h1"].inventory()
    world.fabric.thaw("h1")
    assert await world.state("h1", "web") is DomainState.RUNNING
    assert world.deeds("web") == ["h1 runs", "h1 stands", "h1 runs"]


@simulated
async def test_what_a_frozen_host_had_begun_it_ends_after_the_thaw(world: World) -> None:
    starting = asyncio.create_task(world.sides["h1"].start(guest_xml("web")))
    await asyncio.sleep(0.1)
    world.fabric.freeze("h1")
    await asyncio.sleep(10)
    assert world.fabric.running_instances("web") == []
    world.fabric.thaw("h1")
    await starting
    assert [host for host, _ in world.fabric.running_instances("web")] == ["h1"]


@simulated
async def test_target_frozen_half_way_breaks_the_migration(world: World) -> None:
    await world.sides["h1"].start(guest_xml("web"))
    migrating = asyncio.create_task(world.sides["h1"].migrate(order("web", "h2")))
    await asyncio.sleep(0.2)
    world.fabric.freeze("h2")
    with pytest.raises(MigrationFailed):
        await migrating
    world.fabric.thaw("h2")
    assert world.fabric.instances("web") == [("h1", DomainState.RUNNING)]


@simulated
async def test_guest_that_ignores_its_power_button_runs_on(world: World) -> None:
    world.fabric.ignore_acpi("web")
    await world.sides["h1"].start(guest_xml("web"))
    await world.sides["h1"].shutdown("web")
    await asyncio.sleep(60)
    assert await world.state("h1", "web") is DomainState.RUNNING


@simulated
async def test_power_button_pressed_before_a_migration_is_obeyed_at_the_target(world: World) -> None:
    await world.sides["h1"].start(guest_xml("web"))
    migrating = asyncio.create_task(world.sides["h1"].migrate(order("web", "h2")))
    await asyncio.sleep(0.2)
    await world.sides["h1"].shutdown("web")
    await migrating
    await world.sides["h2"].resume("web")
    await asyncio.sleep(2)
    assert world.fabric.instances("web") == []
    assert world.sides["h2"].find_ending("web") is Ending.GUEST_SHUTDOWN


@simulated
async def test_start_fails_as_often_as_told_and_only_there(world: World) -> None:
    world.fabric.fail_start("web", host="h1", times=2, message="no such disk")
    for _ in range(2):
        with pytest.raises(StartFailed, match="no such disk"):
            await world.sides["h1"].start(guest_xml("web"))
    await world.sides["h1"].start(guest_xml("web"))
    assert world.deeds("web") == ["h1 runs"]


@simulated
async def test_start_past_its_deadline_is_called_off(world: World) -> None:
    with pytest.raises(HypervisorUnavailable):
        await world.sides["h1"].start(guest_xml("web"), timeout_s=0.1)
    await asyncio.sleep(5)
    assert world.fabric.instances("web") == []
    assert world.deeds("web") == []


@simulated
async def test_migration_fails_as_often_as_told_and_the_guest_runs_on(world: World) -> None:
    await world.sides["h1"].start(guest_xml("web"))
    world.fabric.fail_migration("web", message="guest dirties too fast")
    with pytest.raises(MigrationFailed, match="too fast"):
        await world.sides["h1"].migrate(order("web", "h2"))
    assert world.fabric.instances("web") == [("h1", DomainState.RUNNING)]
    await world.sides["h1"].migrate(order("web", "h2"))
    assert world.fabric.instances("web") == [("h2", DomainState.ARRIVED)]


@simulated
async def test_guard_ends_what_carries_a_tag_and_nothing_else(world: World) -> None:
    await world.sides["h1"].start(guest_xml("web"))
    await world.sides["h1"].start(guest_xml("private"))
    await world.sides["h1"].set_tag("private", None)
    assert [guest.name for guest in world.fabric.kill_managed("h1")] == ["web"]
    assert [view.name for view in await world.sides["h1"].inventory()] == ["private"]


@simulated
async def test_guest_migrated_by_hand_out_of_the_cluster_runs_where_nobody_looks(world: World) -> None:
    await world.sides["h1"].start(guest_xml("web"))
    world.fabric.virsh_migrate("web", "h1", "elsewhere")
    await asyncio.sleep(1)
    assert [host for host, _ in world.fabric.running_instances("web")] == ["elsewhere"]
    assert world.sides["h1"].find_ending("web") is Ending.MIGRATED
    world.fabric.virsh_migrate("web", "elsewhere", "h3")
    await asyncio.sleep(1)
    assert await world.state("h3", "web") is DomainState.RUNNING


@simulated
async def test_hand_made_second_start_makes_two(world: World) -> None:
    xml = guest_xml("web")
    await world.sides["h1"].start(xml)
    world.fabric.virsh_start(xml, "h2")
    await asyncio.sleep(1)
    assert [host for host, _ in world.fabric.running_instances("web")] == ["h1", "h2"]
    world.fabric.virsh_destroy("web", "h2")
    assert [host for host, _ in world.fabric.running_instances("web")] == ["h1"]


@simulated
async def test_guest_that_powers_itself_off_is_told_as_such(world: World) -> None:
    heard: list[DomainEvent] = []
    world.sides["h1"].subscribe(heard.append)
    await world.sides["h1"].start(guest_xml("web"))
    world.fabric.power_off_guest("web")
    await asyncio.sleep(0.1)
    assert [(event.kind, event.ending) for event in heard] == [
        ("resumed", None),
        ("started", None),
        ("shutdown", None),
        ("stopped shutdown", Ending.GUEST_SHUTDOWN),
    ]


@simulated
async def test_crash_while_libvirtd_was_down_ended_unknown(world: World) -> None:
    await world.sides["h1"].start(guest_xml("web"))
    await asyncio.sleep(0.1)
    world.fabric.stop_libvirtd("h1")
    world.fabric.crash("web")
    with pytest.raises(HypervisorUnavailable):
        await world.sides["h1"].inventory()
    world.fabric.start_libvirtd("h1")
    assert world.sides["h1"].find_ending("web") is Ending.UNKNOWN


def test_the_same_deeds_make_the_same_history() -> None:
    async def story() -> list[str]:
        world = World()
        for side in world.sides.values():
            await side.open()
        await asyncio.gather(*(world.sides[host].start(guest_xml(f"vm-{host}")) for host in world.sides))
        await asyncio.gather(
            world.sides["h1"].migrate(order("vm-h1", "h2")),
            world.sides["h2"].migrate(order("vm-h2", "h3")),
            world.sides["h3"].destroy("vm-h3"),
        )
        return [repr(fact) for fact in world.fabric.history]

    assert run_virtual(story()) == run_virtual(story())


@simulated
async def test_own_switch_without_length_lets_the_target_run_only_when_the_source_has_ended(world: World) -> None:
    world.fabric.is_own_switch_atomic = True
    await world.sides["h1"].start(guest_xml("g"), timeout_s=5.0)
    world.fabric.virsh_migrate("g", "h1", "h2")
    await asyncio.sleep(1.0)
    assert (await world.state("h1", "g"), await world.state("h2", "g")) == (None, DomainState.RUNNING)
    runs, ends = (next(f.time for f in reversed(world.fabric.history) if f.deed == deed) for deed in ("runs", "ends"))
    assert runs == ends


@simulated
async def test_guest_that_is_just_starting_is_not_saved(world: World) -> None:
    """libvirt's job on a domain is one at a time: its memory would be from before its disk was written to."""
    starting = asyncio.create_task(world.sides["h1"].start(guest_xml("web")))
    await asyncio.sleep(0.001)
    assert await world.state("h1", "web") is not DomainState.RUNNING
    with pytest.raises(SaveFailed, match="another job is active"):
        await world.sides["h1"].save("web", "/saved/web", timeout_s=60)
    await starting
    await world.sides["h1"].save("web", "/saved/web", timeout_s=60)
    assert await world.state("h1", "web") is None


@simulated
async def test_history_tells_over_which_hosts_hands_have_sent_a_guest_since_it_was_marked(world: World) -> None:
    async def sent(source: str, target: str) -> tuple[str, ...]:
        world.fabric.virsh_migrate("web", source, target)
        await until(lambda: [host for host, _ in world.fabric.instances("web")] == [target])
        return next(f.sent_by_hand_over for f in reversed(world.fabric.history) if f.host == target)

    await world.sides["h1"].start(guest_xml("web"))
    assert await sent("h1", "h2") == ("h1",)
    assert await sent("h2", "h3") == ("h1", "h2")
    await world.sides["h3"].set_tag("web", tag("web", epoch=9))
    assert await sent("h3", "h1") == ("h3",)
