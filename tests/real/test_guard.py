"""The guard as a real process over real processes: what it ends, when, and what its own death changes.

Most guests here are shells that carry a QEMU's name and arguments, with pid and status files as libvirt writes them;
the last part runs real QEMUs under a real libvirtd.
"""

import asyncio
import json
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.support.guards import ANSWER_S, CLOCK, S1, S2, TAG, Node
from tests.support.libvirt import LibvirtHost, missing_tools
from tests.support.until import until
from tests.support.waiting import eventually
from vmha.fencing.guard_client import GuardClient
from vmha.fencing.port import (
    GuardRefused,
    GuardRejected,
    GuardUnavailable,
    Level,
    SessionExpired,
    State,
    Verdict,
)
from vmha.model.ids import NodeName, SessionId
from vmha.policy.state.causes import of_loss

pytestmark = pytest.mark.real

SOON_S, LEAD_S = 3.0, 0.5
"""A hold that is over soon, and not before a busy machine has carried the guard's answer here."""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    node.close()


async def test_guests_end_before_the_hold_when_no_beat_comes_and_strays_are_left_alone(node: Node) -> None:
    web, db = node.guest("web"), node.guest("db, two")
    stray, foreign = node.guest("stray", cluster=None), node.guest("foreign", cluster="another")
    await node.start_guard()
    sent_at = CLOCK.now()
    await node.arm(hold_s=SOON_S, kill_lead_s=LEAD_S, sent_at=sent_at)
    await until(lambda: web.was_killed and db.was_killed, what="the managed guests are gone")
    status = await node.reaches(State.EXPIRED_CLEAN)
    assert stray.runs
    assert foreign.runs
    kill = status.last_kill
    assert kill is not None
    assert {killed.name: killed.pid for killed in kill.guests} == {
        "web": web.process.pid,
        "db, two": db.process.pid,
    }
    assert kill.session == S1
    assert kill.begun_at >= sent_at + SOON_S - LEAD_S
    assert kill.verified_at is not None
    said = [json.loads(line) for line in node.log.read_text().splitlines()]
    told = [(line["event"], line.get("state")) for line in said]
    assert told[:2] == [("guarding", "idle"), ("state changed", "armed")]
    killing = told[2:-1]  # nothing is told of it where all are gone as soon as they are struck
    assert killing in ([], [("state changed", "expired_killing")])
    assert told[-1] == ("state changed", "expired_clean")
    assert {line.get("cause") for line in said[2:]} == {of_loss(NodeName("n1"), SessionId(S1))}
    assert sorted(said[-1]["guests"].split(", ")) == ["db", "two", "web"]


async def test_a_guest_without_a_status_file_is_ended_when_the_agent_named_it(node: Node) -> None:
    named, unnamed = node.guest("named", status_file=False), node.guest("unnamed", status_file=False)
    await node.start_guard()
    sent_at = CLOCK.now()
    await node.client.arm(
        S1, hold_s=SOON_S, kill_lead_s=LEAD_S, sent_at=sent_at, managed=[named.uuid.upper()], timeout_s=ANSWER_S
    )
    await until(lambda: named.was_killed, what="the named guest is gone")
    await node.reaches(State.EXPIRED_CLEAN)
    assert unnamed.runs


async def test_beats_keep_guests_running_far_beyond_one_hold(node: Node) -> None:
    web = node.guest("web")
    await node.start_guard()
    first = await node.arm(hold_s=5)
    assert first.deadline is not None
    beyond_s = first.deadline + 0.5

    async def beat() -> bool:
        status = await node.beat()
        assert (status.state, status.guests) == (State.ARMED, ("web",))
        return CLOCK.now() > beyond_s

    await eventually(beat, each_s=0.2)
    assert web.runs


async def test_a_stopped_guest_ends_too(node: Node) -> None:
    web = node.guest("web")
    web.process.send_signal(signal.SIGSTOP)
    await node.start_guard()
    await node.arm(hold_s=SOON_S, kill_lead_s=LEAD_S)
    await until(lambda: web.was_killed, what="the stopped guest is gone")


