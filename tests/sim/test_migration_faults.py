"""Every fault at every instant of a migration, on either side, in every style: one runs in the end, never two.

The instants are the ones between which somebody may die: before libvirt is asked, while memory is copied, at the switch
(the source stands, the target is not told), right after it (the target is complete, the source is not told), when both
know and nothing is on record, when the hand-over is on record and the target has not claimed it, and when it has
claimed it and has not resumed the guest.
"""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.sim.probes import add_running, placement, queue_one_start, restart_agent, see_at_once, starts
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.hypervisor.port import DomainState
from vmha.hypervisor.twin import fabric_frozen
from vmha.hypervisor.twin.fabric_state import Leg, Migration
from vmha.model.ids import LeaseId, NodeName
from vmha.model.records import Phase
from vmha.model.vm import Handover, MigrationStyle
from vmha.model.vm import Migration as MigrationSpec

SOURCE, TARGET = "n1", "n2"
COPY_S = 2.0
LASTS_S = 12.0
"""How long a fault lasts that can be mended: longer than every deadline of the profile."""
BUDGET_S = 60.0
"""From the end of the fault: until the vm runs, and runs in peace."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What strikes one side, and what mends it (None: it mends itself, or stays)."""

    strike: Callable[[Cluster, str], Any]
    mend: Callable[[Cluster, str], Any] | None = None


def freeze_agent(cluster: Cluster, node: str) -> None:
    """SIGSTOP to the agent alone: its guard is a process of its own and goes on."""
    cluster.hands.host(node).agent_process.stand("SIGSTOP")


def thaw_agent(cluster: Cluster, node: str) -> None:
    cluster.hands.host(node).agent_process.go_on("SIGSTOP")


FAULTS = {
    "agent killed": Fault(lambda c, n: (c.hands.host(n).stop_agent(), c.hands.host(n).start_agent())),
    "agent dead": Fault(lambda c, n: c.hands.host(n).stop_agent(), lambda c, n: c.hands.host(n).start_agent()),
    "agent frozen": Fault(freeze_agent, thaw_agent),
    "libvirtd killed": Fault(
        lambda c, n: (c.world.fabric.stop_libvirtd(n), c.world.fabric.start_libvirtd(n)),
    ),
    "libvirtd dead": Fault(lambda c, n: c.world.fabric.stop_libvirtd(n), lambda c, n: c.world.fabric.start_libvirtd(n)),
    "libvirtd frozen": Fault(
        lambda c, n: c.world.fabric.freeze_libvirtd(n), lambda c, n: c.world.fabric.thaw_libvirtd(n)
    ),
    "libvirtd and agent dead": Fault(
        lambda c, n: (c.world.fabric.stop_libvirtd(n), c.hands.host(n).stop_agent()),
        lambda c, n: (c.world.fabric.start_libvirtd(n), c.hands.host(n).start_agent()),
    ),
    "QEMU killed": Fault(lambda c, n: c.world.fabric.crash("web", host=n)),
    "QEMU frozen": Fault(
        lambda c, n: fabric_frozen.freeze(c.world.fabric, "web", n),
        lambda c, n: fabric_frozen.thaw(c.world.fabric, "web", n),
    ),
    "power cut": Fault(lambda c, n: c.hands.host(n).power_off()),
    "power cut for a while": Fault(lambda c, n: c.hands.host(n).power_off(), lambda c, n: c.hands.host(n).power_on()),
    "frozen until its watchdog": Fault(lambda c, n: c.hands.host(n).freeze()),
    "frozen for an instant": Fault(
        lambda c, n: (c.hands.host(n).freeze(), asyncio.get_running_loop().call_later(1.0, c.hands.host(n).thaw))
    ),
    "network cut": Fault(lambda c, n: c.hands.host(n).cut(), lambda c, n: c.hands.host(n).heal()),
    "network cut for an instant": Fault(
        lambda c, n: (c.hands.host(n).cut(), asyncio.get_running_loop().call_later(1.5, c.hands.host(n).heal))
    ),
    "etcd stopped": Fault(lambda c, n: c.world.etcd.stop(), lambda c, n: c.world.etcd.start()),
    "last reply lost": Fault(lambda c, n: c.world.fabric.lose_migration_reply("web")),
}


def under_way(cluster: Cluster) -> Migration | None:
    guest = cluster.world.fabric.host(SOURCE).guests.get("web")
    return guest.migration if guest is not None else None


def on_leg(cluster: Cluster, leg: Leg) -> bool:
    migration = under_way(cluster)
    return migration is not None and migration.leg is leg


