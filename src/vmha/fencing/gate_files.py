"""The agent's side of the start gate: which vms are managed, the grant of the one start that is under way, and the
migrations that vmha itself sends here.

The list of managed vms outlives a reboot, also one by a power cut, so that the gate is shut before the agent runs. Its
disk may stand still; the agent's beats must not wait for it. A grant outlives nothing, and lasts as long as its start.
"""

import asyncio
import json
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from vmha.fencing.gate import EXPECTED, GRANTS, MANAGED
from vmha.model.errors import Retryable
from vmha.model.ids import Epoch, SessionId
from vmha.model.settings import GateMode

UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


DISK_S = 1.0
"""A disk that has not answered for so long is not waited for."""


class Gate(Protocol):
    async def list_managed(self, cluster: str, identities: Iterable[str], *, mode: GateMode = GateMode.ADOPT) -> None:
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
        self._writing: asyncio.Future[None] | None = None

    async def list_managed(self, cluster: str, identities: Iterable[str], *, mode: GateMode = GateMode.ADOPT) -> None:
        listed = (cluster, mode, *sorted(identities))
        if listed == self._listed:
            return
        if self._writing is not None and not self._writing.done():
            raise GateUnavailable(f"{self._managed}: its disk does not answer")
        document = {"cluster": cluster, "gate": mode, "vms": listed[2:]}
        self._listed = None  # it may be written late, or half
        self._writing = _in_a_thread(lambda: _replace(self._managed, document, for_good=True))
        try:
            async with asyncio.timeout(DISK_S):
                await asyncio.shield(self._writing)
        except TimeoutError as error:
            raise GateUnavailable(f"{self._managed}: its disk does not answer") from error
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


def _replace(path: Path, document: object, *, for_good: bool = False) -> None:
    """``for_good``: on the disk when this returns. Renamed alone, it may be an empty file after a power cut."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(path.name + ".new")
        with new.open("w") as file:
            file.write(json.dumps(document))
            if for_good:
                file.flush()
                os.fsync(file.fileno())
        os.replace(new, path)
        if for_good:
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise GateUnavailable(f"{path}: {error.strerror}") from error


def _in_a_thread(work: Callable[[], None]) -> "asyncio.Future[None]":
    """A daemon's: nobody waits for it at exit, however long its disk stands still."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def tell(error: Exception | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
            done.exception()  # perhaps nobody waits for it any more

    def run() -> None:
        failed: Exception | None = None
        try:
            work()
        except Exception as error:  # it is the waiter's
            failed = error
        with suppress(RuntimeError):  # the loop has closed
            loop.call_soon_threadsafe(tell, failed)

    threading.Thread(target=run, name="gate-list", daemon=True).start()
    return done
