"""Reading what the operator names on the command line."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmha.operator.document import Loaded

from vmha.model.errors import Rejected

LARGEST_BYTES = 16 << 20


def read_text(path: Path, *, what: str, at_most: int = LARGEST_BYTES) -> str:
    """A text file, or standard input for ``-``.

    Raises:
        Rejected: it can not be read, naming the option and the file.
    """
    if str(path) == "-":
        return sys.stdin.read()
    try:
        if path.stat().st_size > at_most:
            raise Rejected(f"{what}: {path} has {path.stat().st_size} bytes", accepted=f"at most {at_most}")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Rejected(f"{what}: {path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise Rejected(f"{what}: {path}: {(error.strerror or str(error)).lower()}") from error


def read_document(file: Path, *, what: str) -> "Loaded":
    """The document that a verb was given; ``-`` is standard input.

    Raises:
        Rejected: it can not be read, or one line for each thing that is wrong in it.
    """
    from vmha.operator.document import load_document

    is_stdin = str(file) == "-"
    text = read_text(file, what=what)
    return load_document(text, file="<stdin>" if is_stdin else str(file), base=Path() if is_stdin else file.parent)


def make_private(folder: Path, *, what: str) -> None:
    """A folder for its owner alone, if there is none of that name.

    Raises:
        Rejected: it can not be made, naming the verb and the folder.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Rejected(f"{what}: {folder}: {(error.strerror or str(error)).lower()}") from error


def write_private(path: Path, text: str, *, what: str, mode: int = 0o600) -> None:
    """A file that its owner alone can read: it may hold passwords.

    Raises:
        Rejected: it can not be written, naming the verb and the file.
    """
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(text)
    except OSError as error:
        raise Rejected(f"{what}: {path}: {(error.strerror or str(error)).lower()}") from error
