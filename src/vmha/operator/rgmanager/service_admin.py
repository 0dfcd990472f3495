"""What clusvcadm did, done by vmha's own verbs, and answered as RGManager answered.

Where vmha does better the better is done: a relocation that no node could take stops nothing, a start goes where the
failover domain says, a disabled vm stays disabled whatever becomes of its node.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from vmha.model.ids import NodeName, VmName
from vmha.model.records import Verb
from vmha.model.vm import Desired
from vmha.operator import holds, vms
from vmha.operator.client import OperatorClient
from vmha.operator.errors import OperationFailed, RefusedByCluster, TimedOut, UnknownName, unknown_name
from vmha.operator.follow import Goal, request_ended, vm_is, wait
from vmha.operator.overview import Overview, overview
from vmha.operator.requests import submit
from vmha.operator.rgmanager.answers import Answer
from vmha.policy.state.hands_off import hands_off, is_paused, pause_of
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.telling.explain import VmState, VmSummary

START_S = 300.0
STOP_S = 300.0
MOVE_S = 900.0
"""How long an answer is waited for; the operation goes on after it, and the answer is "try again"."""

PATIENCE_S = 10.0
"""How long "no node can take it" is not believed: it may be the answer to an earlier question."""

_RUNS = (VmState.RUNNING, VmState.PAUSED, VmState.MIGRATING)
"""To RGManager a paused vm was running, and so was one that moves."""

_NO_NODE = "no-node-can-take-it"

Tell = Callable[[str], None]


class Action(Enum):
    """The verbs. The value is the option's letter."""

    ENABLE = "e"
    DISABLE = "d"
    STOP = "s"
    RELOCATE = "r"
    RESTART = "R"
    MIGRATE = "M"
    FREEZE = "Z"
    UNFREEZE = "U"
    CONVALESCE = "c"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """``node``: where it runs now. ``detail``: what vmha has to say beyond RGManager's words."""

    answer: Answer
    node: NodeName | None = None
    detail: str = ""


async def carry_out(
    client: OperatorClient, action: Action, vm: str, *, node: str | None = None, tell: Tell = lambda _: None
) -> Reply:
    """One verb on one vm, to its end.

    Args:
        client: The cluster.
        action: What to do.
        vm: The vm's name, bare.
        node: A node that there is; needed for a migration, a wish for the others.
        tell: Called with each piece of progress.

    Raises:
        Retryable: the cluster does not answer.
    """
    return await _Admin(client, vm, node, tell).do(action)


