"""What both adapters of the hypervisor port must do: one suite, real libvirt hosts and the simulated twin."""

import asyncio

import pytest

from tests.support.hypervisors import HypervisorWorld, SimulatedWorld, fresh_uuid, guest_xml, tag
from tests.support.waiting import eventually, find, see, see_gone
from vmha.hypervisor.port import (
    DomainEvent,
    DomainExists,
    DomainMissing,
    DomainState,
    DomainView,
    Ending,
    GuestAgentMissing,
    GuestAgentSilent,
    Hypervisor,
    MigrationFailed,
    StartFailed,
)
from vmha.model.errors import Refused


async def see_leaving(side: Hypervisor, name: str) -> DomainView:
    """Wait until a migration out is seen: libvirt announces one made by hand with its first pass, not before."""

    async def look() -> DomainView | None:
        view = await find(side, name)
        return view if view is not None and view.migrating else None

    view = await eventually(look)
    assert view is not None
    return view


async def see_ending(side: Hypervisor, name: str) -> Ending:
    async def look() -> Ending | None:
        return side.find_ending(name)

    ending = await eventually(look)
    assert ending is not None
    return ending


def listen(side: Hypervisor) -> list[DomainEvent]:
    heard: list[DomainEvent] = []
    side.subscribe(heard.append)
    return heard


# --- start and stop


async def test_started_guest_runs_and_carries_its_tag(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web", epoch=7))
    view = await find(world.one, "web")
    assert view is not None
    assert view.state is DomainState.RUNNING
    assert view.tag == tag("web", 7)
    assert not view.persistent
    assert not view.migrating


async def test_second_start_of_a_name_is_refused_and_leaves_the_first(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web", epoch=7))
    with pytest.raises(DomainExists, match="web"):
        await world.one.start(guest_xml("web", epoch=8))
    with pytest.raises(DomainExists, match="web"):
        await world.one.start(guest_xml("web", epoch=8, uuid=fresh_uuid()))
    assert (await see(world.one, "web", DomainState.RUNNING)).tag == tag("web", 7)


async def test_second_start_of_a_uuid_under_another_name_is_refused(world: HypervisorWorld) -> None:
    identity = fresh_uuid()
    await world.one.start(guest_xml("web", uuid=identity))
    with pytest.raises(DomainExists, match="web"):
        await world.one.start(guest_xml("db", uuid=identity))
    assert await find(world.one, "db") is None


async def test_failed_start_gives_the_hypervisors_words_and_leaves_nothing(world: HypervisorWorld) -> None:
    if isinstance(world, SimulatedWorld):
        world.fabric.fail_start("web", host="one", message="Cannot access storage file '/run/absent.img'")
    with pytest.raises(StartFailed, match=r"storage file '/run/absent.img'"):
        await world.one.start(guest_xml("web", disk="/run/absent.img"))
    assert await find(world.one, "web") is None
    await world.one.start(guest_xml("web"))


async def test_start_of_broken_xml_fails_with_the_line(world: HypervisorWorld) -> None:
    with pytest.raises(StartFailed, match="line 2"):
        await world.one.start("<domain>\n<name>web</nome></domain>")


async def test_guest_that_obeys_its_power_button_ends_by_itself(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))

    async def press_until_gone() -> bool:
        try:
            await world.one.shutdown("web")  # a guest still in its BIOS does not hear the first
        except DomainMissing:
            return True
        return await find(world.one, "web") is None

    await eventually(press_until_gone, each_s=0.1)
    assert await see_ending(world.one, "web") is Ending.GUEST_SHUTDOWN


async def test_destroyed_guest_is_gone_when_the_call_returns(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))
    await world.one.destroy("web")
    assert await find(world.one, "web") is None
    assert await see_ending(world.one, "web") is Ending.DESTROYED


async def test_guest_destroyed_by_hand_is_told_as_destroyed(world: HypervisorWorld) -> None:
    heard = listen(world.one)
    await world.one.start(guest_xml("web"))
    await world.virsh_destroy("web")
    assert await see_ending(world.one, "web") is Ending.DESTROYED
    await see_gone(world.one, "web")
    assert Ending.DESTROYED in {event.ending for event in heard if event.name == "web"}


