"""Operations asked for once: each ends in exactly one outcome, and what it did is what it says."""

from typing import Any

import pytest

from tests.support.clusters import LOST_S, SUSPECT_S, Book, cluster
from vmha.model.ids import Epoch, NodeName, RequestId, SessionId
from vmha.model.records import Phase, Progress, RunEnd, SeenState, Verb
from vmha.model.settings import Proof
from vmha.model.vm import Desired
from vmha.policy.state.steps import AnswerRequest, Change, EvictSession, ForgetRequest, PlacementStep

R1 = RequestId("r1")


def answer(book: Book, **moment: Any) -> tuple[Progress, str]:
    """What one plan answers; the placement is not looked at."""
    (step,) = [step for step in book.plan(**moment).steps if isinstance(step, AnswerRequest)]
    return step.outcome.progress, step.outcome.text


def changes(book: Book, **moment: Any) -> list[Change]:
    return [step.change for step in book.plan(**moment).steps if isinstance(step, PlacementStep)]


def running() -> Book:
    return cluster("n1", "n2", "n3").running("web", "n1")


# --- migrate


def test_migration_is_begun_and_done_when_the_vm_runs_at_its_target() -> None:
    book = running().request(Verb.MIGRATE, vm="web", node="n3")
    book.lead()
    begun = book.claim("web")
    assert (begun.phase, begun.target, begun.operation) == (Phase.MIGRATING, "n3", R1)
    assert begun.failback_after > 0
    book.placed("web", "n3", epoch=2, operation=R1).seen("n3", "web")
    assert answer(book) == (Progress.DONE, "web runs on n3")


def test_migration_that_failed_is_told_with_its_reason() -> None:
    book = running().request(Verb.MIGRATE, vm="web", node="n3")
    book.placed("web", "n1", operation=R1, ended_why="no route to host")
    assert answer(book) == (Progress.FAILED, "web stays on n1: no route to host")


def test_migration_to_where_it_runs_is_done_already() -> None:
    assert answer(running().request(Verb.MIGRATE, vm="web", node="n1"))[0] is Progress.DONE


def test_migration_without_a_target_goes_to_the_best_other_node() -> None:
    book = running().request(Verb.MIGRATE, vm="web")
    book.lead()
    begun = book.claim("web")
    assert begun.target == "n2"


@pytest.mark.parametrize(
    ("book", "node", "words"),
    [
        (cluster("n1", "n2").running("web", "n1"), "n9", "n9 is not a node of this cluster"),
        (cluster("n1", "n2").offline("n3").running("web", "n1"), "n3", "n3 is offline"),
        (cluster("n1").node("n2", spec={"maintenance": True}).running("web", "n1"), "n2", "n2 is in maintenance"),
        (
            cluster("n1").node("n2", memory_mib=10).running("web", "n1", memory_mib=512),
            "n2",
            "n2 has 10 MiB free of 10",
        ),
        (cluster("n1").running("web", "n1"), None, "no other node can take it: n1 runs it now"),
        (
            cluster("n1", "n2").running("web", "n1").seen("n1", "web", SeenState.PAUSED),
            "n2",
            "only a running vm migrates",
        ),
        (cluster("n1", "n2").vm("web", desired=Desired.STOPPED), "n2", "web is stopped; start it with"),
        (cluster("n1", "n2"), "n2", "there is no vm web"),
    ],
)
def test_impossible_migration_is_rejected_with_the_refusal(book: Book, node: str | None, words: str) -> None:
    progress, text = answer(book.request(Verb.MIGRATE, vm="web", node=node))
    assert progress is Progress.REJECTED
    assert words in text


def test_migration_against_the_restriction_of_its_failover_domain_is_rejected() -> None:
    book = cluster("n1", "n2").domain("d", "n1", restricted=True).running("web", "n1", failover_domain="d")
    assert "restricted failover domain d" in answer(book.request(Verb.MIGRATE, vm="web", node="n2"))[1]


def test_operator_may_go_against_preference() -> None:
    book = cluster("n1", "n2").domain("d", "n1", "n2", ordered=True).running("web", "n1", failover_domain="d")
    book.request(Verb.MIGRATE, vm="web", node="n2").lead()
    begun = book.claim("web")
    assert begun.target == "n2"


@pytest.mark.parametrize("verb", [Verb.MIGRATE, Verb.RELOCATE, Verb.RESTART])
def test_request_waits_for_a_vm_that_is_on_its_way(verb: Verb) -> None:
    book = cluster("n1", "n2").vm("web").placed("web", "n1", phase=Phase.MIGRATING, target=NodeName("n2"))
    assert book.request(verb, vm="web", node="n2").plan().steps == ()


# --- relocate and restart


