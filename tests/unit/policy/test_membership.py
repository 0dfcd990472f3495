"""Who is here, who is suspected, who is lost, and which proof ends the waiting."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.clusters import KEYS, LOST_S, SUSPECT_S, TIMING, Book, cluster
from vmha.model.ids import NodeName, SessionId
from vmha.model.records import ArmedLevel, FenceAttempt, FenceStage, Phase
from vmha.model.settings import ClusterConfig, Fencing, Profile, Proof
from vmha.model.vm import FenceDeviceSpec, FenceRole
from vmha.policy.members.membership import Condition
from vmha.policy.plan import judge_all
from vmha.policy.state.steps import EvictSession, FenceNode, GiveBackStorage, Step

N1 = NodeName("n1")
BLINK_S = 0.01


def condition(book: Book, node: str = "n1", **moment: Any) -> Condition:
    return judge_all(book.snapshot(), book.moment(**moment))[NodeName(node)].condition


def against_n1(book: Book, **moment: Any) -> list[Step]:
    return [s for s in book.plan(**moment).steps if isinstance(s, FenceNode | EvictSession) and s.node == N1]


def lost(*, fence: bool = False, lease: bool = False, config: ClusterConfig | None = None, **n1: Any) -> Book:
    """n1 holds web; n2 and n3 are there to take it over."""
    book = cluster("n2", "n3").node("n1", lease=lease, fence=fence, **n1).running("web", "n1")
    return book.configure(config) if config else book


@pytest.mark.parametrize(
    ("lease", "silence_s", "expected"),
    [
        (True, 0.0, Condition.ONLINE),
        (False, 0.0, Condition.ONLINE),
        (False, SUSPECT_S - BLINK_S, Condition.ONLINE),
        (False, SUSPECT_S, Condition.SUSPECT),
        (True, SUSPECT_S, Condition.ONLINE),
        (True, TIMING.hold_s - BLINK_S, Condition.ONLINE),
        (True, TIMING.hold_s, Condition.SUSPECT),
        (False, LOST_S - BLINK_S, Condition.SUSPECT),
        (False, LOST_S, Condition.LOST),
        (True, LOST_S, Condition.LOST),
    ],
)
def test_suspicion_needs_lease_and_beats_to_be_gone_or_the_beats_for_long(
    lease: bool, silence_s: float, expected: Condition
) -> None:
    assert condition(cluster("n2").node("n1", lease=lease), silence_s={"n1": silence_s}) is expected


@pytest.mark.parametrize(
    ("store_live_s", "expected"), [(SUSPECT_S - BLINK_S, Condition.ONLINE), (SUSPECT_S, Condition.SUSPECT)]
)
def test_silence_that_may_be_the_stores_raises_no_suspicion(store_live_s: float, expected: Condition) -> None:
    book = cluster("n2").node("n1", lease=False)
    assert condition(book, silence_s={"n1": 3.0}, store_live_s=store_live_s) is expected


def test_lease_of_another_session_counts_as_gone() -> None:
    book = cluster("n2").node("n1", session="s-old")
    book.node("n1", session="s-new", lease=False)
    assert condition(book, silence_s={"n1": SUSPECT_S}) is Condition.SUSPECT


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({}, Condition.ONLINE),
        ({"status": False}, Condition.JOINING),
        ({"armed": ArmedLevel.NONE}, Condition.UNFIT),
        ({"eligible": False}, Condition.UNFIT),
        ({"spec": {"maintenance": True}}, Condition.MAINTENANCE),
        ({"leaving": True}, Condition.LEAVING),
        ({"leaving": True, "spec": {"maintenance": True}}, Condition.LEAVING),
    ],
)
def test_living_node_is_what_it_says(node: dict[str, Any], expected: Condition) -> None:
    assert condition(cluster("n2").node("n1", **node)) is expected


def test_status_of_an_earlier_session_says_nothing_of_this_one() -> None:
    book = cluster("n2").node("n1", session="s-old")
    book.delete(KEYS.beat(N1))
    book.node("n1", session="s-new", status=False)
    assert condition(book) is Condition.JOINING


def test_node_without_a_beat_is_offline_whatever_its_lease() -> None:
    book = cluster("n2").node("n1")
    book.delete(KEYS.beat(N1))
    assert condition(book) is Condition.OFFLINE


# --- against a silent node


def test_suspect_without_a_power_switch_is_only_watched() -> None:
    assert against_n1(lost(), silence_s={"n1": LOST_S - BLINK_S}) == []


def test_suspect_that_holds_vms_has_its_power_cut_at_once() -> None:
    (step,) = against_n1(lost(fence=True), silence_s={"n1": SUSPECT_S})
    assert isinstance(step, FenceNode)


def test_suspect_that_holds_nothing_keeps_its_power() -> None:
    book = cluster("n2", "n3").node("n1", lease=False, fence=True)
    assert against_n1(book, silence_s={"n1": SUSPECT_S}) == []


@pytest.mark.parametrize("phase", [Phase.ASSIGNED, Phase.HELD, Phase.STOPPING])
def test_node_that_may_run_a_vm_holds_it_for_this_purpose(phase: Phase) -> None:
    book = cluster("n2", "n3").node("n1", lease=False, fence=True).vm("web").placed("web", "n1", phase=phase)
    assert len(against_n1(book, silence_s={"n1": SUSPECT_S})) == 1


def test_target_of_a_migration_holds_the_vm_as_well() -> None:
    book = cluster("n2", "n3").node("n1", lease=False, fence=True).vm("web")
    book.placed("web", "n2", phase=Phase.MIGRATING, target=N1)
    assert len(against_n1(book, silence_s={"n1": SUSPECT_S})) == 1


def test_power_is_not_cut_again_before_the_retry_time() -> None:
    book = lost(fence=True)
    retry_s = ClusterConfig().fencing.retry_s
    book.clock.at = 100.0
    failed = {"fence_failed_at": {SessionId("s-n1"): 100.0}, "silence_s": {"n1": SUSPECT_S}}
    assert against_n1(book, **failed) == []
    book.clock.at = 100.0 + retry_s
    assert len(against_n1(book, **failed)) == 1


def test_node_whose_power_is_being_cut_is_not_fenced_twice() -> None:
    book = lost(fence=True)
    assert against_n1(book, silence_s={"n1": SUSPECT_S}, fencing=frozenset({SessionId("s-n1")})) == []


@pytest.mark.parametrize(
    ("armed", "proof"),
    [(ArmedLevel.GUARD, Proof.GUARD_ELAPSED), (ArmedLevel.WATCHDOG, Proof.WATCHDOG_ELAPSED)],
)
def test_node_that_was_silent_for_the_whole_time_is_evicted_by_what_it_had_armed(
    armed: ArmedLevel, proof: Proof
) -> None:
    (step,) = against_n1(lost(armed=armed), silence_s={"n1": LOST_S})
    assert isinstance(step, EvictSession)
    assert (step.proof, step.session) == (proof, "s-n1")
    assert step.beat_modified is not None


def test_node_without_an_armed_guard_is_never_evicted_by_the_clock() -> None:
    assert against_n1(lost(armed=ArmedLevel.NONE), silence_s={"n1": 10 * LOST_S}) == []


def first_beat_only(book: Book) -> Book:
    """As its session's first beat says: before its guard was armed."""
    beat = book.snapshot().nodes[N1].beat
    assert beat
    book.delete(KEYS.beat(N1))
    book.put(KEYS.beat(N1), replace(beat.value, armed=ArmedLevel.NONE))
    return book


