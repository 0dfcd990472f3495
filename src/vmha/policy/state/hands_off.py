"""What must be left alone now, and by whose word: a vm that is frozen, everything while the cluster is paused.

A hold forbids what somebody would have to do: starts, stops, moves, recoveries. It forbids nobody to look and to say
what is: a guest that a hand has moved is adopted where it runs, one that ended is given up by its node, a node that can
not commit is empty by its guard's law. What was under way when the hold came down comes to its end.

========================  ==========  ===============  ============
..                        frozen vm   paused: starts   paused: all
========================  ==========  ===============  ============
first start, start asked  no          no               no
recovery elsewhere        no          no               no
restart where it ran      no          yes              no
stop, restart asked for   no          yes              no
migration, failback       no          yes              no
fencing of a silent node  of others'  yes              no
adopted where it is seen  yes         yes              yes
========================  ==========  ===============  ============
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vmha.model.durations import in_words
from vmha.model.holds import Hold, PauseMode
from vmha.model.ids import CauseId, VmName
from vmha.model.records import Phase, Placement, Request, RunEnd, Stored, Verb
from vmha.policy.state.causes import of_hold, of_state
from vmha.policy.state.snapshot import Moment, Snapshot, VmView
from vmha.policy.state.steps import Step, WriteHold
from vmha.policy.state.transitions import UNASKED

FROZEN, PAUSED = "it-is-frozen", "the-cluster-is-paused"
HOLD_IS_OVER = "a-hold-ends-by-itself"
WHAT_IS_PAUSED = {
    PauseMode.ALL: "the cluster is paused",
    PauseMode.STARTS: "starts are paused in the whole cluster",
}
COUNTED_EVERY_S = 300.0
COUNTED_PARTS = 10
"""What has passed of a hold is written down so often: an agent that restarts forgets no more than one part of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandsOff:
    """``remedy``: the command that lifts it. ``cause``: of what waits for its end and had none before."""

    rule: str
    text: str
    remedy: str
    cause: CauseId

    @property
    def in_full(self) -> str:
        return f"{self.text}; lift it with: {self.remedy}"


def hands_off(vm: VmView, snapshot: Snapshot) -> HandsOff | None:
    """Whether nothing at all may be done with this vm now."""
    if vm.freeze is not None:
        text = f"it is frozen by {vm.freeze.value.in_words}"
        cause = of_hold(vm.name, vm.freeze.value)
        return HandsOff(rule=FROZEN, text=text, remedy=f"vmha vm unfreeze {vm.name}", cause=cause)
    return pause_of(snapshot) if is_paused(snapshot) else None


def is_paused(snapshot: Snapshot) -> bool:
    """Nothing at all may be decided."""
    return snapshot.pause is not None and snapshot.pause.value.mode is PauseMode.ALL


def pause_of(snapshot: Snapshot) -> HandsOff | None:
    if snapshot.pause is None:
        return None
    pause = snapshot.pause.value
    text = f"{WHAT_IS_PAUSED[pause.mode]} by {pause.in_words}"
    return HandsOff(rule=PAUSED, text=text, remedy="vmha resume", cause=of_hold(None, pause))


def starts_are_paused(snapshot: Snapshot) -> HandsOff | None:
    """While only starts are held up."""
    return None if is_paused(snapshot) else pause_of(snapshot)


def forbids_start(vm: VmView, new: Placement, snapshot: Snapshot) -> HandsOff | None:
    """A restart where it ran is none of the starts that are held up."""
    previous = vm.placement.value if vm.placement else None
    return None if _is_in_place(previous, new) else starts_are_paused(snapshot)


def _is_in_place(previous: Placement | None, new: Placement) -> bool:
    if previous is None or previous.phase is not Phase.STOPPED or previous.last_node != new.node:
        return False
    is_asked = previous.operation is not None and previous.operation == new.operation
    return is_asked or previous.ended in UNASKED


RESTARTED = frozenset(
    {
        "crashed-vm-is-recovered",
        "shutdown-vm-is-restarted",
        "destroyed-vm-is-restarted",
        f"operator-asked-to-{Verb.RESTART}",
    }
)


