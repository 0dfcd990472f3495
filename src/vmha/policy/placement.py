"""Which node takes a vm: feasible first, then rank. Ties go by soft rules, then the fewest vms, then by name."""

from collections.abc import Callable, Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import islice

from vmha.model.ids import NodeName, Revision, VmName
from vmha.model.records import Candidate, Failure, Phase, Placement, SeenState
from vmha.model.vm import FailoverDomain, VmSpec
from vmha.policy.affinity import forbidden, has_soft_rules, took, unmet
from vmha.policy.by_load import ByLoad
from vmha.policy.census import Census
from vmha.policy.census import take as take_census
from vmha.policy.doubts import Doubts
from vmha.policy.exclusive import clash
from vmha.policy.failover_domain import Ranking, Score
from vmha.policy.membership import Verdict
from vmha.policy.preferences import Preferences
from vmha.policy.reservation import NOTHING, Room, Size, room_of, size_of
from vmha.policy.services import apart, reserved, took_a_place
from vmha.policy.snapshot import Snapshot
from vmha.policy.ties import Ties, tie
from vmha.policy.transitions import CLOCKS_DIFFER_S

FAILED_START_REST_S = 5.0
"""A node on which a start failed is passed over for this long, doubled by each further failure there."""
LONGEST_REST_S = 300.0
LOOKED_AT_ALL = 32
"""In a larger cluster a choice looks no further than the nodes that can be the best, where it can tell."""
NAMED_AT_MOST = 16
"""A choice names so many nodes. It is written into etcd with each placement: all of 500 would be 20 kB, for each vm."""


@dataclass(slots=True, kw_only=True)
class Load:
    """What a node carries, counting what this plan adds. The only thing that changes while a plan is made."""

    vms: int = 0
    memory_mib: int = 0
    vcpus: int = 0
    starting: int = 0
    migrating: int = 0
    exclusive: list[VmName] = field(default_factory=list)  # of the vms, those that want the node for themselves

    @property
    def taken(self) -> Size:
        return Size(self.memory_mib, self.vcpus)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """``node`` None: nobody can take it, and ``candidates`` say why. ``retry_in_s``: when a refusal ends by itself.

    In a large cluster the candidates are those that say most; ``unnamed`` counts the others.
    """

    node: NodeName | None
    candidates: tuple[Candidate, ...]
    unnamed: int = 0
    retry_in_s: float | None = None


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
    _by_load: dict[bool, ByLoad] = field(default_factory=dict, init=False)
    _rooms: dict[NodeName, Room] = field(default_factory=dict)

    @property
    def eligible(self) -> frozenset[NodeName]:
        return self.preferences.eligible

    def room_of(self, node: NodeName) -> Room:
        if node not in self._rooms:
            self._rooms[node] = room_of(self.snapshot.nodes[node], self.snapshot.config)
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

    def find_better(
        self, spec: VmSpec, owner: NodeName, *, after: Revision, failures: Iterable[Failure]
    ) -> NodeName | None:
        """The most preferred node above ``owner`` that can take the vm and joined after revision ``after``."""
        domain = self.domain_of(spec)
        if domain is None:
            return None  # without a failover domain no node is preferred over another
        able = [
            (rank, unmet(name, spec, self) if self.snapshot.rules else 0, self.loads[name].vms, name)
            for rank, name in self.preferences.better_than(owner, domain)
            if self._joined_after(name, after)
            and not _refusal(name, spec, self, Score.BEST, failures=failures, avoid={}, moving=True)[0]
        ]
        return min(able)[-1] if able else None

    def _joined_after(self, node: NodeName, revision: Revision) -> bool:
        beat = self.snapshot.nodes[node].beat
        return beat is not None and beat.created > revision

    def take(self, node: NodeName, spec: VmSpec, *, starting: bool) -> None:
        load = self.loads.setdefault(node, Load())
        load.vms += 1
        need = self.size_of(spec)
        load.memory_mib += need.memory_mib
        load.vcpus += need.vcpus
        load.starting += 1 if starting else 0
        self.starting += 1 if starting else 0
        if self.ties.member_of:
            took_a_place(spec.name, node, self)
        if self.snapshot.rules:
            took(spec.name, node, self)
        if spec.exclusive:
            load.exclusive.append(VmName(spec.name))
        for order in self._by_load.values():
            order.took(node)

    def by_load(self, *, moving: bool) -> ByLoad:
        """The nodes that may take one more, by a migration or by a start."""
        if moving not in self._by_load:
            self._by_load[moving] = ByLoad(
                self.verdicts, count=lambda node: self.loads[node].vms, is_open=lambda node: self._is_open(node, moving)
            )
        return self._by_load[moving]

    def _is_open(self, node: NodeName, moving: bool) -> bool:
        load, limits = self.loads[node], self.snapshot.config.limits
        if moving:
            return node in self.eligible and load.migrating < limits.migrations_per_node
        return node in self.eligible and load.starting < limits.starts_per_node


