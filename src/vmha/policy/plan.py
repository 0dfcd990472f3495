"""The plan: everything the leader would do about one snapshot at one instant.

Pure: the same snapshot and moment give the same plan, on every machine. Planning again on a plan's own result proposes
nothing new, so a leader may die between any two steps and the next one goes on from what it finds.
"""

from collections.abc import Iterable, Mapping

from vmha.model.ids import NodeName, VmName
from vmha.model.records import Phase, Request
from vmha.policy.asked.requests import decide_request, open_requests, tidy
from vmha.policy.at_rest import who_is_due
from vmha.policy.deciding.decision import NOTHING, Decision, change
from vmha.policy.deciding.drain import largest_first
from vmha.policy.deciding.making_room import look_for_room, move_for_room
from vmha.policy.deciding.restored import hold_back
from vmha.policy.members.mass_loss import is_brake_on, is_mass_loss, may_be_mass_loss
from vmha.policy.members.membership import Verdict, fence_and_evict, judge
from vmha.policy.members.power_on import power_on_again
from vmha.policy.members.removed import tidy_removed
from vmha.policy.members.schema import raise_schema
from vmha.policy.on_hold import call_back_start, decide_on_hold
from vmha.policy.phases.assigned import decide_assigned
from vmha.policy.phases.departed import decide_departed
from vmha.policy.phases.held import decide_held
from vmha.policy.phases.lost import decide_lost
from vmha.policy.phases.stopped import decide_stopped
from vmha.policy.phases.unmanaged import decide_unmanaged
from vmha.policy.placing.field import Field
from vmha.policy.placing.placement import survey
from vmha.policy.placing.preferences import Preferences
from vmha.policy.placing.room_asked import WAITS, Making
from vmha.policy.rebalance import rebalance
from vmha.policy.room.for_all import look_at_all
from vmha.policy.state.census import Census, nobody_rests, take
from vmha.policy.state.hands_off import end_holds, hands_off, is_paused, pause_of
from vmha.policy.state.snapshot import Moment, Snapshot, VmView
from vmha.policy.state.steps import Change, EvictSession, Plan, Step, Waiting
from vmha.policy.state.transitions import by_our_clock

LAST = 1_000_000
"""Behind every rank of an exclusive vm."""


def plan(
    snapshot: Snapshot,
    moment: Moment,
    verdicts: dict[NodeName, Verdict] | None = None,
    census: Census | None = None,
    preferences: Preferences | None = None,
    meant: Mapping[VmName, NodeName | None] | None = None,
    making: Making | None = None,
) -> Plan:
    """First who is here, then what is asked for, then every vm that is not at rest: the most important first.

    ``verdicts``: those of ``judge_all``, by whoever has asked for them already. ``census``, ``preferences``: likewise
    (policy/planner.py). ``meant``: where vms are to start so that more of them find room, ``making``: what is moved for
    one that still finds none; once that was looked for.
    """
    if snapshot.is_unreadable("config"):
        return Plan(
            waiting=(Waiting(vm=VmName(""), text="the cluster's settings can not be read: nothing is decided"),)
        )
    verdicts = judge_all(snapshot, moment) if verdicts is None else verdicts
    is_on = is_brake_on(snapshot, moment)
    braked = is_on and is_mass_loss(verdicts)
    holds_back = braked or (is_on and may_be_mass_loss(snapshot, moment, verdicts))
    keeps_off = holds_back or is_paused(snapshot)
    fence_steps, fence_wake, late_in_s = fence_and_evict(snapshot, moment, verdicts, braked=keeps_off)
    on_steps, on_wake = power_on_again(snapshot, moment, keeps_off=keeps_off)
    census = take(snapshot.vms) if census is None else census
    ground = survey(snapshot, verdicts, moment.wall, census, preferences)
    ground.ties.meant, ground.ties.making = meant, making
    by_vm, about_nodes = open_requests(ground)

    hold_steps, hold_wake = end_holds(snapshot, moment)

    steps: list[Step] = [
        *fence_steps,
        *on_steps,
        *tidy(ground, moment, census),
        *tidy_removed(snapshot),
        *raise_schema(snapshot),
    ]
    waiting: list[Waiting] = [Waiting(vm=VmName(""), text=off.text)] if (off := pause_of(snapshot)) else []
    wakes = [wake for wake in (fence_wake, on_wake, hold_wake) if wake is not None]
    if holds_back and not braked:
        wakes.append(snapshot.config.clockwork.beat_s / 4)  # for a beat alone no leader looks again
    evicted = {step.session for step in fence_steps if isinstance(step, EvictSession)}
    for request in about_nodes:
        asked = _steps_of(decide_request(request, None, ground, moment))
        # Confirmed off while its silence is proof enough: once is right, the second would only lose its compare.
        # So it is when two people confirm it.
        steps.extend(step for step in asked if not (isinstance(step, EvictSession) and step.session in evicted))
        evicted |= {step.session for step in asked if isinstance(step, EvictSession)}
    for name, request in by_vm.items():
        if name not in snapshot.vms:
            steps.extend(_steps_of(decide_request(request, None, ground, moment)))
    due = who_is_due(census, ground, by_vm)
    ground.answers = {}
    for vm in ground.ties.in_order(largest_first(by_importance(due.values()), ground)):
        decision = _decide_or_say_why_not(vm, by_vm.get(vm.name), ground, moment)
        steps.extend(decision.steps)
        ground.ties.decided(decision.steps)
        if decision.waiting:
            waiting.append(decision.waiting)
        if decision.retry_in_s is not None:
            wakes.append(decision.retry_in_s)
    ground.answers = None  # from here on nodes are given vms in copies of the ground, too
    if ground.ties.gives_way.keys() - due.keys():
        # One at rest is to make room for another: rare, and all are looked at for it.
        return plan(snapshot, moment, verdicts, nobody_rests(snapshot.vms), ground.preferences, meant, making)
    if meant is None and (meant := look_at_all(ground, steps)) is not None:
        return plan(snapshot, moment, verdicts, census, ground.preferences, meant, making)
    if making is None and (making := look_for_room(ground, steps, census, by_vm, meant)) is not None:
        return plan(snapshot, moment, verdicts, census, ground.preferences, making.meant or meant, making)
    moved = move_for_room(ground, steps, moment)
    steps.extend(moved.steps)
    if moved.retry_in_s is not None:
        wakes.append(moved.retry_in_s)
    relieved = rebalance(ground, census, steps, moment)
    steps.extend(relieved.steps)
    if relieved.retry_in_s is not None:
        wakes.append(relieved.retry_in_s)
    steps.extend(hold_steps)  # last: what is begun compares the holds as they were read
    made = Plan(
        steps=tuple(steps),
        waiting=tuple(waiting),
        wake_in_s=min(wakes, default=None),
        late_in_s=late_in_s,
        braked=braked,
        mass_loss=is_mass_loss(verdicts),
    )
    return hold_back(made, snapshot, moment)