async def test_destroying_what_is_not_there_is_no_error(world: HypervisorWorld) -> None:
    await world.one.destroy("absent")


async def test_calls_about_a_missing_domain_say_so(world: HypervisorWorld) -> None:
    for call in (
        world.one.resume("absent"),
        world.one.suspend("absent"),
        world.one.shutdown("absent"),
        world.one.reboot("absent"),
        world.one.reset("absent"),
        world.one.abort_migration("absent"),
        world.one.set_tag("absent", tag("absent", 1)),
        world.one.migrate(world.order("absent", epoch=1)),
    ):
        with pytest.raises(DomainMissing, match="absent"):
            await call
    assert await world.one.migration_progress("absent") is None
    assert world.one.find_ending("absent") is None


async def test_killed_qemu_is_told_as_a_crash(world: HypervisorWorld) -> None:
    heard = listen(world.one)
    await world.one.start(guest_xml("web"))
    await world.crash("web")
    assert await see_ending(world.one, "web") is Ending.CRASHED
    await see_gone(world.one, "web")
    assert Ending.CRASHED in {event.ending for event in heard if event.name == "web"}


async def test_ending_is_forgotten_when_the_guest_starts_again(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))
    await world.one.destroy("web")
    await see_ending(world.one, "web")
    await world.one.start(guest_xml("web"))

    async def look() -> bool:
        return world.one.find_ending("web") is None

    await eventually(look)


async def test_start_is_announced(world: HypervisorWorld) -> None:
    heard = listen(world.one)
    await world.one.start(guest_xml("web"))

    async def look() -> bool:
        return {"started", "resumed"} <= {event.kind for event in heard if event.name == "web"}

    await eventually(look)


# --- pause, tag, capacity


async def test_guest_paused_by_a_user_is_paused_until_resumed(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))
    await world.one.suspend("web")
    assert (await see(world.one, "web", DomainState.PAUSED)).reason == "user"
    await world.one.resume("web")
    await see(world.one, "web", DomainState.RUNNING)


async def test_resuming_a_running_guest_changes_nothing(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))
    await world.one.resume("web")
    await see(world.one, "web", DomainState.RUNNING)


async def test_tag_of_a_running_guest_can_be_changed_and_taken_off(world: HypervisorWorld) -> None:
    heard = listen(world.one)
    await world.one.start(guest_xml("web", epoch=1))
    await world.one.set_tag("web", tag("web", 2))
    assert (await see(world.one, "web", DomainState.RUNNING)).tag == tag("web", 2)
    await world.one.set_tag("web", None)
    assert (await see(world.one, "web", DomainState.RUNNING)).tag is None
    await world.one.set_tag("web", tag("web", 3))
    assert (await see(world.one, "web", DomainState.RUNNING)).tag == tag("web", 3)

    async def look() -> bool:
        return [event.kind for event in heard].count("retagged") == 3

    await eventually(look)


async def test_guest_without_an_agent_is_told_from_one_whose_agent_is_silent(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))
    with pytest.raises(GuestAgentMissing, match="web"):
        await world.one.ping_agent("web", timeout_s=1.0)
    await world.one.start(guest_xml("db", agent=True))
    with pytest.raises(GuestAgentSilent, match="db"):
        await world.one.ping_agent("db", timeout_s=1.0)
    with pytest.raises(DomainMissing, match="mail"):
        await world.one.ping_agent("mail", timeout_s=1.0)


async def test_guest_whose_agent_does_not_hear_it_is_not_shut_down_by_it(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))
    with pytest.raises(GuestAgentMissing, match="web"):
        await world.one.shutdown("web", by_agent=True)
    await world.one.start(guest_xml("db", agent=True))
    with pytest.raises(GuestAgentSilent, match="db"):
        await world.one.shutdown("db", by_agent=True)
    with pytest.raises(DomainMissing, match="mail"):
        await world.one.shutdown("mail", by_agent=True)
    for name in ("web", "db"):
        await see(world.one, name, DomainState.RUNNING)


async def test_capacity_names_the_host(world: HypervisorWorld) -> None:
    capacity = await world.one.capacity()
    assert capacity.memory_mib > 0
    assert capacity.vcpus > 0
    assert "libvirt" in capacity.hypervisor


# --- migration


