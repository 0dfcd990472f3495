"""The start gate: libvirt's qemu hook, which lets a managed vm start only under a claim of this node's session.

libvirt runs it right before it launches a QEMU (``start``) and before it lets one in by migration (``migrate``), with
the domain's XML on standard input; any exit code but 0 refuses, with the words on standard error.

    start of a vm that is not managed                 let through, always
    start of a managed vm, granted by the agent now   let through, if the session's deadline has not come
    any other start of a managed vm                   refused: somebody's hand, or a start that comes too late
    a managed vm coming in by migration               let in: it is vmha's own, or it is adopted where it arrives
    the same where the session is over                refused: the guard would end it
    the same where no session has begun               refused: no guard would end it, were this node cut off
    the same under ``gate: strict``                   let in if this node's agent expects it under that epoch
    anything under ``gate: off``                      let through: somebody else sees to it

A grant is a file that the agent makes right before its start and takes away right after it. So a second copy started
by hand is refused before it can hurt, and a libvirtd that stood still with a start in its queue refuses it when it
goes on. It fails closed: without an agent there is no grant. Standard library only, it never calls libvirt, and what
it does not understand about a vm that is not managed it lets through.
"""

import json
import math
import os
import sys
import time
from typing import Any, NamedTuple
from xml.etree import ElementTree

from vmha.fencing.names import GUARD_STATE, TAG_NAMESPACE

GRANTS = "grants"
MANAGED = "managed.json"
EXPECTED = "expected.json"
STRICT, OFF = "strict", "off"
NOT_EXPECTED = "is not expected here by migration"
COMING_IN = "coming-in"
COMING_IN_FOR_S = 60.0
START = ("start", "begin")
MIGRATE = ("migrate", "begin")
MOST_DIGITS = 70
"""Of an epoch that is read, as the agent reads it (model/domain_xml.py)."""


class Asked(NamedTuple):
    """What the hook is asked about: the domain, as its XML describes it."""

    name: str
    uuid: str
    tag_cluster: str = ""
    tag_epoch: int | None = None


class Known(NamedTuple):
    """What this node knows: the managed vms, the grant for this one, and until when its session may start guests.

    ``expected_epoch``: of the migration that vmha itself sends here.
    """

    cluster: str = ""
    managed: frozenset[str] = frozenset()  # uuids and names
    granted_epoch: int | None = None
    granted_session: str = ""
    armed_session: str = ""
    kill_at: float = 0.0
    coming_in: bool = False
    mode: str = ""
    expected_epoch: int | None = None
    expected_session: str = ""
    has_expired: bool = False  # the guard ends managed guests until another session is armed


def judge(operation: tuple[str, str], asked: Asked, known: Known, now: float) -> str:
    """'' lets it through; else the words of the refusal. ``now`` is CLOCK_BOOTTIME."""
    ours = asked.tag_cluster == known.cluster if asked.tag_cluster else False
    if not known.cluster or not (ours or asked.uuid in known.managed or asked.name in known.managed):
        return ""
    if known.mode == OFF:
        return ""
    if operation == MIGRATE and known.mode == STRICT:
        return _judge_arrival(asked, known, now)
    if operation == MIGRATE:
        return _judge_hand(asked, known, now)
    if operation != START or known.coming_in:
        return ""
    if known.granted_epoch is None:
        return f"{asked.name} is managed by vmha and not to be started by hand: use 'vmha vm start {asked.name}'"
    if asked.tag_epoch != known.granted_epoch:
        return f"{asked.name} carries epoch {asked.tag_epoch}, granted is {known.granted_epoch}: not this start"
    if known.granted_session != known.armed_session or now >= known.kill_at:
        return f"{asked.name} comes too late: this node's session is over, and another may run it already"
    return ""


def _judge_hand(asked: Asked, known: Known, now: float) -> str:
    """A node that has just booted, say, and can not commit: what came in would run on, whatever others conclude."""
    if known.has_expired or (known.armed_session and now >= known.kill_at):
        return f"{asked.name} can not come in: this node's session is over, and its guard ends what it finds here"
    if not known.armed_session:
        return f"{asked.name} can not come in: this node has no session, and no guard that would end it in time"
    return ""


def _judge_arrival(asked: Asked, known: Known, now: float) -> str:
    """A migration of vmha's own carries the epoch that its target is to hold; one made by hand the epoch it had."""
    if known.expected_epoch is None or asked.tag_epoch != known.expected_epoch:
        return (
            f"{asked.name} is managed by vmha and {NOT_EXPECTED} (gate: strict): "
            f"use 'vmha vm migrate {asked.name} --to NODE'"
        )
    if known.expected_session != known.armed_session or now >= known.kill_at:
        return f"{asked.name} comes too late: this node's session is over"
    return ""


