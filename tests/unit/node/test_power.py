"""From what an operator says about a node's fence agents to what they prove."""

from pathlib import Path

from vmha.fencing.power import always
from vmha.model.ids import NodeName
from vmha.model.settings import Proof
from vmha.model.vm import FenceDeviceSpec, FenceRole
from vmha.node.power import FenceAgents

NODE = NodeName("n1")
# Keeps a state beside itself; "off" and "on" set it, "status" tells it.
PROGRAM = """#!/bin/sh
while IFS= read -r line; do case "$line" in action=*) action=${line#action=};; esac; done
case "$action" in
    status) [ "$(cat "$0.state" 2>/dev/null)" = off ] && exit 2; exit 0;;
    on|off) echo "$action" > "$0.state";;
esac
"""


def program(path: Path, text: str = PROGRAM) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


async def test_power_that_is_off_and_storage_that_is_refused_are_two_proofs(tmp_path: Path) -> None:
    power, storage = program(tmp_path / "power"), program(tmp_path / "storage")
    cut = await FenceAgents().power_off(NODE, [FenceDeviceSpec(agent=power)], halt=always)
    assert (cut.confirmed, cut.proof) == (True, Proof.POWER_OFF_CONFIRMED)
    refused = FenceDeviceSpec(agent=storage, role=FenceRole.STORAGE)
    cut = await FenceAgents().power_off(NODE, [refused], halt=always)
    assert (cut.confirmed, cut.proof) == (True, Proof.STORAGE_FENCED)


async def test_only_what_was_taken_is_given_back(tmp_path: Path) -> None:
    devices = [
        FenceDeviceSpec(agent=program(tmp_path / "power")),
        FenceDeviceSpec(agent=program(tmp_path / "storage"), role=FenceRole.STORAGE),
    ]
    assert (await FenceAgents().give_back(NODE, devices)).confirmed
    assert (tmp_path / "storage.state").read_text() == "on\n"
    assert not (tmp_path / "power.state").exists()  # nobody's power is switched on behind his back


async def test_power_is_switched_on_by_what_switches_power_alone(tmp_path: Path) -> None:
    power = FenceDeviceSpec(agent=program(tmp_path / "power"))
    others = [
        FenceDeviceSpec(agent=program(tmp_path / f"{role}"), role=role)
        for role in (FenceRole.STORAGE, FenceRole.VERIFY)
    ]
    assert (await FenceAgents().power_off(NODE, [power], halt=always)).confirmed
    answer = await FenceAgents().power_on(NODE, [*others, power], halt=always)
    assert (answer.confirmed, answer.how) == (True, f"{power.agent}: power is on")
    assert (tmp_path / "power.state").read_text() == "on\n"
    assert not (tmp_path / "storage.state").exists()
    assert not (tmp_path / "verify.state").exists()
    bad = FenceDeviceSpec(agent=power.agent, options={"plug": "1\naction=off"})
    assert not (await FenceAgents().power_on(NODE, [bad], halt=always)).confirmed


async def test_storage_that_can_not_be_given_back_is_told(tmp_path: Path) -> None:
    bad = program(tmp_path / "bad", "#!/bin/sh\necho no route >&2\nexit 1\n")
    answer = await FenceAgents().give_back(NODE, [FenceDeviceSpec(agent=bad, role=FenceRole.STORAGE, retries=0)])
    assert not answer.confirmed
    assert "no route" in answer.how


async def test_options_that_make_no_line_are_a_result_with_words(tmp_path: Path) -> None:
    bad = FenceDeviceSpec(agent=program(tmp_path / "power"), options={"plug": "1\naction=on"})
    answer = await FenceAgents().power_off(NODE, [bad], halt=always)
    assert (answer.confirmed, answer.how.count("\n")) == (False, 0)
    assert "option plug" in answer.how


async def test_device_without_a_status_is_believed_only_where_the_operator_says_so(tmp_path: Path) -> None:
    mute = program(tmp_path / "mute", "#!/bin/sh\ngrep -q action=status && exit 1\nexit 0\n")
    spec = FenceDeviceSpec(agent=mute, retries=0)
    assert not (await FenceAgents().power_off(NODE, [spec], halt=always)).confirmed
    told = spec.model_copy(update={"has_status": False})
    assert (await FenceAgents().power_off(NODE, [told], halt=always)).confirmed
