"""Migration by post-copy under every fault at every instant, on either side: one runs in the end, never two.

From the switch on the vm's memory lies on two hosts: whatever breaks then, its source is never resumed, both halves are
ended, and it boots anew, in its budget, and says why.
"""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from tests.sim.probes import add_running, answered, placement, restart_agent, see_at_once, starts
from tests.sim.test_migration_faults import BUDGET_S, FAULTS, LASTS_S, SOURCE, TARGET, on_leg, one_instance, under_way
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.hypervisor.port import DomainState
from vmha.hypervisor.twin import fabric_frozen
from vmha.hypervisor.twin.fabric_state import Deed, Leg
from vmha.model.errors import Rejected
from vmha.model.records import Phase, Progress, Verb
from vmha.model.vm import Handover, Migration, MigrationStyle
from vmha.operator.errors import RefusedByCluster
from vmha.operator.vms import edit
from vmha.sim.journal import read_journal

NODES = (SOURCE, TARGET, "n3")
COPY_S = 8.0
AFTER_S = 3.0
"""It is busy, so that without the switch it would be copied for ever."""

BOTH_HALVES_BUDGET_S = 150.0
"""Until a silent half is given up, the guards' and the keepalives' times, and two starts."""


def how(**fields: Any) -> Migration:
    given: dict[str, Any] = {
        "style": MigrationStyle.POST_COPY,
        "handover": Handover.LIBVIRT,
        "post_copy_after_s": AFTER_S,
        "timeout_s": 30,
    }
    return Migration(**given | fields)


def is_on_record(cluster: Cluster) -> bool:
    held = placement(cluster, "web")
    return held is not None and held.switched


INSTANTS: dict[str, Callable[[Cluster], bool]] = {
    "copying": lambda c: on_leg(c, Leg.COPYING) and not is_on_record(c),
    "on record": lambda c: is_on_record(c) and on_leg(c, Leg.COPYING),
    "pulling": lambda c: on_leg(c, Leg.PULLING),
    "half pulled": lambda c: (m := under_way(c)) is not None and m.leg is Leg.PULLING and m.left_s < COPY_S / 4,
    "after it": lambda c: on_leg(c, Leg.ARRIVED),
}

CASES = [
    case
    for case in itertools.product(FAULTS, (SOURCE, TARGET), INSTANTS)
    if not (case[0] in ("etcd stopped", "last reply lost") and case[1] == TARGET)
]


async def moving(cluster: Cluster, **fields: Any) -> None:
    """A busy ``web`` on its way from the source to the target."""
    await add_running(cluster, "web", on=(SOURCE, "n3", TARGET), migration=how(**fields))
    cluster.world.fabric.set_migration_time("web", COPY_S)
    cluster.world.fabric.busy.add("web")
    await cluster.hands.migrate("web", TARGET)


def journal(cluster: Cluster) -> list[Any]:
    return list(read_journal(cluster.world.record.catch_up().lines))


def told(cluster: Cluster) -> str:
    return "\n".join(line.text for line in journal(cluster))


@pytest.mark.parametrize(("fault", "side", "instant"), CASES)
def test_one_runs_in_the_end_and_never_two(fault: str, side: str, instant: str) -> None:
    async def scene(cluster: Cluster) -> None:
        await moving(cluster)
        await see_at_once(lambda: INSTANTS[instant](cluster) or None, timeout_s=20.0)
        FAULTS[fault].strike(cluster, side)
        if mend := FAULTS[fault].mend:
            await asyncio.sleep(LASTS_S)
            mend(cluster, side)
        await one_whole_instance(cluster)
        assert never_resumed_at_its_source(cluster)

    in_cluster(scene, watchdog_s=2)


def never_resumed_at_its_source(cluster: Cluster) -> bool:
    """A QEMU there that stood while the target's began to run runs no more: a boot ends it first."""
    is_there = has_switched = False
    for fact in cluster.world.fabric.history:
        if fact.vm != "web" or fact.host not in (SOURCE, TARGET):
            continue
        if fact.host == TARGET:
            has_switched |= is_there and fact.deed is Deed.RUNS
        elif fact.deed is Deed.RUNS and has_switched:
            return False
        else:
            is_there = fact.deed is not Deed.ENDS
            has_switched &= is_there
    return True