def main() -> int:
    """``qemu NAME OPERATION SUBOPERATION EXTRA``, as libvirt calls it."""
    operation = (sys.argv[2], sys.argv[3]) if len(sys.argv) > 3 else ("", "")
    if operation not in (START, MIGRATE):
        return 0
    run_dir = os.environ.get("VMHA_RUN_DIR", "/run/vmha")
    state_dir = os.environ.get("VMHA_STATE_DIR", "/var/lib/vmha")
    try:
        asked = read_domain(sys.stdin.read(), sys.argv[1])
    except (ElementTree.ParseError, ValueError):
        asked = Asked(name=sys.argv[1], uuid="")
    refusal = judge(operation, asked, read_known(run_dir, state_dir, asked), time.clock_gettime(time.CLOCK_BOOTTIME))
    if refusal:
        print(f"vmha: {refusal}", file=sys.stderr)
        return 1
    mark = os.path.join(run_dir, COMING_IN, asked.uuid or asked.name)
    if operation == MIGRATE:  # the start that belongs to it follows, and uses the mark up
        os.makedirs(os.path.dirname(mark), exist_ok=True)
        with open(mark, "w") as file:
            file.write(_as_marked(asked))
    elif os.path.exists(mark):
        os.unlink(mark)
    return 0


def read_domain(text: str, name: str) -> Asked:
    """Raises: ParseError, also where entities could expand: libvirt writes no DOCTYPE; ValueError: it is not text."""
    if "<!DOCTYPE" in text:
        raise ElementTree.ParseError("has a DOCTYPE, so libvirt did not write it")
    root = ElementTree.fromstring(text)
    tag = root.find(f"./metadata/{{{TAG_NAMESPACE}}}vm")
    epoch = tag.get("epoch", "") if tag is not None else ""
    return Asked(
        name=root.findtext("name") or name,
        uuid=(root.findtext("uuid") or "").strip().lower(),
        tag_cluster=tag.get("cluster", "") if tag is not None else "",
        tag_epoch=int(epoch) if epoch.isascii() and epoch.isdigit() and len(epoch) <= MOST_DIGITS else None,
    )


def read_known(run_dir: str, state_dir: str, asked: Asked) -> Known:
    """Whatever can not be read is not there: no grant, no session. Without the list only the tag tells what is ours."""
    managed = _read(state_dir, MANAGED)
    grant = _read(run_dir, GRANTS, asked.uuid) if asked.uuid else {}
    deadline = _read(run_dir, GUARD_STATE).get("deadline")
    deadline = deadline if isinstance(deadline, dict) else {}
    kill_at = _kill_at(deadline) if deadline.get("state") == "armed" else None
    armed = kill_at is not None
    epoch = grant.get("epoch")
    expected = _read(run_dir, EXPECTED)
    arrivals = expected.get("epochs")
    arrival = arrivals.get(asked.uuid) if isinstance(arrivals, dict) else None
    vms = managed.get("vms")
    return Known(
        cluster=str(managed.get("cluster", asked.tag_cluster)),
        managed=frozenset(map(str, vms if isinstance(vms, list) else ())),
        granted_epoch=epoch if isinstance(epoch, int) else None,
        granted_session=str(grant.get("session", "")),
        armed_session=str(deadline.get("session", "")) if armed else "",
        kill_at=0.0 if kill_at is None else kill_at,
        coming_in=_comes_in(os.path.join(run_dir, COMING_IN, asked.uuid or asked.name), asked),
        mode=str(managed.get("gate", "")),
        expected_epoch=arrival if isinstance(arrival, int) else None,
        expected_session=str(expected.get("session", "")),
        has_expired=str(deadline.get("state", "")).startswith("expired"),
    )


def _kill_at(deadline: dict[str, Any]) -> float | None:
    """None: that is no deadline."""
    try:
        kill_at = float(deadline["sent_at"]) + float(deadline["hold_s"]) - float(deadline["kill_lead_s"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return kill_at if math.isfinite(kill_at) else None


def _read(*path: str) -> dict[str, Any]:
    try:
        with open(os.path.join(*path)) as file:
            found = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _comes_in(path: str, asked: Asked) -> bool:
    """A migration that failed before its start leaves its mark, and whoever then starts the vm by hand, from its file,
    must not be let in by that.
    """
    try:
        age_s = time.time() - os.stat(path).st_mtime  # noqa: TID251 (with a file's own time)
        is_fresh = abs(age_s) < COMING_IN_FOR_S  # a clock that was set back must not keep it fresh
        with open(path) as file:
            return is_fresh and file.read() == _as_marked(asked)
    except (OSError, ValueError):
        return False


def _as_marked(asked: Asked) -> str:
    """What tells a guest that comes in from one that is started: the mark that it had where it ran."""
    return f"{asked.tag_cluster} {asked.tag_epoch}"


if __name__ == "__main__":
    sys.exit(main())