def survey(
    snapshot: Snapshot,
    verdicts: dict[NodeName, Verdict],
    wall: float,
    census: Census | None = None,
    preferences: Preferences | None = None,
) -> Field:
    """Counts what every node carries: a vm on its way counts at both ends.

    ``census``, ``preferences``: of this snapshot and these verdicts, by whoever has them already.
    """
    census = take_census(snapshot.vms) if census is None else census
    eligible = frozenset(name for name, verdict in verdicts.items() if verdict.may_receive)
    ground = Field(
        snapshot=snapshot,
        verdicts=verdicts,
        wall=wall,
        preferences=preferences or Preferences(eligible=eligible, domains=snapshot.domains),
        loads={name: Load() for name in snapshot.nodes},
        ties=tie(snapshot, census.astir.values()),
    )
    loads = ground.loads
    for place, crowd in census.crowds.items():
        if place.node is not None:
            load = loads.setdefault(place.node, Load())
            load.vms += len(crowd.vms)
            load.memory_mib += crowd.size.memory_mib
            load.vcpus += crowd.size.vcpus
    for vm in census.astir.values():
        if vm.placement is None or vm.placement.value.phase in (Phase.STOPPED, Phase.DEPARTED):
            for seen in snapshot.observations(vm) if vm.seen and vm.spec else ():
                loads[seen.node].vms += seen.state is SeenState.RUNNING  # about to be adopted
            continue
        placement = vm.placement.value
        need = size_of(vm.spec.value, placement) if vm.spec else NOTHING
        is_moving = placement.phase is Phase.MIGRATING or (placement.phase is Phase.ASSIGNED and placement.arrival)
        is_at_work = _is_at_work(placement, snapshot)
        ground.migrating += is_moving and is_at_work
        for node in (placement.node, placement.target):
            if node is None:
                continue
            load = ground.loads.setdefault(node, Load())
            load.vms += 1
            load.memory_mib += need.memory_mib
            load.vcpus += need.vcpus
            load.migrating += is_moving
            if vm.spec and vm.spec.value.exclusive:
                load.exclusive.append(vm.name)
            if not is_moving and (placement.phase is Phase.ASSIGNED or _is_starting(placement, vm.seen.get(node))):
                load.starting += 1
                ground.starting += is_at_work
    return ground


def _is_at_work(placement: Placement, snapshot: Snapshot) -> bool:
    """What a lost node had begun takes nobody's turn: it waits for a proof, perhaps for days."""
    holder = snapshot.nodes.get(placement.node) if placement.node else None
    return placement.session is None or (holder is not None and holder.session_id == placement.session)


def _is_starting(placement: Placement, seen: object) -> bool:
    state = getattr(seen, "state", None)
    return placement.phase is Phase.HELD and state in (None, SeenState.STARTING)


