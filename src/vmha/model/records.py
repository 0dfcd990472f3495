"""What agents and the leader write into etcd: claims, observations, proofs, requests, the journal.

A *placement* is the one authority on where a vm may run. An *observation* is what an agent saw. They are never the
same thing: a decision may follow from both, a guest is started only under a placement.

    stopped --AssignVm--> assigned --claim(agent)--> held --StopVm--> stopping --release(agent)--> stopped
       ^                     |                        |
       |<----WithdrawVm------+                        +--MigrateVm--> migrating --hand over(agent)--> assigned (arrival)
       |                                              |                   |
       +<--release(agent): it ended by itself---------+<---failed, or cancelled(agent)
       |
       +<--(any phase of a fenced session: the leader, with the proof on record)
    held --left for a place unknown(agent), or was leaving when its session was fenced(leader)--> departed
    departed --seen on a member--> held
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from vmha.model.ids import CauseId, Epoch, LeaseId, NodeName, RequestId, Revision, SessionId, VmName
from vmha.model.migration import MigrationProgress, Moved
from vmha.model.node_findings import EndedArrival, LeftOver
from vmha.model.restart import GuestDeed, RestartKind
from vmha.model.settings import Proof
from vmha.model.vm import MigrationStyle

SCHEMA = 1

T = TypeVar("T")


class ArmedLevel(StrEnum):
    """What ends a node's guests when the node can not commit."""

    NONE = "none"
    GUARD = "guard"
    WATCHDOG = "watchdog"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """``nodes/<node>/session``, on the agent's lease: gone when the lease is. Suspicion, never proof."""

    schema: int = SCHEMA
    node: NodeName
    session: SessionId
    since: float
    version: str
    address: str
    pid: int = 0
    reads: int = 1  # the newest schema of a cluster that this agent reads (model/schema.py)


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatRecord:
    """``nodes/<node>/beat``, no lease: rewritten by transaction every ``beat_s``; deleted by an eviction.

    It carries what its reader must know when nobody answers any more: what ends the guests, and when.

    ``promisers`` (members/failsafe.py): with the promise of all of these, and for ``failsafe_s`` at most, the guests go
    on although no beat is committed. Only one of them may conclude from silence alone that they have ended.
    """

    schema: int = SCHEMA
    session: SessionId
    boot_id: str
    host: str = ""  # which machine: two that call themselves by one name must not take each other's session
    count: int
    armed: ArmedLevel
    hold_s: float
    dead_after_s: float
    peers_address: str = ""  # where this agent answers its peers; "": it has no channel
    promisers: tuple[NodeName, ...] = ()
    failsafe_s: float = 0.0
    sent_at: float = 0.0  # by the node's CLOCK_BOOTTIME: older than one it has committed, the store was restored


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRecord:
    """``history``: the store was found at an earlier state than one that a node had already committed to.

    It was restored from a backup, then, and what it says of who runs what may be of the past. Until ``settled``
    nothing is started, moved or recovered; only what runs is put on record (policy/deciding/restored.py).
    """

    schema: int = SCHEMA
    id: str  # of this finding; no two are alike
    by: NodeName
    at: float
    why: str
    settle_s: float  # whoever has not committed anything for this long since has ended its guests
    settled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """``nodes/<node>/status``: written by the agent; counts only while ``session`` is the node's session."""

    schema: int = SCHEMA
    node: NodeName
    session: SessionId
    eligible: bool
    why_not: str = ""
    armed: ArmedLevel = ArmedLevel.NONE
    memory_mib: int = 0
    vcpus: int = 0
    hypervisor: str = ""
    address: str = ""
    migration_address: str = ""
    leaving: bool = False  # an orderly shutdown of the host is under way
    stops_vms: bool = False  # ... and there is no more time for migrations
    looked_for: Revision = Revision(0)  # vms defined up to this revision were looked for in the published inventory
    history: str = ""  # the ``HistoryRecord`` since which the whole inventory was published
    store_id: str = ""  # of the etcd that it was written to, by etcd's own word
    notes: tuple[str, ...] = ()
    left_overs: tuple[LeftOver, ...] = ()
    ended_arrivals: tuple[EndedArrival, ...] = ()


