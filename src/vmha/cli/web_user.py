"""``vmha web user``: who may log in to the dashboard. A password is asked for or read, never an argument."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmha.cli.context import Json
from vmha.cli.output import show, show_json

if TYPE_CHECKING:
    from vmha.web.users import Users

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Who may log in to the dashboard."
)

Name = Annotated[str, typer.Argument(help="Name of the user.", metavar="NAME", show_default=False)]
File = Annotated[
    Path | None,
    typer.Option("--file", help="The file of users (default: users of [web], /etc/vmha/web/users.json)."),
]


@app.command()
def add(
    name: Name,
    replace: Annotated[bool, typer.Option("--replace", help="Give a user who is there a new password.")] = False,
    file: File = None,
) -> None:
    """Let somebody log in. Asks for the password; without a terminal it is the first line of standard input."""
    users = _users(file)
    users.put(name, _password(), replace=replace)
    show(f"{name} may log in ({users.path})")


@app.command(name="list")
def list_(file: File = None, as_json: Json = False) -> None:
    """Who may log in."""
    users = _users(file)
    names = sorted(users.all())
    if as_json:
        show_json([{"name": one} for one in names])
    else:
        show(names or f"nobody may log in ({users.path}); let somebody: vmha web user add NAME")


@app.command()
def remove(name: Name, file: File = None) -> None:
    """Let somebody not log in any more. Whoever is logged in under that name is logged out."""
    users = _users(file)
    users.remove(name)
    show(f"{name} may not log in any more")


def _users(file: Path | None) -> "Users":
    from vmha.cli.web import settings_of_web
    from vmha.web.users import Users

    return Users(file if file is not None else settings_of_web(None).users)


def _password() -> str:
    """Raises: Rejected."""
    from vmha.model.errors import Rejected
    from vmha.web.users import LONGEST, SHORTEST

    if not sys.stdin.isatty():
        return sys.stdin.readline(4 * LONGEST).rstrip("\r\n")
    from getpass import getpass

    given = getpass(f"Password ({SHORTEST} characters or more): ")
    if getpass("Again: ") != given:
        raise Rejected("the two are not the same", accepted="the same password twice")
    return given
