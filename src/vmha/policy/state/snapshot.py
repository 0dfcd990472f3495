"""What a decision reads: the whole cluster at one revision, and the instant at which it is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vmha.model.holds import Hold
from vmha.model.ids import NodeName, RequestId, Revision, SessionId, VmName
from vmha.model.records import (
    BeatRecord,
    FenceAttempt,
    FenceRecord,
    FenceStage,
    HistoryRecord,
    LeaderRecord,
    NodeStatus,
    Observation,
    Outcome,
    Placement,
    Progress,
    RemovedVm,
    Request,
    SessionRecord,
    Stored,
)
from vmha.model.rules import Rule
from vmha.model.schema import FIRST, ClusterSchema
from vmha.model.service import Service
from vmha.model.settings import ClusterConfig
from vmha.model.survival import SurvivalRecord
from vmha.model.vm import FailoverDomain, NodeSpec, VmSpec
from vmha.policy.state.steps import Wait

AFTER_OFF = (FenceStage.OFF, FenceStage.SWITCHING_ON, FenceStage.NOT_ON, FenceStage.ON, FenceStage.LEFT_OFF)
"""The stages of a node whose power is proven off, where it is to be switched on again afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """One node: what the operator says, what it says of itself, and what it last committed."""

    name: NodeName
    spec: Stored[NodeSpec] | None = None
    session: Stored[SessionRecord] | None = None
    beat: Stored[BeatRecord] | None = None
    status: Stored[NodeStatus] | None = None
    fencing: Stored[FenceAttempt] | None = None

    @property
    def session_id(self) -> SessionId | None:
        return self.beat.value.session if self.beat else None

    @property
    def current_status(self) -> NodeStatus | None:
        """The status, if it was published in the session that beats now."""
        if self.status and self.beat and self.status.value.session == self.beat.value.session:
            return self.status.value
        return None

    @property
    def attempt(self) -> FenceAttempt | None:
        """How it stands with fencing the session that beats now (or did last)."""
        if self.fencing and self.beat and self.fencing.value.session == self.beat.value.session:
            return self.fencing.value
        return None

    @property
    def is_cut_off_its_storage(self) -> bool:
        """An earlier session of it was fenced by its disks, and they are not given back yet."""
        return self.fencing is not None and self.fencing.value.stage is FenceStage.STORAGE_CUT

    @property
    def switched_off(self) -> FenceAttempt | None:
        """A fence agent has cut its power, and what becomes of it afterwards is on record."""
        return self.fencing.value if self.fencing and self.fencing.value.stage in AFTER_OFF else None


@dataclass(frozen=True, slots=True, kw_only=True)
class VmView:
    """One vm: what is wanted, who may run it, and who was seen running it."""

    name: VmName
    spec: Stored[VmSpec] | None = None
    placement: Stored[Placement] | None = None
    freeze: Stored[Hold] | None = None
    seen: Mapping[NodeName, Observation] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The cluster at ``revision``. Mappings are sorted or looked up by name; nobody changes them."""

    revision: Revision
    config: ClusterConfig = field(default_factory=ClusterConfig)
    leader: Stored[LeaderRecord] | None = None
    schema_record: Stored[ClusterSchema] | None = None
    history: Stored[HistoryRecord] | None = None
    pause: Stored[Hold] | None = None
    survival: Stored[SurvivalRecord] | None = None
    frozen: Mapping[VmName, Stored[Hold]] = field(default_factory=dict)
    domains: Mapping[str, FailoverDomain] = field(default_factory=dict)
    rules: Mapping[str, Rule] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
    nodes: Mapping[NodeName, NodeView] = field(default_factory=dict)
    vms: Mapping[VmName, VmView] = field(default_factory=dict)
    requests: Mapping[RequestId, Request] = field(default_factory=dict)
    outcomes: Mapping[RequestId, Outcome] = field(default_factory=dict)
    fenced: Mapping[SessionId, FenceRecord] = field(default_factory=dict)
    fenced_at: Mapping[SessionId, Revision] = field(default_factory=dict)
    removed: Mapping[str, Stored[RemovedVm]] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)  # keys whose value could not be read, with the reason

    @property
    def schema(self) -> int:
        """The version that the cluster is at: what belongs to a later one must not be written yet."""
        return self.schema_record.value.version if self.schema_record else FIRST

    @property
    def unsettled(self) -> HistoryRecord | None:
        """The store was restored from a backup, and it is not certain yet what runs where."""
        return self.history.value if self.history and not self.history.value.settled else None

    def is_unreadable(self, *parts: str) -> bool:
        """Is there a key ending in ``parts`` whose value can not be read? It is unknown then, not absent."""
        ending = "/" + "/".join(parts)
        return any(key.endswith(ending) for key in self.problems)

    def is_open(self, request: Request) -> bool:
        """Nobody has said yet how it ended."""
        outcome = self.outcomes.get(request.id)
        return outcome is None or outcome.progress is Progress.RUNNING

    def observations(self, vm: VmView) -> list[Observation]:
        """What living sessions saw of a vm. A report of a session that is over counts for nothing."""
        current = []
        for node, seen in vm.seen.items():
            view = self.nodes.get(node)
            if view and view.session_id == seen.session:
                current.append(seen)
        return current


@dataclass(frozen=True, slots=True, kw_only=True)
class PeersSay:
    """What the channel between the agents shows this observer. Empty without a channel. Never a proof of anything.

    ``unheard_s``: for how long the *host* has given no sign of life (no answer, no acknowledgement, no refusal).
    ``witnesses``: for each node whose agent has answered just now, the hosts that it does not hear either.
    """

    unheard_s: Mapping[NodeName, float] = field(default_factory=dict)
    witnesses: Mapping[NodeName, frozenset[NodeName]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The instant of a decision, as one observer's clock counts it.

    ``observer``: whose clock and whose mirror this is; None: nobody's who ever acts.
    ``silence_s``: for how long this observer has seen no new beat of a node and has promised it nothing, in seconds.
    ``store_live_s``: for how long its own beats have been committing without a gap. Silence that is no older than this
    may be the store's, not the node's: it raises no suspicion.
    ``unclaimed_s``: for how long this observer has seen an assignment as it is now; clocks of others may differ.
    ``known_s``: for how long it has known requests, outcomes and proofs, by ``requests.aging``'s names. Their dates
    were written by clocks that may be hours off, and its own wall clock may be set at any time.
    ``unsettled_s``: for how long it has known of the present ``history`` record.
    ``waits_s``: for how long vms that waited in its last plan have been waiting for the same. None: it does not plan
    again and again, and takes what waits for lasting.
    ``fencing``: sessions whose power is being cut by this leader right now; ``powering_on``: those of nodes that it is
    switching on again.
    """

    now: float
    wall: float
    silence_s: Mapping[NodeName, float] = field(default_factory=dict)
    store_live_s: float = float("inf")
    unsettled_s: float = 0.0
    fencing: frozenset[SessionId] = frozenset()
    fence_failed_at: Mapping[SessionId, float] = field(default_factory=dict)
    powering_on: frozenset[SessionId] = frozenset()
    power_on_failed_at: Mapping[SessionId, float] = field(default_factory=dict)
    braked_since: float | None = None
    unclaimed_s: Mapping[VmName, float] = field(default_factory=dict)
    known_s: Mapping[str, float] = field(default_factory=dict)
    waits_s: Mapping[Wait, float] | None = None
    observer: NodeName | None = None
    peers: PeersSay = PeersSay()