@pytest.mark.parametrize(("verb", "ends_on"), [(Verb.RELOCATE, "n2"), (Verb.RESTART, "n1")])
def test_stop_and_start_ends_where_the_verb_says(verb: Verb, ends_on: str) -> None:
    book = running().request(verb, vm="web")
    book.lead()
    stopping = book.claim("web")
    assert (stopping.phase, stopping.node, stopping.operation) == (Phase.STOPPING, "n1", R1)
    book.delete("/vmha/t/nodes/n1/vms/web")
    book.ended("web", "n1", RunEnd.ASKED, operation=R1).lead()
    started = book.claim("web")
    assert (started.phase, started.node, started.epoch) == (Phase.ASSIGNED, ends_on, 2)
    book.placed("web", ends_on, epoch=2, operation=R1).seen(ends_on, "web")
    assert answer(book) == (Progress.DONE, f"web runs on {ends_on}")


def test_relocation_that_no_node_can_take_stops_nothing() -> None:
    progress, text = answer(cluster("n1").running("web", "n1").request(Verb.RELOCATE, vm="web"))
    assert progress is Progress.REJECTED
    assert "it was not stopped" in text


def test_relocation_whose_target_went_away_meanwhile_ends_elsewhere_and_says_so() -> None:
    book = cluster("n1", "n2").offline("n3").vm("web").request(Verb.RELOCATE, vm="web", node="n3")
    book.ended("web", "n1", RunEnd.ASKED, operation=R1).lead()
    started = book.claim("web")
    assert started.node == "n1"
    book.placed("web", "n1", epoch=2, operation=R1).seen("n1", "web")
    assert answer(book) == (Progress.FAILED, "web runs on n1; n3 could not take it")


def test_restart_whose_start_fails_is_told_as_failed_and_the_vm_is_tried_elsewhere() -> None:
    book = cluster("n1", "n2").vm("web").request(Verb.RESTART, vm="web")
    book.ended("web", "n1", RunEnd.START_FAILED, operation=R1, ended_why="no disk")
    assert answer(book) == (Progress.FAILED, "it did not start: no disk")
    book.lead()
    assert book.claim("web").phase is Phase.ASSIGNED


def test_vm_that_is_stopped_in_the_middle_of_a_restart_stays_stopped() -> None:
    book = cluster("n1").vm("web", desired=Desired.STOPPED).request(Verb.RESTART, vm="web")
    book.ended("web", "n1", RunEnd.ASKED, operation=R1)
    assert answer(book)[0] is Progress.FAILED
    book.lead()
    assert book.claim("web").phase is Phase.STOPPED


# --- waiting, order, age


def test_second_request_of_a_vm_waits_for_the_first() -> None:
    book = running().request(Verb.MIGRATE, vm="web", node="n3")
    book.clock.at += 1
    book.request(Verb.MIGRATE, name="r2", vm="web", node="n2").lead()
    assert book.claim("web").target == "n3"
    assert book.outcome("r2") is None


def test_request_that_expired_before_it_began_fails() -> None:
    book = cluster("n1", "n2").vm("web").placed("web", "n1", phase=Phase.STOPPING)
    book.request(Verb.RESTART, vm="web", expires_at=book.clock.wall() + 10)
    assert book.plan().steps == ()
    book.clock.at += 11
    assert answer(book) == (Progress.FAILED, "it expired before it could begin")


def test_finished_request_is_kept_for_an_hour_and_then_forgotten() -> None:
    book = cluster("n1", "n2").request(Verb.RESTART, vm="web")
    book.lead()
    book.clock.at += 3599
    assert book.plan().steps == ()
    book.clock.at += 2
    assert [type(step) for step in book.plan().steps] == [ForgetRequest]


def test_new_leader_goes_on_with_an_operation_where_the_old_one_stopped() -> None:
    book = running().request(Verb.RELOCATE, vm="web", node="n3")
    book.lead()
    book.elect("n2").delete("/vmha/t/nodes/n1/vms/web")
    book.ended("web", "n1", RunEnd.ASKED, operation=R1).lead()
    assert book.claim("web").node == "n3"


def test_relocated_vm_stays_although_another_node_is_preferred() -> None:
    book = cluster("n1", "n2").domain("d", "n1", "n2", ordered=True).vm("web", failover_domain="d")
    book.request(Verb.RELOCATE, vm="web", node="n2").ended("web", "n1", RunEnd.ASKED, operation=R1).lead()
    after = book.claim("web").failback_after
    book.placed("web", "n2", epoch=2, operation=R1, failback_after=after).seen("n2", "web", epoch=Epoch(2)).lead()
    assert book.claim("web").phase is Phase.HELD


# --- departed