async def one_whole_instance(cluster: Cluster, *, timeout_s: float = BOTH_HALVES_BUDGET_S) -> None:
    """What lacks memory runs for the hypervisor, and may never go on."""

    def is_whole() -> bool:
        guests = [guest for node in NODES if (guest := cluster.world.fabric.host(node).guests.get("web"))]
        return [guest.reason for guest in guests if not guest.reason.startswith("postcopy")] == [
            guest.reason for guest in guests if guest.state is DomainState.RUNNING
        ] and len(guests) == 1

    await until(is_whole, what="one whole instance", timeout_s=timeout_s)
    await one_instance(cluster)
    assert is_whole()


def test_busy_guest_that_never_converges_goes_on_at_its_target_without_a_boot() -> None:
    async def scene(cluster: Cluster) -> None:
        await moving(cluster)
        await see_at_once(lambda: on_leg(cluster, Leg.PULLING) or None, timeout_s=20.0)
        assert is_on_record(cluster)
        await one_whole_instance(cluster)
        assert cluster.where("web") == [TARGET]
        assert [fact.host for fact in starts(cluster, "web")] == [SOURCE, TARGET]
        held = placement(cluster, "web")
        assert held is not None
        assert (held.switched, held.style) == (False, None)
        assert "it switches to n2 by post-copy" in told(cluster)

    in_cluster(scene)


def test_what_it_took_is_on_record_as_its_source_heard_it() -> None:
    async def scene(cluster: Cluster) -> None:
        await moving(cluster)
        began = cluster.world.clock.now()
        snapshot = await cluster.hands.operator.read()
        (request,) = [each for each in snapshot.requests.values() if each.verb is Verb.MIGRATE]
        said = await answered(cluster, request.id, timeout_s=30.0)
        await one_whole_instance(cluster)
        held = placement(cluster, "web")
        assert held is not None
        assert held.moved is not None
        assert held.moved.source == SOURCE
        assert AFTER_S < held.moved.total_s <= cluster.world.clock.now() - began
        assert held.moved.downtime_s == 0.0  # of the twin, which switches at one instant
        assert said.text == f"web runs on n2; {held.moved}"
        assert str(held.moved) in [line.text for line in journal(cluster) if line.kind == "migrated"]

    in_cluster(scene)


@pytest.mark.parametrize("lost", ["the libvirtd of the target", "the libvirtd of the source", "the connection"])
def test_what_nobody_heard_holds_nothing_up_and_is_said_to_be_unknown(lost: str) -> None:
    async def scene(cluster: Cluster) -> None:
        await moving(cluster)
        await see_at_once(lambda: on_leg(cluster, Leg.PULLING) or None, timeout_s=20.0)
        match lost:
            case "the connection":
                migration = under_way(cluster)
                assert migration is not None
                cluster.world.fabric.break_migration(migration, "connection reset")
            case _:
                host = SOURCE if "source" in lost else TARGET
                FAULTS["libvirtd killed"].strike(cluster, host)
                await asyncio.sleep(LASTS_S)
                if mend := FAULTS["libvirtd killed"].mend:
                    mend(cluster, host)
        await one_whole_instance(cluster)
        assert cluster.where("web") == [TARGET]
        assert [fact.host for fact in starts(cluster, "web")] == [SOURCE, TARGET]
        held = placement(cluster, "web")
        assert held is not None
        assert held.moved is None
        unknown = "migrated from n1; what it took is not known: libvirt did not say it there"
        await until(lambda: unknown in told(cluster), what="it to be told")

    in_cluster(scene)


def test_without_it_the_same_guest_stays_where_it_is() -> None:
    async def scene(cluster: Cluster) -> None:
        await moving(cluster, style=MigrationStyle.LIVE)
        await until(lambda: "took longer than 30 s" in told(cluster), what="given up", timeout_s=60.0)
        await one_whole_instance(cluster)
        assert cluster.where("web") == [SOURCE]

    in_cluster(scene)


def test_it_switches_after_so_many_passes() -> None:
    async def scene(cluster: Cluster) -> None:
        await moving(cluster, post_copy_after_s=None, post_copy_after_passes=2, timeout_s=120)
        await see_at_once(lambda: on_leg(cluster, Leg.PULLING) or None, timeout_s=60.0)
        await one_whole_instance(cluster)
        assert cluster.where("web") == [TARGET]

    in_cluster(scene)


