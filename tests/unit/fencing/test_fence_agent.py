"""Fence programs, good and bad, as small scripts: what counts as a confirmed power-off."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.support.doc_story import ROOT, code_blocks
from tests.support.until import until
from tests.support.waiting import MORE_AND_MORE_S
from vmha.fencing.fence_agent import FenceDevice, Power, metadata, monitor, power_off, power_on, power_status, switch_on
from vmha.model.errors import Rejected
from vmha.model.ids import NodeName
from vmha.model.vm import FenceRole

NODE = NodeName("n1")

# Reads its options as the API says, and keeps the power's state and a log of its runs beside itself.
HEAD = """#!/bin/sh
dir=$(dirname "$0")
while IFS= read -r line; do
    case "$line" in action=*) action=${line#action=};; esac
    echo "$line" >> "$dir/options"
done
echo "$action" >> "$dir/runs"
echo "$*" >> "$dir/argv"
power() { cat "$dir/power" 2>/dev/null || echo on; }
"""
STATUS = 'if [ "$action" = status ]; then [ "$(power)" = on ] && exit 0; exit 2; fi\n'
SWITCH = 'case "$action" in on|off) echo "$action" > "$dir/power"; exit 0;; esac\n'


def program(folder: Path, body: str, name: str = "fence_test") -> str:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(HEAD + body)
    path.chmod(0o755)
    return str(path)


def device(agent: str, **more: object) -> FenceDevice:
    settings: dict[str, object] = {"timeout_s": 60.0, "retries": 0, "retry_delay_s": 0.01, **more}
    return FenceDevice(agent=agent, **settings)  # type: ignore[arg-type]


def runs(folder: Path) -> list[str]:
    return (folder / "runs").read_text().split()


async def test_a_good_program_is_believed_after_its_status_said_off(tmp_path: Path) -> None:
    agent = program(tmp_path, STATUS + SWITCH)
    result = await power_off([device(agent)], NODE)
    assert (result.confirmed, result.power, result.agent, result.attempts) == (True, Power.OFF, agent, 1)
    assert result.message == f"{agent}: power was on, is off"
    assert runs(tmp_path) == ["status", "off", "status"]


async def test_agent_of_ones_own_adds_a_secret_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program(tmp_path, STATUS + SWITCH, "fence_apc_snmp")
    (tmp_path / "community").write_text("inner-circle\n")
    (page,) = code_blocks((ROOT / "docs/howto/fencing-with-ipmi.md").read_text(), "sh")
    own = tmp_path / "fence_pdu"
    own.write_text(page.replace("/etc/vmha/pdu-community", str(tmp_path / "community")))
    own.chmod(0o700)
    result = await power_off([device("fence_pdu", options={"ip": "10.0.0.21"})], NODE)
    assert (result.confirmed, result.power) == (True, Power.OFF)
    given = (tmp_path / "options").read_text().splitlines()
    assert given[-4:] == ["nodename=n1", "ip=10.0.0.21", "action=status", "community=inner-circle"]
    assert (await metadata(device("fence_pdu"), NODE)).agent == "fence_pdu"


async def test_options_go_to_standard_input_and_never_to_the_command_line(tmp_path: Path) -> None:
    agent = program(tmp_path, STATUS + SWITCH)
    options = {"ip": "10.0.0.9", "password": "hunter2", "plug": "{node}-psu"}
    await power_off([device(agent, options=options)], NODE)
    given = (tmp_path / "options").read_text().splitlines()[5:10]
    assert given == ["nodename=n1", "ip=10.0.0.9", "password=hunter2", "plug=n1-psu", "action=off"]
    assert (tmp_path / "argv").read_text().strip() == ""


async def test_a_program_that_lies_confirms_nothing(tmp_path: Path) -> None:
    agent = program(tmp_path, STATUS + "exit 0\n")
    result = await power_off([device(agent)], NODE)
    assert (result.confirmed, result.power) == (False, Power.ON)
    assert result.message == (
        f'{agent}: it reported success for action "off" of n1, but its status says that the power is on'
    )


async def test_power_is_on_when_a_status_says_so_and_the_next_device_is_asked_where_one_does_not_manage(
    tmp_path: Path,
) -> None:
    broken = program(tmp_path / "a", "echo no route >&2\nexit 1\n")
    liar = program(tmp_path / "b", '[ "$action" = status ] && exit 2\nexit 0\n')
    good = program(tmp_path / "c", STATUS + SWITCH)
    spare = program(tmp_path / "d", STATUS + SWITCH)
    result = await switch_on([device(agent) for agent in (broken, liar, good, spare)], NODE)
    assert (result.confirmed, result.power, result.action) == (True, Power.ON, "on")
    assert "no route" in result.message
    assert f'{liar}: it reported success for action "on" of n1, but its status says that the power is off' in (
        result.message
    )
    assert result.message.endswith(f"{good}: power is on")
    assert runs(tmp_path / "c") == ["on", "status"]
    assert not (tmp_path / "d" / "runs").exists()


async def test_node_that_is_back_or_was_decided_on_otherwise_is_not_switched_on(tmp_path: Path) -> None:
    agent = program(tmp_path, STATUS + SWITCH)

    async def is_back() -> str:
        return "n1 is back"

    result = await switch_on([device(agent), device(agent)], NODE, halt=is_back)
    assert (result.confirmed, result.message) == (False, f"{agent}: called off: n1 is back")
    assert not (tmp_path / "runs").exists()


async def test_device_without_a_status_is_believed_that_it_switched_on(tmp_path: Path) -> None:
    agent = program(tmp_path, SWITCH)
    result = await switch_on([device(agent, has_status=False)], NODE)
    assert (result.confirmed, runs(tmp_path)) == (True, ["on"])
    assert "own word" in result.message


async def test_a_status_that_can_not_be_told_confirms_nothing(tmp_path: Path) -> None:
    agent = program(tmp_path, '[ "$action" = status ] && { echo no route >&2; exit 1; }\nexit 0\n')
    result = await power_off([device(agent)], NODE)
    assert (result.confirmed, result.power) == (False, Power.UNKNOWN)
    assert "no route" in result.message


async def test_a_device_without_status_is_believed_when_the_operator_says_it_has_none(tmp_path: Path) -> None:
    agent = program(tmp_path, "exit 0\n")
    result = await power_off([device(agent, has_status=False)], NODE)
    assert (result.confirmed, result.power) == (True, Power.UNKNOWN)
    assert "own word" in result.message
    assert runs(tmp_path) == ["off"]


async def test_a_power_supply_that_takes_a_moment_is_asked_again(tmp_path: Path) -> None:
    slow = '[ "$action" = status ] && [ $(grep -c status "$dir/runs") -lt 3 ] && exit 0\n'
    agent = program(tmp_path, slow + STATUS + SWITCH)
    result = await power_off([device(agent, retries=2)], NODE)
    assert result.confirmed
    assert runs(tmp_path) == ["status", "off", "status", "status"]


async def test_a_program_that_needs_two_tries_gets_them(tmp_path: Path) -> None:
    once = '[ "$action" = off ] && [ $(grep -c off "$dir/runs") -lt 2 ] && exit 1\n'
    agent = program(tmp_path, once + STATUS + SWITCH)
    result = await power_off([device(agent, retries=1)], NODE)
    assert (result.confirmed, result.attempts) == (True, 2)


async def test_a_program_that_fails_is_a_result_with_its_words(tmp_path: Path) -> None:
    agent = program(tmp_path, 'echo "Connection timed out" >&2\nexit 1\n')
    result = await power_off([device(agent, retries=3)], NODE)
    assert (result.confirmed, result.attempts) == (False, 3)
    assert runs(tmp_path) == ["status", "off", "off", "off"]
    said = "exit code 1: Connection timed out (action off of n1, expected exit code: 0)"
    assert result.message == f"{agent}: {said}"


async def test_a_program_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    agent = program(tmp_path, 'sleep 1000 & echo $! > "$dir/child"; echo $$ > "$dir/parent"; wait\n')
    numbers = [tmp_path / name for name in ("parent", "child")]
    for timeout_s in MORE_AND_MORE_S:
        result = await power_off([device(agent, timeout_s=timeout_s)], NODE)
        assert not result.confirmed
        assert f"did not answer to action off of n1 within {timeout_s:g} s and was ended" in result.message
        if all(path.exists() and path.read_text() for path in numbers):
            break
    for path in numbers:
        await gone(int(path.read_text()))


async def test_cancelling_ends_the_program(tmp_path: Path) -> None:
    agent = program(tmp_path, 'echo $$ > "$dir/parent.new"; mv "$dir/parent.new" "$dir/parent"; sleep 1000\n')
    task = asyncio.create_task(power_off([device(agent, timeout_s=100.0)], NODE))
    await until((tmp_path / "parent").exists, what="the program runs")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone(int((tmp_path / "parent").read_text()))


async def test_a_helper_left_behind_with_the_pipes_does_not_hold_the_answer_up(tmp_path: Path) -> None:
    agent = program(tmp_path, 'setsid sleep 1000 & echo $! >> "$dir/helpers"\n' + STATUS + SWITCH)
    try:
        result = await power_off([device(agent, timeout_s=30.0)], NODE)
        assert result.confirmed
    finally:
        for helper in (tmp_path / "helpers").read_text().split():  # one of each of its runs
            os.kill(int(helper), 9)


async def test_garbage_is_bounded_and_printable(tmp_path: Path) -> None:
    agent = program(tmp_path, "head -c 300000 /dev/urandom >&2; head -c 3000000 /dev/zero; echo the end >&2; exit 7\n")
    result = await power_off([device(agent)], NODE)
    assert not result.confirmed
    assert "exit code 7" in result.message
    assert "the end (action off of n1" in result.message
    assert len(result.message) < 1000
    assert result.message.isprintable()


async def test_secrets_do_not_come_back_in_messages(tmp_path: Path) -> None:
    agent = program(tmp_path, 'echo "login failed: admin/hunter2 token t0ps3cret" >&2; exit 1\n')
    bad = device(agent, options={"username": "admin", "passwd": "hunter2", "api_token": "t0ps3cret"})
    result = await power_off([bad], NODE)
    assert "login failed: admin/*** token ***" in result.message
    assert "hunter2" not in f"{result!r} {bad!r}"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "no such program"),
        (lambda path: path.write_text("#!/bin/sh\n"), "is not executable"),
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: (path.write_text("#!/no/such/shell\n"), path.chmod(0o755)), "can not be started"),
        (lambda path: (path.write_bytes(b"\x7fELF garbage"), path.chmod(0o755)), "can not be started"),
    ],
)
async def test_what_is_no_program_is_a_result_with_words(tmp_path: Path, make: object, says: str) -> None:
    make(tmp_path / "agent")  # type: ignore[operator]
    result = await power_off([device(str(tmp_path / "agent"))], NODE)
    assert not result.confirmed
    assert says in result.message


async def test_a_name_is_looked_up_and_said_where(tmp_path: Path) -> None:
    result = await power_off([device("fence_no_such_thing")], NODE)
    assert "no such program in PATH or /usr/sbin" in result.message


async def test_a_program_that_reads_nothing_does_not_break_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "agent"
    path.write_text("#!/bin/sh\nexec 0<&-\nexit 0\n")
    path.chmod(0o755)
    result = await power_off([device(str(path), options={"a": "x" * 200_000}, has_status=False)], NODE)
    assert result.confirmed


async def test_devices_are_tried_in_order_until_one_confirms(tmp_path: Path) -> None:
    bad = program(tmp_path / "a", "exit 1\n")
    good = program(tmp_path / "b", STATUS + SWITCH)
    unused = program(tmp_path / "c", STATUS + SWITCH)
    result = await power_off([device(bad), device(good), device(unused)], NODE)
    assert (result.confirmed, result.agent) == (True, good)
    assert f"{bad}: exit code 1" in result.message
    assert not (tmp_path / "c" / "runs").exists()


async def test_power_that_was_off_already_is_confirmed_and_said_so(tmp_path: Path) -> None:
    agent = program(tmp_path, STATUS + SWITCH)
    (tmp_path / "power").write_text("off\n")
    result = await power_off([device(agent)], NODE)
    assert (result.confirmed, result.message) == (True, f"{agent}: power was off already")
    assert runs(tmp_path) == ["status", "off", "status"]  # it may just be booting: it is switched all the same


async def test_a_program_that_is_ended_by_a_signal_is_a_result_with_words(tmp_path: Path) -> None:
    agent = program(tmp_path, "kill -SEGV $$\n")
    result = await power_off([device(agent)], NODE)
    assert not result.confirmed
    assert result.message == f"{agent}: ended by signal 11 (action off of n1, expected exit code: 0)"


async def test_a_witness_that_sees_power_refutes_a_program_that_lies_about_its_status_too(tmp_path: Path) -> None:
    liar = program(tmp_path / "liar", '[ "$action" = status ] && exit 2\nexit 0\n')
    witness = program(tmp_path / "witness", STATUS)
    eye = device(witness, role=FenceRole.VERIFY)
    result = await power_off([device(liar), eye], NODE)
    assert not result.confirmed
    assert f"but {witness}, which verifies, says of n1: power is on (expected: off)" in result.message
    assert runs(tmp_path / "witness") == ["status"]  # it is only asked, never told to switch
    (tmp_path / "witness" / "power").write_text("off\n")
    result = await power_off([device(liar), eye], NODE)
    assert result.confirmed
    assert result.message.endswith(f"{witness} verified it")


async def test_a_witness_that_does_not_answer_confirms_nothing(tmp_path: Path) -> None:
    good = program(tmp_path / "good", STATUS + SWITCH)
    blind = program(tmp_path / "blind", "echo no route >&2; exit 1\n")
    result = await power_off([device(good), device(blind, role=FenceRole.VERIFY)], NODE)
    assert not result.confirmed
    assert "no route" in result.message


async def test_a_device_that_cuts_storage_says_so_and_needs_no_witness_of_power(tmp_path: Path) -> None:
    scsi = program(tmp_path / "scsi", STATUS + SWITCH)
    witness = program(tmp_path / "witness", STATUS)
    result = await power_off([device(scsi, role=FenceRole.STORAGE), device(witness, role=FenceRole.VERIFY)], NODE)
    assert (result.confirmed, result.role) == (True, FenceRole.STORAGE)
    assert result.message == f"{scsi}: storage access was on, is off"


async def test_nothing_is_switched_any_more_once_the_caller_says_so(tmp_path: Path) -> None:
    """A node that came back while the first attempt hung must not be hit by the second, nor by the next device."""
    bad = program(tmp_path / "a", "exit 1\n")
    unused = program(tmp_path / "b", STATUS + SWITCH)
    asked = 0

    async def halt() -> str:
        nonlocal asked
        asked += 1
        return "" if asked == 1 else "n1 has committed a beat since"

    result = await power_off([device(bad, retries=5), device(unused)], NODE, halt=halt)
    assert not result.confirmed
    assert "called off: n1 has committed a beat since" in result.message
    assert runs(tmp_path / "a") == ["status", "off"]
    assert not (tmp_path / "b" / "runs").exists()


async def test_without_a_device_nothing_is_confirmed() -> None:
    result = await power_off([], NODE)
    assert (result.confirmed, result.message) == (False, "no fence device is configured")


async def test_on_status_monitor_and_metadata(tmp_path: Path) -> None:
    body = STATUS + SWITCH + 'case "$action" in monitor) exit 0;; metadata) echo "<resource-agent/>"; exit 0;; esac\n'
    good = device(program(tmp_path, body))
    assert (await power_status(good, NODE)).power is Power.ON
    assert (await power_off([good], NODE)).confirmed
    assert (await power_status(good, NODE)).power is Power.OFF
    assert (await power_on(good, NODE)).confirmed
    assert (await power_status(good, NODE)).message == "power is on"
    assert (await monitor(good, NODE)).confirmed
    assert (await metadata(good, NODE)).output == "<resource-agent/>\n"


@pytest.mark.parametrize("options", [{"a\nb": "x"}, {"a": "x\naction=on"}, {"action": "on"}, {"": "x"}, {"a=b": "x"}])
def test_options_that_could_change_the_action_are_rejected(options: dict[str, str]) -> None:
    with pytest.raises(Rejected):
        device("fence_test", options=options)


async def gone(pid: int) -> None:
    """Wait until the process is no more, or a zombie that nobody has collected yet."""

    def is_gone() -> bool:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return True
        return state in "ZX"

    await until(is_gone, what=f"process {pid} is gone")
