"""Why a vm that nobody holds is started, and why there."""

from vmha.model.ids import VmName
from vmha.model.records import Placement, Reason, RunEnd
from vmha.model.vm import VmSpec
from vmha.policy.deciding.decision import why_there
from vmha.policy.deciding.frozen_with_host import why_back
from vmha.policy.placing.choice import Choice
from vmha.policy.placing.field import Field
from vmha.policy.state.causes import of_start


def why_started(spec: VmSpec, placement: Placement | None, choice: Choice, ground: Field) -> Reason:
    assert choice.node
    where = why_there(spec, choice, ground)
    rule, text = why_back(placement, choice.node) or _what_it_is_started_after(placement)
    cause = of_start(VmName(spec.name), placement)
    return Reason(rule=rule, text=f"{text}; {where}", cause=cause, candidates=choice.candidates)


def _what_it_is_started_after(placement: Placement | None) -> tuple[str, str]:
    """The rule, and its words."""
    match placement.ended if placement else None:
        case RunEnd.CRASHED:
            return "crashed-vm-is-recovered", f"it crashed on {placement and placement.last_node}"
        case RunEnd.GUEST_SHUTDOWN:
            return "shutdown-vm-is-restarted", "its guest powered itself off"
        case RunEnd.DESTROYED:
            return "destroyed-vm-is-restarted", "somebody ended it by hand"
        case RunEnd.START_FAILED:
            return "failed-start-is-retried", f"it failed to start on {placement and placement.last_node}"
        case RunEnd.NODE_LOST:
            return "wanted-running", f"it is wanted running; it was lost with {placement and placement.last_node}"
        case _:
            return "wanted-running", "it is wanted running"
