"""``vmha import``: RGManager's cluster.conf as a document for ``vmha apply``. Asks no cluster and changes none."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from vmha.cli.context import Json
from vmha.cli.exits import ExitCode
from vmha.cli.output import complain, show, show_json

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command("import")
def import_conf(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="RGManager's cluster.conf; - reads standard input.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write the document; standard output if left out.")
    ] = None,
    xml_dir: Annotated[
        list[Path] | None,
        typer.Option(help="Where to look for NAME.xml before the places that FILE names; may be given again."),
    ] = None,
    in_place: Annotated[
        bool,
        typer.Option(
            "--definitions-in-place", help="Leave definitions where FILE says; nodes read them at each start."
        ),
    ] = False,
    passwords: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write programs there that print the fence devices' passwords, for each node."
        ),
    ] = None,
    start: Annotated[bool, typer.Option("--start", help="Want vms with autostart running once it is applied.")] = False,
    as_json: Json = False,
) -> None:
    """Translate RGManager's cluster.conf, and report what became of each part of it. Changes nothing.

    The report goes to standard output when the document has a file of its own, else to standard error.
    """
    from vmha.cli.files import write_private
    from vmha.operator.rgmanager.report import as_lines, as_plain, as_yaml, summary
    from vmha.operator.rgmanager.translate import translate

    imported = translate(
        _read_bytes(file),
        file="<stdin>" if str(file) == "-" else str(file),
        read=read_definition,
        xml_dirs=[str(folder) for folder in xml_dir or ()],
        start=start,
        in_place=in_place,
    )
    text = as_yaml(imported)
    if output is not None:
        write_private(output, text, what="import")
    elif not as_json:
        print(text, end="")
    programs = _write_programs(imported.passwords, passwords)
    if as_json:
        show_json({**as_plain(imported), "document": text if output is None else None})
    elif output is not None:
        programs.append(f"{output} is written; look at it, then: vmha apply {output} --dry-run")
        show([*as_lines(imported), "", *programs])
    else:
        print("\n".join([*as_lines(imported), *programs]), file=sys.stderr)
    if not imported.is_complete:
        complain(f"import: {summary(imported)}: not everything; the report says why")
        raise typer.Exit(ExitCode.FAILED)


def _write_programs(passwords: dict[str, str], folder: Path | None) -> list[str]:
    """Returns what is to be done with them, in words."""
    from vmha.cli.files import make_private, write_private
    from vmha.operator.rgmanager.fence_passwords import FOLDER, as_program

    if not passwords:
        return []
    if folder is None:
        return [
            f"{len(passwords)} passwords of fence devices are not in the document: programs in {FOLDER} are to print "
            "them, on each node; --passwords DIR writes them"
        ]
    make_private(folder, what="import")
    for name, password in passwords.items():
        write_private(folder / name, as_program(password), what="import", mode=0o700)
    return [f"{folder} holds what prints {len(passwords)} passwords: copy it to each node as {FOLDER}"]


def read_definition(path: str) -> str | None:
    """A definition's text; None: there is no such file. Raises: Rejected when it can not be read."""
    from vmha.model.domain_xml import MAX_BYTES
    from vmha.model.errors import Rejected

    try:
        if not Path(path).is_file():
            return None
        data = _bounded(Path(path), MAX_BYTES)
        return data.decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise Rejected(f"{path}: is not UTF-8 text: byte {error.start}") from error
    except (OSError, ValueError) as error:
        raise Rejected(f"{path}: {_words(error)}") from error


def _read_bytes(file: Path) -> bytes:
    from vmha.model.errors import Rejected
    from vmha.operator.rgmanager.source import MAX_BYTES

    if str(file) == "-":
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    try:
        return _bounded(file, MAX_BYTES)
    except (OSError, ValueError) as error:
        raise Rejected(f"import: {file}: {_words(error)}") from error


def _bounded(file: Path, most: int) -> bytes:
    """One byte more than is accepted, so that whoever parses it sees that it is too large."""
    with file.open("rb") as stream:
        return stream.read(most + 1)


def _words(error: OSError | ValueError) -> str:
    return str(getattr(error, "strerror", None) or error).lower()
