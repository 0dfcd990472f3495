"""Cause ids: one for everything that follows from one event, so that a story can chain what happened to its cause.

    lost-<node>-<session>      a session went silent: suspicion, fencing, and what becomes of its vms
    <how>-<vm>-<epoch>         a run ended by itself, or failed to begin: crashed-db-4
    request-<id>               an operator asked for it
    drain-, failback-, ...     what a rule began, by the node or the vm that it began with
    <change>-<vm>-<epoch>      what nothing before it had caused, by what was done

An id is a function of what was read, as all of a decision is: a leader that decides it again finds the same one.
"""

from dataclasses import replace

from vmha.model.ids import CauseId, NodeName, RequestId, SessionId
from vmha.model.records import Phase, Placement, RunEnd

_BY_ITSELF = (RunEnd.CRASHED, RunEnd.GUEST_SHUTDOWN, RunEnd.DESTROYED, RunEnd.START_FAILED, RunEnd.SAVED)


def of_loss(node: NodeName, session: SessionId) -> CauseId:
    return CauseId(f"lost-{node}-{session[-6:]}")


def of_request(request: RequestId) -> CauseId:
    return CauseId(f"request-{request}")


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
