"""When the leader raises the cluster's schema, and what is said of it."""

import itertools

import pytest

from tests.support.clusters import KEYS, Book, cluster
from vmha.model.ids import NodeName
from vmha.model.records import HistoryRecord
from vmha.model.schema import ClusterSchema
from vmha.policy.members.schema import in_words, standing
from vmha.policy.state.steps import RaiseSchema
from vmha.store.port import Put

NODES = ("n1", "n2", "n3")


def of(*reads: int, at: int = 1) -> Book:
    book = cluster(*NODES)
    for name, newest in zip(NODES, reads, strict=True):
        book.session(name, reads=newest, version=f"0.{newest}.0")
    if at > 1:
        book.put(KEYS.schema, ClusterSchema(version=at, by=NodeName("n1"), at=0.0))
    return book


def raised(book: Book) -> list[int]:
    return [step.version for step in book.plan().steps if isinstance(step, RaiseSchema)]


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("reads", list(itertools.product((1, 2, 3), repeat=3)))
def test_schema_goes_to_what_all_members_read_and_never_back(reads: tuple[int, int, int], at: int) -> None:
    book = of(*reads, at=at)
    wanted = [min(reads)] if min(reads) > at else []
    assert raised(book) == wanted
    for step in book.plan().steps:
        book.apply(step, book.snapshot())
    assert book.snapshot().schema == max(at, min(reads))
    assert raised(book) == []


def test_member_that_is_not_here_is_waited_for_and_a_node_that_never_had_an_agent_is_not() -> None:
    book = of(2, 2, 2).offline("n4")
    assert raised(book) == [2]
    book.delete(KEYS.session(NodeName("n3")))  # its lease is gone: silent, or only for a moment
    assert raised(book) == []
    book.delete(KEYS.beat(NodeName("n3")))  # and then evicted
    assert raised(book) == []
    book.delete(KEYS.node_status(NodeName("n3")))  # and removed
    assert raised(book) == [2]


def test_session_of_a_former_run_says_nothing() -> None:
    book = of(2, 2, 2)
    beat = book.snapshot().nodes[NodeName("n2")].beat
    assert beat
    book.session("n2", session="s-before")
    assert raised(book) == []


def test_raise_that_was_decided_on_another_schema_is_lost() -> None:
    book = of(2, 2, 2)
    decided_on = book.snapshot()
    step = next(step for step in book.plan().steps if isinstance(step, RaiseSchema))
    book.put(KEYS.schema, ClusterSchema(version=3, by=NodeName("n9"), at=0.0))
    book.apply(step, decided_on)
    assert book.snapshot().schema == 3


def test_schema_that_can_not_be_read_is_left_alone() -> None:
    book = of(2, 2, 2)
    book.txn([], [Put(KEYS.schema, b"garbage")])
    assert raised(book) == []


def test_nothing_is_raised_while_the_store_may_be_of_the_past() -> None:
    book = of(2, 2, 2)
    book.put(KEYS.history, HistoryRecord(id="h", by=NodeName("n1"), at=0.0, why="", settle_s=60.0))
    assert raised(book) == []


def test_operator_is_told_whom_the_upgrade_waits_for_and_who_is_too_old() -> None:
    assert list(in_words(standing(of(1, 1, 1).snapshot()))) == []
    assert list(in_words(standing(of(2, 2, 2, at=2).snapshot()))) == []
    assert list(in_words(standing(of(2, 1, 2).snapshot()))) == [
        "the cluster stays at schema 1 until all members read 2; waiting for n2 (vmha 0.1.0 reads up to 1)"
    ]
    (said,) = in_words(standing(of(2, 1, 2, at=2).snapshot()))
    assert said.startswith("node n2 only keeps its session, and nothing is started, stopped or moved there: vmha 0.1.0")
