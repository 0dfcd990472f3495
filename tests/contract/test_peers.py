"""What all channels between agents promise: real ones over TCP on loopback, also by TLS, and the simulated ones."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.peers_certificates import PeersCertificates
from vmha.model.clock import SystemClock
from vmha.model.ids import NodeName, SessionId
from vmha.peers.port import AgentSilent, Answer, AskPromise, Channel, Peer, Ping, Pong, Request, Word
from vmha.peers.simulated import PeersHub
from vmha.peers.tcp import TcpChannel

A, B = NodeName("a"), NodeName("b")
SECRET = b"a secret that only these two know"
TIMEOUT_S = 60.0


@dataclass(kw_only=True)
class Agents:
    """Two agents. Each answers a ping with the asker's name, and a question with the session it names."""

    make: Callable[[NodeName], Channel]
    channels: dict[NodeName, Channel] = field(default_factory=dict)
    tasks: dict[NodeName, "asyncio.Task[None]"] = field(default_factory=dict)

    async def start(self, node: NodeName) -> None:
        def answer(asker: NodeName, request: Request) -> Answer:
            match request:
                case Ping():
                    return Pong(unheard=(asker, node))
                case AskPromise():
                    return Word(refusal=f"{node} does not know {request.session} of {asker}")

        self.channels[node] = self.make(node)
        self.tasks[node] = asyncio.create_task(self.channels[node].run(answer))
        async with asyncio.timeout(TIMEOUT_S):
            await self.channels[node].listening.wait()  # type: ignore[attr-defined]

    async def stop(self, node: NodeName) -> None:
        task = self.tasks.pop(node)
        task.cancel()
        await asyncio.wait([task])

    def peer(self, node: NodeName) -> Peer:
        return Peer(node=node, address=self.channels[node].address)


@pytest_asyncio.fixture(params=["simulated", "tcp", "tls"])
async def agents(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Agents]:
    certificates = PeersCertificates(tmp_path, "c") if request.param == "tls" else None
    hub = PeersHub(can_reach=lambda source, target: True, is_frozen=lambda node: False)
    ports: dict[NodeName, int] = {}  # a restarted agent listens where it did before

    def make(node: NodeName) -> Channel:
        if request.param == "simulated":
            return hub.channel(node)
        before = both.channels.get(node)
        ports[node] = int(before.address.rpartition(":")[2]) if before else 0
        listen = ("127.0.0.1", ports[node])
        tls = certificates.of(node) if certificates else None
        return TcpChannel(
            node=node, cluster="c", secret=SECRET, listen=listen, address="", clock=SystemClock(), tls=tls
        )

    both = Agents(make=make)
    for node in (A, B):
        await both.start(node)
    yield both
    for node in list(both.tasks):
        await both.stop(node)


async def test_answer_is_made_for_who_asks(agents: Agents) -> None:
    pong = await agents.channels[A].ask(agents.peer(B), Ping(), timeout_s=TIMEOUT_S)
    assert pong == Pong(unheard=(A, B))
    back = await agents.channels[B].ask(agents.peer(A), Ping(), timeout_s=TIMEOUT_S)
    assert back == Pong(unheard=(B, A))


async def test_questions_of_both_kinds_and_many_of_them_get_their_own_answers(agents: Agents) -> None:
    async def ask(number: int) -> None:
        session = SessionId(f"s{number}")
        word = await agents.channels[A].ask(agents.peer(B), AskPromise(session=session), timeout_s=TIMEOUT_S)
        assert word == Word(refusal=f"b does not know s{number} of a")
        assert await agents.channels[A].ask(agents.peer(B), Ping(), timeout_s=TIMEOUT_S) == Pong(unheard=(A, B))

    await asyncio.gather(*(ask(number) for number in range(50)))


async def test_agent_that_is_not_there_is_told_from_a_host_that_is_not(agents: Agents) -> None:
    there = agents.peer(B)
    await agents.stop(B)
    with pytest.raises(AgentSilent):
        await agents.channels[A].ask(there, Ping(), timeout_s=TIMEOUT_S)


async def test_agent_that_is_back_answers_the_next_question(agents: Agents) -> None:
    await agents.channels[A].ask(agents.peer(B), Ping(), timeout_s=TIMEOUT_S)
    await agents.stop(B)
    await agents.start(B)
    assert await agents.channels[A].ask(agents.peer(B), Ping(), timeout_s=TIMEOUT_S) == Pong(unheard=(A, B))


async def test_agent_asks_on_while_another_of_its_questions_waits(agents: Agents) -> None:
    lost = Peer(node=NodeName("c"), address="192.0.2.1:9")  # addresses for documentation: nobody answers
    if isinstance(agents.channels[A], TcpChannel):
        waiting = asyncio.create_task(agents.channels[A].ask(lost, Ping(), timeout_s=TIMEOUT_S))
        assert await agents.channels[A].ask(agents.peer(B), Ping(), timeout_s=TIMEOUT_S) == Pong(unheard=(A, B))
        waiting.cancel()
        await asyncio.wait([waiting])
    else:
        asked = agents.channels[A].ask(agents.peer(B), Ping(), timeout_s=TIMEOUT_S)
        assert await asked == Pong(unheard=(A, B))
