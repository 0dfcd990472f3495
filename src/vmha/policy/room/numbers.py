"""The cluster as numbers, made of what those that wait for room could use: for the searches of room/moving_aside.py,
room/gathering.py and room/move_by_move.py.

* Whom: vms that run well and migrate live. Never one that is frozen, exclusive, of a service, needs others, or is asked
  about; nor, within ``REST_S``, one that was moved for a vm that waits still or whose migration an operator has called
  off. One that was moved out of the way for a while moves on, once.
* Where to: nodes that may take it by every rule, if they had room.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from math import inf

from vmha.model.ids import NodeName, VmName
from vmha.model.records import Phase, Placement
from vmha.model.vm import Desired, MigrationStyle, VmSpec
from vmha.policy.placing.affinity import never_beside, rules_of, unmet
from vmha.policy.placing.field import Field
from vmha.policy.placing.limits import no_migration_out_of
from vmha.policy.placing.load import Load
from vmha.policy.placing.placement import able_nodes, left_of
from vmha.policy.placing.room_asked import ASIDE, RULE, Asked
from vmha.policy.placing.rule_book import Counted
from vmha.policy.placing.services import reserved
from vmha.policy.room.for_all import without_limits
from vmha.policy.room.for_services import Group, kept_apart_from
from vmha.policy.room.gathering import Cluster
from vmha.policy.room.move_by_move import TWICE
from vmha.policy.room.moving_aside import Free, Nodes, Piece, Target
from vmha.policy.state.causes import ROOM_FOR
from vmha.policy.state.reservation import NOTHING, Room, Size
from vmha.policy.state.snapshot import VmView

REST_S = 3600.0
AFTER_FAILURE_S = 60.0
"""So long one whose migration has failed makes room for nobody, doubled by each further failure."""
NODES_AT_MOST = 32
Whole = tuple[list[NodeName], Cluster]


class Numbers:
    """The cluster as numbers, made of what those that wait could use."""

    def __init__(
        self,
        base: Field,
        asked: Mapping[VmName, Asked],
        there: Mapping[VmName, NodeName],
        resting_on: Callable[[NodeName], Iterable[VmView]],
        is_barred: Callable[[VmName], bool],
        astir: Mapping[VmName, VmView],
        groups: Mapping[VmName, Group],
    ) -> None:
        self.ground, self.asked, self.there, self.groups = base, asked, there, groups
        self.open = _as_if_empty(base)
        self.retry_in_s: float | None = None
        self.views: dict[str, VmView] = {}
        self._known: dict[str, list[Target]] = {}
        self._is_worse: dict[tuple[str, NodeName], bool | None] = {}
        self._apart = _rules_that_part(base)
        self._resting_on, self._is_barred = resting_on, is_barred
        self.leaving = _leaving(base, astir)
        self.nodes: list[NodeName] = []
        self.number: dict[NodeName, int] = {}
        self.alone: set[VmName] = set()  # exclusive ones that room is looked for
        self.everybody: frozenset[VmName] = frozenset()
        self.may_leave: list[int] = []  # so many vms of each node

    def of(self, rivals: list[Asked]) -> Nodes:
        """What there is for these; a node's number is that of its name in ``nodes``."""
        self.nodes = self._some_nodes(rivals)
        self.number = {node: number for number, node in enumerate(self.nodes)}
        self.alone = {VmName(one.spec.name) for one in rivals if one.spec.exclusive}
        if self.alone:
            resting = (vm.name for node in self.nodes for vm in self._resting_on(node))
            self.everybody = frozenset(self.asked).union(resting)
        found = self._as_nodes()
        self.may_leave = [len(here) for here in found.on]
        return found

    def leaving_for(self, node: NodeName, moves: Mapping[VmName, NodeName]) -> dict[VmName, NodeName | None]:
        names = [name for at in {node, *moves.values()} for name in self.leaving.get(at, {})]
        held = {name: self.ground.snapshot.vms[name].placement for name in names}
        return {name: placement.value.target for name, placement in held.items() if placement}

    def may_begin(self, number: int) -> bool:
        return not no_migration_out_of(self.nodes[number], self.ground)

    def _some_nodes(self, rivals: list[Asked]) -> list[NodeName]:
        """In a large cluster the roomiest, and those that a failover domain names."""
        ground = self.ground
        if len(ground.eligible) <= NODES_AT_MOST:
            return sorted(ground.eligible)
        room = {node: self._left_in_the_end(node)[0] for node in ground.eligible}
        named = {node for one in rivals for node in ground.ranking(one.spec, None).members if node in room}
        named |= {group.place for group in self.groups.values() if group.place in room}
        chosen = sorted(named, key=lambda node: (-room[node], node))[: NODES_AT_MOST // 2]
        for node in sorted(room, key=lambda node: (-room[node], node)):
            if len(chosen) >= NODES_AT_MOST:
                break
            if node not in chosen:
                chosen.append(node)
        return sorted(chosen)

    def _as_nodes(self) -> Nodes:
        on: list[dict[str, Piece]] = [{} for _ in self.nodes]
        for number, node in enumerate(self.nodes):
            on[number] |= {piece.name: piece for piece in self._running_on(node)}
        for name, at in self.there.items():
            one = self.asked[name]
            if at in self.number and not one.spec.exclusive and name not in self.ground.ties.member_of:
                on[self.number[at]][name] = self.piece(one.spec, runs=False)
        now = [self._left(node) for node in self.nodes]
        return Nodes(free=list(map(self._left_in_the_end, self.nodes)), now=now, on=on, fixed=self._fixed(on))

    def _left_in_the_end(self, node: NodeName) -> Free:
        """Once all that leaves by now has left."""
        left, leaving = self._left(node), self.leaving.get(node)
        return _more(left, leaving.values()) if leaving else left

    def home_of(self, name: str) -> NodeName:
        """Of one that runs."""
        held = self.views[name].placement
        assert held
        assert held.value.node
        return held.value.node

    def _running_on(self, node: NodeName) -> list[Piece]:
        """Those that may be moved."""
        found: list[Piece] = []
        for vm in self._resting_on(node):
            if self._may_move(vm):
                assert vm.spec
                self.views[vm.name] = vm
                found.append(self.piece(vm.spec.value, runs=True))
        return found

    def _left(self, node: NodeName) -> Free:
        ground = self.ground
        room, taken = ground.room_of(node), ground.loads[node].taken
        if ground.ties.member_of:
            taken += reserved(node, None, ground)
        return (
            room.memory_mib - taken.memory_mib if room.memory_mib else inf,
            room.vcpus - taken.vcpus if room.vcpus else inf,
        )

    def _fixed(self, on: list[dict[str, Piece]]) -> list[set[str]]:
        fixed: list[set[str]] = [set() for _ in self.nodes]
        if not self.ground.snapshot.rules:
            return fixed
        for number, node in enumerate(self.nodes):
            fixed[number] |= self._kept_apart_on(node) - on[number].keys()
        return fixed

    def _kept_apart_on(self, node: NodeName) -> set[str]:
        """Those that some are to be apart from."""
        found: set[str] = set()
        for counted in self._apart:
            found |= counted.at.get(node, set())
        return found - self.leaving.get(node, {}).keys() if found else found

    def piece(self, spec: VmSpec, *, runs: bool) -> Piece:
        name, need = VmName(spec.name), self.ground.size_of(spec)
        apart, others = frozenset(never_beside(name, self.ground)) | self.alone, frozenset[VmName]()
        if spec.exclusive:
            apart |= self.everybody
        if (group := self.groups.get(name)) is not None:
            apart |= kept_apart_from(group, self.ground)
            need, others = group.need, group.all_of_it - {name}
        apart, is_reserved = apart - {name, *others}, group is not None and group.place is not None
        level = spec.priority
        return Piece(name=name, level=level, need=need, runs=runs, apart=apart, others=others, is_reserved=is_reserved)

    def _may_move(self, vm: VmView) -> bool:
        """It is at rest, for so much the census vouches."""
        assert vm.spec
        assert vm.placement
        spec, held, ground = vm.spec.value, vm.placement.value, self.ground
        if spec.migration.style is MigrationStyle.PAUSE or vm.name in ground.ties.member_of or self._is_barred(vm.name):
            return False
        if any(seen.node != held.node for seen in ground.snapshot.observations(vm)):
            return False
        rest_s = left_of(self._rest_of(held), held.since, ground.wall)
        self._look_again_in(rest_s)
        return rest_s <= 0

    def _look_again_in(self, *rests: float) -> None:
        """Nothing but time changes what these keep from being found."""
        for rest_s in rests:
            if rest_s > 0:
                self.retry_in_s = min(rest_s, self.retry_in_s or rest_s)

    def _may_be_empty(self, node: NodeName) -> bool:
        """All that is there leaves already, may move, or is yet to start."""
        here = self.may_leave[self.number[node]] + len(self.leaving.get(node, {}))
        return self.ground.loads[node].vms <= here

    def is_left_by_others(self, spec: VmSpec, node: NodeName) -> bool:
        """An exclusive one starts when they are gone, whatever room there is."""
        return bool(spec.exclusive and self.leaving.get(node))

    def times_left(self, name: str) -> int:
        """How often one that runs may be moved: one that was moved aside moves on, and stays."""
        held = self.views[name].placement
        reason = held.value.reason if held else None
        is_aside = reason is not None and reason.rule == ASIDE
        return 1 if reason and is_aside and VmName(reason.cause.removeprefix(ROOM_FOR)) in self.asked else TWICE

    def _rest_of(self, held: Placement) -> float:
        """Since it came to be as it is."""
        if held.cancel is not None and held.ended_why:
            return REST_S
        if held.ended_why:
            failed = sum(failure.moving for failure in held.failures)
            return min(REST_S, AFTER_FAILURE_S * 2.0 ** max(0, failed - 1))
        is_for = VmName(held.reason.cause.removeprefix(ROOM_FOR)) if held.reason.rule == RULE else None
        return REST_S if is_for in self.asked else 0.0

    def may_go(self, piece: Piece) -> list[Target]:
        if piece.name not in self._known:
            self._known[piece.name] = self._where_it_may_go(piece)
        return self._known[piece.name]

    def _where_it_may_go(self, piece: Piece) -> list[Target]:
        name = VmName(piece.name)
        if (view := self.views.get(name)) is None:
            one, ground, nodes = self.asked[name], self.open, self.nodes
            if one.spec.exclusive:
                ground, nodes = _without_company(ground), [node for node in nodes if self._may_be_empty(node)]
            ranked = able_nodes(
                one.spec, ground, failures=one.failures, avoid=one.avoid, prefer=one.prefer, among=nodes
            )
            mine = next((rank for rank, node in ranked if node == self.there.get(name)), None)
            ranks = sorted({rank for rank, _ in ranked if mine is None or rank == mine})
            return [(ranks.index(rank), self.number[node]) for rank, node in ranked if rank in ranks]
        return [(worse, self.number[node]) for node, worse in self._where_it_may_move(view, self.nodes)]

    def _where_it_may_move(self, view: VmView, among: Iterable[NodeName]) -> list[tuple[NodeName, bool]]:
        """And whether it would be liked less there than where it is."""
        assert view.spec
        assert view.placement
        spec, held = view.spec.value, view.placement.value
        assert held.node
        ranking = self.open.ranking(spec, held.node)
        points, priority = ranking.find(held.node)
        here = (-points, priority, unmet(held.node, spec, self.ground) if self.ground.snapshot.rules else 0)
        found: list[tuple[NodeName, bool]] = []
        avoid, rests = {held.node: "is left"}, list[float]()
        for _, node in able_nodes(spec, self.open, failures=held.failures, avoid=avoid, among=among, rests=rests):
            points, priority = ranking.find(node)
            wishes = unmet(node, spec, self.ground) if self.ground.snapshot.rules else 0
            found.append((node, (-points, priority, wishes) > here))
        self._look_again_in(*rests)
        return found

    # --- all nodes, each looked at when it comes into question

    def whole(self) -> Whole:
        """All nodes, for room/gathering.py; a node's number is that of its name."""
        nodes = sorted(self.ground.eligible)
        on: dict[int, list[Piece]] = {}
        company: dict[int, frozenset[str]] = {}

        def running(number: int) -> list[Piece]:
            if number not in on:
                on[number] = self._running_on(nodes[number])
            return on[number]

        def beside(number: int) -> frozenset[str]:
            if number not in company:
                company[number] = frozenset(self._kept_apart_on(nodes[number]))
            return company[number]

        def is_worse(piece: Piece, number: int) -> bool | None:
            at = (piece.name, nodes[number])
            if at not in self._is_worse:
                found = self._where_it_may_move(self.views[piece.name], nodes[number : number + 1])
                self._is_worse[at] = found[0][1] if found else None
            return self._is_worse[at]

        free = list(map(self._left_in_the_end, nodes))
        return nodes, Cluster(free=free, on=running, is_worse=is_worse, company=beside, kind=self._domain_of)

    def wherever(self, piece: Piece, nodes: list[NodeName]) -> list[Target]:
        """Where one that waits may go, of all nodes."""
        one = self.asked[VmName(piece.name)]
        ranked = able_nodes(one.spec, self.open, failures=one.failures, avoid=one.avoid, prefer=one.prefer)
        ranks, number = sorted({rank for rank, _ in ranked}), {node: number for number, node in enumerate(nodes)}
        return [(ranks.index(rank), number[node]) for rank, node in ranked]

    def _domain_of(self, piece: Piece) -> str | None:
        spec = self.views[piece.name].spec
        return spec.value.failover_domain if spec else None


def _without_company(ground: Field) -> Field:
    """As if no other vm were anywhere, but for exclusive ones."""
    loads = {node: Load(vms=len(load.exclusive), exclusive=list(load.exclusive)) for node, load in ground.loads.items()}
    return replace(ground, loads=loads)


def _as_if_empty(base: Field) -> Field:
    """What refuses a vm there, but for room, limits, and vms that it is to be apart from."""
    ground = without_limits(base)
    rules = {name: rule for name, rule in base.snapshot.rules.items() if not (rule.hard and rule.apart)}
    snapshot = replace(base.snapshot, rules=rules) if len(rules) < len(base.snapshot.rules) else base.snapshot
    ties = replace(base.ties, affinity=None, withheld={})
    return replace(
        ground, snapshot=snapshot, ties=ties, _rooms=dict.fromkeys(base.snapshot.nodes, Room(memory_mib=0, vcpus=0))
    )


def _rules_that_part(ground: Field) -> list[Counted]:
    if not ground.snapshot.rules:
        return []
    found = {one.rule.name: one for named in rules_of(ground).hard.values() for one in named if one.rule.apart}
    return list(found.values())


def _leaving(ground: Field, astir: Mapping[VmName, VmView]) -> dict[NodeName, dict[VmName, Size]]:
    """What leaves a node by itself, with the room that will be free then."""
    found: dict[NodeName, dict[VmName, Size]] = {}
    for name, view in sorted(astir.items()):
        held = view.placement.value if view.placement else None
        if held is None or held.node is None or view.spec is None or held.node not in ground.eligible:
            continue
        is_going = held.phase is Phase.MIGRATING and held.cancel is None
        if held.phase is Phase.STOPPING:
            is_going = view.spec.value.desired is not Desired.RUNNING or held.reason.cause.startswith(ROOM_FOR)
        if is_going and ground.snapshot.nodes[held.node].session_id == held.session:
            found.setdefault(held.node, {})[name] = ground.size_of(view.spec.value)
    return found


def _more(left: Free, sizes: Iterable[Size]) -> Free:
    total = sum(sizes, NOTHING)
    return (left[0] + total.memory_mib, left[1] + total.vcpus)
