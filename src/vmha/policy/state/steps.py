"""What a plan may ask for. A step leaves no choice to its executor: it names the new record and what must still hold.

The executor turns a step into one transaction that compares the leader key, the placement's revision as the decision
read it, and whatever else the step requires. A stale decision can therefore only lose the compare.
"""

from dataclasses import dataclass
from enum import StrEnum

from vmha.model.holds import Hold
from vmha.model.ids import CauseId, NodeName, RequestId, Revision, SessionId, VmName
from vmha.model.records import Candidate, FenceAttempt, HistoryRecord, Outcome, Placement, Reason, RemovedVm
from vmha.model.settings import Proof
from vmha.model.vm import Desired


class Change(StrEnum):
    """What a placement step does, for the journal."""

    ASSIGN = "assign"  # nobody held it: a node may start it
    RECOVER = "recover"  # its holder's session is fenced: another node may start it
    ADOPT = "adopt"  # it was found running: the node that runs it becomes its holder
    WITHDRAW = "withdraw"  # assigned, and never claimed
    STOP = "stop"  # the holder is to end it
    MIGRATE = "migrate"  # the holder is to send it to a target
    CANCEL = "cancel"  # the holder is to call a migration off
    DEED = "guest"  # the holder is to do something to the guest, once; its QEMU goes on
    DEPART = "depart"  # its holder's session is fenced, and a hand was migrating it to a place unknown
    DISOWN = "disown"  # no longer managed: forget it, touch nothing
    RELEASE = "release"  # its holder's session is fenced and it is not wanted running
    NOTE = "note"  # nothing moves: why it waits has changed


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementStep:
    """Write ``placement`` (None deletes it) if it is still at revision ``expected`` (0: absent).

    ``living``: the node that must still be in this session (its beat's create revision).
    ``fenced``: the session that must be on record as fenced.
    ``settle``: the desired state that goes with it, in the same transaction.
    ``ready``: vms that it needs, whose placements must still be at these revisions.
    """

    change: Change
    vm: VmName
    expected: Revision
    placement: Placement | None
    reason: Reason
    living: tuple[NodeName, Revision] | None = None
    fenced: SessionId | None = None
    settle: "SettleDesired | None" = None
    ready: tuple[tuple[VmName, Revision], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceNode:
    """Cut the node's power by its fence agents; then evict its session with what they confirmed.

    A power cut can not be taken back and no compare can fence it, so the executor first has the store confirm that
    this leader still leads and that the beat is still the one at ``beat_modified``.
    """

    node: NodeName
    session: SessionId
    beat_created: Revision
    beat_modified: Revision
    reason: Reason
    silent_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EvictSession:
    """Take the session's right to commit and put the proof on record, if the beat has not moved.

    ``beat_created`` 0: the session's beat is gone already; only the proof is missing.
    ``beat_modified``: a beat since then contradicts the proof, whoever gave it; None only where the beat is gone.
    ``former``: earlier sessions of the node that left claims without a proof; what ended this one's guests ended
    theirs.
    """

    node: NodeName
    session: SessionId
    beat_created: Revision
    beat_modified: Revision | None
    proof: Proof
    how: str
    reason: Reason
    former: tuple[SessionId, ...] = ()
    silent_s: float = 0.0  # for how long its node had been silent


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveBackStorage:
    """The node was fenced by its disks; its new session, ``beat_created``, has shown that nothing old runs there."""

    node: NodeName
    beat_created: Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerOn:
    """Switch on again what a fence agent has cut, by the same agents; ``session`` is over, with that as its proof.

    Only while nothing has changed: the node has no session, and ``nodes/<node>/fencing`` and its spec are as they were
    at these revisions. ``attempt``: which one this is.
    """

    node: NodeName
    session: SessionId
    fencing: Revision
    spec: Revision
    attempt: int
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlePower:
    """What becomes of a node's power is decided: it is back (``record`` None), or left off. ``text``: what is told."""

    node: NodeName
    expected: Revision
    record: FenceAttempt | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleDesired:
    """The desired state of a vm follows from what was found, or from its recovery policy."""

    vm: VmName
    expected: Revision
    desired: Desired
    reason: Reason
    acknowledged: tuple[Revision, Placement] | None = None  # the ending that was its cause, marked as dealt with


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleHistory:
    """After a restore of the store: what runs where is certain and on record, so life goes on."""

    record: HistoryRecord
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RaiseSchema:
    """All members read ``version``: from now on documents may be of it."""

    version: int
    expected: Revision
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteHold:
    """The freeze of ``vm`` (None: the pause) as it is by now; ``hold`` None: it is over, and ``text`` says why."""

    vm: VmName | None
    expected: Revision
    hold: Hold | None
    text: str = ""
    cause: CauseId = CauseId("")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRequest:
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetRequest:
    request: RequestId


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetProof:
    """Nothing refers to the fenced session any more."""

    session: SessionId


@dataclass(frozen=True, slots=True, kw_only=True)
class RememberRemoved:
    """Where a removed vm may still run. ``expected`` None: there is no such record yet."""

    record: RemovedVm
    expected: Revision | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetRemoved:
    """It is known to run nowhere, or is held again."""

    id: str
    expected: Revision


Step = (
    PlacementStep
    | FenceNode
    | EvictSession
    | GiveBackStorage
    | PowerOn
    | SettlePower
    | SettleDesired
    | SettleHistory
    | RaiseSchema
    | WriteHold
    | AnswerRequest
    | ForgetRequest
    | ForgetProof
    | RememberRemoved
    | ForgetRemoved
)


Wait = tuple[VmName, str, tuple[tuple[str, str], ...]]
"""Who waits, by which rule, and for what: as far as it makes a difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A vm that should run and can not be started now, and what each node said.

    ``wait``: what tells it from another wait of the same vm, where it matters for how long it has been so.
    """

    vm: VmName
    text: str
    candidates: tuple[Candidate, ...] = ()
    wait: Wait | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``wake_in_s``: look again then, even if nothing changes (None: only a change can matter). ``late_in_s``: then a
    node that is well is late, if none beats before.

    ``mass_loss``: most nodes are silent; ``braked``: and the network is still being waited for.
    """

    steps: tuple[Step, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    wake_in_s: float | None = None
    late_in_s: float | None = None
    braked: bool = False
    mass_loss: bool = False

    @property
    def look_in_s(self) -> float | None:
        """Whichever comes first."""
        return min((due for due in (self.wake_in_s, self.late_in_s) if due is not None), default=None)