class SeenState(StrEnum):
    """What an agent saw of a domain."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    INCOMING = "incoming"
    ARRIVED = "arrived"
    OUTGOING = "outgoing"
    STOPPING = "stopping"
    CRASHED = "crashed"


class HealthState(StrEnum):
    """What a guest's probes say."""

    STARTING = "starting"  # it has not answered yet, and has time to
    HEALTHY = "healthy"
    FAILING = "failing"
    UNKNOWN = "unknown"  # a probe could not be asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """By the probes of its definition. ``gated``: its start is not over before one of them has answered."""

    state: HealthState
    ready: bool
    gated: bool = False
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """``nodes/<node>/vms/<vm>``: a domain with a QEMU on this node. Absent key: none was seen by ``session``.

    ``also_running``, ``also_standing``: what libvirt calls more guests of the same vm here (policy/at_node/beside.py).
    """

    schema: int = SCHEMA
    vm: VmName
    node: NodeName
    session: SessionId
    state: SeenState
    reason: str = ""
    epoch: Epoch | None = None  # of the tag found in the domain's metadata; None: not tagged by us
    uuid: str = ""
    since: float = 0.0
    progress: str = ""
    second: bool = False  # it ran while the holder's did, and was paused for that: it never becomes the vm
    health: Health | None = None  # None: it has no probes
    migration: MigrationProgress | None = None  # out of this node, under way
    silent: bool = False  # it should run, and its QEMU has answered nothing for a while
    has_run: bool = False  # it stands, and is known to have run here before
    also_running: tuple[str, ...] = ()
    also_standing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One node as a decision saw it. ``refusal`` empty: it could have taken the vm."""

    node: NodeName
    score: int = 0
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why: the rule that decided, in words, with the nodes that were weighed."""

    rule: str
    text: str
    cause: CauseId = CauseId("")
    candidates: tuple[Candidate, ...] = ()


class Phase(StrEnum):
    STOPPED = "stopped"
    ASSIGNED = "assigned"
    HELD = "held"
    STOPPING = "stopping"
    MIGRATING = "migrating"
    DEPARTED = "departed"


class RunEnd(StrEnum):
    """Why a vm is not running (any more), as its last holder or the leader recorded it."""

    ASKED = "asked"
    GUEST_SHUTDOWN = "guest_shutdown"
    DESTROYED = "destroyed"
    CRASHED = "crashed"
    START_FAILED = "start_failed"
    NODE_LOST = "node_lost"
    SAVED = "saved"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One start that failed, or one migration to ``node``."""

    node: NodeName
    at: float
    error: str
    moving: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedImage:
    """The memory of a vm that was stopped, in a file: what its next start may go on from, once.

    ``epoch``: of the run it was saved from. ``definition``: digest of what that run was started with; '': not known.
    """

    file: str
    epoch: Epoch
    definition: str
    node: NodeName
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """``vms/<vm>/placement``: who may run the vm. ``epoch`` grows by one with each new holder."""

    schema: int = SCHEMA
    vm: VmName
    epoch: Epoch
    phase: Phase
    reason: Reason
    since: float
    node: NodeName | None = None
    session: SessionId | None = None  # the holder's session, from the claim on
    target: NodeName | None = None
    arrival: bool = False  # assigned by a hand-over: resume what has arrived; boot only if nothing has
    style: MigrationStyle | None = None  # of the migration under way, where it was asked for in another than the vm's
    switched: bool = False  # of the migration under way, by post-copy: its guest may be at the target from now on
    operation: RequestId | None = None
    cancel: RequestId | None = None  # of the last migration: the request that calls it off
    cancel_by: str = ""
    tries: int = 0  # migrations begun for this operation
    moved: Moved | None = None  # what its last migration took
    last_node: NodeName | None = None
    drained_from: NodeName | None = None  # a drain of that node sent it away, and nothing else has moved it since
    ended: RunEnd | None = None
    ended_why: str = ""
    kept_by: SessionId | None = None  # whose host's shutdown stopped it: it waits for that host (``last_node``)
    failures: tuple[Failure, ...] = ()
    restarts: tuple[float, ...] = ()
    endings: tuple[float, ...] = ()  # when it last ended unasked, for the rest before the next try
    by_force: bool = False  # of a stop: the guest is not asked
    deed: GuestDeed | None = None  # to be done, once, to the guest that runs under it
    failback_after: Revision = Revision(0)  # fail back only to sessions younger than this
    memory_mib: int = 0  # of the definition that its last start has read, where that is not in etcd
    vcpus: int = 0  # likewise
    definition: str = ""  # digest of the definition that this run was started with; '': not known
    guest: str = ""  # what its guest is called, where that is not the vm's name: how it ended is asked by that
    leaving: bool = False  # by a hand's migration
    leaving_to: NodeName | None = None  # the member that has shown it coming in; None: nobody knows where to
    came_by_hand: bool = False  # by a hand's migration, after which its holder has said that it had left
    left_before: str = ""  # mark of the migration that took an earlier run from here, as it was known at the claim
    saved: SavedImage | None = None  # only while nobody has claimed the start that may use it: a claim uses it up


class Verb(StrEnum):
    """Operations that are asked for once (everything else is desired state in a spec)."""

    MIGRATE = "migrate"
    RELOCATE = "relocate"
    RESTART = "restart"
    START = "start"  # on a node that is named; elsewhere a start is a desired state
    ENABLE = "enable"  # the same, of a vm that may be disabled
    CANCEL = "cancel-migration"
    CONFIRM_OFF = "confirm-off"
    CONFIRM_GONE = "confirm-gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """``requests/<id>``"""

    schema: int = SCHEMA
    id: RequestId
    verb: Verb
    vm: VmName | None = None
    node: NodeName | None = None  # the target of a migration; the node that is confirmed off
    style: MigrationStyle | None = None  # of a migration; None: as the vm's definition says
    kind: RestartKind | None = None  # of a restart; None: stop and start
    together: RequestId | None = None  # the first of several that were asked for as one (policy/asked/as_one.py)
    author: str = ""
    asked_at: float = 0.0
    expires_at: float = 0.0
    session: SessionId | None = None  # confirm-off: the node's session as its author saw it ('': none); None: not said


@dataclass(frozen=True, slots=True, kw_only=True)
class UuidClaim:
    """``uuids/<uuid>``: whoever gives a vm this uuid, or takes it away, writes here. Two who do so at once meet here.

    It decides nothing else: which vm has a uuid is said by the specs. A vm of before there were claims has none.
    """

    schema: int = SCHEMA
    vm: VmName


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """A node that ran a vm, and the session of it that said so last."""

    node: NodeName
    session: SessionId


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedVm:
    """``removed/<id>``: a vm that is no longer defined, and where it may still run. Written with the removal; then the
    leader's (policy/members/removed.py), which deletes it as soon as it is known to run nowhere.

    ``departed``: it had been migrated out of the cluster, and why that is thought.
    """

    schema: int = SCHEMA
    id: str
    vm: VmName
    uuid: str = ""
    at: float
    by: str = ""
    departed: str = ""
    places: tuple[Whereabouts, ...] = ()


class Progress(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``outcomes/<id>``: written by the leader beside the request."""

    schema: int = SCHEMA
    request: RequestId
    progress: Progress
    text: str
    at: float
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceRecord:
    """``fencing/<session>``: the proof that nothing of this session runs any more. Never overwritten."""

    schema: int = SCHEMA
    session: SessionId
    node: NodeName
    proof: Proof
    how: str
    at: float
    by: str
    last_beat: Revision = Revision(0)  # of the session, as far as its author knows; 0: not known