def is_restart_in_place(assigned: Placement) -> bool:
    """As ``forbids_start``, of a start that was decided and is not claimed yet."""
    return assigned.last_node == assigned.node and assigned.reason.rule in RESTARTED


def forbids_request(request: Request, vm: VmView | None, snapshot: Snapshot) -> HandsOff | None:
    """An operation that must not begin now. A person's word of what is (that it is gone, that a node is off) may."""
    if vm is None or request.verb in (Verb.CONFIRM_GONE, Verb.CONFIRM_OFF):
        return None
    if off := hands_off(vm, snapshot):
        return off
    return starts_are_paused(snapshot) if request.verb in NEEDS_A_START_ELSEWHERE else None


NEEDS_A_START_ELSEWHERE = frozenset({Verb.RELOCATE, Verb.START, Verb.ENABLE})


def is_waited_for(placement: Placement | None) -> bool:
    """A request whose placement is here can say nothing more until the hold is lifted."""
    return placement is None or (placement.phase is Phase.STOPPED and placement.ended is not RunEnd.START_FAILED)


def cause_of_lifting(vm: VmView | None, hold: Hold) -> CauseId:
    """Of the end of a hold: of what has waited for it, so that both are told as one with what comes of it."""
    placement = vm.placement.value if vm and vm.placement else None
    if placement is not None and placement.reason.rule == FROZEN and (cause := of_state(placement)):
        return cause
    return of_hold(vm.name if vm else None, hold)


# --- how long it lasts


def _holds(snapshot: Snapshot) -> Iterator[tuple[VmName | None, Stored[Hold]]]:
    if snapshot.pause is not None:
        yield None, snapshot.pause
    yield from snapshot.frozen.items()


def _age(vm: VmName | None, stored: Stored[Hold]) -> str:
    return f"holds/{vm or ''}@{stored.modified}"


def hold_ages(snapshot: Snapshot) -> Iterator[str]:
    """What ``Moment.known_s`` is to be counted for: each state of each hold that ends by itself."""
    yield from (_age(vm, stored) for vm, stored in _holds(snapshot) if stored.value.for_s)


def left_s(stored: Stored[Hold], vm: VmName | None, moment: Moment) -> float:
    return stored.value.for_s - stored.value.spent_s - moment.known_s.get(_age(vm, stored), 0.0)


def end_holds(snapshot: Snapshot, moment: Moment) -> tuple[list[Step], float | None]:
    """Those that are over are lifted, of others what has passed is written down; and when to look again."""
    steps: list[Step] = []
    wakes: list[float] = []
    for vm, stored in sorted(_holds(snapshot), key=lambda held: held[0] or ""):
        hold = stored.value
        view = snapshot.vms.get(vm) if vm is not None else None
        cause = cause_of_lifting(view, hold) if view else of_hold(vm, hold)
        if vm is not None and (view is None or view.spec is None) and not snapshot.is_unreadable("vms", vm, "spec"):
            text = "its vm was removed"
            steps.append(WriteHold(vm=vm, expected=stored.modified, hold=None, text=text, cause=cause))
        elif hold.for_s:
            left, known_s = left_s(stored, vm, moment), moment.known_s.get(_age(vm, stored), 0.0)
            part_s = min(COUNTED_EVERY_S, hold.for_s / COUNTED_PARTS)
            if left <= 0:
                why = f": {hold.reason}" if hold.reason else ""
                text = f"the time that {hold.author} gave it is over ({in_words(hold.for_s)}){why}"
                steps.append(WriteHold(vm=vm, expected=stored.modified, hold=None, text=text, cause=cause))
            elif known_s >= part_s:
                counted = replace(hold, spent_s=round(hold.spent_s + known_s, 3))
                steps.append(WriteHold(vm=vm, expected=stored.modified, hold=counted))
            else:
                wakes.append(min(left, part_s - known_s))
    return steps, min(wakes, default=None)
