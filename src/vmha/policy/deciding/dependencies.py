"""What a vm needs of others before it starts, and what becomes of it when that goes away (RGManager's ``depend``).

    hard: it is started when the other is ready, stopped when the other goes away or is to be stopped, and started again
    soft: it is started after the other where that is wanted running too; what becomes of the other later is no matter

* "Ready" is ``ready.is_ready``. "Gone" is known, never supposed: a silent node's vm is not gone before there is proof.
* A vm that is to be stopped waits for those that need it hard to end first. A restart or relocation does not wait: they
  see the end of it, and end after it.
* A soft need is not waited for while no node can take the other one, or that waits for one like it itself.
* A vm that is not defined (any more) is waited for by a hard need, in words, and ends nobody; a soft one is met.
"""

from dataclasses import replace

from vmha.model.ids import CauseId, VmName
from vmha.model.records import Phase, Placement, Reason
from vmha.model.relations import Dependency, Need
from vmha.model.vm import Desired
from vmha.policy.deciding.decision import Decision, change, seen_running
from vmha.policy.deciding.ready import ready_since
from vmha.policy.placing.choice import Choice
from vmha.policy.placing.field import Field
from vmha.policy.placing.placement import left_of
from vmha.policy.placing.services import ends_before
from vmha.policy.state import transitions
from vmha.policy.state.causes import of_start, of_state
from vmha.policy.state.snapshot import Moment, VmView
from vmha.policy.state.steps import Change, Waiting

NOT_READY = "what-it-needs-is-not-ready"
GONE = "what-it-needs-is-gone"

_CLAIMED = (Phase.HELD, Phase.STOPPING, Phase.MIGRATING)


def gate(vm: VmView, ground: Field, moment: Moment) -> Decision | None:
    """Before a start. None: everything it needs is ready."""
    if vm.name not in ground.ties.needs:
        return None
    text, retry_in_s = waits_for(vm, ground)
    if not text:
        return None
    if any(_is_held_up(need, ground) for need in ground.ties.needs[vm.name]):
        ground.ties.stuck.add(vm.name)
    held = vm.placement.value if vm.placement else None
    reason = Reason(rule=NOT_READY, text=text, cause=of_start(vm.name, held))
    waiting = Waiting(vm=vm.name, text=text)
    if held and (held.reason.rule, held.reason.text) == (NOT_READY, text):
        return Decision(waiting=waiting, retry_in_s=retry_in_s)
    note = change(vm, Change.NOTE, transitions.note(vm.name, held, reason, moment.wall))
    return replace(note, waiting=waiting, retry_in_s=retry_in_s)


def take_back(vm: VmView, held: Placement, ground: Field, moment: Moment) -> Decision | None:
    """An assignment that nobody claims is a start anew once it moves on. None: everything it needs is still ready."""
    text, _ = waits_for(vm, ground)
    if not text:
        return None
    reason = Reason(rule=NOT_READY, text=text, cause=held.reason.cause)
    return change(vm, Change.WITHDRAW, transitions.withdraw(held, reason, moment.wall))


def _is_held_up(need: Dependency, ground: Field) -> bool:
    """A hard need that nobody can say when it will be met: what is to start after its vm need not wait for that."""
    other = ground.snapshot.vms.get(VmName(need.vm))
    if need.mode is not Need.HARD:
        return False
    if other is None or other.spec is None or other.name in ground.ties.stuck:
        return True
    return other.spec.value.desired not in (Desired.RUNNING, Desired.AS_FOUND)


def waits_for(vm: VmView, ground: Field) -> tuple[str, float | None]:
    """What is not ready yet, in words ('': nothing), and when to look again though nothing changes."""
    said: list[str] = []
    retries: list[float] = []
    for need in ground.ties.needs.get(vm.name, ()):
        text, retry_in_s = _unmet(need, ground)
        said += [text] if text else []
        retries += [] if retry_in_s is None else [retry_in_s]
    if not said and (lost := _endings(ground).get(vm.name)):
        said = [lost]  # what it needs still runs, and is to end: it would be started for an instant, again and again
    return "; ".join(said), min(retries, default=None)