def choose_leading(
    spec: VmSpec,
    ground: Field,
    *,
    failures: Iterable[Failure] = (),
    avoid: dict[NodeName, str] | None = None,
) -> Choice:
    """As ``choose``, and the others of its service are to follow it there."""
    is_free = VmName(spec.name) in ground.ties.free
    ground.ties.free.add(VmName(spec.name))
    choice = choose(spec, ground, failures=failures, avoid=avoid)
    if choice.node is None and not is_free:
        ground.ties.free.discard(VmName(spec.name))
    return choice


def choose(
    spec: VmSpec,
    ground: Field,
    *,
    owner: NodeName | None = None,
    failures: Iterable[Failure] = (),
    avoid: dict[NodeName, str] | None = None,
    prefer: NodeName | None = None,
    moving: bool = False,
) -> Choice:
    """Rank every node for one vm.

    Args:
        owner: where it runs now, for ``nofailback``.
        failures: starts that failed, for the rest a node takes after one.
        avoid: nodes ruled out by the caller, each with its words.
        prefer: taken first among the nodes that can (a restart in place).
        moving: by migration, not by a start.
    """
    ranking, avoid = ground.ranking(spec, owner), avoid or {}
    failures, need = tuple(failures), ground.size_of(spec)
    eligible, has_rules = ground.eligible, bool(ground.snapshot.rules)
    able: list[_Rank] = []
    refused: list[tuple[NodeName, Score, str]] = []
    retries: list[float] = []

    def look_at(name: NodeName) -> bool:
        points, priority = ranking.find(name) if name in eligible else (Score.ILLEGAL, 0)
        refusal, retry_in_s = _refusal(
            name, spec, ground, points, failures=failures, avoid=avoid, moving=moving, need=need
        )
        if retry_in_s is not None:
            retries.append(retry_in_s)
        if refusal:
            refused.append((name, points, refusal))
            return False
        wishes = unmet(name, spec, ground) if has_rules else 0
        able.append((0 if name == prefer else 1, -points, priority, wishes, ground.loads[name].vms, name))
        return True

    first = {*avoid, *([prefer] if prefer else [])}
    if len(ground.verdicts) <= LOOKED_AT_ALL or has_soft_rules(spec, ground):
        for name in ground.verdicts:
            look_at(name)
    else:
        apart_from_load = first | ranking.members.keys() | {failure.node for failure in failures}
        _look_at_some(ground, {name for name in apart_from_load if name in ground.verdicts}, look_at, moving=moving)
        refused.sort()
    named = _named(able, refused, first=first, members=ranking.members)
    return Choice(
        node=min(able)[-1] if able else None,
        candidates=named,
        unnamed=len(ground.verdicts) - len(named),
        retry_in_s=min(retries, default=None),
    )


def able_nodes(
    spec: VmSpec,
    ground: Field,
    *,
    failures: Iterable[Failure] = (),
    avoid: Mapping[NodeName, str],
    prefer: NodeName | None = None,
) -> list[tuple[tuple[int, int, int], NodeName]]:
    """All nodes that can take it by a start, the more preferred first, each with its preference: less is better."""
    ranking, failures, found = ground.ranking(spec, None), tuple(failures), []
    for name in ground.eligible:
        points, priority = ranking.find(name)
        if not _refusal(name, spec, ground, points, failures=failures, avoid=avoid, moving=False)[0]:
            found.append(((0 if name == prefer else 1, -points, priority), name))
    return sorted(found)


def _look_at_some(
    ground: Field, special: Collection[NodeName], look_at: Callable[[NodeName], bool], *, moving: bool
) -> None:
    """Nodes that differ by more than their load, and of the others the best, the worst, and some that refuse.

    Where no node is able, all that might have been were looked at.
    """
    for name in special:
        look_at(name)
    nodes = ground.by_load(moving=moving)
    able = met = 0
    for _, name in nodes.order:
        met += 1
        able += name not in special and look_at(name)
        if able == NAMED_AT_MOST:
            break
    for _, name in islice(reversed(nodes.order), len(nodes.order) - met):
        if name not in special and look_at(name):
            break
    for name in islice((name for name in nodes.shut if name not in special), NAMED_AT_MOST):
        look_at(name)