async def test_an_expired_guard_ends_what_appears_until_a_new_session_is_armed(node: Node) -> None:
    await node.start_guard()
    await node.arm(hold_s=SOON_S, kill_lead_s=LEAD_S)
    await node.reaches(State.EXPIRED_CLEAN)
    late = node.guest("late")
    await until(lambda: late.was_killed, what="the late guest is gone")
    with pytest.raises(SessionExpired):
        await node.beat()
    with pytest.raises(SessionExpired):
        await node.arm()
    await node.reaches(State.EXPIRED_CLEAN)
    await node.arm(S2)
    new = node.guest("new")

    async def is_seen() -> bool:
        return "new" in (await node.status()).guests

    await until(is_seen, what="the new guest is seen")
    assert new.runs


async def test_an_evicted_session_ends_at_once(node: Node) -> None:
    web = node.guest("web")
    await node.start_guard()
    await node.arm(hold_s=600)
    await node.client.expire(S1, cause="evicted by the leader", timeout_s=ANSWER_S)
    await until(lambda: web.was_killed, what="the guest is gone")
    assert (await node.reaches(State.EXPIRED_CLEAN)).cause == "evicted by the leader"


async def test_a_guard_killed_and_started_again_resumes_the_same_deadline(node: Node) -> None:
    web = node.guest("web")
    guard = await node.start_guard()
    before = await node.arm()
    guard.kill()
    guard.wait(timeout=10)
    with pytest.raises(GuardUnavailable):
        await node.status()
    await node.start_guard()
    after = await node.status()
    assert (after.state, after.session, after.deadline) == (State.ARMED, S1, before.deadline)
    assert (await node.beat()).session == S1
    assert web.runs


async def test_a_guard_started_again_past_the_deadline_kills_at_once(node: Node) -> None:
    web = node.guest("web")
    guard = await node.start_guard()
    status = await node.arm(hold_s=SOON_S, kill_lead_s=LEAD_S)
    guard.kill()
    guard.wait(timeout=10)
    await until(lambda: CLOCK.now() > (status.deadline or 0), what="the deadline is past")
    assert web.runs
    guard = node.start_process()
    await until(lambda: web.was_killed, what="the guest is gone")
    await node.answers(guard)
    assert (await node.reaches(State.EXPIRED_CLEAN)).session == S1


async def test_a_disarm_is_refused_while_guests_run(node: Node) -> None:
    web = node.guest("web")
    await node.start_guard()
    await node.arm()
    with pytest.raises(GuardRefused) as left:
        await node.client.disarm(S1, timeout_s=ANSWER_S)
    assert left.value.verdict is Verdict.GUESTS_LEFT
    with pytest.raises(GuardRefused) as other:
        await node.arm(S2)
    assert other.value.verdict is Verdict.GUESTS_LEFT
    web.end()
    assert (await node.client.disarm(S1, timeout_s=ANSWER_S)).state is State.IDLE


async def test_what_makes_no_sense_is_refused_in_words(node: Node) -> None:
    await node.start_guard()
    with pytest.raises(GuardRefused) as unknown:
        await node.beat()
    assert unknown.value.verdict is Verdict.UNKNOWN_SESSION
    with pytest.raises(GuardRefused) as future:
        await node.arm(sent_at=CLOCK.now() + 100)
    assert future.value.verdict is Verdict.FROM_THE_FUTURE
    with pytest.raises(GuardRejected, match="kill_lead_s < hold_s"):
        await node.arm(hold_s=1, kill_lead_s=2)
    with pytest.raises(SessionExpired):
        await node.arm(sent_at=max(0.0, CLOCK.now() - 100))
    assert (await node.status()).state is State.IDLE


