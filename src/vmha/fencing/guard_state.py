"""What a guard must know again when it was killed and started anew: kept in ``guard.json``, on tmpfs.

Written by atomic rename at every arm and beat, without fsync: it has to outlive the guard, not the machine. It names
the boot it belongs to, because CLOCK_BOOTTIME begins anew with each boot and no guest outlives one. A file that is
there but can not be read is an expired session: "it may be past its deadline" is the only safe reading of it.
Standard library only: the guard imports this.
"""

import json
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vmha.fencing.deadline import Deadline, State
from vmha.fencing.qemu_processes import Guest

SCHEMA = 1
BOOT_ID = "/proc/sys/kernel/random/boot_id"

# A proof names what was killed; a host that lost more guests than this has a count to go by.
MAX_KILLED = 2000

MAX_PID = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """``vm`` and ``came_in`` as in ``Guest``: by the word of libvirt's file, an instant before it was ended."""

    uuid: str
    name: str
    pid: int
    vm: str = ""
    came_in: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KillRecord:
    """The proof: what was ended for which session, and when it was seen that nothing managed runs any more.

    ``begun_at`` and ``verified_at`` are CLOCK_BOOTTIME, ``begun_wall`` is seconds since 1970. ``verified_at`` is None
    while a guest is left.
    """

    session: str
    cause: str
    begun_at: float
    begun_wall: float
    verified_at: float | None = None
    guests: tuple[Killed, ...] = ()

    def with_guests(self, guests: Iterable[Guest]) -> "KillRecord":
        """With those added that it does not name yet."""
        known = {(killed.uuid, killed.pid) for killed in self.guests}
        new = {(guest.uuid, guest.pid): guest for guest in guests if (guest.uuid, guest.pid) not in known}
        added = [
            Killed(uuid=guest.uuid, name=guest.name, pid=guest.pid, vm=guest.vm, came_in=guest.came_in)
            for guest in new.values()
        ][: MAX_KILLED - len(known)]
        return replace(self, guests=(*self.guests, *added)) if added else self


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedState:
    deadline: Deadline = field(default_factory=Deadline)
    watchdog_s: int = 0
    managed: frozenset[str] = frozenset()
    committed_at: float | None = None
    last_kill: KillRecord | None = None
    outstanding: tuple[Guest, ...] = ()


def read_boot_id() -> str:
    return Path(BOOT_ID).read_text().strip()


def save(path: Path, state: SavedState, boot_id: str) -> None:
    """Replace the file by one that holds ``state``.

    Raises:
        OSError: it could not be written; the file before is intact.
    """
    document = {
        "schema": SCHEMA,
        "boot_id": boot_id,
        "deadline": asdict(state.deadline),
        "watchdog_s": state.watchdog_s,
        "managed": sorted(state.managed),
        "committed_at": state.committed_at,
        "last_kill": asdict(state.last_kill) if state.last_kill else None,
        "outstanding": [asdict(guest) for guest in state.outstanding],
    }
    temporary = path.with_name(path.name + ".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        text = json.dumps(document).encode()
        while text:
            text = text[os.write(fd, text) :]
    finally:
        os.close(fd)
    os.replace(temporary, path)


def load(path: Path, boot_id: str, now: float) -> tuple[SavedState, str]:
    """The state to go on from, and a note when there is something to say about it."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return SavedState(), ""
    except OSError as error:
        return _unreadable(now), f"{path}: {error.strerror}: taken as expired"
    try:
        document = json.loads(text)
        if document["boot_id"] != boot_id:
            return SavedState(), f"{path} is of an earlier boot: ignored"
        return _restore(document), ""
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        what = f"{type(error).__name__}: {str(error)[:200]}"
        return _unreadable(now), f"{path} can not be read ({what}): taken as expired"


def _unreadable(now: float) -> SavedState:
    cause = "the guard's state could not be read, so the deadline may be past"
    expired = Deadline(state=State.EXPIRED_KILLING, session="unreadable", cause=cause, expired_at=now)
    return SavedState(deadline=expired)


def _restore(document: dict[str, Any]) -> SavedState:
    deadline, kill = document["deadline"], document.get("last_kill")
    return SavedState(
        deadline=Deadline(
            state=State(deadline["state"]),
            session=str(deadline["session"]),
            hold_s=_finite(deadline["hold_s"]),
            kill_lead_s=_finite(deadline["kill_lead_s"]),
            sent_at=_finite(deadline["sent_at"]),
            cause=str(deadline.get("cause", "")),
            expired_at=_maybe(deadline.get("expired_at")),
            clean_at=_maybe(deadline.get("clean_at")),
        ),
        watchdog_s=int(document.get("watchdog_s", 0)),
        managed=frozenset(map(str, document.get("managed", ()))),
        committed_at=_maybe(document.get("committed_at")),
        last_kill=restore_kill(kill) if kill else None,
        outstanding=tuple(_restore_guest(guest) for guest in document.get("outstanding", ())),
    )


def restore_kill(fields: dict[str, Any]) -> KillRecord:
    """A kill record from its JSON form.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: it is none.
    """
    return KillRecord(
        session=str(fields["session"]),
        cause=str(fields.get("cause", "")),
        begun_at=_finite(fields["begun_at"]),
        begun_wall=_finite(fields.get("begun_wall", 0.0)),
        verified_at=_maybe(fields.get("verified_at")),
        guests=tuple(
            Killed(
                uuid=str(guest["uuid"]),
                name=str(guest["name"]),
                pid=int(guest["pid"]),
                vm=str(guest.get("vm", "")),
                came_in=_maybe_whole(guest.get("came_in")),
            )
            for guest in fields.get("guests", ())
        ),
    )


def _restore_guest(fields: dict[str, Any]) -> Guest:
    pid = int(fields["pid"])
    if not 0 < pid <= MAX_PID:
        raise ValueError(f"pid {str(pid)[:20]} is none")
    return Guest(
        uuid=str(fields["uuid"]),
        name=str(fields["name"]),
        pid=pid,
        start_ticks=int(fields["start_ticks"]),
        vm=str(fields.get("vm", "")),
        came_in=_maybe_whole(fields.get("came_in")),
    )


def _maybe_whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _maybe(value: Any) -> float | None:
    return None if value is None else _finite(value)


def _finite(value: Any) -> float:
    """A deadline of NaN would never come."""
    seconds = float(value)
    if not math.isfinite(seconds):
        raise ValueError(f"{value!r} is no instant and no time")
    return seconds
