"""Would the cluster survive the loss of any one node (N+1), and if not: which vms would not come back, and why?

Asked at every change, so it must be cheap: 500 forecasts of 10,000 vms are not. For each node that is there, the first
of these that answers:

* **Room alone proves it** (room/proof.py): every plain vm of the node finds a place whatever the order. Sound.
* **The leader's own decisions**, once, about those vms that would be placed, in the order of a plan, with nothing but
  time limits (starts at once) lifted. It is what ``vmha plan --if 'node NAME lost'`` comes to, unless something moves
  more than once: services, needs, exclusive vms, vms that others make room for (by moving, too), failbacks that the
  loss sets off.
* There it is **a forecast** (forecast.py) as long as the cluster is small, else that one round of decisions, and
  the answer says that it is not certain.

What is on its way, or waits, takes its room before. Where too much is, or too much would have to be looked at, the
answer is "not known", with the number. A pause of the whole cluster is supposed to be over by then.
"""

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from vmha.model.ids import NodeName, VmName
from vmha.model.records import Phase
from vmha.model.settings import Proof
from vmha.model.vm import Desired, FailoverDomain
from vmha.policy.deciding.decision import NOTHING as DO_NOTHING
from vmha.policy.deciding.drain import largest_first
from vmha.policy.deciding.frozen_with_host import kept_for
from vmha.policy.deciding.making_room import makes_room
from vmha.policy.members.membership import Condition, Verdict
from vmha.policy.placing.failover_domain import Score, priorities_of, rank
from vmha.policy.placing.field import Field
from vmha.policy.placing.load import Load
from vmha.policy.placing.placement import survey
from vmha.policy.placing.preferences import Preferences
from vmha.policy.placing.room_asked import Asked
from vmha.policy.placing.services import reserved
from vmha.policy.placing.ties import Ties
from vmha.policy.plan import by_importance, decide, judge_all
from vmha.policy.room.by_moving import count, find_room
from vmha.policy.room.for_all import look_at_all, placed_by
from vmha.policy.room.proof import is_certain
from vmha.policy.room.together import may_be_looked_at_together
from vmha.policy.state.census import Census, place_of
from vmha.policy.state.reservation import NOTHING, Room, Size
from vmha.policy.state.snapshot import Moment, NodeView, Snapshot, VmView
from vmha.policy.state.steps import Change, PlacementStep, Step, Waiting
from vmha.policy.state.supposing import NodeLost, proof_of, suppose, with_
from vmha.policy.telling.forecast import foresee