class FenceStage(StrEnum):
    """How far an attempt to fence a node is."""

    CUTTING = "cutting"  # a fence agent is at work
    FAILED = "failed"  # nothing is confirmed; it is tried again
    STORAGE_CUT = "storage-cut"  # confirmed: its disks are out of its reach until they are given back
    OFF = "off"  # confirmed: its power is off, and to be switched on again
    SWITCHING_ON = "switching-on"  # a fence agent is at work on that
    NOT_ON = "not-on"  # it did not manage; it is tried again
    ON = "on"  # it did: the node has power, and is not back yet
    LEFT_OFF = "left-off"  # decided: it stays off until a hand switches it on


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceAttempt:
    """``nodes/<node>/fencing``: how it stands with fencing a silent node. Gone with its proof, or when it beats again;
    where its storage was cut or it is to be switched on again, once that is done.

    ``attempts`` counts those of this session; ``next_at`` is the wall clock time of the next one, 0 when none is due.
    """

    schema: int = SCHEMA
    node: NodeName
    session: SessionId
    stage: FenceStage
    attempts: int
    message: str = ""
    at: float
    next_at: float = 0.0
    by: NodeName


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderRecord:
    """``leader``, on the leader's lease. Its create revision is the term."""

    schema: int = SCHEMA
    node: NodeName
    session: SessionId
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """By whose word it was done, and why. ``until``: of what ends by itself, by its author's clock; 0: it does not."""

    author: str
    why: str = ""
    until: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """``journal/<id>``: what happened and why; expires. ``since``: when it began, where that was before it was seen.

    ``hand``: of what an operator did or asked for, with a verb or at the dashboard.
    """

    schema: int = SCHEMA
    id: str
    at: float
    by: NodeName
    kind: str
    text: str
    vm: VmName | None = None
    node: NodeName | None = None
    cause: CauseId = CauseId("")
    reason: Reason | None = None
    since: float = 0.0
    hand: Hand | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HookState:
    """``hooks/<name>``: how far a hook has been told. ``revision`` and ``entry``: everything up to there is done with.

    ``delivered``, ``failed`` (given up), ``dropped`` (never tried, it was too far behind) count since it was set up;
    ``last*``: of the newest event that was tried.
    """

    schema: int = SCHEMA
    hook: str
    revision: Revision
    entry: str
    by: NodeName | None = None
    delivered: int = 0
    failed: int = 0
    dropped: int = 0
    last: str = ""
    last_done: bool = False
    last_said: str = ""
    last_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Stored(Generic[T]):
    """A record together with etcd's numbers for its key."""

    value: T
    created: Revision
    modified: Revision
    lease: LeaseId = LeaseId(0)
