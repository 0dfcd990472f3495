"""Agent and guard in containers beside a host's own libvirt (deploy/compose): guests outlive the agent, not the guard's
deadline. A third container plays the host; the files are the ones that an administrator is given.
"""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from vmha.lab.witness.domain import witness_domain_xml

from .project import Project, docker, wait_until

pytestmark = pytest.mark.compose

FILES = ("deploy/compose/host-libvirt.yml", "tests/compose/host.yml")
# No test may open the machine's watchdog: what the guard is given in its place can do nothing, and it must say so.
NO_WATCHDOG = {"VMHA_WATCHDOG_DEVICE": "/dev/null"}

DEFINITION = witness_domain_xml("web", address="storage")


@pytest.fixture(scope="module")
def host() -> Iterator[Project]:
    project = Project(name=f"vmha-host-{os.getpid()}", files=FILES, environment=NO_WATCHDOG)
    try:
        project.compose("up", "-d", "--no-build")
        project.inside("storage", "vmha-storage", "add", "web")
        wait_until("the node may receive vms", lambda: condition(project) == "online")
        project.vmha("agent", "vm", "add", "web", "--xml", "-", "--start", "--wait", stdin=DEFINITION)
        yield project
    finally:
        print(project.compose("logs", "--no-color", "--tail", "60", code=None))
        project.compose("down", "--volumes", "--timeout", "1", code=None)
        left = docker("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={project.name}")
        assert left == ""


def condition(project: Project) -> str:
    nodes = project.status("agent").get("nodes", [])
    return next((node["condition"] for node in nodes if node["eligible"]), "")


def session(project: Project) -> str:
    return str(project.status("agent")["nodes"][0]["session"])


def last_kill(project: Project) -> dict[str, Any]:
    """What the guard has put on record for its next process."""
    return json.loads(project.inside("guard", "cat", "/run/vmha/guard.json"))["last_kill"] or {}


def test_guest_is_the_hosts_and_the_guard_finds_it_there(host: Project) -> None:
    assert len(host.guests_of("host")) == 1
    assert host.guests_of("agent") == host.guests_of("guard") == []
    (node,) = host.status("agent")["nodes"]
    assert (node["name"], node["armed"]) == ("kvm1", "guard")


def test_agent_whose_container_is_killed_and_back_in_time_takes_its_session_up(host: Project) -> None:
    guests, before = host.guests_of("host"), session(host)
    docker("kill", host.container("agent"))
    docker("start", host.container("agent"))
    wait_until("the node may receive vms", lambda: condition(host) == "online")
    assert (host.guests_of("host"), session(host)) == (guests, before)


def test_guard_whose_process_is_killed_is_back_with_its_deadline(host: Project) -> None:
    (guard,) = host.processes_of("guard", "vmha.fencing.guard")
    guests = host.guests_of("host")
    os.kill(guard, signal.SIGKILL)
    wait_until("another guard runs", lambda: host.processes_of("guard", "vmha.fencing.guard") not in ([], [guard]))
    wait_until("the node may receive vms", lambda: condition(host) == "online")
    assert host.guests_of("host") == guests


def test_guest_of_an_agent_that_stays_away_is_ended_and_the_gate_lets_no_hand_start_it(host: Project) -> None:
    docker("kill", host.container("agent"))
    wait_until("the guard has ended the guest", lambda: host.guests_of("host") == [])
    wait_until("it has verified that", lambda: last_kill(host).get("verified_at"))
    refused = host.inside("host", "virsh", "create", "/dev/stdin", stdin=DEFINITION, code=1, stderr=True)
    assert "vmha" in refused
    assert host.guests_of("host") == []
    docker("start", host.container("agent"))
    wait_until("the guest is back", lambda: len(host.guests_of("host")) == 1)
    assert host.verdict("web")["ran_twice"] is False