def judge_all(snapshot: Snapshot, moment: Moment) -> dict[NodeName, Verdict]:
    return {name: judge(snapshot.nodes[name], snapshot, moment) for name in sorted(snapshot.nodes)}


def by_importance(vms: Iterable[VmView]) -> list[VmView]:
    """Exclusive ones first, higher priority first, those that room was made for, by name: the first takes the room."""
    return sorted(vms, key=_importance)


def _importance(vm: VmView) -> tuple[int, int, bool, VmName]:
    if vm.spec is None:
        return (LAST, 0, True, vm.name)
    is_promised = vm.placement is not None and vm.placement.value.reason.rule == WAITS
    return (vm.spec.value.exclusive or LAST, -vm.spec.value.priority, not is_promised, vm.name)


def _decide_or_say_why_not(vm: VmView, request: Request | None, ground: Field, moment: Moment) -> Decision:
    """One vm whose records contradict each other (written by hand, say) must not stop the decisions on all others."""
    try:
        return decide(vm, request, ground, moment)
    except (AssertionError, LookupError, ValueError, TypeError) as error:
        text = f"its records contradict each other ({type(error).__name__}: {error}); look at them with etcdctl"
        return Decision(waiting=Waiting(vm=vm.name, text=text))


def decide(vm: VmView, request: Request | None, ground: Field, moment: Moment) -> Decision:
    """The phase of the placement is the table of contents."""
    if vm.spec is None and request is None:
        return decide_unmanaged(vm, ground, moment)
    if off := hands_off(vm, ground.snapshot):
        is_lost = vm.placement is not None and _holder_is_gone(vm, ground)
        return decide_on_hold(vm, request, off, ground, moment, is_lost=is_lost)
    if request is not None:
        asked = decide_request(request, vm, ground, moment)
        if asked is not None:
            return asked
    if vm.spec is None:
        return decide_unmanaged(vm, ground, moment)
    placement = vm.placement.value if vm.placement else None
    if placement and placement.phase in (Phase.STOPPED, Phase.HELD):
        set_right = by_our_clock(placement, moment.wall)
        if set_right is not placement:
            return change(vm, Change.NOTE, set_right)
    if placement is None or placement.phase is Phase.STOPPED:
        return decide_stopped(vm, ground, moment)
    if placement.phase is Phase.DEPARTED:
        return decide_departed(vm, ground, moment)
    if placement.phase is Phase.ASSIGNED:
        if called_back := call_back_start(vm, placement, ground, moment):
            return called_back
        return decide_assigned(vm, placement, ground, moment)
    if _holder_is_gone(vm, ground):
        return decide_lost(vm, placement, ground, moment)
    if placement.phase is Phase.HELD:
        return decide_held(vm, placement, ground, moment)
    return NOTHING  # stopping or migrating: its holder is at work


def _holder_is_gone(vm: VmView, ground: Field) -> bool:
    """The session that claimed it is not the one that beats on that node (any more)."""
    assert vm.placement
    placement = vm.placement.value
    node = ground.snapshot.nodes.get(placement.node) if placement.node else None
    return node is None or node.session_id != placement.session


def _steps_of(decision: Decision | None) -> tuple[Step, ...]:
    return decision.steps if decision else ()