LOOKED_AT_MOST = 100_000
"""Nodes looked at for vms, all in all: some tenths of a second."""
FORESEEN_AT_MOST = 300
"""Vms in forecasts, all in all: likewise."""
ON_THEIR_WAY_AT_MOST = 200
NO_LIMIT = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What the loss of a node would cost: vms that run now and would not come back, with what each would wait for.

    ``is_certain`` False: worked out by one round of decisions, where more may follow.
    """

    node: NodeName
    vms: tuple[Waiting, ...]
    is_certain: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Survival:
    """``losses``: of nodes whose loss would cost vms, the worst first. ``unsure``: nodes whose loss would cost none,
    not for certain. ``unknown``: nodes that were not looked at. ``on_their_way``: so many vms that nothing is known.
    """

    losses: tuple[Loss, ...] = ()
    unsure: tuple[NodeName, ...] = ()
    unknown: tuple[NodeName, ...] = ()
    on_their_way: int = 0
    running: int = 0

    @property
    def survives(self) -> bool | None:
        """None: not known."""
        if self.losses:
            return False
        return None if self.unknown or self.on_their_way else True


def survival(
    snapshot: Snapshot,
    moment: Moment,
    *,
    verdicts: dict[NodeName, Verdict] | None = None,
    look_at_most: int = LOOKED_AT_MOST,
    foresee_at_most: int = FORESEEN_AT_MOST,
    only: Collection[NodeName] | None = None,
    first: Collection[NodeName] = (),
    goes_on: Callable[[], bool] | None = None,
    census: Census | None = None,
) -> Survival:
    """Pure, as a plan is.

    Args:
        snapshot: what is asked about.
        moment: now.
        verdicts: those of ``judge_all``, by whoever has asked for them already.
        look_at_most: nodes looked at for vms, all in all; what is beyond is ``unknown``.
        foresee_at_most: vms in forecasts, all in all.
        only: nodes whose loss is asked about; None: of each.
        first: nodes that are looked at before the others, for it may be too much for all.
        goes_on: asked before each node that room alone does not answer for; after a no the rest is ``unknown``.
        census: of these vms, by whoever has it already.
    """
    limits = snapshot.config.limits.model_copy(update={"starts_per_node": NO_LIMIT, "starts": 0})
    config = snapshot.config.model_copy(update={"limits": limits})
    snapshot = replace(snapshot, pause=None, requests={}, config=config)
    verdicts = judge_all(snapshot, moment) if verdicts is None else verdicts
    asked = _Asked(snapshot, moment, verdicts, census)
    if len(asked.pending) > ON_THEIR_WAY_AT_MOST:
        return Survival(on_their_way=len(asked.pending), running=asked.running)
    losses: list[Loss] = []
    unsure: list[NodeName] = []
    unknown: list[NodeName] = []
    for node in sorted(asked.burdened(), key=lambda node: node not in first):
        if (only is not None and node not in only) or asked.room_proves(node):
            continue
        if look_at_most > 0 and goes_on is not None and not goes_on():
            look_at_most = 0
        if look_at_most <= 0:
            unknown.append(node)
            continue
        loss, looks = asked.decide_once(node)
        look_at_most -= looks
        if not loss.is_certain and len(snapshot.vms) <= foresee_at_most:
            foresee_at_most -= len(snapshot.vms)
            loss = asked.foresee(node)
        if loss.vms:
            losses.append(loss)
        elif not loss.is_certain:
            unsure.append(node)
    losses.sort(key=lambda loss: (-len(loss.vms), loss.node))
    return Survival(losses=tuple(losses), unsure=tuple(unsure), unknown=tuple(unknown), running=asked.running)


class _Asked:
    """One snapshot, and what is worked out of it once for all nodes."""

    def __init__(
        self, snapshot: Snapshot, moment: Moment, verdicts: dict[NodeName, Verdict], census: Census | None
    ) -> None:
        self.snapshot, self.moment, self.verdicts = snapshot, moment, verdicts
        self.ground = survey(snapshot, verdicts, moment.wall, census)
        self.on: dict[NodeName, list[VmView]] = {}
        self.pending: list[VmView] = []
        self.running = 0
        for vm in snapshot.vms.values():
            self._sort_in(vm)
        self._pending_size = self._sum(self.pending)
        self._displacing = snapshot.config.preempt or any(
            vm.spec and vm.spec.value.exclusive for vm in snapshot.vms.values()
        )
        self._movers = self._find_movers()
        self._hard = {VmName(name) for rule in snapshot.rules.values() if rule.hard for name in rule.names}
        self._down_before: frozenset[VmName] | None = None
        self._roomy = self._rooms()

    def burdened(self) -> list[NodeName]:
        """Nodes that could be lost now, and would take vms with them."""
        return [node for node in sorted(self.on) if self.verdicts[node].is_alive]

    def _sort_in(self, vm: VmView) -> None:
        if vm.spec is None or vm.spec.value.desired is not Desired.RUNNING:
            return
        held = vm.placement.value if vm.placement else None
        if held is not None and held.phase is Phase.DEPARTED:
            return
        if kept_for(vm, self.ground):
            return  # it waits for its own host, and takes nobody's room
        view = self.snapshot.nodes.get(held.node) if held and held.node else None
        is_there = view is not None and held is not None and held.session in (None, view.session_id)
        if held is None or view is None or not is_there or not self.verdicts[view.name].is_alive:
            self.pending.append(vm)
            return
        self.running += 1
        self.on.setdefault(view.name, []).append(vm)
        if self.verdicts[view.name].condition in (Condition.MAINTENANCE, Condition.LEAVING):
            self.pending.append(vm)

    def _sum(self, vms: Iterable[VmView]) -> Size:
        memory_mib = vcpus = 0
        for spec in [vm.spec.value for vm in vms if vm.spec]:
            need = spec if spec.definition is None else self.ground.size_of(spec)
            memory_mib += need.memory_mib
            vcpus += need.vcpus
        return Size(memory_mib, vcpus)

    def _rooms(self) -> list[tuple[NodeName, Room, Size]]:
        """What each node that takes vms has, the roomiest first."""
        ground, plain = self.ground, self._any_without_a_service()
        found = []
        for node in ground.eligible:
            load = ground.loads[node]
            if not load.exclusive:
                taken = load.taken + (reserved(node, plain.spec.value, ground) if plain and plain.spec else NOTHING)
                found.append((node, ground.room_of(node), taken))
        found.sort(key=lambda one: (bool(one[1].memory_mib), one[2].memory_mib - one[1].memory_mib, one[0]))
        return found

    def _any_without_a_service(self) -> VmView | None:
        """Room is kept for members of services; ``reserved`` asks for whom it is."""
        if not self.ground.ties.member_of:
            return None
        vms = self.snapshot.vms.values()
        return next((vm for vm in vms if vm.spec and vm.name not in self.ground.ties.member_of), None)

    # --- failbacks that a loss sets off

    def _find_movers(self) -> dict[NodeName, list[VmView]]:
        """Vms elsewhere that would find a node more preferred once that one is gone."""
        by_domain: dict[str, tuple[FailoverDomain, dict[NodeName, list[VmView]]]] = {}
        for node, vms in self.on.items():
            for vm in vms:
                assert vm.spec
                if (domain := self.ground.domain_of(vm.spec.value)) is not None and domain.ordered:
                    by_domain.setdefault(domain.name, (domain, {}))[1].setdefault(node, []).append(vm)
        movers: dict[NodeName, list[VmView]] = {}
        for domain, there in by_domain.values():
            for lost in priorities_of(domain):
                online = self.ground.eligible - {lost}
                ranking = rank(domain, online=online, owner=None)
                best = max((points for node, (points, _) in ranking.members.items() if node in online), default=0)
                for node, vms in there.items():
                    if node != lost and ranking.find(node)[0] < min(best, Score.BEST):
                        movers.setdefault(lost, []).extend(vms)
        return movers

    # --- by room alone

    def room_proves(self, node: NodeName) -> bool:
        """All of its vms are plain, and each finds a place in whatever order they are placed."""
        vms = self.on[node]
        if not all(self._is_plain(vm) for vm in vms):
            return False
        total = self._sum(vms) + self._pending_size + self._sum(self._movers.get(node, ()))
        looked: set[tuple[str, Size]] = set()
        for vm in vms:
            assert vm.spec
            domain, need = self.ground.domain_of(vm.spec.value), self.ground.size_of(vm.spec.value)
            members = {member.node for member in domain.members} if domain and domain.restricted else None
            key = (domain.name if domain and members is not None else "", need)
            if key in looked:
                continue
            looked.add(key)
            before = Size(total.memory_mib - need.memory_mib, total.vcpus - need.vcpus)
            if not is_certain(need, before, self._others(node, members)):
                return False
        return True

    def _others(self, lost: NodeName, members: set[str] | None) -> Iterator[tuple[Room, Size]]:
        for node, room, taken in self._roomy:
            if node != lost and (members is None or node in members):
                yield room, taken

    def _is_plain(self, vm: VmView) -> bool:
        """Only its size and its failover domain say where it may go."""
        assert vm.spec
        is_alone = vm.name not in self._hard and not vm.spec.value.exclusive and not vm.freeze
        held = vm.placement.value if vm.placement else None
        return is_alone and not self._is_tied(vm.name) and held is not None and not held.leaving and not held.failures

    def _is_tied(self, name: VmName) -> bool:
        ties = self.ground.ties
        return name in ties.needs or name in ties.needed_by or name in ties.member_of

    # --- by the leader's own decisions

    @cached_property
    def _order(self) -> dict[VmName, int]:
        """In which a plan decides about them. Not asked for where room proves it all; from then on all is in order."""
        in_order = self.ground.ties.in_order(largest_first(by_importance(self.snapshot.vms.values()), self.ground))
        order = {vm.name: number for number, vm in enumerate(in_order)}
        for vms in (self.pending, *self.on.values()):
            vms.sort(key=lambda vm: order[vm.name])
        return order

    def decide_once(self, node: NodeName, meant: Mapping[VmName, NodeName | None] | None = None) -> tuple[Loss, int]:
        """And how many nodes were looked at for it."""
        ground = self._without(node)
        ground.ties.meant = meant
        gone: list[Waiting] = []
        steps: list[Step] = []
        order = self._order
        is_certain = not (self._displacing or self._movers.get(node))
        concerned = [*self.on[node], *(vm for vm in self.pending if vm not in self.on[node])]
        concerned.sort(key=lambda vm: order[vm.name])
        mine = {vm.name for vm in self.on[node]}
        for vm in concerned:
            is_certain = is_certain and not self._is_tied(vm.name)
            decision = decide(vm, None, ground, self.moment)
            ground.ties.decided(decision.steps)
            steps.extend(decision.steps)
            if vm.name not in mine or _is_placed(vm, decision.steps):
                continue
            is_certain = is_certain and (decision.retry_in_s is None or decision == DO_NOTHING)
            gone.append(decision.waiting or Waiting(vm=vm.name, text="nothing is decided about it"))
        looks = len(concerned) * len(self.verdicts)
        if gone and meant is None and (meant := look_at_all(ground, steps)) is not None:
            loss, more = self.decide_once(node, meant)
            return loss, looks + more
        if gone and makes_room(ground):
            base = self._without(node)
            rescued = self._rescued(base, ground.ties.asked, steps)
            is_certain = is_certain and not rescued and not may_be_looked_at_together(len(self.snapshot.vms))
            gone = [one for one in gone if one.vm not in rescued]
        return Loss(node=node, vms=tuple(sorted(gone, key=_by_name)), is_certain=is_certain), looks

    def _without(self, node: NodeName) -> Field:
        snapshot = _without(self.snapshot, self.snapshot.nodes[node])
        offline = Verdict(node=node, condition=Condition.OFFLINE, refusal="is lost")
        return Field(
            snapshot=snapshot,
            verdicts={**self.verdicts, node: offline},
            wall=self.moment.wall,
            preferences=Preferences(eligible=self.ground.eligible - {node}, domains=snapshot.domains),
            loads={name: _copied(load) for name, load in self.ground.loads.items()},
            ties=_afresh(self.ground.ties),
        )

    def _rescued(self, base: Field, asked: Mapping[VmName, Asked], steps: list[Step]) -> Container[VmName]:
        """Those that vms which run would be moved for (policy/deciding/making_room.py)."""
        changed = {step.vm for step in steps if isinstance(step, PlacementStep)}
        for step in steps:
            if isinstance(step, PlacementStep) and step.vm not in asked:
                count(step, base)

        def resting_on(node: NodeName) -> list[VmView]:
            return [vm for vm in self.on.get(node, ()) if place_of(vm) is not None]

        return find_room(
            base, asked, placed_by(steps, asked), resting_on, changed.__contains__, self.snapshot.vms
        ).rivals

    def foresee(self, node: NodeName) -> Loss:
        if self._down_before is None:
            self._down_before = frozenset(one.vm for one in foresee(self.snapshot, self.moment).down)
        found = foresee(suppose(self.snapshot, NodeLost(node=node)), self.moment)
        return Loss(node=node, vms=tuple(one for one in found.down if one.vm not in self._down_before))


def _by_name(waiting: Waiting) -> VmName:
    return waiting.vm


def _is_placed(vm: VmView, steps: Iterable[object]) -> bool:
    return any(isinstance(s, PlacementStep) and s.vm == vm.name and s.change is not Change.NOTE for s in steps)


def _without(snapshot: Snapshot, view: NodeView) -> Snapshot:
    """As ``supposing.lose``, of its present session alone: what earlier ones have left waits already."""
    assert view.session_id
    proof = proof_of(view.name, view.session_id, Proof.GUARD_ELAPSED, "supposed")
    lost = replace(view, beat=None, session=None, fencing=None)
    nodes, fenced = with_(snapshot.nodes, view.name, lost), with_(snapshot.fenced, view.session_id, proof)
    return replace(snapshot, nodes=nodes, fenced=fenced)


def _copied(load: Load) -> Load:
    return replace(load, exclusive=list(load.exclusive))


def _afresh(ties: Ties) -> Ties:
    """What ties vms together, without what a plan has worked out on the way."""
    return Ties(needs=ties.needs, needed_by=ties.needed_by, services=ties.services, member_of=ties.member_of)