def test_without_a_record_there_is_no_switch() -> None:
    """The store is away when it is due: the migration goes on, and its guest runs at its source."""

    async def scene(cluster: Cluster) -> None:
        await moving(cluster)
        await see_at_once(lambda: on_leg(cluster, Leg.COPYING) or None)
        cluster.world.etcd.stop()
        await asyncio.sleep(2.0)
        assert on_leg(cluster, Leg.COPYING)
        cluster.world.etcd.start()
        await one_whole_instance(cluster)
        assert [fact.host for fact in starts(cluster, "web")] == [SOURCE, TARGET]

    in_cluster(scene, peers=True)


def test_it_does_not_switch_to_a_target_that_does_not_say_that_it_is_coming_in() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=(SOURCE, "n3", TARGET), migration=how())
        cluster.world.fabric.set_migration_time("web", COPY_S)
        cluster.world.fabric.busy.add("web")
        await cluster.hands.migrate("web", TARGET)
        await see_at_once(lambda: under_way(cluster) and True)
        cluster.hands.host(TARGET).agent_process.stand("SIGSTOP")
        await asyncio.sleep(3.0)
        assert not is_on_record(cluster) or on_leg(cluster, Leg.PULLING)
        cluster.hands.host(TARGET).agent_process.go_on("SIGSTOP")
        await one_whole_instance(cluster)

    in_cluster(scene)


@pytest.mark.parametrize("instant", ["copying", "on record", "pulling"])
def test_next_agent_of_the_source_goes_on_from_where_it_finds_it(instant: str) -> None:
    async def scene(cluster: Cluster) -> None:
        await moving(cluster)
        await see_at_once(lambda: INSTANTS[instant](cluster) or None, timeout_s=20.0)
        restart_agent(cluster, SOURCE)
        await one_whole_instance(cluster)
        assert [fact.host for fact in starts(cluster, "web")] == [SOURCE, TARGET]

    in_cluster(scene)


def test_cancel_comes_too_late_once_it_has_switched() -> None:
    async def scene(cluster: Cluster) -> None:
        await moving(cluster)
        await see_at_once(lambda: on_leg(cluster, Leg.PULLING) or None, timeout_s=20.0)
        cancel = await cluster.hands.cancel_migration("web")
        said = await answered(cluster, cancel.id, timeout_s=30.0)
        assert (said.progress, said.text) == (
            Progress.FAILED,
            "too late: web goes on at n2, and fetches its memory from n1",
        )
        await one_whole_instance(cluster)
        assert cluster.where("web") == [TARGET]

    in_cluster(scene)


def test_connection_that_is_lost_for_longer_than_it_lives_is_taken_up_again() -> None:
    """The two agents have their etcd all the time; only the cable between the two QEMUs is cut."""

    async def scene(cluster: Cluster) -> None:
        await moving(cluster)
        fabric = cluster.world.fabric
        await see_at_once(lambda: on_leg(cluster, Leg.PULLING) or None, timeout_s=20.0)
        reachable, fabric.reachable = fabric.reachable, lambda *_: False
        await until(
            lambda: (TARGET, DomainState.CRASHED) in fabric.instances("web"), what="broken in two", timeout_s=60.0
        )
        fabric.reachable = reachable
        await one_whole_instance(cluster)
        assert [fact.host for fact in starts(cluster, "web")] == [SOURCE, TARGET]
        assert "taken up again" in told(cluster)

    in_cluster(scene)


def test_connection_that_stays_lost_costs_both_halves_and_it_boots_anew_and_says_why() -> None:
    async def scene(cluster: Cluster) -> None:
        await moving(cluster)
        fabric = cluster.world.fabric
        await see_at_once(lambda: on_leg(cluster, Leg.PULLING) or None, timeout_s=20.0)
        before = placement(cluster, "web")
        fabric.reachable = lambda *_: False
        await one_whole_instance(cluster)
        held = placement(cluster, "web")
        assert before is not None
        assert held is not None
        assert held.epoch > before.epoch + 1
        assert "its memory was lost: a migration by post-copy broke" in told(cluster)

    in_cluster(scene)


def test_half_whose_source_lost_its_power_does_not_wait_for_memory_for_ever() -> None:
    """QEMU does, and libvirt says of it that it runs."""

    async def scene(cluster: Cluster) -> None:
        await moving(cluster)
        await see_at_once(lambda: on_leg(cluster, Leg.PULLING) or None, timeout_s=20.0)
        cluster.hands.host(SOURCE).power_off()
        await one_whole_instance(cluster)
        assert "its memory was lost: a migration by post-copy broke" in told(cluster)

    in_cluster(scene)