def test_session_that_ended_before_its_guard_was_armed_held_nothing() -> None:
    book = first_beat_only(cluster("n2", "n3").node("n1", lease=False, status=False))
    (evict,) = against_n1(book, silence_s={"n1": LOST_S})
    assert isinstance(evict, EvictSession)
    assert evict.proof is Proof.RELEASED


def test_session_that_has_taken_a_vm_since_its_first_beat_is_not_said_to_have_held_nothing() -> None:
    """Its second beat was lost, its claim was not, and then its host stood still: that is no release."""
    silent = {"n1": LOST_S}
    only_off = ClusterConfig(fencing=Fencing(accept=(Proof.POWER_OFF_CONFIRMED, Proof.OPERATOR_CONFIRMED)))
    assert against_n1(first_beat_only(lost(config=only_off)), silence_s=silent) == []
    (evict,) = against_n1(first_beat_only(lost()), silence_s=silent)
    assert isinstance(evict, EvictSession)
    assert evict.proof is Proof.GUARD_ELAPSED


def test_proof_that_the_operator_does_not_accept_is_not_taken() -> None:
    accept = Fencing(accept=(Proof.POWER_OFF_CONFIRMED, Proof.OPERATOR_CONFIRMED))
    config = ClusterConfig(profile=Profile.TUNED, fencing=accept)
    assert against_n1(lost(config=config), silence_s={"n1": 10 * LOST_S}) == []


