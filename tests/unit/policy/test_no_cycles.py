"""What a plan was made of goes with it: nothing of it waits for Python's search for garbage.

An agent leaves most of what it holds out of that search (node/garbage.py). A cycle that is made with each plan would
stay in memory for good, and with it the whole reading that the plan was made of.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.clusters import SETTINGS, Book, cluster
from vmha.model.domain_xml import tagged
from vmha.model.ids import Epoch, VmName
from vmha.model.settings import Limits
from vmha.model.vm import Desired
from vmha.sim.world.hands import domain_xml


@contextmanager
def nothing_is_left_for_the_search() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        assert sorted({what for one in gc.garbage if (what := name_of(one)).startswith("vmha.")}) == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def name_of(one: Any) -> str:
    kind = type(one)
    named = one if kind.__name__ == "function" else kind
    return f"{named.__module__}.{named.__qualname__}"


def starts(book: Book) -> Book:
    return book.vm("new").vm("newer").vm("needs", depends_on=["new"])


def recovers(book: Book) -> Book:
    return book.vm("lost").placed("lost", "n3", session="s-n3").fenced("s-n3", "n3")


def drains(book: Book) -> Book:
    return book.running("web", "n1").running("db", "n1").node("n1", spec={"maintenance": True})


def makes_room(book: Book) -> Book:
    for node in ("n1", "n2"):
        book.node(node, memory_mib=2048)
    book.running("small", "n1", memory_mib=1024).running("less", "n2", memory_mib=1024)
    return book.vm("large", memory_mib=2048, priority=10)


def follows(book: Book) -> Book:
    return book.running("db", "n1").running("app", "n2").service("shop", "db", "app").rule("apart", apart=["db", "x"])


def stops(book: Book) -> Book:
    return book.running("web", "n1").vm("web", desired=Desired.STOPPED)


@pytest.mark.parametrize("what", [starts, recovers, drains, makes_room, follows, stops])
def test_plan_leaves_nothing_in_a_cycle(what: Callable[[Book], Book]) -> None:
    book = what(cluster("n1", "n2").configure(SETTINGS.model_copy(update={"limits": Limits(starts=1)})))
    with nothing_is_left_for_the_search():
        book.plan()
        assert book.lead() > 0


def test_definition_that_is_marked_leaves_nothing_in_a_cycle() -> None:
    xml = domain_xml("web", memory_mib=1024, vcpus=1)
    with nothing_is_left_for_the_search():
        tagged(xml, cluster="c", vm=VmName("web"), epoch=Epoch(1), uuid="11111111-2222-3333-4444-555555555555")
