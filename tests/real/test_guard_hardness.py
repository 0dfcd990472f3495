"""The guard under duress: killed, stopped, on a host without memory, processes or disk left."""

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.faketime import DAY_S, environment, to_1970
from tests.support.guards import ANSWER_S, S1, Node
from tests.support.squeeze import squeezed
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


def held_by(pid: int) -> dict[int, str]:
    """What it holds on to by a descriptor, without the files that it is just reading."""
    folder = f"/proc/{pid}/fd"
    held = {}
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            held[int(name)] = os.readlink(f"{folder}/{name}")
    return {number: what for number, what in held.items() if not (what.startswith("/proc") or "/qemu" in what)}


def processes_held(pid: int) -> int:
    return list(held_by(pid).values()).count("anon_inode:[pidfd]")


async def test_a_guard_without_a_descriptor_left_ends_guests_and_calls_nothing_gone_that_it_can_not_see(
    node: Node,
) -> None:
    """Not one file of /proc can be opened: what it had seen it ends, and of what came later it knows nothing."""
    seen = [node.guest(f"web{number}") for number in range(20)]
    guard = await node.start_guard()
    await node.arm(hold_s=10, kill_lead_s=1)
    await until(lambda: processes_held(guard.pid) >= len(seen), what="the guard has seen them")
    used = max(held_by(guard.pid)) + 1
    _, hard = resource.prlimit(guard.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(guard.pid, resource.RLIMIT_NOFILE, (used, hard))
    late = node.guest("late")
    with squeezed(guard.pid, or_stopped=False):
        await until(lambda: all(guest.was_killed for guest in seen), what="the guests are gone")
        assert late.runs
        assert "expired_clean" not in node.log.read_text()
    resource.prlimit(guard.pid, resource.RLIMIT_NOFILE, (hard, hard))
    status = await node.reaches(State.EXPIRED_CLEAN)
    assert late.was_killed
    assert status.last_kill
    assert {killed.name for killed in status.last_kill.guests} == {guest.name for guest in (*seen, late)}


async def test_a_guard_whose_wall_clock_is_set_by_hours_goes_by_the_other_one(node: Node, tmp_path: Path) -> None:
    web, clock = node.guest("web"), tmp_path / "clock"
    clock.write_text("+0\n")
    await node.start_guard(**environment(clock, at_once=True))
    await node.arm(hold_s=4)
    for by in ("+1h", "-1h", to_1970()):
        clock.write_text(f"{by}\n")
        for _ in range(3):
            last = await node.beat()
            assert last.state is State.ARMED
    await until(lambda: web.was_killed, what="the guest is gone")
    kill = (await node.reaches(State.EXPIRED_CLEAN)).last_kill
    assert kill is not None
    assert last.kill_at is not None
    assert kill.begun_at >= last.kill_at
    assert kill.begun_wall < 10 * DAY_S, "it went by that clock"