def _unmet(need: Dependency, ground: Field) -> tuple[str, float | None]:
    other = ground.snapshot.vms.get(VmName(need.vm))
    is_hard = need.mode is Need.HARD
    if other is None or other.spec is None:
        return (f"{need.vm}, which it needs, is not defined" if is_hard else ""), None
    if (since := ready_since(other, ground)) is not None:
        if is_hard and other.name in ground.ties.changed:
            return f"{need.vm}, which it needs, is just changing", 1.0  # a start compares its record as it was read
        left_s = left_of(need.start_delay_s, since, ground.wall)
        text = f"{need.vm} is ready, and it is to be started {need.start_delay_s:g} s after that"
        return (text, left_s) if left_s else ("", None)
    wanted = other.spec.value.desired
    if wanted not in (Desired.RUNNING, Desired.AS_FOUND):
        return (f"{need.vm}, which it needs, is {wanted}" if is_hard else ""), None
    if is_hard:
        return f"{need.vm}, which it needs, is not ready", None
    return ("" if other.name in ground.ties.stuck else f"{need.vm}, after which it is started, is not ready"), None


def mark_stuck(vm: VmView, choice: Choice, ground: Field) -> None:
    """No node can take it, and not just for a moment because many start at once."""
    most = ground.limits.starts_per_node
    if choice.node is None and not any(ground.loads[node].starting >= most for node in ground.eligible):
        ground.ties.stuck.add(vm.name)


def end_with(vm: VmView, held: Placement, ground: Field, moment: Moment) -> Decision | None:
    """What it needs is gone, or is to be stopped: so is it. None: nothing of the kind."""
    if vm.name not in ground.ties.needs:
        return None
    lost = _endings(ground).get(vm.name)
    if lost is None:
        return None
    reason = Reason(rule=GONE, text=lost, cause=_cause(vm.name, ground))
    if held.phase is Phase.ASSIGNED:
        return change(vm, Change.WITHDRAW, transitions.withdraw(held, reason, moment.wall))
    return wait_for_dependents(vm, ground) or change(vm, Change.STOP, transitions.ask_stop(held, reason, moment.wall))


def wait_for_dependents(vm: VmView, ground: Field) -> Decision | None:
    """Those that need it hard, and run on nodes that live, end first."""
    needing = [name for name in ground.ties.needed_by.get(vm.name, ()) if _is_ending_first(name, ground)]
    if needing:
        return Decision(waiting=Waiting(vm=vm.name, text=f"{', '.join(needing)} needs it and ends first"))
    behind = [name for name in ends_before(vm, ground) if _is_ending_first(name, ground)]
    if behind:
        return Decision(waiting=Waiting(vm=vm.name, text=f"{', '.join(behind)} of its service ends first"))
    return None


def _is_ending_first(name: VmName, ground: Field) -> bool:
    view = ground.snapshot.vms.get(name)
    placement = view.placement.value if view and view.spec and view.placement else None
    if placement is None or placement.phase not in _CLAIMED or placement.node is None:
        return False
    node, verdict = ground.snapshot.nodes.get(placement.node), ground.verdicts.get(placement.node)
    return node is not None and node.session_id == placement.session and verdict is not None and verdict.is_alive


def _endings(ground: Field) -> dict[VmName, str]:
    """Who has to end, and why, in words: worked out once, from those that end by themselves on to what needs them."""
    ties = ground.ties
    if ties.endings is None:
        ties.endings = {}
        found = [(name, text) for name in sorted(ties.needed_by) if (text := _has_ended(name, ground))]
        for name, text in found:
            for dependent in ties.needed_by.get(name, ()):
                if dependent not in ties.endings:
                    ties.endings[dependent] = f"it needs {name}{text}"
                    found.append((dependent, f"; {ties.endings[dependent]}"))
    return ties.endings


def _has_ended(name: VmName, ground: Field) -> str:
    vm = ground.snapshot.vms.get(name)
    if vm is None or vm.spec is None:
        return ""
    if vm.spec.value.desired in (Desired.STOPPED, Desired.DISABLED):
        return f", which is to be {vm.spec.value.desired}"
    return ", which does not run" if is_gone(vm, ground) else ""


def is_gone(vm: VmView, ground: Field) -> bool:
    """Known not to run, or to run anew only: what needed its last run has lost it."""
    if ground.snapshot.is_unreadable("vms", vm.name, "placement") or seen_running(vm, ground):
        return False
    placement = vm.placement.value if vm.placement else None
    if placement is None or placement.phase is Phase.STOPPED:
        return True
    if placement.phase is Phase.ASSIGNED:
        return not placement.arrival
    return placement.phase is not Phase.DEPARTED and placement.session in ground.snapshot.fenced


def _cause(name: VmName, ground: Field) -> CauseId:
    """Of what ended the first of those that it needs, so that the story is one."""
    for need in ground.ties.needs.get(name, ()):
        view = ground.snapshot.vms.get(VmName(need.vm))
        if view and view.placement and of_state(view.placement.value):
            return of_state(view.placement.value)
    return CauseId("")