@dataclass(frozen=True, slots=True)
class _Admin:
    client: OperatorClient
    vm: str
    node: str | None
    tell: Tell

    async def do(self, action: Action) -> Reply:
        before = await self._look()
        if before is None:
            return await self._no_such_vm()
        if before.state is VmState.DEPARTED and action in (Action.ENABLE, Action.RELOCATE, Action.RESTART):
            return Reply(answer=Answer.ABORT, detail=f"{self.vm} has departed: {before.reason}. {self._confirm()}")
        if refusal := await self._on_hold(action, before):
            return refusal
        match action:
            case Action.ENABLE:
                return await self._enable(before)
            case Action.DISABLE:
                return await self._put_down(Desired.DISABLED, before)
            case Action.STOP:
                return await self._put_down(Desired.STOPPED, before)
            case Action.RELOCATE | Action.RESTART:
                return await self._start_again(action, before)
            case Action.MIGRATE:
                return await self._migrate(before)
            case Action.FREEZE:
                await holds.freeze(self.client, self.vm)
                return Reply(answer=Answer.SUCCESS, node=before.node)
            case Action.UNFREEZE:
                await holds.unfreeze(self.client, self.vm)
                return Reply(answer=Answer.SUCCESS, node=before.node)
            case Action.CONVALESCE:
                if before.state is VmState.RUNNING:
                    return Reply(answer=Answer.RUNNING, node=before.node)
                return Reply(answer=Answer.INVALID, detail="a vm has no parts that could fail by themselves")

    async def _on_hold(self, action: Action, before: VmSummary) -> Reply | None:
        """To RGManager a frozen service refused everything, and a locked cluster whatever needs a start."""
        if action in (Action.FREEZE, Action.UNFREEZE):
            return None
        snapshot = await self.client.read()
        if before.frozen:
            off = hands_off(snapshot.vms[before.name], snapshot)
            return Reply(answer=Answer.FROZEN, detail=off.in_full if off else "")
        needs_start = action is Action.RELOCATE or (action is Action.ENABLE and before.state not in _RUNS)
        if snapshot.pause and (is_paused(snapshot) or needs_start) and action is not Action.CONVALESCE:
            off = pause_of(snapshot)
            return Reply(answer=Answer.AGAIN, detail=off.in_full if off else "")
        return None

    # --- verbs

    async def _enable(self, before: VmSummary) -> Reply:
        if before.state in _RUNS and before.desired is Desired.RUNNING:
            return Reply(answer=Answer.RUNNING, node=before.node)
        why_not_there = ""
        if self.node is not None:
            there = await self._ask(Verb.ENABLE, self.node)
            if there.answer in (Answer.SUCCESS, Answer.NO_SERVICE):
                return there
            why_not_there = there.detail
        try:
            await vms.enable(self.client, self.vm)
        except UnknownName:
            return await self._no_such_vm()
        reply = await self._started()
        return replace(reply, detail=reply.detail or why_not_there)

    async def _put_down(self, desired: Desired, before: VmSummary) -> Reply:
        try:
            spec = await vms.set_desired(self.client, self.vm, desired)
        except UnknownName:
            return await self._no_such_vm()
        if before.state is VmState.DEPARTED:
            text = f"it is {spec.desired} here, and may run outside the cluster: {before.reason}. {self._confirm()}"
            return Reply(answer=Answer.WARNING, detail=text)
        return await self._until(vm_is(self.client, self.vm, spec.desired), STOP_S)

    async def _start_again(self, action: Action, before: VmSummary) -> Reply:
        if before.desired is Desired.DISABLED:
            return Reply(
                answer=Answer.INVALID, detail=f"{self.vm} is disabled; enable it with: clusvcadm -e vm:{self.vm}"
            )
        if before.desired is Desired.STOPPED:
            return await self._enable(before)
        if action is Action.RESTART:
            return await self._ask(Verb.RESTART, None)
        return await self._ask(Verb.RELOCATE, self.node if await self._may_receive() else None)

    async def _migrate(self, before: VmSummary) -> Reply:
        if before.state is not VmState.RUNNING:
            return Reply(answer=Answer.AGAIN, detail=f"{self.vm} is {before.state}; only a running vm migrates")
        return await self._ask(Verb.MIGRATE, self.node)

    def _confirm(self) -> str:
        return f"If it runs nowhere any more: vmha vm confirm-gone {self.vm}"

    # --- asking and waiting

    async def _ask(self, verb: Verb, node: str | None) -> Reply:
        try:
            request = await submit(self.client, verb, vm=self.vm, node=node)
            await wait(
                self.client, request_ended(self.client, request.id, vm=self.vm), timeout_s=MOVE_S, tell=self.tell
            )
        except UnknownName as error:
            return Reply(answer=Answer.NO_SERVICE, detail=str(error))
        except TimedOut as error:
            return Reply(answer=Answer.AGAIN, detail=str(error))
        except RefusedByCluster as error:
            return await self._refused(verb, node, str(error))
        except OperationFailed as error:
            return await self._stays(str(error), otherwise=Answer.FAIL)
        now = await self._look()
        return Reply(answer=Answer.SUCCESS, node=now.node if now else None)

    async def _refused(self, verb: Verb, node: str | None, detail: str) -> Reply:
        """Nothing was stopped. A target that may not have it was a rule of dependency to RGManager."""
        if node is None:
            return await self._stays(detail, otherwise=Answer.INVALID if verb is Verb.RESTART else Answer.FAIL)
        shown = await self._overview()
        alive = any(line.name == node and shown.verdicts[line.name].is_alive for line in shown.nodes)
        return Reply(answer=Answer.DEPEND if alive else Answer.NO_NODE, detail=detail)

    async def _stays(self, detail: str, *, otherwise: Answer) -> Reply:
        now = await self._look()
        if now is not None and now.state is VmState.RUNNING:
            return Reply(answer=Answer.STAYS, node=now.node, detail=detail)
        return Reply(answer=otherwise, detail=detail)

    async def _started(self) -> Reply:
        """Until it runs; or no node can take it, and that is not the answer to an earlier question."""
        goal = vm_is(self.client, self.vm, Desired.RUNNING)
        reply = await self._until(goal, PATIENCE_S)
        waited_s = PATIENCE_S
        while reply.answer is Answer.AGAIN:
            now = await self._look()
            if now is None:
                return await self._no_such_vm()
            if now.state is VmState.WAITING and now.rule == _NO_NODE:
                text = f"{now.reason}; it goes on waiting for one, until clusvcadm -d vm:{self.vm}"
                return Reply(answer=Answer.FAIL, detail=text)
            if waited_s >= START_S:
                break
            reply = await self._until(goal, PATIENCE_S)
            waited_s += PATIENCE_S
        return reply

    async def _until(self, goal: Goal, timeout_s: float) -> Reply:
        try:
            await wait(self.client, goal, timeout_s=timeout_s, tell=self.tell)
        except TimedOut as error:
            return Reply(answer=Answer.AGAIN, detail=str(error))
        except OperationFailed as error:
            return Reply(answer=Answer.FAIL, detail=str(error))
        now = await self._look()
        return Reply(answer=Answer.SUCCESS, node=now.node if now else None)

    # --- looking

    async def _look(self) -> VmSummary | None:
        snapshot = await self.client.read()
        view = snapshot.vms.get(VmName(self.vm))
        if view is None or view.spec is None:
            return None
        shown = overview(snapshot, cluster=self.client.keys.cluster, wall=self.client.clock.wall())
        return next(summary for summary in shown.vms if summary.name == self.vm)

    async def _overview(self) -> Overview:
        return overview(await self.client.read(), cluster=self.client.keys.cluster, wall=self.client.clock.wall())

    async def _may_receive(self) -> bool:
        if self.node is None:
            return False
        verdict = (await self._overview()).verdicts.get(NodeName(self.node))
        return verdict is not None and verdict.may_receive

    async def _no_such_vm(self) -> Reply:
        snapshot = await self.client.read()
        return Reply(answer=Answer.NO_SERVICE, detail=str(unknown_name("vm", self.vm, _managed(snapshot))))


def _managed(snapshot: Snapshot) -> list[str]:
    return [view.name for view in snapshot.vms.values() if view.spec]
