"""Only silence bars the way before libvirt is asked; everything else is libvirt's to meet and to say."""

import asyncio
import socket

import pytest

from vmha.hypervisor.port import MigrationFailed
from vmha.hypervisor.real.knocking import ensure_somebody_answers, ssh_words


async def test_host_that_answers_is_gone_to() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await ensure_somebody_answers(f"qemu+tls://127.0.0.1:{port}/system")


async def test_host_that_refuses_is_left_to_libvirts_own_words() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and never listened at
        await ensure_somebody_answers(f"qemu+tcp://127.0.0.1:{taken.getsockname()[1]}/system")


async def test_name_that_resolves_to_nothing_is_left_to_libvirts_own_words() -> None:
    await ensure_somebody_answers("qemu+tcp://nowhere.invalid/system")


async def test_ssh_that_is_not_answered_is_given_up_in_time_and_ended() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # the kernel takes the connection, and nobody ever says a word
        with pytest.raises(MigrationFailed, match=r"127\.0\.0\.1 does not answer by ssh within 0\.5 s"):
            await ensure_somebody_answers(f"qemu+ssh://127.0.0.1:{silent.getsockname()[1]}/system", timeout_s=0.5)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("qemu+ssh://10.1.0.2/system?no_tty=1", "-- 10.1.0.2 true"),
        ("qemu+ssh://vm@[fd00::2]:2222/system?keyfile=/etc/id", "-i /etc/id -p 2222 -l vm -- fd00::2 true"),
    ],
)
def test_ssh_is_started_as_libvirtd_starts_it_and_can_not_ask(uri: str, words: str) -> None:
    assert " ".join(ssh_words(uri)) == f"ssh -T -q -o BatchMode=yes {words}"