@pytest.mark.parametrize("verb", [Verb.MIGRATE, Verb.RELOCATE, Verb.RESTART])
def test_departed_vm_rejects_what_it_can_not_do_instead_of_keeping_it_waiting(verb: Verb) -> None:
    book = cluster("n1", "n2").vm("web").placed("web", "n1", phase=Phase.DEPARTED, ended_why="gone by hand")
    assert answer(book.request(verb, vm="web", node="n2")) == (Progress.REJECTED, "web has departed: gone by hand")


def test_operation_that_a_hand_made_migration_interrupts_fails() -> None:
    book = cluster("n1", "n2").vm("web").request(Verb.MIGRATE, vm="web", node="n2")
    book.placed("web", "n1", phase=Phase.DEPARTED, operation=R1, ended_why="gone by hand")
    assert answer(book)[0] is Progress.FAILED


def test_departed_vm_that_is_confirmed_gone_is_started_again() -> None:
    book = (
        cluster("n1").vm("web").placed("web", "n1", phase=Phase.DEPARTED, epoch=3).request(Verb.CONFIRM_GONE, vm="web")
    )
    book.lead()
    started = book.claim("web")
    assert (started.phase, started.epoch) == (Phase.ASSIGNED, 4)
    assert book.answered().progress is Progress.DONE


def test_vm_that_has_not_departed_can_not_be_confirmed_gone() -> None:
    assert answer(running().request(Verb.CONFIRM_GONE, vm="web"))[0] is Progress.REJECTED


# --- an operator's word that a node is off


def test_node_that_is_alive_is_not_taken_for_off_on_anybodys_word() -> None:
    book = running().request(Verb.CONFIRM_OFF, node="n1")
    progress, text = answer(book)
    assert progress is Progress.REJECTED
    assert "n1 is alive" in text


@pytest.mark.parametrize("silence_s", [SUSPECT_S, LOST_S])
def test_silent_node_that_is_confirmed_off_is_evicted_and_its_vm_recovered(silence_s: float) -> None:
    book = cluster("n2", "n3").node("n1", lease=False).running("web", "n1").request(Verb.CONFIRM_OFF, node="n1")
    (step,) = [step for step in book.plan(silence_s={"n1": SUSPECT_S}).steps if isinstance(step, EvictSession)]
    assert (step.proof, step.beat_modified is not None) == (Proof.OPERATOR_CONFIRMED, True)
    book.lead(silence_s={"n1": silence_s})
    assert book.claim("web").node == "n2"
    assert book.answered().progress is Progress.DONE


def test_node_that_two_people_confirm_off_is_evicted_once_and_both_are_answered() -> None:
    book = cluster("n2", "n3").node("n1", lease=False).running("web", "n1")
    book.request(Verb.CONFIRM_OFF, node="n1").request(Verb.CONFIRM_OFF, name="r2", node="n1")
    assert len([step for step in book.plan(silence_s={"n1": SUSPECT_S}).steps if isinstance(step, EvictSession)]) == 1
    book.lead(silence_s={"n1": SUSPECT_S})
    assert (book.answered().progress, book.answered("r2").progress) == (Progress.DONE, Progress.DONE)


def test_word_that_a_node_is_off_says_nothing_about_a_session_that_began_after_it() -> None:
    """It was off, was switched on, and is cut off now: what it started meanwhile runs on until its guard ends it."""
    book = cluster("n2", "n3").node("n1", lease=False).running("web", "n1")
    book.request(Verb.CONFIRM_OFF, node="n1", session=SessionId("s-older"))
    assert not [step for step in book.plan(silence_s={"n1": SUSPECT_S}).steps if isinstance(step, EvictSession)]
    progress, text = answer(book)
    assert (progress, "switched on since" in text) == (Progress.REJECTED, True)


def test_confirmation_also_ends_the_claims_of_sessions_before() -> None:
    book = cluster("n2").offline("n1").vm("web").placed("web", "n1", session=SessionId("s-older"))
    book.request(Verb.CONFIRM_OFF, node="n1").lead()
    assert book.snapshot().fenced[SessionId("s-older")].proof is Proof.OPERATOR_CONFIRMED
    assert book.claim("web").node == "n2"


def test_node_without_a_session_has_nothing_to_confirm() -> None:
    book = cluster("n2").offline("n1").request(Verb.CONFIRM_OFF, node="n1")
    assert answer(book)[0] is Progress.DONE


def test_unknown_node_can_not_be_confirmed_off() -> None:
    assert answer(cluster("n1").request(Verb.CONFIRM_OFF, node="n9")) == (Progress.REJECTED, "there is no node n9")


def test_answer_to_a_request_that_was_withdrawn_is_not_written() -> None:
    book = cluster("n1").request(Verb.RESTART, vm="web")
    decided_on, made = book.snapshot(), book.plan()
    book.delete("/vmha/t/requests/r1")
    assert book.carry_out(made, decided_on) == 0