@pytest.mark.parametrize("side", [SOURCE, TARGET])
def test_half_whose_qemu_stands_still_for_good_costs_both_and_it_boots_anew(side: str) -> None:
    """Nothing breaks then, and nothing is fetched: QEMU and libvirt would wait for ever."""

    async def scene(cluster: Cluster) -> None:
        await moving(cluster)
        await see_at_once(lambda: on_leg(cluster, Leg.PULLING) or None, timeout_s=20.0)
        before = placement(cluster, "web")
        fabric_frozen.freeze(cluster.world.fabric, "web", side)
        await one_whole_instance(cluster)
        held = placement(cluster, "web")
        assert before is not None
        assert held is not None
        assert held.epoch > before.epoch + 1
        assert "its memory was lost: a migration by post-copy broke" in told(cluster)

    in_cluster(scene)


@pytest.mark.parametrize("side", [SOURCE, TARGET])
def test_qemu_that_stands_still_at_the_switch_past_every_deadline_leaves_one_whole_instance(side: str) -> None:
    async def scene(cluster: Cluster) -> None:
        await moving(cluster)
        await see_at_once(lambda: INSTANTS["on record"](cluster) or None, timeout_s=20.0)
        fabric_frozen.freeze(cluster.world.fabric, "web", side)
        await asyncio.sleep(BOTH_HALVES_BUDGET_S)
        fabric_frozen.thaw(cluster.world.fabric, "web", side)
        await one_whole_instance(cluster)
        assert never_resumed_at_its_source(cluster)

    in_cluster(scene)


def test_style_is_asked_for_once_where_libvirt_switches_by_itself_and_refused_elsewhere() -> None:
    async def scene(cluster: Cluster) -> None:
        live = Migration(handover=Handover.LIBVIRT, post_copy_after_s=AFTER_S)
        await add_running(cluster, "web", on=(SOURCE, "n3", TARGET), migration=live)
        cluster.world.fabric.set_migration_time("web", COPY_S)
        cluster.world.fabric.busy.add("web")
        await cluster.hands.migrate("web", TARGET, style=MigrationStyle.POST_COPY)
        await one_whole_instance(cluster)
        assert cluster.where("web") == [TARGET]
        await add_running(cluster, "db", on=(SOURCE, "n3", TARGET))
        with pytest.raises(RefusedByCluster, match=r"db: style: post-copy: does not go with handover: safe"):
            await cluster.hands.migrate("db", TARGET, style=MigrationStyle.POST_COPY)

    in_cluster(scene)


@pytest.mark.parametrize("change", ["removed", "stopped", "frozen"])
def test_what_an_operator_wants_meanwhile_is_done_after_it(change: str) -> None:
    async def scene(cluster: Cluster) -> None:
        await moving(cluster)
        await see_at_once(lambda: on_leg(cluster, Leg.PULLING) or None, timeout_s=20.0)
        match change:
            case "removed":
                await cluster.hands.remove("web")
            case "stopped":
                await cluster.hands.stop("web")
            case _:
                await cluster.hands.freeze("web")
        await cluster.rest()
        expected = [] if change == "stopped" else [(TARGET, DomainState.RUNNING)]
        await until(lambda: cluster.world.fabric.instances("web") == expected, what=change, timeout_s=BUDGET_S)
        held = placement(cluster, "web")
        assert (held.phase if held else None) is {"removed": None, "stopped": Phase.STOPPED, "frozen": Phase.HELD}[
            change
        ]
        assert cluster.violations() == []

    in_cluster(scene)


@pytest.mark.parametrize("fault", ["none", "QEMU killed", "power cut"])
def test_what_is_on_record_does_not_hang_on_a_definition_that_is_changed_meanwhile(fault: str) -> None:
    async def scene(cluster: Cluster) -> None:
        await moving(cluster)
        await see_at_once(lambda: on_leg(cluster, Leg.PULLING) or None, timeout_s=20.0)
        await edit(cluster.hands.operator, "web", migration=Migration())
        if fault != "none":
            FAULTS[fault].strike(cluster, SOURCE)
        await one_whole_instance(cluster)
        assert never_resumed_at_its_source(cluster)

    in_cluster(scene, watchdog_s=2)


def test_settings_that_do_not_go_together_are_refused_in_words() -> None:
    with pytest.raises((Rejected, ValueError), match="accepted: handover: libvirt, or style: live or pause"):
        Migration(style=MigrationStyle.POST_COPY)