async def test_nonsense_ends_neither_the_guard_nor_the_deadline(node: Node) -> None:
    web = node.guest("web")
    guard = await node.start_guard()
    await node.arm(hold_s=4, kill_lead_s=0.5)
    path = str(node.run_dir / "guard.sock")
    held = [socket.socket(socket.AF_UNIX) for _ in range(60)]
    try:
        for index, line in enumerate(held):
            line.connect(path)
            line.sendall(b'{"op":' if index % 2 else b"\x00\xff garbage\n")
        with socket.socket(socket.AF_UNIX) as endless:
            endless.settimeout(10)
            endless.connect(path)
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                endless.sendall(b"x" * 4 * 1024 * 1024)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"\n[]\n" + b'{"op":"ping"}\n' * 300)
        assert b"not a JSON object" in await reader.readline()
        for _ in range(300):
            assert (await reader.readline()).startswith(b'{"ok":true')
        writer.close()
        await until(lambda: web.was_killed, what="the guest is gone at its deadline")
    finally:
        for line in held:
            line.close()
    assert guard.poll() is None
    assert (await node.reaches(State.EXPIRED_CLEAN)).notes == ()


async def test_status_tells_the_self_test_and_only_the_owner_may_talk(node: Node) -> None:
    await node.start_guard()
    status = await node.status()
    assert status.level is Level.NONE
    assert {check.name: check.outcome for check in status.self_test} == {
        "clock": "ok",
        "pidfd_kill": "ok",
        "may_signal": "ok",
        "libvirt_run_dir": "ok",
    }
    assert {check.name for check in status.hardening} == {"memory_locked", "real_time", "oom_score", "open_files"}
    assert (await node.arm()).level is Level.GUARD
    mode = (node.run_dir / "guard.sock").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


async def test_a_guard_that_can_not_see_libvirts_files_promises_nothing(node: Node) -> None:
    node.libvirt_run_dir.rmdir()
    await node.start_guard()
    assert (await node.arm()).level is Level.NONE
    node.libvirt_run_dir.mkdir()
    assert (await node.status()).level is Level.GUARD


async def test_a_second_guard_of_the_same_node_does_not_start(node: Node) -> None:
    await node.start_guard()
    second = node.start_process()
    assert await asyncio.to_thread(second.wait, 20) == 3
    assert "another guard runs" in node.log.read_text()
    assert (await node.status()).state is State.IDLE


async def test_a_guard_told_to_end_keeps_the_deadline_for_its_successor(node: Node) -> None:
    web = node.guest("web")
    guard = await node.start_guard()
    before = await node.arm()
    guard.terminate()
    assert await asyncio.to_thread(guard.wait, 10) == 0
    await node.start_guard()
    assert (await node.status()).deadline == before.deadline
    assert web.runs


@pytest.fixture
async def pipe(node: Node, tmp_path: Path) -> AsyncIterator[Callable[[], bytes]]:
    """A pipe in the watchdog's place: what the guard writes to it can be read."""
    path = tmp_path / "watchdog"
    os.mkfifo(path)
    node.watchdog = str(path)
    end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def read() -> bytes:
        try:
            return os.read(end, 65536)
        except BlockingIOError:
            return b""

    yield read
    os.close(end)


async def test_the_watchdog_is_petted_while_armed_and_let_go_with_the_letter_v(
    node: Node, pipe: Callable[[], bytes]
) -> None:
    await node.start_guard()
    status = await node.arm(watchdog_s=2)
    # A pipe takes no timeout, so it is petted but promises nothing.
    assert status.level is Level.GUARD
    assert "its timeout can not be set" in status.watchdog_note
    seen = bytearray()

    def petted(times: int) -> bool:
        seen.extend(pipe())
        return len(seen) >= times

    await until(lambda: petted(3), what="three pets")
    assert set(seen) == {0}
    await node.client.disarm(S1, timeout_s=ANSWER_S)
    seen.clear()
    await until(lambda: petted(1) and seen.endswith(b"V"), what="the letter V")


