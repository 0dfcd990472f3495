"""Probes over the network, against servers on this machine."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

from tests.support.certificates import Authority
from tests.support.etcd import free_ports
from vmha.model.health import Probe
from vmha.model.ids import NodeName, VmName
from vmha.policy.at_node.health import Answer
from vmha.probing.port import Question, Reply
from vmha.probing.real import NodeProbes


async def ask(**fields: object) -> Reply:
    probe = Probe.model_validate({"timeout_s": 60.0, **fields})
    return await NodeProbes().ask(Question(vm=VmName("web"), uuid="u-1", node=NodeName("n1"), probe=probe))


@contextlib.asynccontextmanager
async def server(answer: bytes | None, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Says ``answer`` to whoever asks; None: takes connections and says nothing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            if answer is not None:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                await writer.drain()
            else:
                await reader.read()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def test_port_that_takes_a_connection_is_healthy() -> None:
    async with server(None) as port:
        assert (await ask(tcp=f"127.0.0.1:{port}")).answer is Answer.GOOD


async def test_port_that_refuses_one_is_not() -> None:
    (port,) = free_ports(1)
    reply = await ask(tcp=f"127.0.0.1:{port}")
    assert reply.answer is Answer.BAD
    assert reply.text.startswith(f"127.0.0.1:{port}: ")


async def test_name_that_nobody_knows_is_not() -> None:
    assert (await ask(tcp="nowhere.invalid:80")).answer is Answer.BAD


async def test_web_address_that_answers_well_is_healthy() -> None:
    async with server(b"HTTP/1.1 204 No Content\r\n\r\n") as port:
        reply = await ask(http=f"http://127.0.0.1:{port}/health?full=1")
    assert reply == Reply(Answer.GOOD, f"http://127.0.0.1:{port}/health?full=1 answers 204 No Content")


async def test_one_that_answers_with_an_error_is_not() -> None:
    async with server(b"HTTP/1.1 503 Service Unavailable\r\n\r\n") as port:
        reply = await ask(http=f"http://127.0.0.1:{port}/")
    assert (reply.answer, "503" in reply.text) == (Answer.BAD, True)


async def test_one_that_speaks_something_else_or_nothing_is_not() -> None:
    for garbage in (b"SSH-2.0-x\r\n", b"", b"\xff" * 100_000 + b"\r\n", b"HTTP/1.1 abc\r\n", "HTTP/1.1 ²\r\n".encode()):
        async with server(garbage) as port:
            reply = await ask(http=f"http://127.0.0.1:{port}/")
        assert reply.answer is Answer.BAD, garbage[:10]
        assert not garbage.startswith(b"HTTP/") or "does not speak HTTP" in reply.text


async def test_one_that_does_not_answer_is_given_up_when_its_time_is_over() -> None:
    async with server(None) as port:
        reply = await ask(http=f"http://127.0.0.1:{port}/", timeout_s=0.3)
    assert reply == Reply(Answer.BAD, f"http://127.0.0.1:{port}/ did not answer within 0.3 s")


async def test_certificate_that_nobody_vouches_for_is_believed_only_if_the_probe_says_so(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).issue("guest", usage="serverAuth")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    async with server(b"HTTP/1.1 200 OK\r\n\r\n", tls=tls) as port:
        doubted = await ask(http=f"https://127.0.0.1:{port}/")
        believed = await ask(http=f"https://127.0.0.1:{port}/", insecure=True)
    assert (doubted.answer, believed.answer) == (Answer.BAD, Answer.GOOD)
    assert "certificate" in doubted.text
