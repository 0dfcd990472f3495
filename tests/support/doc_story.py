"""A page's ``console`` blocks as a story: the commands in their order, and what the page says that they print.

A page says itself what of it is carried out. An HTML comment, which no reader sees, may stand before a block:

    <!-- not run: WHY -->          its commands are only parsed (tests/unit/test_docs_commands.py)
    <!-- run instead: COMMAND -->  on real hosts it is the block's command, on a test's machine this one
    <!-- on: PLACE -->             it is typed there: for pages with several hosts, or parts that several tests play

Lines below a command are pieces of what it prints, in that order; ``...`` stands for anything, and a row of blanks for
any other. A command that only looks is looked at again until it prints them, because a cluster needs its time.
"""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.waiting import look_until
from vmha.cli.main import run as call_vmha

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))]
MARKER = re.compile(r"<!-- (not run|run instead): (.+) -->")
PLACE = re.compile(r"<!-- on: (.+) -->")
PROMPT = re.compile(r"[#$] (.+)")
SHELLS = re.compile(r"[|<>&;$(]")
LOOKS = re.compile(
    r"vmha (status|vm (why|story|list)|node (why|list)|events|doctor|plan|lab (status|verdict))\b"
    r"|etcdctl endpoint health"
)
TIMEOUT_S = 120.0
LOOK_S = 60.0


@dataclass(kw_only=True)
class Told:
    """One command of a page. ``written``: as its reader types it, also where ``line`` is another one instead."""

    line: str
    written: str = ""
    shown: list[str] = field(default_factory=list)
    not_run: str = ""
    on: str = ""

    @property
    def only_looks(self) -> bool:
        return bool(LOOKS.match(self.line))


def story(text: str) -> list[Told]:
    told: list[Told] = []
    marker: tuple[str, str] | None = None
    is_console, on = False, ""
    for line in text.replace("\\\n", " ").splitlines():
        if found := MARKER.fullmatch(line):
            marker = (found[1], found[2])
        elif place := PLACE.fullmatch(line):
            on = place[1]
        elif line.startswith("```"):
            is_console = line == "```console" and not is_console
            if not is_console:
                marker, on = None, ""
        elif is_console and (typed := PROMPT.fullmatch(line)):
            told.append(_told(typed[1], marker, on))
        elif is_console and line.strip():
            told[-1].shown.append(line.strip())
    return told


def story_with_lists(text: str) -> list[Told]:
    """Those within lists too, which are set in."""
    return story(re.sub(r"^   ", "", text, flags=re.MULTILINE))


def code_blocks(text: str, language: str) -> list[str]:
    """The contents of a page's fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def _told(line: str, marker: tuple[str, str] | None, on: str) -> Told:
    line = " ".join(re.sub(r"\s{2,}# .*", "", line).split())
    match marker:
        case ("not run", why):
            return Told(line=line, written=line, not_run=why, on=on)
        case ("run instead", instead):
            return Told(line=instead, written=line, on=on)
        case _:
            return Told(line=line, written=line, on=on)


def is_shown(shown: list[str], printed: str) -> bool:
    pieces = [r".*?".join(re.escape(part) for part in re.split(r"\.\.\.", line)) for line in shown]
    loose = [re.sub(r"(\\ ){2,}", r"[ ]{2,}", piece) for piece in pieces]
    return re.search(".*?".join(loose), printed, re.DOTALL) is not None


def play(
    text: str, *, environment: Mapping[str, str], directory: Path, on: str = "", in_process: bool = False
) -> Iterator[tuple[str, str]]:
    """Carries the commands of this place out, one shell each; yields each with what it printed.

    ``in_process``: what is vmha's alone is called here, which spares it the time to begin.
    """
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, **environment, "PATH": path, "NO_COLOR": "1"}

    def run(line: str) -> str:
        if in_process and line.startswith("vmha ") and not SHELLS.search(line):
            code, printed = _call(line, env, directory)
        else:
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
            code, printed = done.returncode, done.stdout + done.stderr
        assert code == 0, f"{line}: exit code {code}\n{printed}"
        return printed

    for told in story(text):
        if told.not_run or told.on != on:
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


def _call(line: str, env: Mapping[str, str], directory: Path) -> tuple[int, str]:
    """Environment, folder and output are this process's: one at a time."""
    before, said = dict(os.environ), io.StringIO()
    os.environ.update(env)
    try:
        with contextlib.chdir(directory), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return call_vmha(shlex.split(line)[1:]), said.getvalue()
    finally:
        os.environ.clear()
        os.environ.update(before)
