"""Commands in the documentation are ones that the command line takes."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from vmha.cli import clustat, clusvcadm
from vmha.cli.root import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(["README.md", *(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))])

PROGRAMS = ("vmha", "clusvcadm", "clustat")
TYPED = re.compile(rf"(?:[#$] )?(?:docker compose (?:-f \S+ )?exec (?:-T )?\S+ )?({'|'.join(PROGRAMS)})( .*)?")
WHAT_IT_SAYS = re.compile(r"\s+(?:#|[|<>]|&&|;) .*|\s{2,}.*", re.DOTALL)
"""After the command: a comment, a column of explanation, or what the shell does with it."""
INLINE = re.compile(rf"`((?:{'|'.join(PROGRAMS)}) [^`]+)`")
OPTION = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")
VERB = re.compile(r"[a-z][a-z-]*")


def typed_commands(text: str) -> Iterator[str]:
    """The lines of code blocks, fenced or indented, that are commands of ours, less what is said beside them."""
    is_fenced = False
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            is_fenced = not is_fenced
        elif (is_fenced or line.startswith("    ")) and (found := TYPED.fullmatch(line.strip())):
            yield WHAT_IT_SAYS.sub("", line.strip()[found.start(1) :])


def parse_by_vmha(words: list[str]) -> None:
    """As ``vmha`` would, down to the verb's own arguments; nothing is carried out."""
    command: Any = typer.main.get_command(app)
    context, name = None, "vmha"
    while True:
        context = command.make_context(name, words, parent=context)
        if not hasattr(command, "resolve_command"):
            return
        rest = [*context._protected_args, *context.args]
        if not rest and command.invoke_without_command:
            return  # a verb by itself, which has others below it
        name, command, words = command.resolve_command(context, rest)


def parse(command: str) -> None:
    program, *words = shlex.split(command)
    match program:
        case "clusvcadm":
            clusvcadm.parse(words)
        case "clustat":
            clustat.parse(words)
        case _:
            parse_by_vmha(words)


def why_not(command: str) -> str:
    """'' for a command that is taken; so is one that shows the help."""
    try:
        parse(command)
    except Exception as error:
        if type(error).__name__ in ("Exit", "NoArgsIsHelpError"):
            return ""
        said = error.format_message() if hasattr(error, "format_message") else error
        return f"{command}: {said}"
    return ""


def mentions_of_nothing(mention: str) -> Iterator[str]:
    """Of a command in a sentence, shortened as it may be: verbs and options that do not exist."""
    program, *words = mention.split()
    if program != "vmha":
        return  # their options are letters: whole lines alone are judged
    command: Any = typer.main.get_command(app)
    context = command.context_class(command, info_name=program)
    options = {option for one in command.get_params(context) for option in one.opts + one.secondary_opts}
    while words and VERB.fullmatch(words[0]) and hasattr(command, "list_commands"):
        if words[0] not in command.list_commands(context):
            yield f"{mention}: there is no {words[0]!r}"
            return
        command = command.get_command(context, words.pop(0))
        context = command.context_class(command, info_name=command.name, parent=context)
        options |= {option for one in command.get_params(context) for option in one.opts + one.secondary_opts}
    given = set(OPTION.findall(re.sub(r"'[^']*'|\"[^\"]*\"", "", " ".join(words).split(" -- ")[0])))
    for option in sorted(given - options - {"--help"}):
        yield f"{mention}: there is no {option}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page_exist_with_their_options(page: str):
    text = (ROOT / page).read_text()
    wrong = [said for command in typed_commands(text) if (said := why_not(command))]
    wrong += [said for mention in INLINE.findall(text) for said in mentions_of_nothing(" ".join(mention.split()))]
    assert not wrong, "\n".join(wrong)


def test_every_command_of_the_way_from_rgmanager_is_tried():
    found = list(typed_commands((ROOT / "docs/howto/from-rgmanager.md").read_text()))
    assert "vmha apply vmha.yaml --dry-run" in found
    assert "clusvcadm -Z vm:web" in found
    assert len(found) == 6


@pytest.mark.parametrize(
    "command",
    [
        "vmha stauts",
        "vmha vm migrate web --two h2",
        "vmha node drain",
        "vmha import a.conf extra",
        "vmha events --limit many",
        "clusvcadm -Y vm:web",
        "clusvcadm -M vm:web",
        "clustat --xml",
    ],
)
def test_command_that_would_be_refused_is_found(command: str):
    assert why_not(command)


@pytest.mark.parametrize("mention", ["vmha vm repair NAME", "vmha vm migrate [--two NODE]", "vmha nodes"])
def test_mention_of_what_does_not_exist_is_found(mention: str):
    assert list(mentions_of_nothing(mention))
