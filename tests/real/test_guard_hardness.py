"""The guard under duress: killed, stopped, on a host without memory, processes or disk left."""

import asyncio
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.guards import ANSWER_S, S1, Node
from tests.support.until import until
from vmha.fencing.port import State

pytestmark = pytest.mark.real


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    node.close()


def about(pid: int) -> dict[str, str]:
    """What the kernel says of a process."""
    folder = Path(f"/proc/{pid}")
    lines = (line.partition(":") for line in (folder / "status").read_text().splitlines())
    return {name: value.strip() for name, _, value in lines} | {
        "oom_score_adj": (folder / "oom_score_adj").read_text().strip()
    }


async def test_a_guard_that_is_killed_is_missed_at_once_and_one_that_hangs_soon(node: Node) -> None:
    guard = await node.start_guard()
    missed = asyncio.create_task(node.client.gone())
    await asyncio.sleep(0)
    for _ in range(3):  # it answers pings
        await node.status()
        assert not missed.done()
    guard.kill()
    async with asyncio.timeout(ANSWER_S):
        await missed
    guard.wait(timeout=10)
    async with asyncio.timeout(ANSWER_S):
        await node.client.gone()  # nobody listens at all
    second = await node.start_guard()
    missed = asyncio.create_task(node.client.gone())
    await node.status()
    second.send_signal(signal.SIGSTOP)
    try:
        async with asyncio.timeout(2 * ANSWER_S):
            await missed
    finally:
        second.send_signal(signal.SIGCONT)


async def test_a_hardened_guard_has_its_memory_locked_and_real_time_where_it_may(node: Node) -> None:
    guard = await node.start_guard()
    done = {check.name: check.outcome for check in (await node.status()).hardening}
    told = about(guard.pid)
    locked_kib = int(told["VmLck"].split()[0])
    assert (locked_kib > 1024) is (done["memory_locked"] == "ok"), (locked_kib, done)
    assert (os.sched_getscheduler(guard.pid) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR) is (done["real_time"] == "ok")
    assert (told["oom_score_adj"] == "-1000") is (done["oom_score"] == "ok")


async def test_a_guard_out_of_memory_and_of_processes_still_ends_guests_and_verifies_it(node: Node) -> None:
    """What it needs for the killing it has: no page, process or descriptor more may be asked of a host that is full."""
    web = node.guest("web")
    guard = await node.start_guard()
    await node.arm(hold_s=600)
    told = about(guard.pid)
    used = int(told["VmSize"].split()[0]) * 1024
    resource.prlimit(guard.pid, resource.RLIMIT_AS, (used, used))
    resource.prlimit(guard.pid, resource.RLIMIT_NPROC, (1, 1))
    resource.prlimit(guard.pid, resource.RLIMIT_FSIZE, (0, 0))  # and its disk is full
    await node.client.expire(S1, cause="evicted", timeout_s=ANSWER_S)
    await until(lambda: web.was_killed, what="the guest is gone")
    assert (await node.reaches(State.EXPIRED_CLEAN)).last_kill is not None
