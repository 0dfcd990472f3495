"""The oracle on histories written by hand: each law broken once, and each look-alike that breaks none."""

import json
from typing import Any

import pytest

from vmha.hypervisor.twin.fabric_state import Deed, Fact
from vmha.policy.placing.room_asked import WAITS
from vmha.policy.telling import explain
from vmha.sim.judge.gaps import gaps_of
from vmha.sim.judge.invariants import PROMISE, WAITING_RULES, Violation, check_liveness, check_safety
from vmha.sim.world.record import CommitLine, Written

REASON = {"rule": "r", "text": "t", "cause": "", "candidates": []}


def fact(time: float, host: str, deed: Deed, *, vm: str = "web", epoch: int | None = 1) -> Fact:
    return Fact(time=time, host=host, vm=vm, deed=deed, epoch=epoch)


def commit(at_s: float, revision: int, **keys: dict[str, Any] | None) -> CommitLine:
    """Keyword names are keys with ``__`` for ``/``."""
    written = tuple(
        Written(key=key.replace("__", "/"), value=None if value is None else json.dumps(value).encode())
        for key, value in keys.items()
    )
    return CommitLine(at_s=at_s, revision=revision, written=written)


def placement(phase: str, node: str | None, epoch: int, session: str | None = None, **more: Any) -> dict[str, Any]:
    return {"phase": phase, "node": node, "epoch": epoch, "session": session, "reason": REASON, **more}


def entry(by: str, kind: str) -> dict[str, Any]:
    return {"by": by, "kind": kind, "vm": "web", "node": None, "at": 0.0, "text": ""}


def laws(found: list[Violation]) -> list[str]:
    return [violation.law for violation in found]


def test_one_run_after_another_breaks_no_law() -> None:
    history = [fact(1, "n1", Deed.RUNS), fact(2, "n1", Deed.ENDS), fact(2, "n2", Deed.RUNS, epoch=2)]
    assert check_safety(history, []) == []


def test_two_at_once_are_found_at_the_instant_the_second_begins() -> None:
    found = check_safety([fact(1, "n1", Deed.RUNS), fact(2, "n2", Deed.RUNS), fact(3, "n1", Deed.ENDS)], [])
    assert found == [Violation(at_s=2, law="never-two", text="web runs on n1 and on n2")]


def test_standing_copy_beside_a_running_one_is_a_migration_not_a_breach() -> None:
    assert check_safety([fact(1, "n1", Deed.RUNS), fact(2, "n2", Deed.STANDS, epoch=2)], []) == []


@pytest.mark.parametrize(
    ("came_over", "found"),
    [
        (("n1",), []),
        (("n1", "n3"), []),
        (("n3", "n1", "n4"), []),
        (("n3",), ["superseded-guests-do-not-run"]),
        (("n3", "n4"), ["superseded-guests-do-not-run"]),
        ((), ["superseded-guests-do-not-run"]),
    ],
)
def test_guest_that_hands_sent_off_before_it_bore_its_holders_mark_is_not_superseded(
    came_over: tuple[str, ...], found: list[str]
) -> None:
    """It is the holder's own, and the only one. One that comes from anywhere else is one too many."""
    record = [
        commit(2, 1, nodes__n1__beat={"session": "s1"}),
        commit(2, 2, vms__web__placement=placement("held", "n1", 8, "s1")),
    ]
    arrived = Fact(time=3, host="n2", vm="web", deed=Deed.RUNS, epoch=7, sent_by_hand_over=came_over)
    assert laws(check_safety([fact(1, "n1", Deed.STANDS, epoch=7), arrived], record)) == found


def test_guest_that_runs_under_an_older_epoch_than_before_is_found() -> None:
    history = [fact(1, "n1", Deed.RUNS, epoch=3), fact(2, "n1", Deed.ENDS, epoch=3), fact(3, "n2", Deed.RUNS, epoch=2)]
    assert laws(check_safety(history, [])) == ["epochs-only-grow"]


@pytest.mark.parametrize("epoch", [0, 3])
def test_placement_whose_epoch_falls_or_jumps_is_found(epoch: int) -> None:
    record = [
        commit(1, 1, vms__web__placement=placement("stopped", None, 1)),
        commit(2, 2, vms__web__placement=placement("stopped", None, epoch)),
    ]
    assert laws(check_safety([], record)) == ["epochs-only-grow"]


