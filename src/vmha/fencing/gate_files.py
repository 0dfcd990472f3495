"""The agent's side of the start gate: which vms are managed, and the grant of the one start that is under way.

The list of managed vms outlives a reboot, so that the gate is shut before the agent runs. A grant does not, and lasts
as long as its start.
"""

import json
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from vmha.fencing.gate import GRANTS, MANAGED
from vmha.model.errors import Retryable
from vmha.model.ids import Epoch, SessionId

UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Gate(Protocol):
    def list_managed(self, cluster: str, identities: Iterable[str]) -> None:
        """Uuids and names of every vm of the cluster."""

    def grant(self, uuid: str, *, epoch: Epoch, session: SessionId) -> None:
        """From now on this start, and no other, is let through."""

    def withdraw(self, uuid: str) -> None: ...

    def clear(self) -> None:
        """No start is under way."""


class GateUnavailable(Retryable):
    """The files that the hook reads can not be written: no start may begin."""


class GateFiles:
    """What the hook reads. Written by rename, so that it never reads half a file."""

    def __init__(self, run_dir: Path, state_dir: Path) -> None:
        self._grants, self._managed = run_dir / GRANTS, state_dir / MANAGED
        self._listed: tuple[str, ...] | None = None

    def list_managed(self, cluster: str, identities: Iterable[str]) -> None:
        listed = (cluster, *sorted(identities))
        if listed != self._listed:
            _replace(self._managed, {"cluster": cluster, "vms": listed[1:]})
            self._listed = listed

    def grant(self, uuid: str, *, epoch: Epoch, session: SessionId) -> None:
        if not UUID.fullmatch(uuid):
            raise GateUnavailable(f"{uuid!r} is not a uuid")
        _replace(self._grants / uuid, {"epoch": epoch, "session": session})

    def withdraw(self, uuid: str) -> None:
        with suppress(OSError):
            (self._grants / Path(uuid).name).unlink(missing_ok=True)

    def clear(self) -> None:
        with suppress(OSError):
            for grant in self._grants.iterdir():
                grant.unlink(missing_ok=True)


def _replace(path: Path, document: object) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(path.name + ".new")
        new.write_text(json.dumps(document))
        os.replace(new, path)
    except OSError as error:
        raise GateUnavailable(f"{path}: {error.strerror}") from error
