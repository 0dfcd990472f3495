"""Waiting for what was asked for, by watching: each change of the cluster is judged anew against one goal.

A goal is a function of one snapshot. What it answers on the way is the progress to show; its end is done, failed or
refused. A store that falls silent while somebody waits is waited for too, until the deadline.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum

from vmha.model.errors import Retryable
from vmha.model.ids import NodeName, RequestId, VmName
from vmha.model.records import Candidate, Outcome, Progress
from vmha.model.vm import Desired
from vmha.operator.client import OperatorClient
from vmha.operator.drains import how_far
from vmha.operator.errors import OperationFailed, RefusedByCluster, TimedOut
from vmha.operator.hand import what_is_asked
from vmha.operator.holds import why_held_up
from vmha.policy.members.membership import moment_of_one_reading
from vmha.policy.plan import judge_all
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.telling.explain import VmState, VmSummary, summarize


class End(StrEnum):
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """How far it is, in words; ``end`` None: not there yet."""

    text: str
    end: End | None = None
    candidates: tuple[Candidate, ...] = ()


Goal = Callable[[Snapshot], Sighting]


async def follow(client: OperatorClient, goal: Goal, *, timeout_s: float) -> AsyncGenerator[Sighting, None]:
    """Yields each new sighting; the last one has an ``end``.

    Raises:
        TimedOut: the goal was not reached in time; the operation goes on.
        Retryable: the store did not answer until then.
    """
    last: Sighting | None = None
    lost: Retryable | None = None
    end_at = client.clock.now() + timeout_s
    while True:
        try:
            async with aclosing(client.snapshots()) as snapshots:
                while True:
                    # Not wait_for: Python 3.11's loses a cancellation (Ctrl-C) that meets the next snapshot.
                    async with asyncio.timeout(max(0.0, end_at - client.clock.now())):
                        snapshot = await anext(snapshots)
                    lost = None
                    seen = goal(snapshot)
                    if seen != last:
                        last = seen
                        yield seen
                    if seen.end is not None:
                        return
        except TimeoutError:
            if lost is not None:
                raise lost from None
            said = f": {last.text}" if last else ""
            raise TimedOut(f"not done within {timeout_s:g} s, and goes on{said}") from None
        except Retryable as error:
            lost = error
            if client.clock.now() + error.retry_after_s >= end_at:
                raise
            yield Sighting(text=f"{error}; trying again")
            await asyncio.sleep(error.retry_after_s)


async def wait(
    client: OperatorClient, goal: Goal, *, timeout_s: float, tell: Callable[[str], None] = lambda _: None
) -> str:
    """Follows to the end. ``tell`` is called with each piece of progress.

    Returns:
        The last words.

    Raises:
        OperationFailed: it began and did not succeed.
        RefusedByCluster: the leader would not begin.
        TimedOut: see ``follow``.
    """
    async with aclosing(follow(client, goal, timeout_s=timeout_s)) as sightings:
        async for seen in sightings:
            match seen.end:
                case End.DONE:
                    return seen.text
                case End.FAILED:
                    raise OperationFailed(seen.text)
                case End.REFUSED:
                    raise RefusedByCluster(seen.text, candidates=seen.candidates)
                case None:
                    tell(seen.text)
    raise OperationFailed("the cluster said nothing more")


def vm_is(client: OperatorClient, name: str, desired: Desired) -> Goal:
    """The vm is as wanted: running, stopped, disabled; or, as found, settled."""

    def goal(snapshot: Snapshot) -> Sighting:
        vm = snapshot.vms.get(VmName(name))
        if vm is None or vm.spec is None:
            return Sighting(text=f"{name} was removed meanwhile", end=End.FAILED)
        summary = _summary(client, snapshot, name)
        assert summary
        if _is_as_wanted(summary, desired):
            return Sighting(text=in_words(summary), end=End.DONE)
        wanted = vm.spec.value.desired
        if desired not in (wanted, Desired.AS_FOUND):
            return Sighting(text=f"{name} is to be {wanted} now: {vm.spec.value.desired_why}", end=End.FAILED)
        if summary.state is VmState.DEPARTED:
            text = f"{in_words(summary)} (vmha vm confirm-gone {name})"
            return Sighting(text=text, end=End.REFUSED)  # nothing that a machine could wait for
        if held_up := why_held_up(vm, desired, snapshot):
            return Sighting(text=f"{in_words(summary)}: {held_up}", end=End.REFUSED)
        return Sighting(text=_in_words_or_no_leader(summary, snapshot))

    return goal


def request_ended(client: OperatorClient, request: RequestId, *, vm: str | None = None) -> Goal:
    """The leader's answer to a request; meanwhile what the vm does."""

    def goal(snapshot: Snapshot) -> Sighting:
        outcome = snapshot.outcomes.get(request)
        if outcome is not None and outcome.progress is not Progress.RUNNING:
            return _of_outcome(outcome)
        if outcome is None and request not in snapshot.requests:
            return Sighting(text="the request was withdrawn", end=End.FAILED)
        summary = _summary(client, snapshot, vm) if vm else None
        if snapshot.leader is None:
            return Sighting(text="waiting for a leader")
        if outcome is None:
            now = f"; by now {in_words(summary)}" if summary else ""
            return Sighting(text=f"asked for: {what_is_asked(snapshot.requests[request])}{now}")
        progress = f" ({summary.progress})" if summary and summary.progress else ""
        return Sighting(text=f"{outcome.text}{progress}")

    return goal


