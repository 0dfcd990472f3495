"""The board, held to Grafana's own types of a dashboard: no field that it does not know, no value that it can not take.

The types are those that Grafana's makers generate from its schema (grafana-foundation-sdk).
"""

import copy
import json
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard
from pydantic import ConfigDict, TypeAdapter, ValidationError

BOARD: dict[str, Any] = json.loads((Path(__file__).parents[2] / "deploy/grafana/vmha.json").read_text())
GRAFANAS = "grafana_foundation_sdk."

plugins.register_default_plugins()


def complaints(board: dict[str, Any]) -> list[str]:
    read = dashboard.Dashboard.from_json(board)
    written = json.loads(JSONEncoder().encode(read))
    return [*lost(board, written, "board"), *wrong_values(read, "board")]


def lost(given: Any, kept: Any, where: str) -> Iterator[str]:
    """What is not the same when it has gone through Grafana's types: it has no place in them."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for name, value in given.items():
            yield from lost(value, kept[name], f"{where}.{name}") if name in kept else [f"{where}.{name}: not known"]
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from lost(one, other, f"{where}[{number}]")
    elif given != kept:
        yield f"{where}: {given!r} became {kept!r}"


def wrong_values(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, list | dict):
        for name, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from wrong_values(each, f"{where}.{name}")
    elif type(value).__module__.startswith(GRAFANAS) and hasattr(value, "__dict__") and not isinstance(value, str):
        hints = typing.get_type_hints(type(value))
        for name, each in vars(value).items():
            try:
                TypeAdapter(hints[name], config=ConfigDict(arbitrary_types_allowed=True)).validate_python(each)
            except ValidationError as error:
                yield f"{where}.{name}: {each!r}: {error.errors()[0]['msg']}"
            yield from wrong_values(each, f"{where}.{name}")


def test_grafana_knows_all_of_the_board_and_takes_each_value() -> None:
    assert complaints(BOARD) == []


def _panel(board: dict[str, Any]) -> Any:
    return next(panel for panel in board["panels"] if panel["type"] == "timeseries")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda board: board.update(tittle="x"), "board.tittle: not known"),
        (lambda board: _panel(board)["options"].update(legnd={}), "options.legnd: not known"),
        (
            lambda board: _panel(board)["fieldConfig"]["defaults"].update(custom={"lineWidht": 1}),
            "lineWidht: not known",
        ),
        (lambda board: _panel(board)["targets"][0].update(exprr="up"), "targets[0].exprr: not known"),
        (lambda board: _panel(board)["gridPos"].update(w="wide"), "'wide': Input should be a valid integer"),
        (
            lambda board: _panel(board)["options"]["legend"].update(displayMode="nonsense"),
            "'nonsense': Input should be",
        ),
    ],
)
def test_what_grafana_would_not_take_is_found(spoil: Callable[[dict[str, Any]], None], says: str) -> None:
    board = copy.deepcopy(BOARD)
    spoil(board)
    assert says in "\n".join(complaints(board))
