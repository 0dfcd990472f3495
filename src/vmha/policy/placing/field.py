"""The nodes as one plan sees them: what is read of them, and what this plan adds.

It holds; who counts and who chooses stands elsewhere: placing/placement.py, services.py, affinity.py, room/for_all.py.
"""

from dataclasses import dataclass, field

from vmha.model.ids import NodeName, Revision, VmName
from vmha.model.settings import Limits
from vmha.model.vm import FailoverDomain, VmSpec
from vmha.policy.members.membership import Verdict
from vmha.policy.placing.alike import Alike
from vmha.policy.placing.choice import Choice
from vmha.policy.placing.failover_domain import Ranking
from vmha.policy.placing.load import Load, Rooms
from vmha.policy.placing.preferences import Preferences
from vmha.policy.placing.ties import Ties
from vmha.policy.state.reservation import Room, Size, size_of
from vmha.policy.state.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """``nodes`` are doubtful whatever is asked; all others have looked for what was defined up to ``looked_for``."""

    nodes: tuple[NodeName, ...]
    looked_for: Revision | None


Asking = tuple[str | None, int, int]
"""A failover domain, memory and vcpus: vms that nothing else tells apart are given the same answer."""


@dataclass(slots=True, kw_only=True)
class Field:
    """The nodes as one plan sees them."""

    snapshot: Snapshot
    verdicts: dict[NodeName, Verdict]
    wall: float
    preferences: Preferences
    loads: dict[NodeName, Load] = field(default_factory=dict)
    ties: Ties = field(default_factory=Ties)
    starting: int = 0  # in the whole cluster, as ``migrating``
    migrating: int = 0
    doubts: Doubts | None = None
    answers: dict[Asking, Choice] | None = field(default=None, init=False)  # while vms are decided about (plan.py)
    looked_at: dict[bool, Alike] = field(default_factory=dict, init=False)  # kept as what they carry changes
    _rooms: dict[NodeName, Room] = field(default_factory=dict)
    _limits: Limits | None = None

    def __post_init__(self) -> None:
        self._rooms = self._rooms or Rooms(self.snapshot.nodes, self.snapshot.config)

    @property
    def limits(self) -> Limits:
        """The settings', unless these are supposed to be others (``room.for_all.without_limits``)."""
        return self._limits or self.snapshot.config.limits

    @property
    def eligible(self) -> frozenset[NodeName]:
        return self.preferences.eligible

    def room_of(self, node: NodeName) -> Room:
        return self._rooms[node]

    def size_of(self, spec: VmSpec) -> Size:
        if spec.definition is None:
            return size_of(spec, None)
        vm = self.snapshot.vms.get(VmName(spec.name))
        return size_of(spec, vm.placement.value if vm and vm.placement else None)

    def domain_of(self, spec: VmSpec) -> FailoverDomain | None:
        service = self.ties.member_of.get(VmName(spec.name)) if self.ties.member_of else None
        name = service.failover_domain if service else spec.failover_domain
        return self.snapshot.domains.get(name) if name else None

    def ranking(self, spec: VmSpec, owner: NodeName | None) -> Ranking:
        return self.preferences.ranking(self.domain_of(spec), owner)

    def at_once(self, *, moving: bool) -> int:
        """How much may be in progress at one node."""
        return self.limits.migrations_per_node if moving else self.limits.starts_per_node

    def alike(self, *, moving: bool) -> Alike:
        """The nodes for a migration, or for a start."""
        if moving not in self.looked_at:
            most = self.at_once(moving=moving)
            self.looked_at[moving] = Alike(
                self.verdicts, self.eligible, self.loads, self._rooms, most=most, moving=moving
            )
        return self.looked_at[moving]
