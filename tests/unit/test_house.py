"""The rules of the house, checked like everything else: layers, types, what the docs promise, what files may hold."""

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from vmha.cli.root import app

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 240
LONGEST_FILE = 500
"""Lines. About 400 is where a file should have become two; this is where it must."""

_NOT_OURS = {".git", ".venv", "__pycache__", "node_modules", "dist", "build", "run"}
_TEXT = {
    ".py",
    ".pyi",
    ".md",
    ".toml",
    ".yaml",
    ".yml",
    ".json",
    ".lock",
    ".service",
    ".conf",
    ".asm",
    ".txt",
    ".sh",
    "",
}


@cache
def our_files() -> tuple[Path, ...]:
    """Every file of the project: what git tracks or would, or, in an unpacked archive, all but what tools make."""
    if (ROOT / ".git").exists():
        listing = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
        named = subprocess.run(listing, capture_output=True, text=True, check=False)
        if named.returncode == 0:
            return tuple(path for name in named.stdout.splitlines() if (path := ROOT / name).is_file())
    return tuple(path for path in sorted(ROOT.rglob("*")) if path.is_file() and not _is_made_by_tools(path))


def _is_made_by_tools(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return any(part in _NOT_OURS or part.endswith(("_cache", ".egg-info")) or part == ".hypothesis" for part in parts)


def python_files(*folders: str) -> list[Path]:
    return [path for path in our_files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders]


def told(path: Path) -> str:
    return str(path.relative_to(ROOT))


def run_tool(*command: str) -> str:
    """What the tool printed; it must have been content."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    return done.stdout


# -- the code ---------------------------------------------------------------------------------------------------------


def test_imports_point_only_downwards() -> None:
    said = run_tool(sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()")
    assert re.search(r"[1-9]\d* kept, 0 broken", said), said


def test_types_hold_under_mypy_strict() -> None:
    assert "Success" in run_tool(sys.executable, "-m", "mypy")


def test_a_file_is_one_idea_and_not_longer_than_one() -> None:
    lengths = {told(path): len(path.read_text().splitlines()) for path in python_files("src", "tests", "bench")}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_every_module_says_what_it_is() -> None:
    silent = [
        told(path)
        for path in python_files("src", "bench", "scripts")
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_no_test_is_skipped_or_expected_to_fail() -> None:
    excuse = re.compile(r"\b(?:mark\s*\.\s*(?:skip|skipif|xfail)|pytest\s*\.\s*(?:skip|xfail|importorskip))\b")
    guilty = [
        told(path) for path in python_files("tests") if path != Path(__file__) and excuse.search(path.read_text())
    ]
    assert guilty == []


# -- what files may hold ----------------------------------------------------------------------------------------------

# Spelled in pieces, so that this file does not find itself.
_MACHINE_PATHS = re.compile(
    r"(?<![\w.}\]/])/(?:" + "|".join(("work/", "home/[a-z]", "root/[.a-z]", "Users/", "tmp/bash_jobs")) + ")"
)
_REGISTRIES = re.compile(
    "|".join((r"py" r"pi\.org", r"python" r"hosted\.org", r"deb\.debian" r"\.org", r"npm" r"js\.org"))
)


@pytest.mark.parametrize("what", [_MACHINE_PATHS, _REGISTRIES], ids=["path of one machine", "package registry"])
def test_no_file_names_what_belongs_to_one_machine(what: re.Pattern[str]) -> None:
    found = []
    for path in our_files():
        if path.suffix not in _TEXT or path.name == "LICENSE":
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
            if what.search(line):
                found.append(f"{told(path)}:{number}: {line.strip()[:100]}")
    assert found == []


# -- what the docs promise --------------------------------------------------------------------------------------------


def documents() -> list[Path]:
    return [path for path in our_files() if path.suffix == ".md"]


_SPAN = re.compile(r"```[^\n]*\n(.*?)```|`([^`\n]+)`", re.DOTALL)


def commands_in(text: str, program: str) -> Iterator[str]:
    """Each command line of ``program`` in code blocks and code spans: ``vmha vm add web --xml FILE``."""
    for block, span in _SPAN.findall(text):
        for line in (block or span).splitlines():
            shown = re.sub(r"^\s*(?:[$#]\s+)?(?:sudo\s+)?(?:\.venv/bin/)?", "", line)
            for part in re.split(r"\s*(?:;|&&|\|\|?|\s#\s|\s{3,})\s*", shown):
                if re.match(rf"{program}(?:\s|$)", part):
                    yield part


def _promises(program: str) -> list[Any]:
    return [
        pytest.param(line, id=f"{told(path)}: {line}")
        for path in documents()
        for line in sorted(set(commands_in(path.read_text(), program)))
    ]


@pytest.mark.parametrize("line", _promises("vmha"))
def test_every_vmha_command_in_the_docs_exists(line: str) -> None:
    group: Any = typer.main.get_command(app)
    known = {"--help", *_options(group)}
    words = [re.sub(r"[\[\]]|\.\.\.$", "", word) for word in _split(line)[1:]]
    for at, word in enumerate(words):
        if word == "--":
            break  # what follows belongs to another program
        if word.startswith("-"):
            option = word.split("=")[0]
            assert all(each in known for each in option.split("/")), f"{line!r}: {option} is none of {sorted(known)}"
        elif getattr(group, "commands", None) is not None and not _is_value(words, at):
            if not re.fullmatch(r"[a-z][a-z-]*", word):
                break  # VERB, {up,down} or the like: a shape, not a command
            found = group.get_command(None, word)
            assert found is not None, f"{line!r}: there is no {word!r} among {group.list_commands(None)}"
            group = found
            known |= _options(group)


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def _options(command: Any) -> set[str]:
    return {option for param in command.params for option in (*param.opts, *param.secondary_opts)}


def _is_value(words: list[str], at: int) -> bool:
    """The word is the value of one of the two global options."""
    return at > 0 and words[at - 1] in ("--endpoints", "--cluster")


@pytest.mark.parametrize("line", _promises("make"))
def test_every_make_target_in_the_docs_exists(line: str) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {word for word in _split(line)[1:] if re.fullmatch(r"[a-z][a-z-]*", word)} <= targets


_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")


def test_every_link_between_the_docs_leads_somewhere() -> None:
    broken = [
        f"{told(path)}: {target}"
        for path in documents()
        for target in _LINK.findall(path.read_text())
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert broken == []


def test_the_lock_holds_a_version_of_everything_that_is_asked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *extras["web"], *extras["dev"]]
    names = {re.split(r"[<>=!~\[ ]", line)[0].lower() for line in asked}
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert names - locked == {"vmha"}, "which asks for its own extra"