def is_copying(cluster: Cluster) -> bool:
    migration = under_way(cluster)
    return migration is not None and cluster.world.clock.now() - migration.began >= COPY_S / 2


def has_left(cluster: Cluster) -> bool:
    return [host for host, _ in cluster.world.fabric.instances("web")] == [TARGET]


def session_lease(cluster: Cluster, node: str) -> LeaseId:
    view = cluster.observer.snapshot.nodes[NodeName(node)]
    assert view.session
    return view.session.lease


def in_phase(cluster: Cluster, phase: Phase, node: str) -> bool:
    held = placement(cluster, "web")
    return held is not None and held.phase is phase and held.node == node


INSTANTS: dict[str, Callable[[Cluster], bool]] = {
    "asked for": lambda c: in_phase(c, Phase.MIGRATING, SOURCE),
    "copying": is_copying,
    "at the switch": lambda c: on_leg(c, Leg.SWITCHING),
    "after the switch": lambda c: on_leg(c, Leg.ARRIVED),
    "before the hand-over": has_left,
    "handed over": lambda c: in_phase(c, Phase.ASSIGNED, TARGET),
    "claimed": lambda c: in_phase(c, Phase.HELD, TARGET),
}

UNTIL_THE_SWITCH = ("copying", "at the switch")
CASES = [
    case
    for case in itertools.product(FAULTS, (SOURCE, TARGET), INSTANTS, (MigrationStyle.LIVE, MigrationStyle.PAUSE))
    if not (case[0] in ("etcd stopped", "last reply lost") and case[1] == TARGET)
    if case[3] is MigrationStyle.LIVE or case[2] in UNTIL_THE_SWITCH  # from then on the styles do the same
]


async def play(cluster: Cluster, fault: Fault, side: str, instant: str, style: MigrationStyle) -> None:
    await migrating(cluster, instant, style=style)
    fault.strike(cluster, side)
    if fault.mend:
        await asyncio.sleep(LASTS_S)
        fault.mend(cluster, side)
    await one_instance(cluster)


@pytest.mark.parametrize(("fault", "side", "instant", "style"), CASES)
def test_one_runs_in_the_end_and_never_two(fault: str, side: str, instant: str, style: MigrationStyle) -> None:
    in_cluster(lambda cluster: play(cluster, FAULTS[fault], side, instant, style), watchdog_s=2)


async def migrating(cluster: Cluster, instant: str, **migration: Any) -> None:
    """``web`` on its way from the source to the target, at this instant."""
    await add_running(cluster, "web", on=(SOURCE, "n3", TARGET), migration=MigrationSpec(**migration))
    cluster.world.fabric.set_migration_time("web", COPY_S)
    await cluster.hands.migrate("web", TARGET)
    await see_at_once(lambda: INSTANTS[instant](cluster) or None)


async def one_instance(cluster: Cluster, *, timeout_s: float = BUDGET_S) -> None:
    def is_one() -> bool:
        held = placement(cluster, "web")
        running = [(held.node, DomainState.RUNNING)] if held else []
        return held is not None and held.phase is Phase.HELD and cluster.world.fabric.instances("web") == running

    await until(is_one, what="one instance, running and held", timeout_s=timeout_s)
    await cluster.rest()
    assert is_one()
    assert cluster.violations() == []


@pytest.mark.parametrize("side", [SOURCE, TARGET])
def test_qemu_frozen_in_mid_copy_past_the_deadline_leaves_one_instance(side: str) -> None:
    """The target's is ended by its agent; the source's answers no abort before it goes on."""

    async def scene(cluster: Cluster) -> None:
        await migrating(cluster, "copying", timeout_s=5.0)
        fabric_frozen.freeze(cluster.world.fabric, "web", side)
        await asyncio.sleep(60.0)
        if side == TARGET:
            assert cluster.world.fabric.instances("web") == [(SOURCE, DomainState.RUNNING)]
        fabric_frozen.thaw(cluster.world.fabric, "web", side)
        await one_instance(cluster)

    in_cluster(scene)


def test_guest_left_standing_at_the_target_does_not_go_on_after_its_source_ran_on_and_was_lost() -> None:
    """libvirt lets the source run again when the target's libvirtd dies at the switch. Its agent is not there to put
    that on record, and then its host is lost: what stands at the target is older than the disk.
    """

    async def scene(cluster: Cluster) -> None:
        await migrating(cluster, "copying")
        cluster.hands.host(SOURCE).stop_agent()
        await see_at_once(lambda: on_leg(cluster, Leg.ARRIVED) or None)
        cluster.world.fabric.stop_libvirtd(TARGET)
        cluster.world.fabric.start_libvirtd(TARGET)
        await asyncio.sleep(1.0)
        assert cluster.where("web") == [SOURCE]
        cluster.hands.host(SOURCE).power_off()
        await one_instance(cluster)

    in_cluster(scene)