def test_power_that_the_operator_does_not_accept_as_proof_is_not_cut() -> None:
    accept = Fencing(accept=(Proof.GUARD_ELAPSED, Proof.OPERATOR_CONFIRMED))
    config = ClusterConfig(profile=Profile.TUNED, fencing=accept)
    assert against_n1(lost(fence=True, config=config), silence_s={"n1": SUSPECT_S}) == []


def test_guard_that_holds_a_watchdog_is_a_guard_where_only_that_is_accepted() -> None:
    accept = Fencing(accept=(Proof.GUARD_ELAPSED, Proof.OPERATOR_CONFIRMED))
    config = ClusterConfig(profile=Profile.TUNED, fencing=accept)
    (step,) = against_n1(lost(armed=ArmedLevel.WATCHDOG, config=config), silence_s={"n1": LOST_S})
    assert isinstance(step, EvictSession)
    assert step.proof is Proof.GUARD_ELAPSED


def test_guard_alone_is_no_watchdog_where_only_that_is_accepted() -> None:
    accept = Fencing(accept=(Proof.WATCHDOG_ELAPSED, Proof.OPERATOR_CONFIRMED))
    config = ClusterConfig(profile=Profile.TUNED, fencing=accept)
    assert against_n1(lost(config=config), silence_s={"n1": 10 * LOST_S}) == []


def test_time_gives_its_proof_while_a_fence_agent_is_still_at_work() -> None:
    at_work = {"fencing": frozenset({SessionId("s-n1")}), "silence_s": {"n1": LOST_S}}
    (step,) = against_n1(lost(fence=True), **at_work)
    assert isinstance(step, EvictSession)


@pytest.mark.parametrize(
    ("role", "accept", "is_asked"),
    [
        (FenceRole.POWER, Proof.POWER_OFF_CONFIRMED, True),
        (FenceRole.POWER, Proof.STORAGE_FENCED, False),
        (FenceRole.STORAGE, Proof.POWER_OFF_CONFIRMED, False),
        (FenceRole.STORAGE, Proof.STORAGE_FENCED, True),
        (FenceRole.VERIFY, Proof.POWER_OFF_CONFIRMED, False),
    ],
)
def test_agent_is_asked_only_where_what_it_proves_is_accepted(role: FenceRole, accept: Proof, is_asked: bool) -> None:
    config = ClusterConfig(profile=Profile.TUNED, fencing=Fencing(accept=(accept, Proof.OPERATOR_CONFIRMED)))
    book = lost(config=config, spec={"fence": (FenceDeviceSpec(agent="fence_test", role=role),)})
    assert any(isinstance(step, FenceNode) for step in against_n1(book, silence_s={"n1": SUSPECT_S})) is is_asked


