"""``vmha status`` says how the cluster's own rebalancing goes, where it is on."""

from typing import Any

import pytest

from tests.support.clusters import SETTINGS, Book, cluster
from vmha.cli.output import Screen
from vmha.cli.status_view import render
from vmha.model.settings import Rebalance
from vmha.operator.overview import as_plain, overview


def full(**rules: Any) -> Book:
    """n1 is 75 % full, n2 empty."""
    book = cluster("n1", "n2", memory_mib=1000)
    relief = Rebalance(**{"enabled": True, "threshold_percent": 60, "margin_percent": 10, "hold_s": 0.0, **rules})
    book.configure(SETTINGS.model_copy(update={"rebalance": relief}))
    for name in ("a", "b", "c"):
        book.running(name, "n1", memory_mib=250)
    return book


def told(book: Book) -> tuple[str, dict[str, Any] | None]:
    shown = overview(book.snapshot(), cluster="t", wall=book.clock.wall())
    lines = [line for line in render(shown, Screen(width=None, colour=False)) if line.startswith("rebalance")]
    return "".join(lines), as_plain(shown)["rebalance"]


def test_what_is_on_its_way_is_named() -> None:
    book = full()
    book.lead()
    line, plain = told(book)
    assert line == "rebalance: a n1 -> n2"
    assert plain == {"state": "moving", "vms": ["a"], "text": line, "left_s": None}


def test_the_next_move_is_told_with_the_loads() -> None:
    line, plain = told(full())
    assert line.startswith("rebalance: a to n2: n1 is 75 % full and n2 0 %;")
    assert plain
    assert plain["state"] == "next"


def test_what_holds_it_is_told_with_what_is_left() -> None:
    line, plain = told(full(hold_s=7200.0))
    assert plain
    assert plain["state"] == "held"
    assert plain["left_s"] == pytest.approx(7200.0, abs=3601.0)
    assert line == f"rebalance: the next move is in {plain['left_s']:.0f} s at the earliest (hold_s, or a window)"


def test_at_rest_it_says_so_and_where_it_is_off_nothing() -> None:
    assert told(full(threshold_percent=90))[0] == "rebalance: no node is to be relieved"
    assert told(full(enabled=False)) == ("", None)
