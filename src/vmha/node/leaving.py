"""``vmha leave``: tell this host's agent that the host shuts down, and wait until it has left the cluster.

The agent is told by SIGUSR1, finds in ``leave.json`` in its run directory by whom and why, which it puts into the
journal, and says what came of it in ``left.json``. An agent that has left does
nothing more until it ends; the next one joins anew. SIGTERM, by contrast, keeps the session, so that a restart moves
nothing.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What came of it. ``is_empty`` False: guests are left, or the store did not answer; the session stays."""

    is_empty: bool


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


def asked_by(run_dir: Path) -> Hand | None:
    """Who asks, once; None: whoever sent the signal did not say."""
    try:
        said = json.loads(_word(run_dir).read_text())
        hand = Hand(author=str(said["author"]), why=str(said["why"]))
    except (OSError, ValueError, KeyError, TypeError):
        hand = None
    _word(run_dir).unlink(missing_ok=True)
    return hand


async def ask_to_leave(run_dir: Path, clock: Clock, *, timeout_s: float, by: Hand) -> Left:
    """
    Raises:
        Rejected: no agent runs here.
        Refused: the agent ended, or did not say anything in time.
    """
    pid = _find_agent(run_dir)
    if pid is None:
        raise Rejected(f"no agent runs here ({run_dir / AGENT_LOCK})", accepted="a host whose agent runs")
    tell(run_dir, None)
    fresh = _word(run_dir).with_suffix(".new")
    fresh.write_text(json.dumps({"author": by.author, "why": by.why}))
    fresh.replace(_word(run_dir))
    os.kill(pid, signal.SIGUSR1)
    until = clock.now() + timeout_s
    while clock.now() < until:
        if _answer(run_dir).exists():
            return Left(is_empty=bool(json.loads(_answer(run_dir).read_text())["is_empty"]))
        if _find_agent(run_dir) != pid:
            raise Refused("the agent ended before it had left; the guard counts on")
        await asyncio.sleep(LOOK_S)
    raise Refused(f"the agent has not left within {timeout_s:g} s; the guard counts on")


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
