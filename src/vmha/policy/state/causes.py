"""Cause ids: one for everything that follows from one event, so that a story can chain what happened to its cause.

    lost-<node>-<session>      a session went silent: suspicion, fencing, and what becomes of its vms
    <how>-<vm>-<epoch>         a run ended by itself, or failed to begin: crashed-db-4
    request-<id>               an operator asked for it
    room-for-<vm>              others leave, or stop, so that a vm finds room
    freeze-<vm>-<when>, pause-<when>   a hold came down, and what waits for its end by no other cause
    drain-, failback-, ...     what a rule began, by the node or the vm that it began with
    <change>-<vm>-<epoch>      what nothing before it had caused, by what was done

An id is a function of what was read, as all of a decision is: a leader that decides it again finds the same one.
"""

from dataclasses import replace

from vmha.model.holds import Hold
from vmha.model.ids import CauseId, NodeName, RequestId, SessionId, VmName
from vmha.model.records import Phase, Placement, RunEnd
from vmha.model.vm import Desired

ROOM_FOR = "room-for-"
"""Begins the cause of what is done to others so that a vm finds room."""

_BY_ITSELF = (RunEnd.CRASHED, RunEnd.GUEST_SHUTDOWN, RunEnd.DESTROYED, RunEnd.START_FAILED, RunEnd.SAVED)


def of_loss(node: NodeName, session: SessionId) -> CauseId:
    return CauseId(f"lost-{node}-{session[-6:]}")


def of_request(request: RequestId) -> CauseId:
    return CauseId(f"request-{request}")


def of_hold(vm: VmName | None, hold: Hold) -> CauseId:
    """Of a freeze (None: of the pause), from its beginning to its end."""
    return CauseId(f"freeze-{vm}-{hold.at:.0f}" if vm else f"pause-{hold.at:.0f}")


def of_drain(node: NodeName) -> CauseId:
    return CauseId(f"drain-{node}")


def of_wanted(vm: VmName, desired: Desired, placement: Placement | None) -> CauseId:
    """Of what will be done about a vm that is wanted otherwise from now on, as ``with_cause`` will have it."""
    match desired:
        case Desired.RUNNING if placement is None or placement.phase is Phase.STOPPED:
            return of_start(vm, placement)
        case Desired.STOPPED | Desired.DISABLED if placement is not None and placement.phase is Phase.HELD:
            return CauseId(f"stop-{vm}-{placement.epoch}")
        case _:
            return CauseId("")


def of_start(vm: VmName, placement: Placement | None) -> CauseId:
    """Of a start, and of what waits for one: what the vm is in, but for a stop that was wanted. That is over."""
    cause, epoch = of_state(placement), placement.epoch if placement else 0
    is_down = placement is None or (placement.phase is Phase.STOPPED and placement.operation is None)
    if is_down and cause in ("", f"stop-{vm}-{epoch}"):
        return CauseId(f"assign-{vm}-{epoch + 1}")
    return cause


def of_state(placement: Placement | None) -> CauseId:
    """Of what a vm is in now. What ended a run is a cause of its own, whatever had brought the vm to where it ran."""
    if placement is None:
        return CauseId("")
    if placement.phase is Phase.STOPPED and placement.ended in _BY_ITSELF:
        return CauseId(f"{placement.ended}-{placement.vm}-{placement.epoch}")
    return placement.reason.cause


def with_cause(change: str, placement: Placement) -> Placement:
    """With a cause of its own where it has none yet."""
    if placement.reason.cause:
        return placement
    born = f"{change}-{placement.vm}-{placement.epoch}"
    cause = of_request(placement.operation) if placement.operation else CauseId(born)
    return replace(placement, reason=replace(placement.reason, cause=cause))
