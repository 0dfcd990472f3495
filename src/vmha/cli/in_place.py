"""Drawing over what was drawn: on a terminal's other screen, so that what was there before comes back at the end.

Each line is written over the old one and only then is the rest of it cleared, so that nothing flickers. What does not
fit is counted in the last line, instead of pushing the first ones out of sight.
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from types import TracebackType

_OTHER_SCREEN, _FORMER_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # and the cursor hidden, shown
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def may_draw_in_place() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


class InPlace:
    """Use it as a context."""

    def __enter__(self) -> "InPlace":
        self._write(_OTHER_SCREEN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._write(_FORMER_SCREEN)
        except OSError:  # the terminal itself has gone: what was to be told to it is told to nobody
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def draw(self, lines: Sequence[str]) -> None:
        shown = fitting(lines, _rows())
        self._write(_HOME + "\r\n".join(line + _REST_OF_LINE for line in shown) + _REST_OF_SCREEN)

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def fitting(lines: Sequence[str], rows: int) -> list[str]:
    """As many as there are rows; the last one says how many are left out."""
    if len(lines) <= rows:
        return list(lines)
    return [*lines[: rows - 1], f"({len(lines) - rows + 1} more lines: a higher window shows them)"]


def _rows() -> int:
    try:
        return max(2, os.get_terminal_size(sys.stdout.fileno()).lines)
    except OSError:
        return 24