_Rank = tuple[int, int, int, int, int, NodeName]
"""What the caller prefers, the negative score, priority, what goes against soft rules, number of vms, name: the
smallest takes the vm."""


def _named(
    able: list[_Rank],
    refused: list[tuple[NodeName, Score, str]],
    *,
    first: Container[NodeName],
    members: Container[NodeName],
) -> tuple[Candidate, ...]:
    """The candidates that a choice names, by name: all, or in a large cluster those that explain it.

    Of the able ones the best, and the worst, which tells what made the difference; of the refused ones those that the
    caller spoke of, then members of the failover domain.
    """
    if len(able) + len(refused) > NAMED_AT_MOST:
        room = max(NAMED_AT_MOST // 2, NAMED_AT_MOST - len(refused))
        if len(able) > room:
            able = [*nsmallest(room - 1, able), max(able)]
        refused = sorted(refused, key=lambda node: (node[0] not in first, node[0] not in members))
        refused = refused[: NAMED_AT_MOST - len(able)]
    named = [Candidate(node=rank[-1], score=-rank[1]) for rank in able]
    named += [Candidate(node=name, score=int(points), refusal=refusal) for name, points, refusal in refused]
    return tuple(sorted(named, key=lambda candidate: candidate.node))


def left_of(rest_s: float, since: float, wall: float) -> float:
    """How much is left of a rest that another host's wall clock began, in seconds; 0: nothing.

    A clock that was set wrong by a day must not make a vm wait for a day: what lies in the future by more than
    ``CLOCKS_DIFFER_S`` says nothing about how long ago it was. A placement's dates are set right first
    (``transitions.by_our_clock``).
    """
    left = min(rest_s, since + rest_s - wall)  # whatever the clocks say, no longer than it is
    return 0.0 if left <= 0 or since - wall > CLOCKS_DIFFER_S else left


def _refusal(
    node: NodeName,
    spec: VmSpec,
    ground: Field,
    points: Score,
    *,
    failures: Iterable[Failure],
    avoid: Mapping[NodeName, str],
    moving: bool,
    need: Size | None = None,
) -> tuple[str, float | None]:
    """Why a node can not take the vm ('' when it can), and in how many seconds that may have passed by itself.

    ``need``: its size, by whoever asks for many nodes.
    """
    verdict = ground.verdicts[node]
    if not verdict.may_receive:
        return verdict.refusal, None
    if node in avoid:
        return avoid[node], None
    if points is Score.ILLEGAL:
        domain = ground.domain_of(spec)
        return f"is not in the restricted failover domain {domain.name if domain else ''}", None
    load, limits = ground.loads[node], ground.snapshot.config.limits
    if (spec.exclusive or load.exclusive) and (words := clash(spec, load)):
        return words, None
    kept = NOTHING
    if ground.ties.member_of:
        if words := apart(node, spec, ground):
            return words, None
        kept += reserved(node, spec, ground)
    if ground.ties.withheld:
        kept += ground.ties.withheld.get(node, NOTHING)
    if ground.snapshot.rules and (words := forbidden(node, spec, ground)):
        return words, None
    need = ground.size_of(spec) if need is None else need
    room = ground.room_of(node)
    if not room.takes(need, load.memory_mib + kept.memory_mib, load.vcpus + kept.vcpus):
        return room.refusal(need, load.taken + kept), None
    if moving and load.migrating >= limits.migrations_per_node:
        return f"has {load.migrating} migrations in progress (limit {limits.migrations_per_node})", None
    if not moving and load.starting >= limits.starts_per_node:
        return f"has {load.starting} starts in progress (limit {limits.starts_per_node})", None
    if failures and (here := [failure for failure in failures if failure.node == node]):
        rest = min(LONGEST_REST_S, FAILED_START_REST_S * 2 ** (len(here) - 1))
        left = left_of(rest, here[-1].at, ground.wall)
        if left > 0:
            return f"failed to {'receive' if here[-1].moving else 'start'} it: {here[-1].error}", left
    return "", None