async def test_migrated_guest_stands_at_the_target_under_its_new_tag_until_resumed(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web", epoch=7))
    await world.one.migrate(world.order("web", epoch=8))
    assert await find(world.one, "web") is None
    assert await see_ending(world.one, "web") is Ending.MIGRATED
    arrived = await find(world.two, "web")
    assert arrived is not None
    assert arrived.state is DomainState.ARRIVED
    assert arrived.tag == tag("web", 8)
    assert world.two.find_ending("web") is None
    await world.two.resume("web")
    view = await see(world.two, "web", DomainState.RUNNING)
    assert view.tag == tag("web", 8)
    assert not view.migrating


async def test_migration_is_measured_where_it_arrives(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))
    assert await world.one.read_arrival("web") is None
    await world.one.migrate(world.order("web", epoch=2))
    await world.two.resume("web")
    took = await world.two.read_arrival("web")
    assert took is not None
    assert 0 < took.downtime_s <= took.total_s
    assert await world.two.read_arrival("web") == took  # it is kept
    assert await world.two.read_arrival("absent") is None


async def test_arrived_guest_is_told_from_one_paused_later(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))
    await world.one.migrate(world.order("web", epoch=2))
    await world.two.resume("web")
    await world.virsh_suspend("web")
    assert (await see(world.two, "web", DomainState.PAUSED)).reason == "user"


async def test_arrived_guest_is_still_one_after_the_agents_restart(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))
    await world.one.migrate(world.order("web", epoch=2))
    await world.reopen()
    await see(world.two, "web", DomainState.ARRIVED)
    await world.two.resume("web")
    await see(world.two, "web", DomainState.RUNNING)


async def test_arrived_guest_is_still_one_under_another_tag(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))
    await world.one.migrate(world.order("web", epoch=2))
    await world.two.set_tag("web", tag("web", 3))
    assert (await see(world.two, "web", DomainState.ARRIVED)).tag == tag("web", 3)


async def test_arrived_guest_whose_qemu_dies_has_crashed(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))
    await world.one.migrate(world.order("web", epoch=2))
    await see(world.two, "web", DomainState.ARRIVED)
    await world.two.destroy("web")
    assert await see_ending(world.two, "web") is Ending.DESTROYED


async def test_guest_paused_before_it_moved_stays_paused_after_its_handover(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))
    await world.one.suspend("web")
    await world.one.migrate(world.order("web", epoch=2))
    await see(world.two, "web", DomainState.ARRIVED)
    await world.two.resume("web")
    await see(world.two, "web", DomainState.PAUSED)
    await world.two.resume("web")
    await see(world.two, "web", DomainState.RUNNING)


async def test_guest_standing_for_its_handover_does_not_leave_again(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))
    await world.one.migrate(world.order("web", epoch=2))
    with pytest.raises(Refused, match="let go"):
        await world.two.migrate(world.order("web", epoch=3))
    await see(world.two, "web", DomainState.ARRIVED)


async def test_guest_migrated_without_a_handover_runs_at_once(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))
    await world.one.migrate(world.order("web", epoch=2, paused=False))
    assert (await see(world.two, "web", DomainState.RUNNING)).tag == tag("web", 2)
    assert await find(world.one, "web") is None


