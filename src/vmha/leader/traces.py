"""What the leader knows at the end of something to have been part of an operation: a silence, a plan, a request."""

from vmha.model.records import Progress
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.state.step_names import cause_of
from vmha.policy.state.steps import AnswerRequest, EvictSession, Plan, Step
from vmha.tracing.operation import is_traced, past


def planned(plan: Plan, took_s: float) -> None:
    """Part of each operation that it takes a step of."""
    if is_traced():
        for cause in sorted({cause_of(step) for step in plan.steps}):
            past("plan", cause, took_s)


def written(step: Step, snapshot: Snapshot, wall: float) -> None:
    match step:
        case EvictSession():
            past("silence", step.reason.cause, step.silent_s, node=step.node)
        case AnswerRequest() if step.outcome.progress is not Progress.RUNNING:
            asked = snapshot.requests.get(step.outcome.request)
            if asked and asked.asked_at:
                past(f"request {asked.verb}", cause_of(step), wall - asked.asked_at, vm=asked.vm, node=asked.node)
