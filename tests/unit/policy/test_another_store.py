"""Which nodes are silent because their etcd was another one."""

import pytest

from tests.support.clusters import KEYS, Book
from vmha.model.ids import NodeName
from vmha.policy.plan import judge_all
from vmha.policy.telling.another_store import left_at_another, say_left

THEN, NOW = "ab1", "cdf"


def silent(store_id: str, **status: object) -> Book:
    made = Book().configure().node("n1", store_id=NOW).node("n2", store_id=store_id, **status).elect()
    made.delete(KEYS.beat(NodeName("n2")))
    return made


def left(made: Book, store_id: str = NOW) -> list[NodeName]:
    snapshot = made.snapshot()
    return left_at_another(snapshot, judge_all(snapshot, made.moment()), store_id)


def test_silent_node_that_was_in_another_one_is_named_with_both() -> None:
    made = silent(THEN)
    assert left(made) == ["n2"]
    assert say_left(made.snapshot(), left(made), NOW).startswith("n2 had etcd cluster ab1, and this is cdf: ")


def test_node_that_lives_is_here_whatever_it_said_before() -> None:
    assert left(Book().configure().node("n1", store_id=THEN).elect()) == []


@pytest.mark.parametrize(
    ("made", "store_id"),
    [(silent(NOW), NOW), (silent(""), NOW), (silent(THEN), ""), (silent(THEN, leaving=True), NOW)],
    ids=["it was in this one", "it did not say", "this one does not say", "it had left"],
)
def test_any_other_silent_node_is_silent_for_another_reason(made: Book, store_id: str) -> None:
    assert left(made, store_id) == []
