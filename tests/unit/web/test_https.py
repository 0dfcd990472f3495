"""The certificate for browsers is renewed while it is shown: new ones when they fit, and nobody is cut off for it."""

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.etcd import free_ports
from tests.support.until import until
from tests.unit.operator.cluster import Cluster
from vmha.model.web import WebSettings
from vmha.pki.authority import Authority, Kind
from vmha.web.https_files import HttpsFiles
from vmha.web.serve import serve

NOW = datetime.now(UTC)


@pytest.fixture
def home(authority: Authority, tmp_path: Path) -> Path:
    """Where the dashboard has its files."""
    shutil.copytree(issue(authority), tmp_path / "home")
    return tmp_path / "home"


def issue(authority: Authority) -> Path:
    return authority.issue(Kind.WEB, "kvm1", ("127.0.0.1", "kvm1.example"), now=NOW, days=10).folder


def put(folder: Path, home: Path, *names: str) -> None:
    for name in names or ("cert.pem", "key.pem"):
        shutil.copy(folder / name, home / name)


def context_of(home: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home / "cert.pem", home / "key.pem")
    return context


@asynccontextmanager
async def connected(
    authority: Authority, port: int
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """As a browser that trusts what it is to trust, and checks the address."""
    trust = ssl.create_default_context(cafile=str(authority.for_browsers))
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
    try:
        yield reader, writer
    finally:
        writer.close()


async def shown(authority: Authority, port: int) -> str:
    async with connected(authority, port) as (_, writer):
        der: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return ssl.DER_cert_to_PEM_cert(der)


async def test_new_certificate_is_shown_to_who_comes_next_and_cuts_nobody_off(authority: Authority, home: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    context = context_of(home)
    files = HttpsFiles(context, home / "cert.pem", home / "key.pem")
    async with await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        assert await shown(authority, port) == (home / "cert.pem").read_text()
        async with connected(authority, port) as (reader, writer):
            put(issue(authority), home)
            assert [files.look() for _ in range(4)] == [False, True, False, False], "when it has stood still, and once"
            assert await shown(authority, port) == (home / "cert.pem").read_text()
            writer.write(b"still here\n")
            assert await reader.readline() == b"still here\n"


async def test_half_of_a_pair_nonsense_and_nothing_leave_the_old_one_in_use(authority: Authority, home: Path) -> None:
    files = HttpsFiles(context_of(home), home / "cert.pem", home / "key.pem")
    new = issue(authority)
    put(new, home, "key.pem")
    assert [files.look() for _ in range(3)] == [False] * 3
    (home / "cert.pem").write_text("nonsense")
    assert [files.look() for _ in range(3)] == [False] * 3
    (home / "cert.pem").unlink()
    assert [files.look() for _ in range(3)] == [False] * 3
    put(new, home, "cert.pem")
    assert [files.look() for _ in range(3)] == [False, True, False]


async def test_dashboard_that_serves_takes_a_renewed_certificate_into_use(
    authority: Authority, home: Path, cluster: Cluster
) -> None:
    (port,) = free_ports(1)
    settings = WebSettings(listen=f"127.0.0.1:{port}", cert=home / "cert.pem", key=home / "key.pem")
    serving = asyncio.create_task(serve(cluster.client, settings))

    async def is_shown() -> bool:
        try:
            return await shown(authority, port) == (home / "cert.pem").read_text()
        except OSError:
            return False

    try:
        await until(is_shown, what="it serves")
        put(issue(authority), home)
        await until(is_shown, what="it shows the new one")
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
