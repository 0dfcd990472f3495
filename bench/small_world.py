"""A small cluster as the planner reads it, and what the planner makes of it once all of its steps are carried out."""

from dataclasses import dataclass, replace
from typing import TypeVar

from bench.instances import Instance
from bench.world import WALL, node_name, snapshot_of
from vmha.model.ids import NodeName
from vmha.model.records import Phase, Stored
from vmha.model.rules import Rule
from vmha.model.settings import Capacity, ClusterConfig, MakeRoom, Startup
from vmha.model.vm import FailoverDomain, FailoverDomainMember, VmSpec
from vmha.policy.plan import plan
from vmha.policy.state.carried_out import carry_out
from vmha.policy.state.snapshot import Moment, NodeView, Snapshot, VmView
from vmha.policy.state.steps import Change, PlacementStep

ROUNDS = 16
"""Plans one after the other: what a migration makes room for starts by the next one. More means that it never rests."""
MIB = 1024
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Made:
    """``nodes``: of each vm the number of its node, or None. ``moves``: migrations on the way there."""

    nodes: tuple[int | None, ...]
    moves: int

    @property
    def placed(self) -> int:
        return sum(node is not None for node in self.nodes)

    def fullest(self, instance: Instance) -> float:
        """Memory share of the fullest node."""
        taken = [0] * len(instance.nodes)
        for vm, node in zip(instance.vms, self.nodes, strict=True):
            if node is not None:
                taken[node] += vm.gib
        return max(used / node.gib for used, node in zip(taken, instance.nodes, strict=True))


def planned(instance: Instance, *, may_move: bool = True) -> Made:
    """``may_move``: vms that run make room where one fits nowhere."""
    snapshot = small_snapshot(instance)
    if not may_move:
        snapshot = replace(snapshot, config=snapshot.config.model_copy(update={"make_room": MakeRoom.OFF}))
    moves = 0
    for _ in range(ROUNDS):
        made = plan(snapshot, Moment(now=1000.0, wall=WALL))
        if all(isinstance(step, PlacementStep) and step.change is Change.NOTE for step in made.steps):
            break
        for step in made.steps:
            snapshot = carry_out(snapshot, step, wall=WALL)
            moves += isinstance(step, PlacementStep) and step.change is Change.MIGRATE
    else:
        raise RuntimeError(f"the planner does not come to rest in {ROUNDS} plans")
    numbers = {node_name(number): number for number in range(len(instance.nodes)) if number != instance.lost}
    return Made(tuple(numbers.get(node) if node else None for node in map(_node_of, snapshot.vms.values())), moves)


def _node_of(vm: VmView) -> NodeName | None:
    held = vm.placement.value if vm.placement else None
    return held.node if held and held.phase is Phase.HELD else None


def small_snapshot(instance: Instance) -> Snapshot:
    is_cold = all(vm.home is None for vm in instance.vms)
    whole = snapshot_of(len(instance.vms), len(instance.nodes), lost=instance.lost, placed=not is_cold)
    nodes = {view.name: _sized(view, instance, number) for number, view in enumerate(whole.nodes.values())}
    allowed = dict.fromkeys(vm.allowed for vm in instance.vms)  # ten thousand of five hundred members would be large
    domains = {members: _domain(f"of-{number}", members) for number, members in enumerate(allowed)}
    vms = {
        view.name: _set_up(view, instance, number, nodes, domains[instance.vms[number].allowed].name)
        for number, view in enumerate(whole.vms.values())
    }
    names = list(vms)
    rules = {}
    for number, group in enumerate(instance.apart):
        rule = Rule(name=f"apart-{number}", apart=tuple(names[vm] for vm in sorted(group)), hard=True)
        rules[rule.name] = rule
    config = ClusterConfig(capacity=Capacity(vcpu_overcommit=1.0), startup=Startup(settle_s=0.0))
    by_name = {domain.name: domain for domain in domains.values()}
    return replace(whole, config=config, nodes=nodes, vms=vms, rules=rules, domains=by_name)


def _domain(name: str, allowed: frozenset[int]) -> FailoverDomain:
    members = tuple(FailoverDomainMember(node=node_name(node)) for node in sorted(allowed))
    return FailoverDomain(name=name, restricted=True, members=members)


def _sized(view: NodeView, instance: Instance, number: int) -> NodeView:
    assert view.status
    node = instance.nodes[number]
    status = replace(view.status.value, memory_mib=node.gib * MIB, vcpus=node.vcpus)
    return replace(view, status=_with(view.status, status))


def _set_up(view: VmView, instance: Instance, number: int, nodes: dict[NodeName, NodeView], domain: str) -> VmView:
    assert view.spec
    vm = instance.vms[number]
    size = {"memory_mib": vm.gib * MIB, "vcpus": vm.vcpus, "failover_domain": domain}
    spec = _with(view.spec, _checked(view.spec.value, size))
    if vm.home is None or view.placement is None:
        return replace(view, spec=spec)
    status = nodes[node_name(vm.home)].status
    assert status
    node, session = status.value.node, status.value.session
    placement = replace(view.placement.value, node=node, session=session, last_node=node)
    (seen,) = view.seen.values()
    there = {node: replace(seen, node=node, session=session)}
    return replace(view, spec=spec, placement=_with(view.placement, placement), seen=there)


def _checked(spec: VmSpec, update: dict[str, object]) -> VmSpec:
    return VmSpec.model_validate({**dict(spec), **update})


def _with(old: Stored[T], value: T) -> Stored[T]:
    return replace(old, value=value)
