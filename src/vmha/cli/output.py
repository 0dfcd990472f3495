"""How things are shown: small tables, a little colour, JSON. Hand-made, because a table library costs 0.1 s a call.

Colour only on a terminal, and never with NO_COLOR. Piped output is plain, and its lines are not cut.
"""

import json
import os
import sys
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TextIO

_CODES = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36", "dim": "2", "bold": "1"}
_BESIDE = 30
"""A last column with less room than this is hard to read, in lines of two or three words."""
_BELOW = "    "


@dataclass(frozen=True, slots=True)
class Screen:
    """Where output goes. ``width`` None: lines are as long as they are."""

    colour: bool
    width: int | None

    def paint(self, text: str, colour: str) -> str:
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if self.colour and colour and text else text


def screen(stream: TextIO | None = None) -> Screen:
    stream = stream or sys.stdout
    if not stream.isatty():
        return Screen(colour=False, width=None)
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return Screen(colour=not plain, width=max(40, _columns(stream)))


def _columns(stream: TextIO) -> int:
    """As ``shutil.get_terminal_size`` has it; importing shutil takes longer than drawing the screen."""
    said = os.environ.get("COLUMNS", "")
    if said.isascii() and said.isdigit() and len(said) < 10 and int(said) > 0:
        return int(said)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    colour: str = ""


def table(
    headers: Sequence[str], rows: Sequence[Sequence[str | Cell]], on: Screen, *, numbers: Collection[str] = ()
) -> list[str]:
    """Columns as wide as they need to be; the last one takes what is left and goes on below itself.

    Where too little is left for it, what does not fit beside its row stands below it, over the whole width. When even
    that is too wide, the widest of the other columns are cut with an ellipsis. ``numbers``: columns whose ends are put
    below each other, on a screen.
    """
    if on.width is None and not on.colour:
        return _in_columns([headers, *rows])
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    widths = [
        max(len(header), *(len(row[i].text) for row in cells)) if cells else len(header)
        for i, header in enumerate(headers)
    ]
    right = frozenset(i for i, header in enumerate(headers) if header in numbers and on.width is not None)
    last = len(headers) - 1
    is_beside = True
    if on.width is not None:
        gaps = 2 * last
        is_beside = on.width - sum(widths[:last]) - gaps >= min(widths[last], _BESIDE)
        need = min(widths[last], _BESIDE) if is_beside else len(headers[last])
        while sum(widths[:last]) + gaps + need > on.width:
            widest = max(range(last), key=lambda i: widths[i])
            if widths[widest] <= max(8, len(headers[widest])):
                break
            widths[widest] -= 1
        widths[last] = max(need, on.width - sum(widths[:last]) - gaps)
    lines = [on.paint(_join([Cell(header) for header in headers], widths, Screen(False, None), right), "bold")]
    beside = Screen(False, widths[last] if on.width is not None else None)
    for row in cells:
        *front, end = row
        if not is_beside and len(end.text) > widths[last]:
            lines.append(_join([*front, Cell("")], widths, on, right))
            lines += [on.paint(line, end.colour) for line in wrapped(_BELOW + end.text, on, hang=_BELOW)]
            continue
        pieces = wrapped(end.text, beside)
        lines.append(_join([*front, Cell(pieces[0], end.colour)], widths, on, right))
        indent = " " * (sum(widths[:last]) + 2 * last)
        lines += [indent + on.paint(piece, end.colour) for piece in pieces[1:]]
    return lines


def _in_columns(rows: Sequence[Sequence[str | Cell]]) -> list[str]:
    """The table of a pipe: nothing is cut, coloured or put below anything else."""
    texts = [[cell if isinstance(cell, str) else cell.text for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    shape = "  ".join([*(f"{{:<{width}}}" for width in widths[:-1]), "{}"])
    return [shape.format(*row).rstrip() for row in texts]


def wrapped(text: str, on: Screen, *, hang: str = "") -> list[str]:
    """Text in lines that fit; at least one. ``hang``: what each but the first begins with."""
    if on.width is None:
        return [text]
    return textwrap.wrap(text, on.width, break_on_hyphens=False, subsequent_indent=hang) or [""]


def packed(parts: Sequence[str], on: Screen) -> list[str]:
    """Parts of a sentence, as many a line as fit."""
    lines: list[str] = []
    for part in parts:
        longer = f"{lines[-1]}; {part}" if lines else part
        if not lines or (on.width is not None and len(longer) > on.width - 1):
            if lines:
                lines[-1] += ";"
            lines.append(part)
        else:
            lines[-1] = longer
    return [line for long in lines for line in wrapped(long, on)]


def _join(cells: Sequence[Cell], widths: Sequence[int], on: Screen, right: Collection[int]) -> str:
    parts = []
    for i, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        is_last = i == len(cells) - 1
        text = cell.text if is_last or len(cell.text) <= width else cell.text[: width - 1] + "…"
        shown, space = on.paint(text, cell.colour), "" if is_last else " " * (width - len(text))
        parts.append(space + shown if i in right else shown + space)
    return "  ".join(parts).rstrip()


def show(lines: Sequence[str] | str) -> None:
    print(lines if isinstance(lines, str) else "\n".join(lines))


def show_json(value: Any) -> None:
    print(in_lines(value))


LONG = 500
_ENCODER = json.JSONEncoder(ensure_ascii=False)
"""``json.dumps`` makes one for every call."""


def in_lines(value: Any, depth: int = 0) -> str:
    """JSON, indented. Of a long list or mapping each item is one line: Python writes much faster than it indents."""
    inner, outer = "  " * (depth + 1), "  " * depth
    if isinstance(value, list) and len(value) > LONG:
        items = map(_ENCODER.encode, value)
        return f"[\n{inner}" + f",\n{inner}".join(items) + f"\n{outer}]"
    if isinstance(value, dict) and len(value) > LONG:
        pairs = (f"{json.dumps(str(key))}: {_ENCODER.encode(item)}" for key, item in value.items())
        return f"{{\n{inner}" + f",\n{inner}".join(pairs) + f"\n{outer}}}"
    if isinstance(value, dict) and any(isinstance(item, list | dict) and len(item) > LONG for item in value.values()):
        fields = (f"{json.dumps(str(key))}: {in_lines(item, depth + 1)}" for key, item in value.items())
        return f"{{\n{inner}" + f",\n{inner}".join(fields) + f"\n{outer}}}"
    return json.dumps(value, indent=2, ensure_ascii=False).replace("\n", f"\n{outer}")


def complain(text: str) -> None:
    """One error, for people, on standard error. Every line says whose it is."""
    on = screen(sys.stderr)
    for line in text.splitlines() or [""]:
        print(f"{on.paint('vmha:', 'red')} {line}", file=sys.stderr)


def when(at: float) -> str:
    """A time of day, with the date when it is not today's; local time."""
    if not at:
        return "-"
    then = datetime.fromtimestamp(at)
    today = then.date() == datetime.now().date()
    return then.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")