def test_new_holder_under_the_old_epoch_is_found() -> None:
    record = [
        commit(1, 1, vms__web__placement=placement("assigned", "n1", 1)),
        commit(2, 2, vms__web__placement=placement("assigned", "n2", 1)),
    ]
    assert laws(check_safety([], record)) == ["a-new-holder-has-a-new-epoch"]


def test_guest_that_runs_on_while_another_node_has_the_next_epoch_is_found() -> None:
    record = [commit(5, 1, vms__web__placement=placement("assigned", "n2", 2))]
    assert laws(check_safety([fact(1, "n1", Deed.RUNS)], record)) == ["superseded-guests-do-not-run"]


def test_guest_that_ends_in_the_instant_of_the_commit_is_not_superseded() -> None:
    record = [commit(5, 1, vms__web__placement=placement("assigned", "n2", 2))]
    assert check_safety([fact(1, "n1", Deed.RUNS), fact(5, "n1", Deed.ENDS)], record) == []


def fenced(at_s: float, proof: str) -> CommitLine:
    return commit(at_s, 9, fencing__s1={"session": "s1", "node": "n1", "proof": proof})


def test_guest_that_runs_on_an_evicted_node_is_found() -> None:
    assert laws(check_safety([fact(1, "n1", Deed.RUNS)], [fenced(5, "guard_elapsed")])) == ["evicted-guests-do-not-run"]


def test_guest_of_a_removed_vm_is_nobodys_to_end_until_it_is_defined_again() -> None:
    removed, defined = commit(2, 2, vms__web__spec=None), commit(3, 3, vms__web__spec={})
    assert check_safety([fact(1, "n1", Deed.RUNS)], [removed, fenced(5, "guard_elapsed")]) == []
    found = check_safety([fact(1, "n1", Deed.RUNS)], [removed, defined, fenced(5, "guard_elapsed")])
    assert laws(found) == ["evicted-guests-do-not-run"]


def test_guest_that_runs_again_after_its_session_was_evicted_is_found() -> None:
    history = [fact(1, "n1", Deed.RUNS), fact(2, "n1", Deed.STANDS), fact(8, "n1", Deed.RUNS)]
    assert laws(check_safety(history, [fenced(5, "watchdog_elapsed")])) == ["evicted-guests-do-not-run"]


def test_guests_of_a_node_that_answers_for_itself_may_run_on() -> None:
    assert check_safety([fact(1, "n1", Deed.RUNS)], [fenced(5, "released")]) == []


def test_claim_by_a_session_that_does_not_beat_is_found() -> None:
    record = [commit(1, 1, vms__web__placement=placement("held", "n1", 1, "s1"))]
    assert laws(check_safety([], record)) == ["claims-are-of-living-sessions"]


HELD = [
    commit(1, 1, nodes__n1__beat={"session": "s1"}),
    commit(2, 2, vms__web__placement=placement("held", "n1", 1, "s1")),
]


def test_claim_taken_away_without_proof_is_found() -> None:
    taken = commit(
        3,
        3,
        vms__web__placement=placement("assigned", "n2", 2),
        leader={"node": "n3"},
        journal__1=entry("n3", "recover"),
    )
    leads = commit(0, 0, leader={"node": "n3"})
    assert laws(check_safety([], [leads, *HELD, taken])) == ["a-claim-leaves-only-by-proof"]


def test_claim_taken_away_with_proof_on_record_breaks_no_law() -> None:
    taken = commit(6, 10, vms__web__placement=placement("assigned", "n2", 2), journal__1=entry("n3", "recover"))
    leads = commit(0, 0, leader={"node": "n3"})
    assert check_safety([], [leads, *HELD, fenced(5, "guard_elapsed"), taken]) == []


def test_claim_given_back_by_its_own_node_breaks_no_law() -> None:
    given = commit(3, 3, vms__web__placement=placement("stopped", None, 1), journal__1=entry("n1", "stopped"))
    assert check_safety([], [*HELD, given]) == []


