"""Opt-in (``rebalance.enabled``): vms leave a node that is full for one that is much emptier, live, one at a time.

A node's load is the share of its memory, or of its vcpus where they are limited, that vms take: of the two the larger.

* Only from a node that is at least ``threshold_percent`` full, to one that is emptier by ``margin_percent``, and a vm
  after whose move the target is still emptier by that than the source was. So no move is ever undone by another.
* Only while nothing else is done or asked for and every node is well; whatever else moves comes first. One migration at
  a time, and the next one that touches either node only when nothing has come to it for ``hold_s``.
* Only vms that run well, migrate live, and may go home by themselves: ``failback`` with its windows holds here, too.
  Never to a node that a failover domain or a soft rule likes less, or more: that is failback's. Never a service's, an
  exclusive one, one that needs others, or one that an operator or a failure has kept from moving.

Of the vms that may go the one that leaves the fuller of both nodes emptiest.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from vmha.model.ids import CauseId, NodeName, VmName
from vmha.model.records import Phase, Placement, Reason
from vmha.model.vm import MigrationStyle, VmSpec
from vmha.policy.deciding.decision import NOTHING, Decision, migrate
from vmha.policy.deciding.failback import opens_in
from vmha.policy.members.membership import Condition
from vmha.policy.placing.affinity import unmet
from vmha.policy.placing.field import Field
from vmha.policy.placing.limits import no_migration_out_of
from vmha.policy.placing.placement import choose, find_better, left_of, take
from vmha.policy.state.census import Census, place_of
from vmha.policy.state.reservation import NOTHING as NO_SIZE
from vmha.policy.state.reservation import Size
from vmha.policy.state.snapshot import Moment, VmView
from vmha.policy.state.steps import Change, PlacementStep, Step
from vmha.policy.state.transitions import latest_date

RULE = "a-full-node-is-relieved"
LOOKED_AT = 8
"""Of the fullest nodes, and of the emptiest: so a large cluster costs no more than a small one."""
_WELL = (Condition.ONLINE, Condition.MAINTENANCE, Condition.LEAVING, Condition.OFFLINE, Condition.UNFIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A vm from one node to another, with their loads in percent."""

    vm: VmName
    source: NodeName
    target: NodeName
    source_before: float
    target_before: float
    source_after: float
    target_after: float

    def __str__(self) -> str:
        return (
            f"{self.source} is {self.source_before:.0f} % full and {self.target} {self.target_before:.0f} %; "
            f"then {self.source_after:.0f} % and {self.target_after:.0f} %"
        )


def rebalance(ground: Field, census: Census, steps: Iterable[Step], moment: Moment) -> Decision:
    """The next move, at the end of a plan that does nothing else; or when to look again."""
    snapshot = ground.snapshot
    if not snapshot.config.rebalance.enabled or snapshot.pause or snapshot.unsettled:
        return NOTHING
    if any(map(snapshot.is_open, snapshot.requests.values())):
        return NOTHING
    if any(verdict.condition not in _WELL for verdict in ground.verdicts.values()):
        return NOTHING
    if any(not isinstance(step, PlacementStep) or step.change is not Change.NOTE for step in steps):
        return NOTHING
    if ground.migrating or ground.starting or any(_is_on_its_way(vm) for vm in census.astir.values()):
        return NOTHING
    found, left_s = find_shift(ground, census)
    if found is None:
        return Decision(retry_in_s=left_s)
    vm = snapshot.vms[found.vm]
    assert vm.spec
    assert vm.placement
    fuller = {found.source: f"is {found.source_before:.0f} % full"}
    held = vm.placement.value
    choice = choose(
        vm.spec.value,
        ground,
        owner=found.source,
        avoid=fuller,
        failures=held.failures,
        prefer=found.target,
        moving=True,
    )
    reason = Reason(
        rule=RULE, text=str(found), cause=CauseId(f"rebalance-{found.source}"), candidates=choice.candidates
    )
    return migrate(vm, held, found.target, reason, ground=ground, moment=moment)


def _is_on_its_way(vm: VmView) -> bool:
    return vm.placement is not None and vm.placement.value.phase in (Phase.ASSIGNED, Phase.MIGRATING, Phase.STOPPING)


