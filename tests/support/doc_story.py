"""A page's ``console`` blocks as a story: the commands in their order, and what the page says that they print.

A page says itself what of it is carried out. An HTML comment, which no reader sees, may stand before a block:

    <!-- not run: WHY -->          its commands are only parsed (tests/unit/test_docs_commands.py)
    <!-- run instead: COMMAND -->  on real hosts it is the block's command, on a test's machine this one

Lines below a command are pieces of what it prints, in that order; ``...`` stands for anything, and a row of blanks for
any other. A command that only looks is looked at again until it prints them, because a cluster needs its time.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.waiting import look_until

ROOT = Path(__file__).resolve().parents[2]
MARKER = re.compile(r"<!-- (not run|run instead): (.+) -->")
PROMPT = re.compile(r"[#$] (.+)")
LOOKS = re.compile(r"vmha (status|vm (why|story|list)|node (why|list)|events|doctor|plan|lab (status|verdict))\b")
TIMEOUT_S = 120.0
LOOK_S = 60.0


@dataclass(kw_only=True)
class Told:
    """One command of a page."""

    line: str
    shown: list[str] = field(default_factory=list)
    not_run: str = ""

    @property
    def only_looks(self) -> bool:
        return bool(LOOKS.match(self.line))


def story(text: str) -> list[Told]:
    told: list[Told] = []
    marker: tuple[str, str] | None = None
    is_console = False
    for line in text.replace("\\\n", " ").splitlines():
        if found := MARKER.fullmatch(line):
            marker = (found[1], found[2])
        elif line.startswith("```"):
            is_console = line == "```console" and not is_console
            if not is_console:
                marker = None
        elif is_console and (typed := PROMPT.fullmatch(line)):
            told.append(_told(typed[1], marker))
        elif is_console and line.strip():
            told[-1].shown.append(line.strip())
    return told


def _told(line: str, marker: tuple[str, str] | None) -> Told:
    line = " ".join(re.sub(r"\s{2,}# .*", "", line).split())
    match marker:
        case ("not run", why):
            return Told(line=line, not_run=why)
        case ("run instead", instead):
            return Told(line=instead)
        case _:
            return Told(line=line)


def is_shown(shown: list[str], printed: str) -> bool:
    pieces = [r".*?".join(re.escape(part) for part in re.split(r"\.\.\.", line)) for line in shown]
    loose = [re.sub(r"(\\ ){2,}", r"[ ]{2,}", piece) for piece in pieces]
    return re.search(".*?".join(loose), printed, re.DOTALL) is not None


def play(text: str, *, environment: Mapping[str, str], directory: Path) -> Iterator[tuple[str, str]]:
    """Carries the commands out, one shell each; yields each with what it printed."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, **environment, "PATH": path, "NO_COLOR": "1"}

    def run(line: str) -> str:
        done = subprocess.run(
            ["bash", "-c", line],
            env=env,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"{line}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    for told in story(text):
        if told.not_run:
            continue
        printed = run(told.line)
        if told.only_looks and not is_shown(told.shown, printed):
            seen = [printed]

            def look(told: Told = told, seen: list[str] = seen) -> bool:
                seen[0] = run(told.line)
                return is_shown(told.shown, seen[0])

            look_until(look, what=f"{told.line} prints {told.shown}", within_s=LOOK_S, each_s=0.2)
            printed = seen[0]
        assert is_shown(told.shown, printed), f"{told.line}: the page says\n{told.shown}\nit printed\n{printed}"
        yield told.line, printed