def node_is_drained(node: str) -> Goal:
    """The node holds no vm and none is on its way to it."""

    def goal(snapshot: Snapshot) -> Sighting:
        view = snapshot.nodes.get(NodeName(node))
        if view is None or view.spec is None or not view.spec.value.maintenance:
            return Sighting(text=f"{node} is not being drained any more", end=End.FAILED)
        left = how_far(node, snapshot)
        return Sighting(text=left) if left else Sighting(text=f"{node} is drained", end=End.DONE)

    return goal


def in_words(summary: VmSummary) -> str:
    """One line: the state, where, and why it waits if it does."""
    match summary.state:
        case VmState.RUNNING | VmState.PAUSED | VmState.STARTING | VmState.STOPPING if summary.node:
            return f"{summary.name} is {summary.state} on {summary.node}"
        case VmState.MIGRATING:
            progress = f" ({summary.progress})" if summary.progress else ""
            return f"{summary.name} is migrating to {summary.target or summary.node}{progress}"
        case VmState.WAITING | VmState.RECOVERING | VmState.UNKNOWN | VmState.DEPARTED | VmState.DUPLICATE:
            return f"{summary.name} is {summary.state}: {summary.reason}"
        case _:
            return f"{summary.name} is {summary.state}"


def _in_words_or_no_leader(summary: VmSummary, snapshot: Snapshot) -> str:
    return in_words(summary) if snapshot.leader else f"{in_words(summary)}; waiting for a leader"


def _is_as_wanted(summary: VmSummary, desired: Desired) -> bool:
    at_rest = (VmState.STOPPED, VmState.DISABLED)
    match desired:
        case Desired.RUNNING:
            return summary.state is VmState.RUNNING
        case Desired.AS_FOUND:
            return summary.desired is not Desired.AS_FOUND and summary.state in (VmState.RUNNING, *at_rest)
        case _:
            return summary.state in at_rest


def _summary(client: OperatorClient, snapshot: Snapshot, name: str) -> VmSummary | None:
    vm = snapshot.vms.get(VmName(name))
    if vm is None:
        return None
    return summarize(vm, snapshot, judge_all(snapshot, moment_of_one_reading(snapshot, wall=client.clock.wall())))


def _of_outcome(outcome: Outcome) -> Sighting:
    end = {Progress.DONE: End.DONE, Progress.FAILED: End.FAILED}.get(outcome.progress, End.REFUSED)
    return Sighting(text=outcome.text, end=end, candidates=outcome.candidates)