def test_guest_that_ran_on_at_its_source_and_crashed_there_does_not_go_on_from_what_stands_at_the_target() -> None:
    async def scene(cluster: Cluster) -> None:
        await migrating(cluster, "copying")
        cluster.hands.host(SOURCE).stop_agent()
        await see_at_once(lambda: on_leg(cluster, Leg.ARRIVED) or None)
        cluster.world.fabric.stop_libvirtd(TARGET)
        cluster.world.fabric.start_libvirtd(TARGET)
        await asyncio.sleep(1.0)
        cluster.world.fabric.crash("web", host=SOURCE)
        cluster.hands.host(SOURCE).start_agent()
        await one_instance(cluster)

    in_cluster(scene)


def test_migration_that_ended_while_no_agent_was_at_its_source_is_handed_over_by_the_next_one() -> None:
    """libvirt's own note says that it left by migration: its memory goes on at the target."""

    async def scene(cluster: Cluster) -> None:
        await migrating(cluster, "copying")
        cluster.hands.host(SOURCE).stop_agent()
        await see_at_once(lambda: has_left(cluster) or None)
        cluster.hands.host(SOURCE).start_agent()
        await one_instance(cluster)
        assert cluster.where("web") == [TARGET]
        assert [fact.host for fact in starts(cluster, "web")] == [SOURCE, TARGET]  # resumed there, never booted

    in_cluster(scene)


def test_guest_taken_out_of_the_cluster_by_hand_while_its_agent_was_down_is_not_started_again() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=(SOURCE, "n3", TARGET))
        cluster.hands.host(SOURCE).stop_agent()
        cluster.hands.virsh_migrate("web", "elsewhere")
        await asyncio.sleep(1.5)
        cluster.hands.host(SOURCE).start_agent()
        await cluster.rest()
        held = placement(cluster, "web")
        assert held is not None
        assert held.phase is Phase.DEPARTED
        assert cluster.where("web") == ["elsewhere"]

    in_cluster(scene)


