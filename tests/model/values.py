"""The nouns of the model: which cluster it is, and stored records as small numbers.

A record stands in a state by its number, so that states hash fast. What no decision may depend on is erased before
(instants, words, the count of beats): two states that differ only in that are one state.
"""

from dataclasses import replace
from typing import Any

from vmha.model.ids import Epoch, NodeName, Revision, SessionId, VmName
from vmha.model.keys import Keys, encode
from vmha.model.records import BeatRecord, FenceRecord, LeaderRecord, NodeStatus, Observation, Phase, Placement, Reason
from vmha.model.settings import ClusterConfig, Fencing, Timing
from vmha.model.vm import Desired, FenceDeviceSpec, NodeSpec, VmSpec

NOW = 1000.0
"""Every decision is made at this instant; what happened before is so many ticks older."""

KEYS = Keys("m")
PREFIX = KEYS.prefix
VM = VmName("v")
UUID = "00000000-0000-0000-0000-000000000001"

SPEC = VmSpec(
    name=VM,
    uuid=UUID,
    xml=f"<domain type='kvm'><name>{VM}</name><uuid>{UUID}</uuid><memory>1024</memory></domain>",
    desired=Desired.RUNNING,
)
HOLD = 3
"""In ticks. One tick is a second: guests end between two and three ticks after the last beat was sent."""


def config(margin: int) -> ClusterConfig:
    """Takeover comes ``margin`` ticks after the hold, and a frozen host is reset within as many.

    Without the mass-loss brake: it delays recovery, and here everything may be delayed anyway.
    """
    timing = Timing(
        beat_s=0.25,
        lease_ttl_s=1,
        hold_s=float(HOLD),
        kill_lead_s=1.0,
        margin_s=float(margin),
        watchdog_s=margin,
        suspect_s=0.5,
    )
    return ClusterConfig(timing=timing, fencing=Fencing(mass_loss_brake=False))


NODES = tuple(NodeName(f"n{at}") for at in range(1, 4))
BEAT = tuple(f"nodes/{node}/beat" for node in NODES)
STATUS = tuple(f"nodes/{node}/status" for node in NODES)
SEEN = tuple(f"nodes/{node}/vms/{VM}" for node in NODES)
LEADER, PLACEMENT = "leader", f"vms/{VM}/placement"
COUNTED = frozenset({LEADER, PLACEMENT, *BEAT})
"""Keys whose revisions somebody compares."""

_NO_REASON = Reason(rule="", text="")

RECORDS: list[Any] = [None]
BYTES: list[bytes] = [b""]
EPOCHS: list[int] = [0]
SESSIONS: list[str] = [""]
_NUMBERS: dict[Any, int] = {}
_RENAMED: dict[tuple[int, int, str], int] = {}


def intern(record: Any) -> int:
    """The number of a record, erased to what decisions depend on."""
    record = _erased(record)
    number = _NUMBERS.get(record)
    if number is None:
        number = _NUMBERS[record] = len(RECORDS)
        RECORDS.append(record)
        BYTES.append(encode(record))
        EPOCHS.append(getattr(record, "epoch", None) or 0)
        SESSIONS.append(getattr(record, "session", None) or "")
    return number


def renamed(number: int, epoch: int, session: str) -> int:
    """The same record under another epoch and session."""
    known = _RENAMED.get((number, epoch, session))
    if known is None:
        changes: dict[str, Any] = {}
        if EPOCHS[number]:
            changes["epoch"] = Epoch(epoch)
        if SESSIONS[number]:
            changes["session"] = SessionId(session)
        known = _RENAMED[number, epoch, session] = intern(replace(RECORDS[number], **changes)) if changes else number
    return known


def _erased(record: Any) -> Any:
    match record:
        case Placement():
            return replace(
                record,
                reason=_NO_REASON,
                since=NOW,
                ended_why="",
                failures=(),
                restarts=(),
                endings=(),
                failback_after=Revision(0),
                last_node=record.last_node if record.phase is Phase.STOPPED else None,
                ended=record.ended if record.phase is Phase.STOPPED else None,
            )
        case BeatRecord():
            return replace(record, count=1, sent_at=0.0)
        case Observation():
            return replace(record, since=0.0, reason="", progress="")
        case NodeStatus():
            return replace(record, why_not="", notes=())
        case FenceRecord():
            return replace(record, how="", at=0.0, by=NodeName(""))
        case LeaderRecord():
            return replace(record, since=0.0)
        case _:
            return record


def node_spec(node: NodeName) -> NodeSpec:
    return NodeSpec(name=node, fence=(FenceDeviceSpec(agent="fence_model"),))
