"""Fence programs that are only asked: each answer has its name, and nothing is ever switched."""

from pathlib import Path

from tests.support.waiting import MORE_AND_MORE_S
from tests.unit.fencing.test_fence_agent import STATUS, SWITCH, gone, program, runs
from vmha.fencing.asking import ask_devices
from vmha.model.fence_answer import FenceAnswer, FenceSays
from vmha.model.ids import NodeName
from vmha.model.vm import FenceDeviceSpec, FenceRole

NODE = NodeName("n1")


def spec(agent: str, **fields: object) -> FenceDeviceSpec:
    return FenceDeviceSpec.model_validate({"agent": agent, "timeout_s": 60.0, **fields})


async def said(agent: str, **fields: object) -> FenceAnswer:
    ((answer,),) = (await ask_devices({NODE: (spec(agent, **fields),)})).values()
    return answer


async def test_power_is_told_and_nothing_is_switched(tmp_path: Path) -> None:
    agent = program(tmp_path, STATUS + SWITCH)
    assert (await said(agent)).says is FenceSays.ON
    (tmp_path / "power").write_text("off\n")
    assert (await said(agent, role="verify")).says is FenceSays.OFF
    assert runs(tmp_path) == ["status", "status"]


async def test_device_without_status_is_asked_for_its_monitor_alone(tmp_path: Path) -> None:
    agent = program(tmp_path, '[ "$action" = monitor ]\n')
    assert (await said(agent, has_status=False)).says is FenceSays.READY
    assert runs(tmp_path) == ["monitor"]


async def test_program_that_is_missing_or_can_not_be_run_is_told_so(tmp_path: Path) -> None:
    absent = await said(str(tmp_path / "fence_absent"))
    assert (absent.says, absent.code) == (FenceSays.MISSING, None)
    assert "no such program" in absent.words
    assert "is a directory" in (await said(str(tmp_path))).words


async def test_program_that_hangs_is_ended_when_its_time_is_over(tmp_path: Path) -> None:
    agent = program(tmp_path, 'echo $$ > "$dir/parent"; sleep 1000\n')
    number = tmp_path / "parent"
    for timeout_s in MORE_AND_MORE_S[1:]:  # a device's time is a second at least
        answer = await said(agent, timeout_s=timeout_s)
        assert (answer.says, answer.timeout_s) == (FenceSays.LATE, timeout_s)
        if number.exists() and number.read_text():
            break
    await gone(int(number.read_text()))


async def test_words_and_exit_code_are_kept_and_secrets_are_not(tmp_path: Path) -> None:
    agent = program(tmp_path, 'cat "$dir/options" >&2; echo "Login failed" >&2; exit 1\n')
    options = {"ip": "10.0.0.9", "passwd": "hunter2", "snmp_community": "inner-circle"}
    answer = await said(agent, options=options, retries=3)
    assert (answer.says, answer.code) == (FenceSays.NOTHING, 1)
    assert "Login failed" in answer.words
    assert "hunter2" not in repr(answer)
    assert "inner-circle" not in repr(answer)
    assert runs(tmp_path) == ["status"], "it is asked once, whatever it may try in earnest"
    garbage = program(tmp_path / "other", "head -c 3000 /dev/urandom; exit 42\n")
    babble = await said(garbage)
    assert (babble.says, babble.code) == (FenceSays.NOTHING, 42)
    assert babble.words.isprintable()


async def test_options_that_no_program_could_be_given_are_an_answer_too() -> None:
    answer = await said("fence_x", options={"action": "off"})
    assert answer.says is FenceSays.NOTHING
    assert "option 'action'" in answer.words


async def test_devices_are_asked_at_the_same_time_and_answer_in_their_order(tmp_path: Path) -> None:
    meet = 'touch "$dir/../here-$nodename"; while [ $(ls "$dir"/../here-* | wc -l) -lt 3 ]; do sleep 0.02; done\n'
    names = [NodeName(name) for name in ("n1", "n2", "n3")]
    agents = {name: program(tmp_path / name, f"nodename={name}\n" + meet + STATUS) for name in names}
    (tmp_path / "n2/power").write_text("off\n")
    answers = await ask_devices({name: (spec(agent, timeout_s=60.0),) for name, agent in agents.items()})
    assert [(name, one.says) for name, said in answers.items() for one in said] == [
        ("n1", FenceSays.ON),
        ("n2", FenceSays.OFF),
        ("n3", FenceSays.ON),
    ]


async def test_devices_at_one_address_are_asked_one_after_the_other(tmp_path: Path) -> None:
    alone = 'mkdir "$dir/busy" || { echo busy >&2; exit 1; }; sleep 0.1; rmdir "$dir/busy"\n'
    agent = program(tmp_path, alone + STATUS)
    switch = spec(agent, options={"ip": "10.0.0.9", "plug": "{node}"}, timeout_s=60.0)
    answers = await ask_devices({NodeName(f"n{number}"): (switch,) for number in range(4)})
    assert [one.says for said in answers.values() for one in said] == [FenceSays.ON] * 4


async def test_all_devices_of_a_node_are_asked_whatever_their_role(tmp_path: Path) -> None:
    power, disk = program(tmp_path / "a", STATUS), program(tmp_path / "b", STATUS)
    answers = await ask_devices({NODE: (spec(power), spec(disk, role="storage"))})
    assert [one.role for one in answers[NODE]] == [FenceRole.POWER, FenceRole.STORAGE]