def test_note_of_an_earlier_migration_is_not_taken_for_the_end_of_a_start_that_never_happened() -> None:
    """It left this node by migration once; later its agent claims it, and is killed before it starts it."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=(SOURCE, TARGET))
        cluster.hands.virsh_migrate("web", TARGET)
        await until(lambda: in_phase(cluster, Phase.HELD, TARGET), what="adopted")
        came_out = queue_one_start(cluster, SOURCE, 60.0)
        await cluster.hands.relocate("web", SOURCE)
        await until(lambda: in_phase(cluster, Phase.HELD, SOURCE), what="a claim")
        restart_agent(cluster, SOURCE)
        await one_instance(cluster)
        assert not came_out()

    in_cluster(scene)


@pytest.mark.parametrize("fault", ["agent dead", "libvirtd dead", "libvirtd and agent dead"])
def test_silent_target_of_libvirts_own_switch_is_waited_for_before_anybody_starts_it_again(fault: str) -> None:
    """It may run there: nobody can tell until that node answers, or is fenced."""

    async def scene(cluster: Cluster) -> None:
        await migrating(cluster, "after the switch", handover=Handover.LIBVIRT)
        cluster.world.fabric.crash("web", host=SOURCE)
        FAULTS[fault].strike(cluster, TARGET)
        await asyncio.sleep(LASTS_S)
        mend = FAULTS[fault].mend
        assert mend
        mend(cluster, TARGET)
        await one_instance(cluster)

    in_cluster(scene, watchdog_s=2)


def test_target_without_an_agent_is_waited_for_when_libvirt_switched_by_itself_and_the_source_died() -> None:
    """That agent never lived to show what came in; the guest runs there until its guard ends it."""

    async def scene(cluster: Cluster) -> None:
        how = MigrationSpec(handover=Handover.LIBVIRT)
        await add_running(cluster, "web", on=(SOURCE, "n3", TARGET), migration=how)
        cluster.world.fabric.set_migration_time("web", COPY_S)
        await cluster.hands.drain("n3")
        await cluster.hands.drain(SOURCE)
        await see_at_once(lambda: INSTANTS["copying"](cluster) or None)
        cluster.hands.host(TARGET).stop_agent()
        await cluster.hands.undrain("n3")  # the next best, and free to take it
        await see_at_once(lambda: on_leg(cluster, Leg.ARRIVED) or None)
        cluster.world.fabric.crash("web", host=SOURCE)
        await one_instance(cluster)

    in_cluster(scene, watchdog_s=2)


def test_target_without_an_agent_is_waited_for_when_libvirt_switched_by_itself_and_the_source_was_fenced() -> None:
    async def scene(cluster: Cluster) -> None:
        how = MigrationSpec(handover=Handover.LIBVIRT)
        await add_running(cluster, "web", on=(SOURCE, "n3", TARGET), migration=how)
        cluster.world.fabric.set_migration_time("web", 0.6)
        await cluster.hands.register(SOURCE, fence=True)
        await cluster.hands.migrate("web", TARGET)
        await see_at_once(lambda: on_leg(cluster, Leg.COPYING) or None)
        cluster.hands.host(TARGET).stop_agent()
        await see_at_once(lambda: on_leg(cluster, Leg.ARRIVED) or None)
        cluster.hands.host(SOURCE).power_off()
        cluster.world.etcd.expire(session_lease(cluster, SOURCE))  # so that its switch is asked without delay
        await one_instance(cluster)

    in_cluster(scene, watchdog_s=2)


@pytest.mark.parametrize("instant", ["at the switch", "after the switch"])
def test_hand_made_migration_to_a_member_that_loses_its_virsh_at_the_end_leaves_no_guest_standing(instant: str) -> None:
    """libvirt leaves the source standing for ever. Where the target had it complete, it runs there and is adopted;
    where it had not, nobody can tell that it did not go elsewhere: an operator confirms it, and it boots anew.
    """

    async def scene(cluster: Cluster) -> None:
        await broken_by_hand(cluster, TARGET, instant)
        if instant == "at the switch":
            await until(lambda: in_phase(cluster, Phase.DEPARTED, SOURCE), what="departed", timeout_s=BUDGET_S)
            await until(lambda: not cluster.world.fabric.instances("web"), what="nothing stands", timeout_s=BUDGET_S)
            await cluster.hands.confirm_gone("web")
        await one_instance(cluster)
        assert instant == "at the switch" or cluster.where("web") == [TARGET]

    in_cluster(scene)


def test_hand_made_migration_out_of_the_cluster_that_loses_its_virsh_at_the_end_is_not_started_again() -> None:
    async def scene(cluster: Cluster) -> None:
        await broken_by_hand(cluster, "elsewhere", "after the switch")
        await until(lambda: in_phase(cluster, Phase.DEPARTED, SOURCE), what="departed", timeout_s=BUDGET_S)
        await cluster.rest()
        assert in_phase(cluster, Phase.DEPARTED, SOURCE)
        assert cluster.world.fabric.instances("web") == [("elsewhere", DomainState.RUNNING)]
        assert cluster.violations() == []

    in_cluster(scene)


def test_guest_sent_out_of_the_cluster_by_hand_is_not_handed_over_to_a_target_that_is_lost_meanwhile() -> None:
    """vmha's own migration was asked for as well; recovered from its target, the guest would run twice."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=(SOURCE, TARGET, "n3"))
        cluster.world.fabric.set_migration_time("web", 20.0)
        cluster.hands.virsh_migrate("web", "elsewhere")
        await cluster.hands.migrate("web", TARGET)
        await until(lambda: in_phase(cluster, Phase.MIGRATING, SOURCE), what="asked for")
        cluster.hands.host(TARGET).power_off()
        await until(lambda: in_phase(cluster, Phase.DEPARTED, SOURCE), what="departed", timeout_s=60.0)
        await cluster.rest()
        assert cluster.world.fabric.instances("web") == [("elsewhere", DomainState.RUNNING)]
        assert cluster.violations() == []

    in_cluster(scene)


@pytest.mark.parametrize("then", ["agent killed", "stop asked for"])
def test_guest_that_may_run_elsewhere_is_not_forgotten(then: str) -> None:
    """Neither by the next agent, nor because somebody wants it stopped: its next start could be the second one."""

    async def scene(cluster: Cluster) -> None:
        await broken_by_hand(cluster, "elsewhere", "after the switch")
        if then == "agent killed":
            await see_at_once(lambda: in_phase(cluster, Phase.DEPARTED, SOURCE) or None)
            restart_agent(cluster, SOURCE)
        else:
            await cluster.hands.stop("web")
            await until(lambda: in_phase(cluster, Phase.DEPARTED, SOURCE), what="departed", timeout_s=BUDGET_S)
        await cluster.rest()
        await cluster.hands.start("web")
        await cluster.rest()
        assert in_phase(cluster, Phase.DEPARTED, SOURCE)
        assert cluster.world.fabric.instances("web") == [("elsewhere", DomainState.RUNNING)]
        assert cluster.violations() == []

    in_cluster(scene)


