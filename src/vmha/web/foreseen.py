"""A forecast as a page shows it: a row for each move, with its shape, and what would not run in the end."""

from collections.abc import Iterator

from vmha.policy.state.steps import Change
from vmha.policy.telling.forecast import Forecast, Move
from vmha.web.html import Html, el, mark, slug
from vmha.web.parts import node_link, table, vm_link

_WORDS = {
    Change.MIGRATE: ("busy", "migrated"),
    Change.ADOPT: ("ok", "adopted"),
    Change.RECOVER: ("warn", "recovered, booting anew"),
    Change.STOP: ("off", "stopped"),
    Change.WITHDRAW: ("off", "stopped"),
    Change.RELEASE: ("off", "stopped"),
}


def gap_of(forecast: Forecast) -> str:
    """The one sentence that is asked first: whose guest would notice."""
    if not forecast.moves:
        return "Nothing would be started, stopped or moved."
    if gaps := forecast.interrupted:
        return f"Interrupted would be {', '.join(gaps)}: ended, and booted anew."
    return "No guest would be interrupted."


def moves_of(forecast: Forecast) -> Html:
    rows = [*_moves(forecast), *_down(forecast)]
    return table(("Vm", "Would be", "Where", "Why"), rows, class_="foreseen") if rows else Html()


def _moves(forecast: Forecast) -> Iterator[Html]:
    seen: set[str] = set()
    for move in forecast.moves:
        tone, words = _WORDS.get(move.change, ("busy", "started"))
        yield el(
            "tr",
            el("th", vm_link(move.vm), scope="row"),
            el("td", mark(tone), el("b", words), class_="state"),
            el("td", _where(move), class_="where"),
            el("td", move.reason.text, class_="why"),
            id=slug("would", move.vm) if move.vm not in seen else None,
            class_=tone,
        )
        seen.add(move.vm)


def _down(forecast: Forecast) -> Iterator[Html]:
    for one in forecast.down:
        yield el(
            "tr",
            el("th", vm_link(one.vm), scope="row"),
            el("td", mark("bad"), el("b", "not running"), class_="state"),
            el("td", "–", class_="where"),
            el("td", one.text, class_="why"),
            id=slug("down", one.vm),
            class_="bad",
        )
    if not forecast.ends:
        yield el("tr", el("td", "This goes on without end: it was given up here.", colspan="4", class_="why"))


def _where(move: Move) -> list[Html | str]:
    if move.source and move.target and move.source != move.target:
        return [node_link(move.source), " → ", node_link(move.target)]
    place = move.target or move.source
    return [node_link(place)] if place else ["–"]