async def test_a_killed_guard_does_not_let_the_watchdog_go_and_its_successor_pets_it(
    node: Node, pipe: Callable[[], bytes]
) -> None:
    guard = await node.start_guard()
    await node.arm(watchdog_s=2)
    guard.kill()
    guard.wait(timeout=10)
    assert b"V" not in pipe()
    await node.start_guard()
    await until(lambda: pipe() == b"\0", what="a pet of the successor")


async def test_a_guard_that_does_not_answer_is_unavailable_within_the_time_given(node: Node) -> None:
    guard = await node.start_guard()
    guard.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(GuardUnavailable, match=r"within 0\.2 s"):
            await node.client.status(timeout_s=0.2)
    finally:
        guard.send_signal(signal.SIGCONT)


XML = (
    "<domain type='qemu'><name>{name}</name><metadata>{tag}</metadata><memory unit='MiB'>16</memory><vcpu>1</vcpu>"
    "<os><type arch='x86_64' machine='pc'>hvm</type></os></domain>"
)


@pytest.fixture
def host() -> Iterator[LibvirtHost]:
    if missing := missing_tools():
        pytest.fail(f"real hosts need: {', '.join(missing)}")
    host = LibvirtHost("one", "10.201.0.1", "11111111-1111-4111-8111-111111111111")
    try:
        host.start_libvirtd()
        yield host
    finally:
        host.close()


@pytest.fixture
async def inside(host: LibvirtHost) -> AsyncIterator[GuardClient]:
    """A guard inside the host. It ends with the host, whose first process takes everything in there with it."""
    command = ["nsenter", "-t", str(host.pid), "-m", "-p", "-n", "-u", "-i", sys.executable, "-m", "vmha.fencing.guard"]
    settings = ["--config", "/dev/null", "--cluster", "c1", "--node", "n1"]
    outer = await asyncio.create_subprocess_exec(*command, *settings, cwd="/")
    client = GuardClient(host.inside("/run/vmha/guard.sock"))

    async def answers() -> bool:
        try:
            return all(check.is_ok for check in (await client.status(timeout_s=ANSWER_S)).self_test)
        except GuardUnavailable:
            return False

    await until(answers, what="the guard inside the host answers")
    yield client
    outer.kill()
    await outer.wait()


@pytest.mark.parametrize("libvirtd_runs", [True, False])
async def test_real_qemus_with_our_tag_end_whether_libvirtd_runs_or_not(
    host: LibvirtHost, inside: GuardClient, tmp_path: Path, libvirtd_runs: bool
) -> None:
    for name, tag in (("ours", TAG.format(cluster="c1", name="ours")), ("stray", "")):
        (tmp_path / f"{name}.xml").write_text(XML.format(name=name, tag=tag))
        await asyncio.to_thread(host.virsh, "create", str(tmp_path / f"{name}.xml"))
    client = inside
    if not libvirtd_runs:
        await asyncio.to_thread(host.stop_libvirtd)
    pids = {name: host.qemu_pid(name) for name in ("ours", "stray")}
    status = await client.arm(S1, hold_s=600, kill_lead_s=1, sent_at=CLOCK.now(), timeout_s=ANSWER_S)
    assert (status.level, status.guests) == (Level.GUARD, ("ours",))
    await client.expire(S1, cause="evicted", timeout_s=ANSWER_S)

    async def is_clean() -> bool:
        return (await client.status(timeout_s=ANSWER_S)).state is State.EXPIRED_CLEAN

    await until(is_clean, what="all managed guests are verified gone")
    kill = (await client.status(timeout_s=ANSWER_S)).last_kill
    assert kill is not None
    assert [(killed.name, killed.pid) for killed in kill.guests] == [("ours", pids["ours"])]
    assert host.inside(f"/proc/{pids['stray']}").exists()
    await until(lambda: not host.inside(f"/proc/{pids['ours']}").exists(), what="the QEMU is gone")