def test_guest_that_ran_at_its_target_by_libvirts_own_switch_and_died_there_does_not_go_on_at_its_source() -> None:
    """What was left standing at the source is older than the disk: it is ended, and the vm boots anew."""

    async def scene(cluster: Cluster) -> None:
        await migrating(cluster, "after the switch", handover=Handover.LIBVIRT)
        cluster.world.fabric.stop_libvirtd(SOURCE)
        cluster.world.fabric.crash("web", host=TARGET)
        cluster.world.fabric.start_libvirtd(SOURCE)
        assert cluster.world.fabric.instances("web") == [(SOURCE, DomainState.OUTGOING)]
        await one_instance(cluster)
        assert not any(fact.stale for fact in starts(cluster, "web"))

    in_cluster(scene)


POST_COPY_FAULTS = (
    "agent killed",
    "agent frozen",
    "libvirtd killed",
    "libvirtd frozen",
    "QEMU killed",
    "power cut",
    "power cut for a while",
    "frozen until its watchdog",
    "network cut",
)


POST_COPY_CASES = [
    case
    for case in itertools.product(POST_COPY_FAULTS, (SOURCE, TARGET))
    # A source whose agent stands still goes on saying that it runs there: what arrived is paused as a second copy.
    if case != ("agent frozen", SOURCE)
]


@pytest.mark.parametrize(("fault", "side"), POST_COPY_CASES)
def test_post_copy_by_hand_that_breaks_leaves_no_half_of_a_guest(fault: str, side: str) -> None:
    """While its target pulls the guest runs there, and the source is no second. Broken then, its memory is lost: both
    halves are ended, and it boots anew, or waits for a word that it has not gone elsewhere.
    """

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=(SOURCE, "n3", TARGET))
        cluster.world.fabric.set_migration_time("web", COPY_S)
        cluster.hands.virsh_migrate("web", TARGET, post_copy=True)
        await see_at_once(lambda: on_leg(cluster, Leg.PULLING) or None)
        FAULTS[fault].strike(cluster, side)
        await asyncio.sleep(LASTS_S)
        if mend := FAULTS[fault].mend:
            mend(cluster, side)
        await cluster.rest()
        await asyncio.sleep(LASTS_S)
        if in_phase(cluster, Phase.DEPARTED, SOURCE):
            assert not cluster.world.fabric.instances("web")
            await cluster.hands.confirm_gone("web")
        await one_instance(cluster)

    in_cluster(scene, watchdog_s=2)


def test_post_copy_by_hand_is_adopted_where_it_went() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=(SOURCE, "n3", TARGET))
        cluster.world.fabric.set_migration_time("web", COPY_S)
        cluster.hands.virsh_migrate("web", TARGET, post_copy=True)
        await see_at_once(lambda: on_leg(cluster, Leg.PULLING) or None)
        assert cluster.where("web") == [TARGET]
        await one_instance(cluster)
        assert [fact.host for fact in starts(cluster, "web")] == [SOURCE, TARGET]

    in_cluster(scene)


async def broken_by_hand(cluster: Cluster, to: str, instant: str) -> None:
    """``web`` is sent away with virsh, which ends at this instant."""
    await add_running(cluster, "web", on=(SOURCE, "n3", TARGET))
    cluster.hands.virsh_migrate("web", to)
    await see_at_once(lambda: INSTANTS[instant](cluster) or None)
    cluster.world.fabric.kill_virsh("web")
    assert (SOURCE, DomainState.OUTGOING) in cluster.world.fabric.instances("web")


def test_style_asked_for_holds_for_that_migration_only() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=(SOURCE, "n3", TARGET))
        cluster.world.fabric.set_migration_time("web", COPY_S)
        await cluster.hands.migrate("web", TARGET, style=MigrationStyle.PAUSE)
        await see_at_once(lambda: is_copying(cluster) or None)
        assert cluster.where("web") == []  # it stands still
        await one_instance(cluster)
        held = placement(cluster, "web")
        assert held is not None
        assert (held.node, held.style) == (TARGET, None)
        await cluster.hands.migrate("web", SOURCE)
        await until(lambda: len(cluster.world.fabric.instances("web")) == 2, what="it is being copied")
        assert cluster.where("web") == [TARGET]  # live, as it is defined
        await one_instance(cluster)

    in_cluster(scene)