async def test_migration_to_a_host_out_of_reach_fails_and_the_guest_runs_on(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web", epoch=1))
    await world.cut()
    with pytest.raises(MigrationFailed, match="web"):
        await world.one.migrate(world.order("web", epoch=2))
    view = await see(world.one, "web", DomainState.RUNNING)
    assert view.tag == tag("web", 1)
    assert not view.migrating


async def test_migration_onto_a_domain_of_that_name_fails_and_both_run_on(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web", epoch=1))
    await world.two.start(guest_xml("web", epoch=5, uuid=fresh_uuid()))
    with pytest.raises(MigrationFailed, match="already exists"):
        await world.one.migrate(world.order("web", epoch=2))
    assert (await see(world.one, "web", DomainState.RUNNING)).tag == tag("web", 1)
    assert (await see(world.two, "web", DomainState.RUNNING)).tag == tag("web", 5)


async def test_migration_under_way_is_seen_on_both_sides_and_can_be_aborted(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web", epoch=1))
    migrating = asyncio.create_task(world.one.migrate(world.order("web", epoch=2, slow=True)))
    incoming = await see(world.two, "web", DomainState.INCOMING)
    assert incoming.tag == tag("web", 2)
    leaving = await see_leaving(world.one, "web")
    assert leaving.state is DomainState.RUNNING
    assert leaving.tag == tag("web", 1)

    async def look() -> bool:
        progress = await world.one.migration_progress("web")
        return (
            progress is not None
            and 0 < progress.remaining_bytes <= progress.total_bytes
            and progress.elapsed_s > 0
            and progress.iteration is not None
        )

    await eventually(look)
    with pytest.raises(Refused, match="way in"):
        await world.two.resume("web")
    await world.one.abort_migration("web")
    with pytest.raises(MigrationFailed):  # libvirt names the abort, or what the target made of it: who is heard first
        await migrating
    assert not (await see(world.one, "web", DomainState.RUNNING)).migrating
    await see_gone(world.two, "web")
    assert await see_ending(world.two, "web") is Ending.INCOMING_FAILED
    assert await world.one.migration_progress("web") is None


async def test_migration_longer_than_its_deadline_is_aborted(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))
    with pytest.raises(MigrationFailed, match="longer than"):
        await world.one.migrate(world.order("web", epoch=2, slow=True, timeout_s=0.5))
    assert not (await see(world.one, "web", DomainState.RUNNING)).migrating
    await see_gone(world.two, "web")


async def test_migration_goes_on_when_its_agent_leaves(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))
    migrating = asyncio.create_task(world.one.migrate(world.order("web", epoch=2, slow=True)))
    await see(world.two, "web", DomainState.INCOMING)
    migrating.cancel()
    await asyncio.wait([migrating])
    await world.reopen()
    await see(world.two, "web", DomainState.ARRIVED)
    await see_gone(world.one, "web")


async def test_migration_found_by_a_restarted_agent_is_seen_on_both_sides(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))
    await world.virsh_migrate("web", slow=True)
    await see(world.two, "web", DomainState.INCOMING)
    await world.reopen()
    assert (await see_leaving(world.one, "web")).state is DomainState.RUNNING
    await see(world.two, "web", DomainState.INCOMING)
    await world.one.abort_migration("web")
    await see_gone(world.two, "web")
    assert await see_ending(world.two, "web") is Ending.INCOMING_FAILED

    async def look() -> bool:
        view = await find(world.one, "web")
        return view is not None and not view.migrating

    await eventually(look)


async def test_migration_by_hand_is_seen_and_keeps_the_tag(world: HypervisorWorld) -> None:
    heard = listen(world.one)
    await world.one.start(guest_xml("web", epoch=3))
    await world.virsh_migrate("web")
    view = await see(world.two, "web", DomainState.RUNNING)
    assert view.tag == tag("web", 3)
    await see_gone(world.one, "web")
    assert await see_ending(world.one, "web") is Ending.MIGRATED
    assert ("web", "migrating") in [(event.name, event.kind) for event in heard]


async def test_migration_by_hand_under_way_is_seen_on_both_sides(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))
    await world.virsh_migrate("web", slow=True)
    await see(world.two, "web", DomainState.INCOMING)
    assert (await see_leaving(world.one, "web")).state is DomainState.RUNNING


# --- libvirtd comes and goes


async def test_guest_outlives_libvirtd_and_is_found_again(world: HypervisorWorld) -> None:
    heard = listen(world.one)
    await world.one.start(guest_xml("web", epoch=4))
    await world.restart_libvirtd()

    async def look() -> bool:
        return [event.kind for event in heard if not event.name][-1:] == ["connected"]

    await eventually(look)
    assert (await see(world.one, "web", DomainState.RUNNING)).tag == tag("web", 4)
    await world.crash("web")
    assert await see_ending(world.one, "web") is Ending.CRASHED


async def test_arrived_guest_is_still_one_after_libvirtd_restarted(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))
    await world.one.migrate(world.order("web", epoch=2))
    heard = listen(world.two)
    await world.restart_libvirtd()

    async def look() -> bool:
        return [event.kind for event in heard if not event.name][-1:] == ["connected"]

    await eventually(look)
    await see(world.two, "web", DomainState.ARRIVED)
    await world.two.resume("web")
    await see(world.two, "web", DomainState.RUNNING)
