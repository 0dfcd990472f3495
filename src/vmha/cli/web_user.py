"""``vmha web user``: who may log in to the dashboard. A password is asked for or read, never an argument."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmha.cli.context import Json
from vmha.cli.output import screen, show, show_json, table

if TYPE_CHECKING:
    from vmha.web.access import Role
    from vmha.web.users import Users

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Who may log in to the dashboard."
)

ROLES = "reader: sees everything; operator: may also do what the pages offer."
Name = Annotated[str, typer.Argument(help="Name of the user.", metavar="NAME", show_default=False)]
File = Annotated[
    Path | None,
    typer.Option("--file", help="The file of users (default: users of [web], /etc/vmha/web/users.json)."),
]


@app.command()
def add(
    name: Name,
    role: Annotated[str | None, typer.Option(help=f"{ROLES} Default: operator, or as it is.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Give a user who is there a new password.")] = False,
    file: File = None,
) -> None:
    """Let somebody log in. Asks for the password; without a terminal it is the first line of standard input."""
    users = _users(file)
    wanted = role_of(role) if role is not None else None
    user = users.put(name, _password(), role=wanted, replace=replace)
    show(f"{name} may log in, as {user.role} ({users.path})")


@app.command(name="role")
def set_role(
    name: Name,
    role: Annotated[str, typer.Argument(help=ROLES, metavar="ROLE", show_default=False)],
    file: File = None,
) -> None:
    """Give a user another role. Whoever is logged in under that name is logged out."""
    _users(file).set_role(name, role_of(role))
    show(f"{name} is {'an' if role == 'operator' else 'a'} {role} now")


@app.command(name="list")
def list_(file: File = None, as_json: Json = False) -> None:
    """Who may log in."""
    users = _users(file)
    found = sorted(users.all().items())
    if as_json:
        show_json([{"name": name, "role": user.role} for name, user in found])
    elif found:
        show(table(("NAME", "ROLE"), [(name, user.role.value) for name, user in found], screen()))
    else:
        show(f"nobody may log in ({users.path}); let somebody: vmha web user add NAME")


@app.command()
def remove(name: Name, file: File = None) -> None:
    """Let somebody not log in any more. Whoever is logged in under that name is logged out."""
    users = _users(file)
    users.remove(name)
    show(f"{name} may not log in any more")


def role_of(said: str) -> "Role":
    """Raises: Rejected."""
    from vmha.model.errors import Rejected
    from vmha.web.access import Role

    if said not in tuple(Role):
        raise Rejected(f"role {said!r}", accepted=" or ".join(Role))
    return Role(said)


def _users(file: Path | None) -> "Users":
    from vmha.web.users import Users

    return Users(file_of(file))


def file_of(given: Path | None) -> Path:
    from vmha.cli.web_settings import settings_of_web

    return given if given is not None else settings_of_web(None).users


def _password() -> str:
    """Raises: Rejected."""
    from vmha.model.errors import Rejected
    from vmha.web.passwords import LONGEST, SHORTEST

    if not sys.stdin.isatty():
        return sys.stdin.readline(4 * LONGEST).rstrip("\r\n")
    from getpass import getpass

    given = getpass(f"Password ({SHORTEST} characters or more): ")
    if getpass("Again: ") != given:
        raise Rejected("the two are not the same", accepted="the same password twice")
    return given