def cut_off_its_storage(**n1: Any) -> Book:
    book = cluster("n2").node("n1", session="s-new", **n1)
    attempt = FenceAttempt(
        node=N1,
        session=SessionId("s-old"),
        stage=FenceStage.STORAGE_CUT,
        attempts=0,
        at=book.clock.wall(),
        by=NodeName("n2"),
    )
    book.put(KEYS.fence_attempt(N1), attempt)
    return book


def test_node_that_was_fenced_by_its_disks_receives_nothing_before_it_has_them_back() -> None:
    book = cut_off_its_storage()
    assert condition(book) is Condition.UNFIT
    assert GiveBackStorage(node=N1, beat_created=book.snapshot().nodes[N1].beat.created) in book.plan().steps  # type: ignore[union-attr]


@pytest.mark.parametrize("n1", [{"status": False}, {"armed": ArmedLevel.NONE}])
def test_disks_are_given_back_only_to_a_session_that_is_armed_and_has_shown_what_runs(n1: dict[str, Any]) -> None:
    assert not any(isinstance(step, GiveBackStorage) for step in cut_off_its_storage(**n1).plan().steps)


# --- the brake


def silent(*nodes: str) -> dict[str, dict[str, float]]:
    return {"silence_s": dict.fromkeys(nodes, LOST_S)}


@pytest.mark.parametrize(
    ("nodes", "gone", "braked"),
    [
        (3, 1, False),
        (3, 2, True),
        (4, 2, False),
        (4, 3, True),
        (2, 1, False),
        (2, 2, True),
        (5, 2, False),
        (5, 3, True),
    ],
)
def test_brake_holds_when_more_than_half_fall_silent_at_once(nodes: int, gone: int, braked: bool) -> None:
    names = [f"n{number}" for number in range(1, nodes + 1)]
    book = cluster(*names)
    made = book.plan(**silent(*names[-gone:]))
    assert made.braked is braked
    assert any(isinstance(step, EvictSession) for step in made.steps) is not braked


@pytest.mark.parametrize(
    ("others_s", "is_held_back"),
    [
        pytest.param({"n2": SUSPECT_S - 0.3}, True, id="n2 has not beaten since: it may be as silent in a moment"),
        pytest.param({"n2": 0.4}, False, id="n2 has beaten since"),
        pytest.param({"n2": SUSPECT_S - 0.3, "n4": 0.1, "n5": 0.1}, False, id="even both are not most"),
    ],
)
def test_first_of_many_that_is_noticed_keeps_its_power_until_the_others_have_beaten_since(
    others_s: dict[str, float], is_held_back: bool
) -> None:
    book = lost(fence=True)
    for other in others_s.keys() - {"n2"}:
        book.node(other)
    silence_s = {"n1": SUSPECT_S, "n3": 0.1, **others_s}
    assert bool(against_n1(book, silence_s=silence_s)) is not is_held_back
    made = book.plan(silence_s=silence_s)
    assert not made.braked
    assert made.wake_in_s is not None
    assert not is_held_back or made.wake_in_s <= TIMING.beat_s


def test_node_that_is_being_fenced_counts_as_silent_for_the_brake() -> None:
    book = cluster("n1", "n2", "n3")
    assert book.plan(**silent("n2", "n3"), fencing=frozenset({SessionId("s-n2")})).braked


def test_offline_nodes_do_not_count_for_the_brake() -> None:
    book = cluster("n1", "n2").offline("n3").offline("n4")
    assert not book.plan(**silent("n2")).braked


def test_brake_lets_go_in_the_end() -> None:
    book = cluster("n1", "n2", "n3")
    book.clock.at = 1000.0
    assert book.plan(**silent("n2", "n3"), braked_since=999.0).braked
    made = book.plan(**silent("n2", "n3"), braked_since=1000.0 - 4 * LOST_S)
    assert not made.braked
    assert sum(isinstance(step, EvictSession) for step in made.steps) == 2


def test_brake_can_be_switched_off() -> None:
    config = ClusterConfig(profile=Profile.TUNED, fencing=Fencing(mass_loss_brake=False))
    assert not cluster("n1", "n2", "n3").configure(config).plan(**silent("n2", "n3")).braked
