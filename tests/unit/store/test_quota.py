"""What is read of a member's metrics, and what of something else that answers there."""

import asyncio
from pathlib import Path

import pytest

from vmha.store.channels import parse_endpoint
from vmha.store.quota import ask_quota, read_quota

TOLD = b"# TYPE etcd_server_quota_backend_bytes gauge\netcd_server_quota_backend_bytes 2.147483648e+09\nother 1\n"
OK = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "quota"),
    [
        (OK + TOLD, 2 << 30),
        (OK + b"etcd_server_quota_backend_bytes 0\n", 0),
        (OK + b"other 1\n", None),
        (OK + b"etcd_server_quota_backend_bytes NaN\n", None),
        (b"HTTP/1.0 403 Forbidden\r\n\r\n" + TOLD, None),
        (b"", None),
    ],
)
def test_quota_is_read_where_it_is_told(answer: bytes, quota: int | None) -> None:
    assert read_quota(answer) == quota


@pytest.mark.parametrize("answer", [b"", b"nonsense", OK + b"etcd_server_quota_backend_bytes lots\n", b"\x00\r\n\r\n"])
async def test_member_that_answers_something_else_has_an_unknown_quota(answer: bytes, tmp_path: Path) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(serve, tmp_path / "etcd")
    async with server:
        assert await ask_quota(parse_endpoint(f"unix:{tmp_path}/etcd", tls=False), None, timeout_s=20.0) is None


async def test_member_that_is_away_has_an_unknown_quota(tmp_path: Path) -> None:
    assert await ask_quota(parse_endpoint(f"unix:{tmp_path}/etcd", tls=False), None, timeout_s=20.0) is None
