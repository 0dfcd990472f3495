"""A cancel meets the migration in the placement, and ends in exactly one answer whatever it finds."""

import pytest

from tests.support.clusters import Book, cluster
from vmha.model.ids import RequestId
from vmha.model.records import Phase, Progress, RunEnd, SeenState, Verb
from vmha.policy.state import transitions

R2 = RequestId("r2")


def migrating() -> Book:
    book = cluster("n1", "n2", "n3").running("web", "n1").request(Verb.MIGRATE, vm="web", node="n2")
    book.lead()
    return book.request(Verb.CANCEL, name="r2", vm="web")


def test_cancel_is_written_where_the_holder_reads_it_and_answered_when_it_has_kept_the_vm() -> None:
    book = migrating()
    book.lead()
    held = book.claim("web")
    assert (held.phase, held.cancel, held.cancel_by) == (Phase.MIGRATING, R2, "ann")
    assert book.answered("r2").progress is Progress.RUNNING
    book.put_placement(transitions.keep(held, "cancelled by ann", book.clock.wall()))
    book.lead()
    assert (book.answered("r2").progress, book.answered("r2").text) == (
        Progress.DONE,
        "web stays on n1: cancelled by ann",
    )
    assert book.answered("r1").text == "web stays on n1: cancelled by ann"
    assert book.claim("web").reason.text == "its migration to n2 was cancelled by ann"


def test_cancel_that_meets_the_hand_over_says_that_it_came_too_late() -> None:
    book = migrating()
    book.lead()
    book.put_placement(transitions.hand_over(book.claim("web"), book.clock.wall()))
    book.lead()
    assert book.answered("r2").progress is Progress.FAILED
    assert book.answered("r2").text == "too late: web had switched to n2 already"


def test_cancel_of_a_migration_whose_guest_ended_says_so() -> None:
    book = migrating()
    book.lead()
    book.put_placement(transitions.release(book.claim("web"), RunEnd.CRASHED, "its QEMU died", book.clock.wall()))
    book.lead()
    assert book.answered("r2").progress is Progress.FAILED
    assert book.answered("r2").text == "web is stopped: its QEMU died"


def test_cancel_of_a_migration_that_waits_withdraws_it() -> None:
    book = cluster("n1", "n2").running("web", "n1").seen("n1", "web", SeenState.STARTING)
    book.request(Verb.MIGRATE, vm="web", node="n2")
    book.lead()
    assert book.outcome("r1") is None
    book.request(Verb.CANCEL, name="r2", vm="web")
    book.lead()
    assert (book.answered("r1").progress, book.answered("r1").text) == (
        Progress.FAILED,
        "cancelled by ann before it began",
    )
    assert book.answered("r2").progress is Progress.DONE
    assert book.claim("web").phase is Phase.HELD


@pytest.mark.parametrize(
    ("book", "text"),
    [
        (cluster("n1").running("web", "n1"), "web is not being migrated; it is held on n1: nothing to cancel"),
        (cluster("n1").vm("web"), "web is not being migrated: nothing to cancel"),
        (cluster("n1"), "there is no vm web"),
    ],
)
def test_cancel_of_nothing_is_refused(book: Book, text: str) -> None:
    book.request(Verb.CANCEL, vm="web")
    made = book.plan()
    book.carry_out(made, book.snapshot())
    assert (book.answered().progress, book.answered().text) == (Progress.REJECTED, text)


def test_cancel_does_not_hold_up_the_recovery_of_a_lost_vm() -> None:
    book = migrating()
    book.delete("/vmha/t/nodes/n1/beat")
    book.delete("/vmha/t/nodes/n1/session")
    book.fenced("s-n1", "n1")
    book.lead()
    held = book.claim("web")
    assert held.phase is Phase.ASSIGNED
    assert held.node != "n1"
