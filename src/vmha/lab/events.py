"""Reading the lab's journal back: as objects, and as lines for people."""

import json
import time
from collections.abc import Iterator
from typing import Any

from vmha.lab.client import NoLab
from vmha.lab.layout import LabDir

_LOOK_S = 0.2
_HEAD = ("t", "at", "event")


def follow(lab: LabDir, *, keep_on: bool = False) -> Iterator[dict[str, Any]]:
    """The events so far; with ``keep_on`` also those to come, until the lab is taken down.

    Raises:
        NoLab: there never was one here.
    """
    try:
        file = lab.events.open()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NoLab(f"no lab in {lab.path}: start one with `vmha lab up`") from error
    with file:
        while True:
            at = file.tell()
            line = file.readline()
            if line.endswith("\n"):
                yield json.loads(line)
            elif keep_on and lab.events.exists():
                file.seek(at)  # a line that is only half there
                time.sleep(_LOOK_S)
            else:
                return


def describe(event: dict[str, Any]) -> str:
    """One line: seconds since the lab came up, what, and the rest as it is."""
    rest = " ".join(f"{key}={value}" for key, value in event.items() if key not in _HEAD)
    return f"{event['t']:10.3f}  {event['event']:<22} {rest}"
