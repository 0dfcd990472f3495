"""Programs as probes: run for real, each with what a program may do wrong."""

import os
import stat
from pathlib import Path

import pytest

from tests.support.waiting import MORE_AND_MORE_S, eventually
from vmha.model.health import Probe
from vmha.model.ids import NodeName, VmName
from vmha.policy.at_node.health import Answer
from vmha.probing.port import Question, Reply
from vmha.probing.real import NodeProbes


async def ask(*command: str, shell: bool = False, timeout_s: float = 10.0) -> Reply:
    probe = Probe(name="check", command=command, shell=shell, timeout_s=timeout_s)
    return await NodeProbes().ask(Question(vm=VmName("web"), uuid="u-1", node=NodeName("n1"), probe=probe))


def program(folder: Path, text: str, *, mode: int = 0o755) -> str:
    file = folder / "check"
    file.write_text(text)
    file.chmod(mode)
    return str(file)


async def test_exit_code_zero_is_healthy_and_what_it_says_is_kept() -> None:
    assert await ask("/bin/echo", "all", "well") == Reply(Answer.GOOD, "all well")


async def test_another_exit_code_is_not_and_the_last_line_says_why(tmp_path: Path) -> None:
    reply = await ask(program(tmp_path, "#!/bin/sh\necho looking\necho replication is 900 s behind >&2\nexit 3\n"))
    assert reply == Reply(Answer.BAD, "exit code 3: replication is 900 s behind")


async def test_program_that_a_signal_ended_is_told_so() -> None:
    assert await ask("kill -SEGV $$", shell=True) == Reply(Answer.BAD, "ended by signal 11")


async def test_program_that_is_missing_is_no_answer() -> None:
    reply = await ask("/nowhere/check")
    assert reply == Reply(Answer.NONE, "/nowhere/check can not be run on n1: no such file or directory")


async def test_program_that_may_not_be_executed_is_no_answer(tmp_path: Path) -> None:
    reply = await ask(program(tmp_path, "#!/bin/sh\n", mode=stat.S_IRUSR))
    assert reply.answer is Answer.NONE
    assert "permission denied" in reply.text


async def test_program_of_no_known_format_is_no_answer(tmp_path: Path) -> None:
    reply = await ask(program(tmp_path, "\x01\x02\x03"))
    assert reply.answer is Answer.NONE


async def test_line_for_the_shell_whose_program_is_missing_is_no_answer() -> None:
    assert (await ask("no-such-program --fast", shell=True)).answer is Answer.NONE


async def test_words_of_a_command_are_no_line_for_a_shell() -> None:
    assert await ask("/bin/echo", "$HOME; exit 1") == Reply(Answer.GOOD, "$HOME; exit 1")


async def test_it_learns_which_vm_it_is_asked_about_and_nothing_of_the_agents_own_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VMHA_ETCD_PASSWORD_FILE", "secret")
    reply = await ask('echo "$VMHA_VM $VMHA_UUID $VMHA_NODE $VMHA_PROBE $VMHA_ETCD_PASSWORD_FILE."', shell=True)
    assert reply.text == "web u-1 n1 check ."


async def test_program_that_hangs_is_killed_with_all_that_it_has_begun(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    line = f"sleep 1000 & echo $! >> {note}; echo $$ >> {note}; trap '' TERM; sleep 1000"
    for timeout_s in MORE_AND_MORE_S:
        note.write_text("")
        reply = await ask(line, shell=True, timeout_s=timeout_s)
        assert reply.answer is Answer.BAD
        assert f"did not end within {timeout_s:g} s and was killed" in reply.text
        if len(pids := [int(word) for word in note.read_text().split()]) == 2:
            break
    assert len(pids) == 2

    async def look() -> bool:
        return not any(is_running(pid) for pid in pids)

    assert await eventually(look)


async def test_what_it_leaves_in_the_background_is_ended_and_not_waited_for(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    reply = await ask(f"sleep 1000 & echo $! > {note}; echo up", shell=True)
    assert reply == Reply(Answer.GOOD, "up")

    async def look() -> bool:
        return not is_running(int(note.read_text()))

    assert await eventually(look)


async def test_garbage_without_end_is_read_and_thrown_away() -> None:
    reply = await ask("head -c 20000000 /dev/urandom; echo; exit 1", shell=True, timeout_s=60.0)
    assert reply.answer is Answer.BAD
    assert len(reply.text) <= 220
    assert reply.text.isprintable()


async def test_no_descriptor_is_left_behind() -> None:
    await ask("/bin/true")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        await ask("/bin/true")
        await ask("/nowhere/check")
        await ask("sleep 100", shell=True, timeout_s=0.2)
    assert len(os.listdir("/proc/self/fd")) <= before


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
