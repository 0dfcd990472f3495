"""How the demo speaks: acts, the commands one could type, what is heard from the cluster, and what was seen.

On a terminal it pauses for reading and shows one moving line while something is waited for; elsewhere it prints plain
lines and waits for nobody. Colour follows the rules of ``vmha.cli.output``.
"""

import asyncio
import sys
import textwrap
from dataclasses import dataclass, field

from vmha.cli.output import Screen, screen
from vmha.model.clock import Clock

_READING_S = 1.2
_INDENT = "     "


@dataclass(slots=True)
class DemoScreen:
    """Everything the demo prints goes through here, in the order in which it happened."""

    clock: Clock
    _screen: Screen = field(default_factory=screen)
    _since_s: float = 0.0
    _acts: int = 0

    @property
    def is_watched(self) -> bool:
        """Somebody sits in front of it."""
        return self._screen.width is not None

    def title(self, text: str) -> None:
        self._print(self._screen.paint(text, "bold"))

    def act(self, title: str) -> None:
        """A new act. Times that are shown from here on count from its beginning."""
        self._acts += 1
        self.count_from_here()
        self._print(f"\n{self._screen.paint(f'{self._acts}. {title}', 'bold')}")

    def count_from_here(self) -> None:
        self._since_s = self.clock.now()

    def command(self, line: str) -> None:
        """What a person would type to have done this."""
        self._print(f"   {self._screen.paint(f'$ {line}', 'cyan')}")

    def heard(self, text: str, *, ago_s: float = 0.0) -> None:
        """Something happened, ``ago_s`` seconds ago."""
        at_s = max(0.0, self.clock.now() - ago_s - self._since_s)
        self._print(self._screen.paint(self._wrapped(f"{_INDENT}{at_s:5.1f} s  {text}", hang=14), "dim"))

    def say(self, text: str) -> None:
        self._print(self._wrapped(f"{_INDENT}{text}", hang=len(_INDENT)))

    def seen(self, text: str) -> None:
        """What the act was to show, and did."""
        mark = self._screen.paint("ok", "green")
        body = self._wrapped(f"   ok  {text}", hang=7)
        self._print(body.replace("ok", mark, 1))

    def failed(self, text: str) -> None:
        mark = self._screen.paint("NOT SEEN", "red")
        self._print(f"   {mark}  {text}")

    def waiting(self, text: str) -> None:
        """One line that moves while something is waited for; only where somebody watches."""
        if self._screen.width is None:
            return
        at_s = self.clock.now() - self._since_s
        print(f"\r\x1b[K{f'{_INDENT}{at_s:5.1f} s  ... {text}'[: self._screen.width - 1]}", end="", flush=True)

    async def pause(self) -> None:
        """Time to read."""
        if self.is_watched:
            await asyncio.sleep(_READING_S)

    def _wrapped(self, text: str, *, hang: int) -> str:
        if self._screen.width is None:
            return text
        return textwrap.fill(text, self._screen.width, subsequent_indent=" " * hang, break_on_hyphens=False)

    def _print(self, text: str) -> None:
        if self.is_watched:
            sys.stdout.write("\r\x1b[K")  # the moving line makes room
        print(text, flush=True)