def test_step_of_a_leader_that_leads_no_more_is_found() -> None:
    record = [commit(1, 1, leader={"node": "n2"}), commit(2, 2, journal__1=entry("n1", "assign"))]
    assert laws(check_safety([], record)) == ["only-the-leader-leads"]


WANTED = commit(1, 1, vms__web__spec={"desired": "running"})


def test_vm_that_is_wanted_and_runs_is_not_blocked() -> None:
    assert check_liveness([fact(1, "n1", Deed.RUNS)], [WANTED]) == []


def test_vm_that_is_wanted_and_stands_still_without_a_reason_is_named() -> None:
    (blocked,) = check_liveness([fact(1, "n1", Deed.STANDS)], [WANTED])
    assert (blocked.vm, blocked.reason) == ("web", "")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (placement("stopped", None, 1) | {"reason": REASON | {"rule": "no-node-can-take-it", "text": "full"}}, "full"),
        (placement("departed", "n1", 1, ended_why="gone away"), "gone away"),
        (placement("held", "n1", 1, "s1"), "held by session s1 of n1, which is gone without proof"),
    ],
)
def test_vm_that_waits_is_named_with_what_the_store_says(record: dict[str, Any], reason: str) -> None:
    (blocked,) = check_liveness([], [WANTED, commit(2, 2, vms__web__placement=record)])
    assert blocked.reason.startswith(reason)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (placement("migrating", "n1", 1, "s1", target="n2"), "mail moves to n2"),
        (placement("assigned", "n2", 2, arrival=True), "mail moves to n2"),
        (placement("stopping", "n1", 1, "s1"), "mail moves to n2"),
        (placement("held", "n1", 1, "s1"), ""),
        (placement("assigned", "n2", 2, arrival=False), ""),
    ],
)
def test_room_that_is_made_for_a_vm_is_why_it_waits_as_long_as_somebody_is_on_his_way(
    other: dict[str, Any], reason: str
) -> None:
    waits = placement("stopped", None, 1) | {"reason": REASON | {"rule": WAITS, "text": "mail moves to n2"}}
    record = [WANTED, commit(2, 2, vms__web__placement=waits, vms__mail__placement=other)]
    (blocked,) = check_liveness([], record)
    assert (blocked.vm, blocked.reason) == ("web", reason)


def test_vm_that_waits_for_room_and_stands_in_a_living_session_is_not_excused_by_it() -> None:
    """It was on a node that is drained, and has ended there: that room is made for it says nothing of that."""
    held = placement("held", "n1", 1, "s1") | {"reason": REASON | {"rule": WAITS, "text": "mail moves to n2"}}
    alive = commit(2, 2, nodes__n1__session={}, nodes__n1__beat={"session": "s1"})
    moves = commit(3, 3, vms__mail__placement=placement("migrating", "n3", 1, "s3"))
    (blocked,) = check_liveness([], [WANTED, alive, moves, commit(4, 4, vms__web__placement=held)])
    assert blocked.reason == ""


def test_judge_knows_every_rule_by_which_a_vm_may_wait() -> None:
    """It shares no code with the policy, so that a rule which is new there was missed here once."""
    assert {*WAITING_RULES, PROMISE} == set(explain.WAITING_RULES)


def test_vm_that_is_not_wanted_running_is_not_blocked() -> None:
    assert check_liveness([], [commit(1, 1, vms__web__spec={"desired": "stopped"})]) == []


def test_gaps_are_between_runs_wherever_these_are() -> None:
    history = [
        fact(1, "n1", Deed.RUNS),
        fact(4, "n1", Deed.ENDS),
        fact(6, "n2", Deed.RUNS),
        fact(6.5, "n2", Deed.STANDS),
    ]
    first, last = gaps_of("web", history)
    assert (first.from_s, first.until_s, first.host_before, first.host_after) == (4, 6, "n1", "n2")
    assert (last.from_s, last.until_s, last.host_after) == (6.5, None, None)


def test_switch_within_one_instant_is_no_gap() -> None:
    assert gaps_of("web", [fact(1, "n1", Deed.RUNS), fact(2, "n1", Deed.ENDS), fact(2, "n2", Deed.RUNS)]) == []
