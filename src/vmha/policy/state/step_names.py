"""What a step is called, what it is about, and of which cause it comes: for log, journal and traces."""

from typing import assert_never

from vmha.model.ids import CauseId
from vmha.policy.state.causes import of_request
from vmha.policy.state.steps import (
    AnswerRequest,
    EvictSession,
    FenceNode,
    ForgetProof,
    ForgetRemoved,
    ForgetRequest,
    GiveBackStorage,
    PlacementStep,
    PowerOn,
    RaiseSchema,
    RememberRemoved,
    SettleDesired,
    SettleHistory,
    SettlePower,
    Step,
    WriteHold,
)


def name_of(step: Step) -> str:
    return str(step.change) if isinstance(step, PlacementStep) else type(step).__name__


def cause_of(step: Step) -> CauseId:
    """Empty: it follows from no event, but from what the cluster is in."""
    match step:
        case PlacementStep() | FenceNode() | EvictSession() | PowerOn() | SettleDesired():
            return step.reason.cause
        case WriteHold():
            return step.cause
        case AnswerRequest():
            return of_request(step.outcome.request)
        case ForgetRequest():
            return of_request(step.request)
        case GiveBackStorage() | SettlePower() | SettleHistory() | RaiseSchema():
            return CauseId("")
        case ForgetProof() | RememberRemoved() | ForgetRemoved():
            return CauseId("")
        case _:
            assert_never(step)


def about(step: Step) -> dict[str, str]:
    """The vm or the node."""
    match step:
        case PlacementStep() | SettleDesired():
            return {"vm": step.vm}
        case WriteHold():
            return {"vm": step.vm} if step.vm else {}
        case RememberRemoved():
            return {"vm": step.record.vm}
        case FenceNode() | EvictSession() | GiveBackStorage() | PowerOn() | SettlePower():
            return {"node": step.node}
        case AnswerRequest() | ForgetRequest() | SettleHistory() | RaiseSchema() | ForgetProof() | ForgetRemoved():
            return {}
        case _:
            assert_never(step)
