"""Where a vm that nobody holds is started, and what is said when no node can take it.

First start, restart after a failure, or the next try: how the last run ended decides which node comes first, and which
is left alone. What must come before a start at all is looked at by whoever asks for it.
"""

from dataclasses import replace

from vmha.model.records import Placement, RunEnd
from vmha.model.vm import VmSpec
from vmha.policy.deciding import preempt
from vmha.policy.deciding.decision import Decision, in_short, place, wait
from vmha.policy.deciding.dependencies import mark_stuck
from vmha.policy.deciding.displace import ask_for_room, gave_way_to
from vmha.policy.deciding.making_room import clear, keep_for, room_is_made, waits_for_moves, with_thanks
from vmha.policy.deciding.passing import NO_NODE
from vmha.policy.deciding.why_started import why_started
from vmha.policy.placing.choice import Choice
from vmha.policy.placing.field import Field
from vmha.policy.placing.limits import RULE, no_start
from vmha.policy.placing.placement import choose_leading
from vmha.policy.placing.room_asked import WAITS
from vmha.policy.placing.services import relocates
from vmha.policy.room.for_all import choose_start, keep_its_turn
from vmha.policy.state import transitions
from vmha.policy.state.snapshot import Moment, VmView
from vmha.policy.state.steps import Change


def start(vm: VmView, ground: Field, moment: Moment) -> Decision:
    """First start, restart after a failure, or the next try."""
    assert vm.spec
    spec, placement = vm.spec.value, vm.placement.value if vm.placement else None
    if busy := no_start(ground):
        keep_its_turn(spec, ground, placement.failures if placement else ())
        return wait(vm, RULE, busy, moment=moment)
    choice, restarts = _where_to_start(spec, placement, ground, moment)
    if choice.node is None:
        return wait_for_a_node(vm, choice, in_short(choice), ground, moment)
    reason = with_thanks(why_started(spec, placement, choice, ground), vm, ground)
    new = transitions.assign(vm.name, placement, choice.node, reason, moment.wall, restarts=restarts)
    if placement and placement.ended in (RunEnd.CRASHED, RunEnd.START_FAILED) and choice.node != placement.last_node:
        new = replace(new, failback_after=ground.snapshot.revision)  # or failback undoes it: it failed there just now
    return place(vm, Change.ASSIGN, new, spec, ground)


def wait_for_a_node(vm: VmView, choice: Choice, text: str, ground: Field, moment: Moment) -> Decision:
    """Perhaps somebody has to give way to it; and who is to start after it need not wait any more."""
    assert vm.spec
    if made := room_is_made(vm.name, ground):
        keep_for(vm.spec.value, made, ground)
        mark_stuck(vm, choice, ground)
        return wait(vm, WAITS, made.in_words, clear(made, choice), moment=moment)
    ask_for_room(vm, ground, moment)
    if not waits_for_moves(ground):
        preempt.ask_for_room(vm, choice, ground, moment.wall)
    if rival := gave_way_to(vm):
        text = f"it gave way to {rival}; {text}"
    mark_stuck(vm, choice, ground)
    again_s = transitions.ends_again_for_s(vm.placement.value if vm.placement else None, moment.wall)
    if again_s:  # nobody gives way to it until then
        choice = replace(choice, retry_in_s=min(again_s, choice.retry_in_s or again_s))
    return wait(vm, NO_NODE, text, choice, moment=moment)


def _where_to_start(
    spec: VmSpec, placement: Placement | None, ground: Field, moment: Moment
) -> tuple[Choice, tuple[float, ...]]:
    if placement is None:
        return choose_start(spec, ground), ()
    restarts = recent_restarts(spec, placement, moment)
    last = placement.last_node
    if placement.ended is RunEnd.START_FAILED:
        retry = choose_leading if relocates(spec, ground) else choose_start
        return retry(spec, ground, failures=placement.failures), restarts
    if placement.ended not in (RunEnd.CRASHED, RunEnd.GUEST_SHUTDOWN, RunEnd.DESTROYED) or last is None:
        return choose_start(spec, ground, prefer=last if placement.kept_by else None), restarts
    relocate = transitions.must_leave(placement) or relocates(spec, ground) or is_used_up(spec, placement, moment)
    if relocate and placement.ended is RunEnd.CRASHED:
        elsewhere = choose_leading(spec, ground, avoid={last: "just failed there (recovery: another node first)"})
        if elsewhere.node is not None:
            return elsewhere, ()
    remembered = max(1, spec.max_restarts)  # more are never counted, and the record must not grow for ever
    return choose_start(spec, ground, prefer=last), (*restarts, moment.wall)[-remembered:]


def is_used_up(spec: VmSpec, placement: Placement, moment: Moment) -> bool:
    return 0 < spec.max_restarts <= len(recent_restarts(spec, placement, moment))


def recent_restarts(spec: VmSpec, placement: Placement, moment: Moment) -> tuple[float, ...]:
    window = spec.restart_window_s
    return tuple(at for at in placement.restarts if not window or moment.wall - at < window)
