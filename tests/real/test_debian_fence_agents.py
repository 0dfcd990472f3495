"""Debian's fence agents, as their package installs them, under our hand: what they say is understood."""

import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from vmha.fencing.fence_agent import (
    AGENT_PATH,
    FenceDevice,
    Power,
    metadata,
    monitor,
    power_off,
    power_on,
    power_status,
)
from vmha.model.ids import NodeName
from vmha.model.secret_names import find_script_option, names_a_secret

pytestmark = pytest.mark.real

NODE = NodeName("n1")
RUN_S = 60.0  # they are Python programs with many imports, and the machine may be busy


@pytest.fixture
def dummy(tmp_path: Path) -> FenceDevice:
    """fence_dummy keeps the power's state in a file."""
    assert shutil.which("fence_dummy", path=AGENT_PATH), "needs Debian's fence-agents (scripts/bootstrap dev)"
    options = {"status_file": str(tmp_path / "{node}.power")}
    return FenceDevice(agent="fence_dummy", options=options, timeout_s=RUN_S, retries=0)


async def test_a_power_cut_by_fence_dummy_is_confirmed_and_can_be_undone(dummy: FenceDevice) -> None:
    assert (await power_on(dummy, NODE)).confirmed
    assert (await power_status(dummy, NODE)).power is Power.ON
    result = await power_off([dummy], NODE)
    assert (result.confirmed, result.power) == (True, Power.OFF), result.message
    assert result.message == "fence_dummy: power was on, is off"
    assert (await power_status(dummy, NODE)).power is Power.OFF
    assert (await monitor(dummy, NODE)).confirmed


async def test_an_agent_that_does_not_reach_its_device_confirms_nothing_and_says_why() -> None:
    options = {
        "ip": "127.0.0.1",
        "username": "admin",
        "password": "hunter2",
        "power_timeout": "1",
        "login_timeout": "1",
    }
    nobody = FenceDevice(agent="fence_redfish", options=options, timeout_s=RUN_S, retries=0)
    result = await power_off([nobody], NODE)
    assert not result.confirmed
    assert result.message.startswith("fence_redfish: exit code 1: ")
    assert "127.0.0.1" in result.message or "Unable to connect" in result.message or "Failed" in result.message
    assert "hunter2" not in result.message


@pytest.mark.parametrize("agent", ["fence_ipmilan", "fence_virsh", "fence_apc_snmp", "fence_redfish"])
async def test_program_that_is_accepted_in_place_of_a_password_is_one_that_the_agent_takes(agent: str) -> None:
    told = await metadata(FenceDevice(agent=agent, timeout_s=RUN_S, retries=0), NODE)
    options = {str(one.get("name")) for one in ET.fromstring(told.output).iter("parameter")}
    secret = {name for name in options if names_a_secret(name)}
    assert {"password", "passwd"} <= secret
    assert {script for name in secret if (script := find_script_option(name))} <= options
    assert {name for name in secret if not find_script_option(name)} == options & {"community", "hexadecimal_kg"}


@pytest.mark.parametrize("agent", ["fence_ipmilan", "fence_virsh", "fence_scsi"])
async def test_metadata_of_the_common_agents_is_read_and_names_the_actions_we_use(agent: str) -> None:
    told = await metadata(FenceDevice(agent=agent, timeout_s=RUN_S, retries=0), NODE)
    assert told.confirmed, told.message
    actions = {action.get("name") for action in ET.fromstring(told.output).iter("action")}
    assert {"on", "off", "status", "monitor", "metadata"} <= actions
