"""``vmha leave``: tell this host's agent that the host shuts down, and wait until it has left the cluster.

The agent is told by SIGUSR1, finds in ``leave.json`` in its run directory by whom and why, which it puts into the
journal, and says what came of it in ``left.json``. An agent that has left does
nothing more until it ends; the next one joins anew. SIGTERM, by contrast, keeps the session, so that a restart moves
nothing.

An agent that could not leave takes vms again, unless its host goes off all the same (``goes_off``: by systemd, say):
what came to it then would only be lost. In the same way it is told to stay: by ``vmha leave --cancel``, and by whoever
does not wait for it any longer (Ctrl-C, its time is over; one that is killed says nothing).
"""

import asyncio
import fcntl
import json
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from vmha.model.clock import Clock
from vmha.model.errors import Refused, Rejected
from vmha.model.records import Hand

AGENT_LOCK = "agent.lock"
LOOK_S = 0.2
ASK_S = 5.0
STAY_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What came of it. ``is_empty`` False: guests are left, or the store did not answer; the session stays."""

    is_empty: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What the agent is told. ``by`` None: whoever sent the signal did not say. ``stays``: it is not to leave.

    ``goes_off``: its host goes off whatever comes of it. So it is taken where nobody said.
    """

    by: Hand | None = None
    stays: bool = False
    goes_off: bool = True


def host_is_stopping() -> bool:
    """Whether systemd shuts the host down, and not only stops the service that asks."""
    try:
        command = ["systemctl", "is-system-running"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return said.stdout.strip() == "stopping"


def tell(run_dir: Path, left: Left | None) -> None:
    """What came of it, for whoever asked; None: nothing yet."""
    path = _answer(run_dir)
    if left is None:
        path.unlink(missing_ok=True)
        return
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"is_empty": left.is_empty}))
    fresh.replace(path)


def read_word(run_dir: Path) -> Word:
    """The last one."""
    try:
        said = json.loads(_word(run_dir).read_text())
        by = Hand(author=str(said["author"]), why=str(said["why"]))
        return Word(by=by, stays=bool(said.get("stays", False)), goes_off=bool(said.get("goes_off", True)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Word()


def take_word(run_dir: Path) -> Word:
    """The last one, once."""
    word = read_word(run_dir)
    _word(run_dir).unlink(missing_ok=True)
    return word


async def ask_to_leave(run_dir: Path, clock: Clock, *, timeout_s: float, by: Hand, goes_off: bool = False) -> Left:
    """Unless the host ``goes_off``, an agent that has not left is in the cluster as before when this ends: if nobody
    waits for it any longer, it is told to stay.

    Raises:
        Rejected: no agent runs here.
        Refused: the agent ended, or did not say anything in time.
    """
    pid = _say(run_dir, Word(by=by, goes_off=goes_off))
    try:
        if (left := await _hear(run_dir, clock, pid, timeout_s)) is not None:
            return left
    except asyncio.CancelledError:
        if not goes_off and _find_agent(run_dir) == pid:
            _say(run_dir, Word(by=by, stays=True))
        raise
    if goes_off:
        raise Refused(f"the agent has not left within {timeout_s:g} s; the guard counts on")
    left = await _hear(run_dir, clock, _say(run_dir, Word(by=by, stays=True)), STAY_S)
    if left is not None and left.is_empty:
        return left
    raise Refused(f"the agent has not left within {timeout_s:g} s; it is told to stay, and its guard counts on")


async def ask_to_stay(run_dir: Path, clock: Clock, *, timeout_s: float, by: Hand) -> Left:
    """``is_empty``: too late, it has left.

    Raises:
        Rejected: no agent runs here.
        Refused: the agent ended, or did not say anything in time.
    """
    left = await _hear(run_dir, clock, _say(run_dir, Word(by=by, stays=True)), timeout_s)
    if left is None:
        raise Refused(f"the agent has not said within {timeout_s:g} s that it stays; look at its log")
    return left


def _say(run_dir: Path, word: Word) -> int:
    """To which process.

    Raises:
        Rejected: no agent runs here.
    """
    pid = _find_agent(run_dir)
    if pid is None:
        raise Rejected(f"no agent runs here ({run_dir / AGENT_LOCK})", accepted="a host whose agent runs")
    assert word.by
    tell(run_dir, None)
    fresh = _word(run_dir).with_suffix(".new")
    said = {"author": word.by.author, "why": word.by.why, "stays": word.stays, "goes_off": word.goes_off}
    fresh.write_text(json.dumps(said))
    fresh.replace(_word(run_dir))
    os.kill(pid, signal.SIGUSR1)
    return pid


async def _hear(run_dir: Path, clock: Clock, pid: int, timeout_s: float) -> Left | None:
    """None: nothing, in that time.

    Raises:
        Refused: the agent ended.
    """
    until = clock.now() + timeout_s
    while clock.now() < until:
        if _answer(run_dir).exists():
            return Left(is_empty=bool(json.loads(_answer(run_dir).read_text())["is_empty"]))
        if _find_agent(run_dir) != pid:
            raise Refused("the agent ended before it had left; the guard counts on")
        await asyncio.sleep(LOOK_S)
    return None


def _answer(run_dir: Path) -> Path:
    return run_dir / "left.json"


def _word(run_dir: Path) -> Path:
    return run_dir / "leave.json"


def _find_agent(run_dir: Path) -> int | None:
    """Its pid, if one holds the lock: the file stays when it is gone."""
    try:
        with (run_dir / AGENT_LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None
    except BlockingIOError:
        said = (run_dir / AGENT_LOCK).read_text().strip()
        return int(said) if said.isdigit() else None
    except OSError:
        return None
