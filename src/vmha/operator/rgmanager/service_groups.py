"""What clusvcadm did with a service, done with all vms of it, and answered as RGManager answered.

A relocation is a live migration here, as ``-M`` is: RGManager could only stop a service and start it elsewhere.
"""

from dataclasses import dataclass

from vmha.model.vm import Desired
from vmha.operator import service_verbs
from vmha.operator.client import OperatorClient
from vmha.operator.errors import OperationFailed, RefusedByCluster, TimedOut, UnknownName
from vmha.operator.follow import Goal, wait
from vmha.operator.rgmanager.answers import Answer
from vmha.operator.rgmanager.service_admin import MOVE_S, START_S, STOP_S, Action, Reply, Tell, carry_out
from vmha.operator.service_view import ServiceLine, ServiceState, move, service_has_moved, service_is, service_line
from vmha.operator.services import set_desired


async def carry_out_on_service(
    client: OperatorClient, action: Action, name: str, *, node: str | None = None, tell: Tell = lambda _: None
) -> Reply:
    """One verb on one service, to its end. As ``service_admin.carry_out``."""
    return await _Admin(client, name, node, tell).do(action)


@dataclass(frozen=True, slots=True)
class _Admin:
    client: OperatorClient
    name: str
    node: str | None
    tell: Tell

    async def do(self, action: Action) -> Reply:
        try:
            before = await self._look()
        except UnknownName as error:
            return Reply(answer=Answer.NO_SERVICE, detail=str(error))
        match action:
            case Action.ENABLE:
                return await self._enable(before)
            case Action.DISABLE:
                return await self._settle(Desired.DISABLED, STOP_S)
            case Action.STOP:
                return await self._settle(Desired.STOPPED, STOP_S)
            case Action.RELOCATE | Action.MIGRATE:
                return await self._move(action)
            case Action.RESTART:
                return await self._restart(before)
            case Action.FREEZE:
                await service_verbs.freeze(self.client, self.name)
                return Reply(answer=Answer.SUCCESS, node=before.node)
            case Action.UNFREEZE:
                await service_verbs.unfreeze(self.client, self.name)
                return Reply(answer=Answer.SUCCESS, node=before.node)
            case Action.CONVALESCE:
                if before.state is ServiceState.RUNNING:
                    return Reply(answer=Answer.RUNNING, node=before.node)
                return Reply(answer=Answer.INVALID, detail="each vm of a service is recovered by itself")

    async def _enable(self, before: ServiceLine) -> Reply:
        if before.state is ServiceState.RUNNING:
            return Reply(answer=Answer.RUNNING, node=before.node)
        detail = ""
        if self.node is not None and before.node is None:
            first = await carry_out(self.client, Action.ENABLE, before.vms[0].name, node=self.node, tell=self.tell)
            detail = first.detail
        reply = await self._settle(Desired.RUNNING, START_S)
        return Reply(answer=reply.answer, node=reply.node, detail=reply.detail or detail)

    async def _settle(self, desired: Desired, timeout_s: float) -> Reply:
        try:
            await set_desired(self.client, self.name, desired, is_enable=desired is Desired.RUNNING)
        except UnknownName as error:
            return Reply(answer=Answer.NO_SERVICE, detail=str(error))
        except RefusedByCluster as error:
            frozen = "frozen" in str(error)
            return Reply(answer=Answer.FROZEN if frozen else Answer.AGAIN, detail=str(error))
        return await self._until(service_is(self.client, self.name, desired), timeout_s)

    async def _move(self, action: Action) -> Reply:
        detail = "its vms move live, one after another" if action is Action.RELOCATE else ""
        try:
            request, vm = await move(self.client, self.name, self.node)
        except RefusedByCluster as error:
            return await self._stays(str(error), Answer.DEPEND if self.node else Answer.FAIL)
        reply = await self._until(service_has_moved(self.client, self.name, request, vm), MOVE_S)
        return Reply(answer=reply.answer, node=reply.node, detail=reply.detail or detail)

    async def _restart(self, before: ServiceLine) -> Reply:
        """One that is stopped is started, as RGManager did."""
        if before.state is ServiceState.DISABLED:
            text = f"service {self.name} is disabled; enable it with: clusvcadm -e service:{self.name}"
            return Reply(answer=Answer.INVALID, detail=text)
        if before.state is ServiceState.STOPPED:
            return await self._enable(before)
        try:
            asked = await service_verbs.restart(self.client, self.name)
        except RefusedByCluster as error:
            frozen = "frozen" in str(error)
            return Reply(answer=Answer.FROZEN if frozen else Answer.AGAIN, detail=str(error))
        return await self._until(service_verbs.all_ended(self.client, self.name, asked), MOVE_S)

    async def _until(self, goal: Goal, timeout_s: float) -> Reply:
        try:
            await wait(self.client, goal, timeout_s=timeout_s, tell=self.tell)
        except TimedOut as error:
            return Reply(answer=Answer.AGAIN, detail=str(error))
        except (RefusedByCluster, OperationFailed) as error:
            return await self._stays(str(error), Answer.FAIL)
        return Reply(answer=Answer.SUCCESS, node=(await self._look()).node)

    async def _stays(self, detail: str, otherwise: Answer) -> Reply:
        now = await self._look()
        if now.state is ServiceState.RUNNING:
            return Reply(answer=Answer.STAYS, node=now.node, detail=detail)
        return Reply(answer=otherwise, detail=detail)

    async def _look(self) -> ServiceLine:
        return service_line(await self.client.read(), self.name, wall=self.client.clock.wall())