def find_shift(
    ground: Field, census: Census, *, now: bool = False, passed_over: Collection[VmName] = ()
) -> tuple[Shift | None, float | None]:
    """The best move, and if there is none, in how many seconds there may be one.

    Args:
        now: an operator asks for it: hold time and windows do not count.
        passed_over: vms that are moved already.
    """
    rules = ground.snapshot.config.rebalance
    loads = {node: load for node in sorted(ground.eligible) if (load := _load(node, ground)) is not None}
    fullest = sorted(loads, key=lambda node: (-loads[node], node))[:LOOKED_AT]
    emptiest = sorted(loads, key=lambda node: (loads[node], node))[:LOOKED_AT]
    waits: list[float] = []
    for source in fullest:
        if loads[source] < rules.threshold_percent:
            break
        for target in emptiest:
            if loads[source] - loads[target] < rules.margin_percent:
                break
            if not now and (left_s := _hold_left(source, target, census, ground)) > 0:
                waits.append(left_s)
                continue
            shifts = []
            for vm in _resting_on(source, census):
                shift = _shift(vm, source, target, ground)
                if shift is None or vm.name in passed_over or not _may_move(vm, source, target, ground):
                    continue
                if not now and (left_s := _until_window(vm, ground.wall)) > 0:
                    waits.append(left_s)
                    continue
                shifts.append(shift)
            for shift in sorted(shifts, key=_rank):
                if _can_take(ground.snapshot.vms[shift.vm], source, target, ground):
                    return shift, None
    return None, min(waits, default=None)


def gone_to(shift: Shift, ground: Field) -> None:
    """As if it had moved."""
    spec = ground.snapshot.vms[shift.vm].spec
    assert spec
    need, load = ground.size_of(spec.value), ground.loads[shift.source]
    take(shift.target, spec.value, ground, starting=False)
    load.vms, load.memory_mib, load.vcpus = load.vms - 1, load.memory_mib - need.memory_mib, load.vcpus - need.vcpus


def _rank(shift: Shift) -> tuple[float, float, VmName]:
    return (max(shift.source_after, shift.target_after), shift.target_after, shift.vm)


def _load(node: NodeName, ground: Field, change: Size = NO_SIZE, sign: int = 0) -> float | None:
    """Percent; None: what it has is not known."""
    room, taken = ground.room_of(node), ground.loads[node].taken
    if not room.memory_mib:
        return None
    shares = [(taken.memory_mib + sign * change.memory_mib) / room.memory_mib]
    if room.vcpus:
        shares.append((taken.vcpus + sign * change.vcpus) / room.vcpus)
    return 100.0 * max(shares)


def _shift(vm: VmView, source: NodeName, target: NodeName, ground: Field) -> Shift | None:
    """None: it would be of no use."""
    assert vm.spec
    need, margin = ground.size_of(vm.spec.value), ground.snapshot.config.rebalance.margin_percent
    before, there = _load(source, ground), _load(target, ground)
    after, then = _load(source, ground, need, -1), _load(target, ground, need, 1)
    if before is None or there is None or after is None or then is None:
        return None
    if after >= before or then > before - margin:
        return None
    return Shift(
        vm=vm.name,
        source=source,
        target=target,
        source_before=before,
        target_before=there,
        source_after=after,
        target_after=then,
    )


def _resting_on(node: NodeName, census: Census) -> Iterator[VmView]:
    for place, crowd in census.crowds.items():
        if place.node == node:
            yield from crowd.vms.values()
    for vm in census.astir.values():
        if (at := place_of(vm)) is not None and at.node == node:
            yield vm  # nobody is held to be at rest


def _may_move(vm: VmView, source: NodeName, target: NodeName, ground: Field) -> bool:
    assert vm.spec
    assert vm.placement
    spec, held = vm.spec.value, vm.placement.value
    if not spec.failback.enabled or spec.migration.style is not MigrationStyle.LIVE:
        return False
    if vm.name in ground.ties.member_of or any(failure.moving for failure in held.failures):
        return False
    ranking = ground.ranking(spec, source)
    if ranking.find(source) != ranking.find(target):
        return False
    if ground.snapshot.rules and unmet(target, spec, ground) > unmet(source, spec, ground):
        return False
    return _has_nothing_better(spec, held, ground)


def _has_nothing_better(spec: VmSpec, held: Placement, ground: Field) -> bool:
    assert held.node
    better, _ = find_better(spec, ground, held.node, after=held.failback_after, failures=held.failures)
    return better is None


def _can_take(vm: VmView, source: NodeName, target: NodeName, ground: Field) -> bool:
    assert vm.spec
    assert vm.placement
    if no_migration_out_of(source, ground):
        return False
    choice = choose(
        vm.spec.value,
        ground,
        owner=source,
        avoid={source: "is full"},
        failures=vm.placement.value.failures,
        prefer=target,
        moving=True,
    )
    return choice.node == target


def _until_window(vm: VmView, wall: float) -> float:
    assert vm.spec
    return min((opens_in(window, wall) for window in vm.spec.value.failback.windows), default=0.0)


def _hold_left(source: NodeName, target: NodeName, census: Census, ground: Field) -> float:
    """Seconds until both nodes have been for long enough, with nothing that came."""
    dates = [crowd.latest for place, crowd in census.crowds.items() if place.node in (source, target)]
    for vm in census.astir.values():
        if vm.placement and vm.placement.value.node in (source, target):
            dates.append(latest_date(vm.placement.value))
    for node in (source, target):
        session = ground.snapshot.nodes[node].session
        dates += [session.value.since] if session else []
    return left_of(ground.snapshot.config.rebalance.hold_s, max(dates, default=float("-inf")), ground.wall)
