"""A start on a node that an operator names: done there once, or refused in words and nothing changed."""

import pytest

from tests.support.clusters import Book, cluster
from vmha.model.records import Phase, Progress, RunEnd, SeenState, Verb
from vmha.model.vm import Desired
from vmha.policy.state.steps import PlacementStep


def three() -> Book:
    return cluster("n1", "n2", "n3").domain("home", "n1", "n2", ordered=True, restricted=True)


def stopped(book: Book, desired: Desired = Desired.STOPPED, **fields: object) -> Book:
    return book.vm("a", desired=desired, **fields).placed("a", None, phase=Phase.STOPPED, ended=RunEnd.ASKED, epoch=4)


def test_stopped_vm_is_placed_on_the_node_that_is_named_and_wanted_running_in_one_transaction() -> None:
    book = stopped(three(), failover_domain="home").request(Verb.START, vm="a", node="n2")
    (step,) = (step for step in book.plan().steps if isinstance(step, PlacementStep))
    assert step.settle is not None
    book.lead()
    placed = book.claim("a")
    assert (placed.node, placed.phase, placed.operation, placed.epoch) == ("n2", Phase.ASSIGNED, "r1", 5)
    assert (book.spec("a").desired, book.spec("a").desired_why) == (Desired.RUNNING, "started on n2 by ann")


def test_it_is_not_taken_from_there_by_failback() -> None:
    book = stopped(three(), failover_domain="home").request(Verb.START, vm="a", node="n2")
    book.lead()
    book.placed("a", "n2", epoch=5, operation="r1", failback_after=book.claim("a").failback_after).seen("n2", "a")
    book.lead()
    assert (book.claim("a").phase, book.answered().progress) == (Phase.HELD, Progress.DONE)


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("n3", "n3 is not in the restricted failover domain home"),
        ("n9", "n9 is not a node of this cluster"),
        ("n4", "n4 is offline"),
    ],
)
def test_node_that_can_not_take_it_refuses_in_words_and_the_vm_stays_as_it_was(node: str, said: str) -> None:
    book = stopped(three().offline("n4"), failover_domain="home").request(Verb.START, vm="a", node=node)
    book.lead()
    outcome = book.answered()
    assert (outcome.progress, said in outcome.text) == (Progress.REJECTED, True)
    assert [candidate.node for candidate in outcome.candidates] == [node]
    assert (book.spec("a").desired, book.claim("a").phase) == (Desired.STOPPED, Phase.STOPPED)


@pytest.mark.parametrize(("verb", "progress"), [(Verb.START, Progress.REJECTED), (Verb.ENABLE, None)])
def test_disabled_vm_is_started_there_by_enabling_it_only(verb: Verb, progress: Progress | None) -> None:
    book = stopped(three(), Desired.DISABLED).request(verb, vm="a", node="n2")
    book.lead()
    outcome = book.outcome()
    assert (outcome.progress if outcome else None) is progress
    assert (book.spec("a").desired is Desired.RUNNING) is (progress is None)


def test_vm_that_runs_says_where_and_how_it_is_moved() -> None:
    book = three().running("a", "n1").request(Verb.START, name="r1", vm="a", node="n1")
    book.lead()
    assert (book.answered().progress, book.answered().text) == (Progress.DONE, "a runs on n1 already")
    book.request(Verb.START, name="r2", vm="a", node="n2")
    book.lead()
    assert book.answered("r2").progress is Progress.REJECTED
    assert "a runs on n1 already; move it with: vmha vm migrate a --to n2" in book.answered("r2").text


def test_vm_that_is_still_being_stopped_is_started_there_when_it_has_ended() -> None:
    book = three().vm("a", desired=Desired.STOPPED).placed("a", "n1", phase=Phase.STOPPING).seen("n1", "a")
    book.request(Verb.START, vm="a", node="n2")
    book.lead()
    assert book.outcome() is None
    book.delete("/vmha/t/nodes/n1/vms/a")
    book.placed("a", None, phase=Phase.STOPPED, ended=RunEnd.ASKED)
    book.lead()
    assert book.claim("a").node == "n2"


def test_vm_that_may_run_somewhere_is_not_started_there_before_that_is_known() -> None:
    book = stopped(three(), Desired.DISABLED).seen("n3", "a").request(Verb.ENABLE, vm="a", node="n2")
    book.lead()
    assert book.outcome() is None
    assert any("n3 still shows it" in waiting.text for waiting in book.plan().waiting)


def test_start_that_fails_there_is_told_and_the_ordinary_rules_try_elsewhere() -> None:
    book = stopped(three()).request(Verb.START, vm="a", node="n2")
    book.lead()
    failed = {"ended": RunEnd.START_FAILED, "ended_why": "no disk", "operation": "r1", "last_node": "n2"}
    book.placed("a", None, phase=Phase.STOPPED, epoch=5, **failed)
    book.lead()
    assert (book.answered().progress, book.answered().text) == (Progress.FAILED, "it did not start: no disk")
    assert book.claim("a").phase is Phase.ASSIGNED


def test_vm_seen_paused_by_a_hand_is_adopted_not_started_again() -> None:
    book = stopped(three()).seen("n3", "a", SeenState.PAUSED).request(Verb.START, vm="a", node="n2")
    book.lead()
    assert book.claim("a").node == "n3"
    assert "runs on n3 already" in book.answered().text
