"""The agent's side of the start gate: which vms are managed, the grant of the one start that is under way, and the
migrations that vmha itself sends here.

The list of managed vms outlives a reboot, so that the gate is shut before the agent runs. A grant does not, and lasts
as long as its start.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from vmha.fencing.gate import EXPECTED, GRANTS, MANAGED
from vmha.model.errors import Retryable
from vmha.model.ids import Epoch, SessionId
from vmha.model.settings import GateMode

UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Gate(Protocol):
    def list_managed(self, cluster: str, identities: Iterable[str], *, mode: GateMode = GateMode.ADOPT) -> None:
        """Uuids and names of every vm of the cluster, and how strict the gate is on this node."""

    def expect(self, epochs: Mapping[str, Epoch], *, session: SessionId) -> None:
        """By uuid: the migrations that come in by vmha's own doing, and no others."""

    def grant(self, uuid: str, *, epoch: Epoch, session: SessionId) -> None:
        """From now on this start, and no other, is let through."""

    def withdraw(self, uuid: str) -> None: ...

    def clear(self) -> None:
        """No start is under way, and nothing is expected."""


class GateUnavailable(Retryable):
    """The files that the hook reads can not be written: no start may begin."""


class GateFiles:
    """What the hook reads. Written by rename, so that it never reads half a file."""

    def __init__(self, run_dir: Path, state_dir: Path) -> None:
        self._grants, self._managed = run_dir / GRANTS, state_dir / MANAGED
        self._expected = run_dir / EXPECTED
        self._listed: tuple[str, ...] | None = None
        self._awaited: dict[str, object] | None = None

    def list_managed(self, cluster: str, identities: Iterable[str], *, mode: GateMode = GateMode.ADOPT) -> None:
        listed = (cluster, mode, *sorted(identities))
        if listed != self._listed:
            _replace(self._managed, {"cluster": cluster, "gate": mode, "vms": listed[2:]})
            self._listed = listed

    def expect(self, epochs: Mapping[str, Epoch], *, session: SessionId) -> None:
        awaited: dict[str, object] = {"session": session, "epochs": dict(epochs)}
        if awaited != self._awaited:
            _replace(self._expected, awaited)
            self._awaited = awaited

    def grant(self, uuid: str, *, epoch: Epoch, session: SessionId) -> None:
        if not UUID.fullmatch(uuid):
            raise GateUnavailable(f"{uuid!r} is not a uuid")
        _replace(self._grants / uuid, {"epoch": epoch, "session": session})

    def withdraw(self, uuid: str) -> None:
        with suppress(OSError):
            (self._grants / Path(uuid).name).unlink(missing_ok=True)

    def clear(self) -> None:
        self._awaited = None
        with suppress(OSError):
            self._expected.unlink(missing_ok=True)
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
