"""The channel by TLS: who has the secret and no certificate of that node is refused with words, on both sides."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.peers_certificates import PeersCertificates
from tests.support.until import until
from tests.support.waiting import eventually
from vmha.model.clock import SystemClock
from vmha.model.errors import Rejected, VmhaError
from vmha.model.ids import NodeName
from vmha.peers.port import AgentSilent, Answer, HostSilent, Peer, Ping, Pong, Request, Unwelcome
from vmha.peers.tcp import TcpChannel
from vmha.peers.tls import PeersTls
from vmha.pki.authority import CA, CERT, KEY, Kind

A, B, X = NodeName("a"), NodeName("b"), NodeName("x")
SECRET = b"a secret that only these two know"
TIMEOUT_S = 60.0


def answer(asker: NodeName, request: Request) -> Answer:
    return Pong(unheard=(asker,))


class Scene:
    """``b`` answers; whoever was refused is told of in ``told``."""

    def __init__(self, folder: Path) -> None:
        self.certificates = PeersCertificates(folder, "c")
        self.told: list[str] = []

    def channel(self, node: NodeName, tls: PeersTls | None) -> TcpChannel:
        return TcpChannel(
            node=node,
            cluster="c",
            secret=SECRET,
            listen=("127.0.0.1", 0),
            address="",
            clock=SystemClock(),
            tls=tls,
            tell_refusal=lambda who, why, accepted: self.told.append(why),
        )

    @asynccontextmanager
    async def serving(self, tls: PeersTls | None) -> AsyncIterator[Peer]:
        served = self.channel(B, tls)
        task = asyncio.create_task(served.run(answer))
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await served.listening.wait()
            yield Peer(node=B, address=served.address)
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def ask(self, there: Peer, tls: PeersTls | None, timeout_s: float = TIMEOUT_S) -> Answer:
        return await self.channel(A, tls).ask(there, Ping(), timeout_s=timeout_s)

    async def is_told(self, why: str) -> None:
        await until(lambda: any(why in line for line in self.told), what=f"{why!r} is told")


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def test_whoever_answers_with_a_certificate_of_another_authority_is_not_believed(
    scene: Scene, tmp_path: Path
) -> None:
    others = PeersCertificates(tmp_path / "others", "c")
    async with scene.serving(scene.certificates.of(B)) as there:
        with pytest.raises(Unwelcome, match="its certificate is not taken"):
            await scene.ask(there, others.of(A))
        assert await scene.ask(there, scene.certificates.of(A)) == Pong(unheard=(A,))


@pytest.mark.parametrize(("kind", "name"), [(Kind.NODE, "x"), (Kind.OPERATOR, "ann"), (Kind.READER, "wall")])
async def test_nobody_with_the_secret_speaks_as_a_node_whose_certificate_he_has_not(
    scene: Scene, kind: Kind, name: str
) -> None:
    stolen = scene.certificates.read(scene.certificates.issue(kind, name))
    async with scene.serving(scene.certificates.of(B)) as there:
        with pytest.raises(Unwelcome, match="closed the connection at our greeting"):
            await scene.ask(there, stolen)
        await scene.is_told("and not vmha-c-node-a's")


async def test_nobody_answers_for_a_node_with_another_ones_certificate(scene: Scene) -> None:
    async with scene.serving(scene.certificates.of(X)) as there:
        with pytest.raises(Unwelcome, match="its certificate is vmha-c-node-x's, and not vmha-c-node-b's"):
            await scene.ask(there, scene.certificates.of(A))


async def test_authority_that_is_not_trusted_here_though_ours_is_there_is_told_as_that(
    scene: Scene, tmp_path: Path
) -> None:
    """The asker trusts who answers, and is not trusted: it hears of it only when it has shown its certificate."""
    others, mixed = PeersCertificates(tmp_path / "others", "c"), tmp_path / "mixed"
    shutil.copytree(others.issue(Kind.NODE, A), mixed)
    shutil.copy(scene.certificates.authority.ca, mixed / CA)
    async with scene.serving(scene.certificates.of(B)) as there:
        with pytest.raises(Unwelcome, match="closed the connection at our certificate"):
            await scene.ask(there, scene.certificates.read(mixed))
        await scene.is_told("its certificate is not taken")


async def test_agents_of_which_one_speaks_tls_and_one_does_not_do_not_understand_each_other(scene: Scene) -> None:
    async with scene.serving(None) as plain:
        with pytest.raises(Unwelcome, match="no TLS with it"):
            await scene.ask(plain, scene.certificates.of(A))
    async with scene.serving(scene.certificates.of(B)) as there:
        with pytest.raises((AgentSilent, HostSilent)):
            await scene.ask(there, None, timeout_s=1.0)
        assert await scene.ask(there, scene.certificates.of(A)) == Pong(unheard=(A,))


async def test_renewed_files_are_used_by_the_next_connection(scene: Scene, tmp_path: Path) -> None:
    others, mine = PeersCertificates(tmp_path / "others", "c"), tmp_path / "mine"
    shutil.copytree(others.issue(Kind.NODE, A), mine)
    tls = scene.certificates.read(mine)
    async with scene.serving(scene.certificates.of(B)) as there:
        with pytest.raises(Unwelcome):
            await scene.ask(there, tls)
        renewed = scene.certificates.issue(Kind.NODE, A)
        for name in (CA, CERT, KEY):
            shutil.copy(renewed / name, mine / name)

        async def is_welcome() -> bool:
            try:
                return await scene.ask(there, tls) == Pong(unheard=(A,))
            except VmhaError:
                return False

        await eventually(is_welcome)


def test_files_that_do_not_fit_each_other_are_refused_with_their_names(scene: Scene, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(scene.certificates.issue(Kind.NODE, A), mixed)
    shutil.copy(scene.certificates.issue(Kind.NODE, B) / KEY, mixed / KEY)
    with pytest.raises(Rejected, match=f"peers_tls: .*{KEY}.*fit each other"):
        scene.certificates.read(mixed)
