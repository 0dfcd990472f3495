"""Debian's fence_ipmilan against a management board that speaks IPMI: what it says is understood, and so is silence.

How a lab's host is cut off by one is in ``tests/lab/test_cluster_fence.py``.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bmc import PASSWORD, Bmc, running_bmc
from vmha.fencing.asking import ask_devices
from vmha.fencing.fence_agent import FenceDevice, FenceResult, Power, monitor, power_off, power_on, power_status
from vmha.model.ids import NodeName
from vmha.model.vm import FenceDeviceSpec
from vmha.policy.telling.doctor_fence import fence_findings

pytestmark = pytest.mark.real

NODE = NodeName("kvm1")


@pytest.fixture
def bmc(tmp_path: Path) -> Iterator[Bmc]:
    with running_bmc(tmp_path / "bmc") as bmc:
        yield bmc


def device(bmc: Bmc, timeout_s: float = 60.0, **options: str) -> FenceDevice:
    return FenceDevice(agent="fence_ipmilan", options=bmc.options(**options), timeout_s=timeout_s, retries=0)


async def doctor_finds(bmc: Bmc, **options: str) -> list[tuple[str, str]]:
    """Kinds and texts of what the board is asked without switching anything."""
    spec = FenceDeviceSpec(agent="fence_ipmilan", options=bmc.options(**options), timeout_s=60)
    answers = await ask_devices({NODE: (spec,)})
    found = [(kind, text) for kind, text, _ in fence_findings(answers, {})]
    return [(kind, text) for kind, text in found if kind != "fence-slow"]  # the machine may be busy


def says_nothing_secret(result: FenceResult) -> bool:
    return PASSWORD not in result.message and PASSWORD not in result.output


async def test_power_is_cut_and_given_back_and_each_is_seen_at_the_board(bmc: Bmc) -> None:
    assert (await monitor(device(bmc), NODE)).confirmed
    assert (await power_status(device(bmc), NODE)).power is Power.ON
    assert await doctor_finds(bmc) == []
    result = await power_off([device(bmc)], NODE)
    assert (result.confirmed, result.message) == (True, "fence_ipmilan: power was on, is off")
    assert not bmc.is_on
    assert (await power_status(device(bmc), NODE)).power is Power.OFF
    again = await power_off([device(bmc)], NODE)
    assert (again.confirmed, again.message) == (True, "fence_ipmilan: power was off already")
    assert (await power_on(device(bmc), NODE)).confirmed
    assert bmc.is_on


async def test_password_that_is_not_the_boards_confirms_nothing_and_switches_nothing(bmc: Bmc) -> None:
    result = await power_off([device(bmc, password="hunter2", power_timeout="2")], NODE)
    assert not result.confirmed
    assert "fence_ipmilan: exit code 1: " in result.message
    assert "hunter2" not in result.message
    ((kind, text),) = await doctor_finds(bmc, password="hunter2")
    assert kind == "fence-login", text
    assert "hunter2" not in text
    assert bmc.is_on


async def test_password_that_a_program_of_the_host_prints_does_as_well(bmc: Bmc, tmp_path: Path) -> None:
    program = tmp_path / "bmc-password"
    program.write_text(f"#!/bin/sh\necho {PASSWORD}\n")
    program.chmod(0o700)
    options = {name: value for name, value in bmc.options().items() if name != "password"}
    by_program = FenceDevice(
        agent="fence_ipmilan", options=options | {"password_script": str(program)}, timeout_s=60, retries=0
    )
    assert (await power_off([by_program], NODE)).confirmed
    assert not bmc.is_on


async def test_board_that_nobody_reaches_confirms_nothing_and_says_so(bmc: Bmc) -> None:
    bmc.die()
    result = await power_off([device(bmc, power_timeout="1")], NODE)
    assert not result.confirmed
    assert "Connection timed out" in result.message
    assert says_nothing_secret(result)
    assert [kind for kind, _ in await doctor_finds(bmc, power_timeout="1")] == ["fence-fails"]


async def test_board_that_answers_slowly_is_waited_for_as_long_as_its_device_may_take(bmc: Bmc) -> None:
    bmc.take(0.3)
    assert (await power_off([device(bmc)], NODE)).confirmed
    assert not bmc.is_on


async def test_board_that_takes_longer_than_its_device_may_confirms_nothing(bmc: Bmc) -> None:
    bmc.take(60)
    result = await power_off([device(bmc, timeout_s=1.0)], NODE)
    assert not result.confirmed
    assert "did not answer to action off of kvm1 within 1 s and was ended" in result.message
    assert bmc.is_on
