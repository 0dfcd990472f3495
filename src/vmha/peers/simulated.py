"""A channel without a network: agents of one process ask each other, through cables and hosts that may fail.

The twin of ``tcp.TcpChannel``: a question takes its way, is answered by the agent that runs there then, and the answer
takes its way back. What fails is said by the hub's owner: may these two reach each other, is there a kernel that would
refuse, does the host stand still. A host that stands still answers when it goes on: late, as over a real network.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass

from vmha.model.ids import NodeName
from vmha.peers.port import AgentSilent, Answer, Answerer, HostSilent, Peer, Request

ONE_WAY_S = 0.0005
SENT_AGAIN_S = 0.1


@dataclass(slots=True)
class _Endpoint:
    answer: Answerer
    context: Context | None


class PeersHub:
    """All channels of one simulated network.

    Args:
        can_reach: does a packet from one node arrive at the other, and is that host switched on?
        is_frozen: does the host's kernel stand still?
        is_standing: does its agent, with the host or alone (SIGSTOP)?
    """

    def __init__(
        self,
        *,
        can_reach: Callable[[NodeName, NodeName], bool],
        is_frozen: Callable[[NodeName], bool] = lambda _: False,
        is_standing: Callable[[NodeName], bool] = lambda _: False,
    ) -> None:
        self.can_reach, self.is_frozen, self.is_standing = can_reach, is_frozen, is_standing
        self.endpoints: dict[NodeName, _Endpoint] = {}

    def channel(self, node: NodeName, context: Callable[[], Context | None] = lambda: None) -> "SimulatedChannel":
        """``context``: in which the host's tasks run (they stand still with it)."""
        return SimulatedChannel(self, node, context)


class SimulatedChannel:
    """``vmha.peers.port.Channel``."""

    def __init__(self, hub: PeersHub, node: NodeName, context: Callable[[], Context | None]) -> None:
        self._hub, self._node, self._context = hub, node, context
        self.listening = asyncio.Event()

    @property
    def address(self) -> str:
        return f"{self._node}:7700"

    async def run(self, answer: Answerer) -> None:
        mine = self._hub.endpoints[self._node] = _Endpoint(answer, self._context())
        self.listening.set()
        try:
            await asyncio.get_running_loop().create_future()  # for ever
        finally:
            if self._hub.endpoints.get(self._node) is mine:
                del self._hub.endpoints[self._node]

    async def ask(self, peer: Peer, request: Request, *, timeout_s: float) -> Answer:
        now = asyncio.get_running_loop().time
        try:
            return await self._exchange(peer, request, now() + timeout_s, now)
        except TimeoutError as error:
            if self._hub.can_reach(self._node, peer.node) and not self._hub.is_frozen(peer.node):
                raise AgentSilent(f"{peer.node}: its host lives, its agent does not answer") from error
            raise HostSilent(f"{peer.node} gives no sign of life") from error

    async def _exchange(self, peer: Peer, request: Request, end_at_s: float, now: Callable[[], float]) -> Answer:
        await self._travel(self._node, peer.node, end_at_s, now)
        there = self._hub.endpoints.get(peer.node)
        if there is None and not self._hub.is_frozen(peer.node):
            await self._travel(peer.node, self._node, end_at_s, now)
            raise AgentSilent(f"{peer.node}: no agent answers there")
        if self._hub.is_frozen(peer.node) or self._hub.is_standing(peer.node):
            async with asyncio.timeout_at(end_at_s):
                answer = await self._when_it_goes_on(there, request)
        else:
            assert there
            answer = there.answer(self._node, request)
        await self._travel(peer.node, self._node, end_at_s, now)
        return answer

    async def _travel(self, source: NodeName, target: NodeName, end_at_s: float, now: Callable[[], float]) -> None:
        """What is lost is sent again and again, until who waits has waited long enough: then raises TimeoutError."""
        await asyncio.sleep(ONE_WAY_S)
        while (left_s := end_at_s - now()) > 0:
            if self._hub.can_reach(source, target):
                return
            await asyncio.sleep(min(SENT_AGAIN_S, left_s))
        raise TimeoutError

    async def _when_it_goes_on(self, there: _Endpoint | None, request: Request) -> Answer:
        """The agent stands. The question lies there, and is answered whether anybody still waits for it or not."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Answer] = loop.create_future()

        async def answer() -> None:
            await asyncio.sleep(0)
            if there is not None and there in self._hub.endpoints.values():
                said = there.answer(self._node, request)
                if not answered.done():
                    answered.set_result(said)

        task = loop.create_task(answer(), name="late-answer", context=there.context if there else None)
        _late.add(task)
        task.add_done_callback(_late.discard)
        return await answered


_late: set["asyncio.Task[None]"] = set()
