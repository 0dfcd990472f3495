"""``vmha web token``: by what a program is known to the dashboard's API. Its word is told once."""

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from vmha.cli.context import Json
from vmha.cli.output import screen, show, show_json, table
from vmha.cli.web_user import ROLES, File, file_of, role_of

if TYPE_CHECKING:
    from vmha.web.tokens import Tokens

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Tokens of programs that use the API."
)

Name = Annotated[str, typer.Argument(help="Name of the token: which program has it.", metavar="NAME")]


@app.command()
def add(
    name: Name,
    role: Annotated[str, typer.Option(help=ROLES)] = "reader",
    valid: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long it is good, such as 12h or 365d.")
    ] = "90d",
    file: File = None,
) -> None:
    """Make a token and print it, once: the one line of standard output."""
    from vmha.cli.durations import read_duration
    from vmha.model.clock import SystemClock
    from vmha.model.durations import in_words

    tokens, for_s = _tokens(file), read_duration(valid, option="--for")
    word = tokens.make(name, role=role_of(role), for_s=for_s, wall=SystemClock().wall())
    print(f"{name} is good for {in_words(for_s)}, as {role} ({tokens.path}). It is not told again:", file=sys.stderr)
    show(word)


@app.command(name="list")
def list_(file: File = None, as_json: Json = False) -> None:
    """Which tokens there are, and until when. Not their words, which nobody knows any more."""
    from vmha.model.clock import SystemClock

    tokens, wall = _tokens(file), SystemClock().wall()
    found = [
        {
            "name": name,
            "role": one.role.value,
            "made_at": one.made_at,
            "expires_at": one.expires_at,
            "expired": one.has_expired(wall),
        }
        for name, one in sorted(tokens.all().items())
    ]
    if as_json:
        show_json(found)
    elif found:
        rows = [(str(one["name"]), str(one["role"]), _until(one["expires_at"], one["expired"])) for one in found]
        show(table(("NAME", "ROLE", "UNTIL"), rows, screen()))
    else:
        show(f"there is no token ({tokens.path}); make one: vmha web token add NAME")


@app.command()
def revoke(name: Name, file: File = None) -> None:
    """End a token now: the next request with it is refused."""
    _tokens(file).revoke(name)
    show(f"{name} is good for nothing any more")


def _tokens(file: "File") -> "Tokens":
    from vmha.web.tokens import Tokens

    return Tokens(file_of(file))


def _until(at: object, expired: object) -> str:
    said = datetime.fromtimestamp(float(str(at))).strftime("%Y-%m-%d %H:%M")
    return f"{said} (over)" if expired else said
