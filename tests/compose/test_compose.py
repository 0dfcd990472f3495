"""Nodes in containers: the cluster of docker-compose.yml comes up, moves a vm, loses nodes, and never runs it twice.

Run by ``make compose-test``, which brings the engine and builds the images.
"""

import os
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.etcd import free_ports

from .project import Project, docker, run, wait_until

pytestmark = pytest.mark.compose

NODES = ("agent-1", "agent-2", "agent-3")
TUNED = "config: {profile: tuned}\n"


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    profile = {"COMPOSE_PROFILES": "web", "VMHA_WEB_PORT": str(free_ports(1)[0])}
    project = Project(name=f"vmha-test-{os.getpid()}", environment=profile)
    try:
        project.compose("up", "-d", "--no-build")
        wait_until("every node may receive vms", lambda: online(project, NODES) == set(NODES))
        project.vmha("agent-1", "apply", "--yes", "-", stdin=TUNED)
        definition = project.inside("storage", "vmha-storage", "add", "web")
        project.vmha("agent-1", "vm", "add", "web", "--xml", "-", "--start", "--wait", stdin=definition)
        yield project
    finally:
        print(project.compose("logs", "--no-color", "--tail", "60", code=None))
        project.compose("down", "--volumes", "--timeout", "1", code=None)
        left = docker("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={project.name}")
        assert left == ""


def online(project: Project, ask: tuple[str, ...]) -> set[str]:
    for node in ask:
        if found := project.status(node):
            return {each["name"] for each in found["nodes"] if each["condition"] == "online"}
    return set()


def place_of(project: Project, ask: str) -> str:
    """Where web runs, by the record; empty while it does not."""
    vms = project.status(ask).get("vms", [])
    return next((vm["node"] for vm in vms if vm["name"] == "web" and vm["state"] == "running"), "")


def fence_of(project: Project, node: str) -> str:
    return next((each["armed"] for each in project.status(node).get("nodes", []) if each["name"] == node), "")


def other_than(node: str) -> str:
    return next(name for name in NODES if name != node)


def ticks_on(project: Project) -> None:
    """The guest is alive: its own disk says so."""
    before = project.verdict("web")["ticks"]
    wait_until("the guest writes", lambda: project.verdict("web")["ticks"] > before)


def test_status_shows_three_nodes_that_a_guard_watches_over(project: Project) -> None:
    nodes = project.status("agent-1")["nodes"]
    assert {node["name"]: node["armed"] for node in nodes} == dict.fromkeys(NODES, "guard")
    assert "3 of 3 online" in project.compose("exec", "-T", "agent-1", "vmha", "status")


def test_dashboard_of_the_profile_web_answers_this_machine_and_lets_nobody_do_anything(project: Project) -> None:
    base = f"http://127.0.0.1:{project.environment['VMHA_WEB_PORT']}"

    def told() -> Any:
        try:
            answer = httpx.get(f"{base}/api/v1/status", timeout=10.0)
        except httpx.TransportError:
            return None  # it is on its way
        return answer.json() if answer.status_code == 200 else None

    status = wait_until("the dashboard answers", told)
    assert {node["name"] for node in status["nodes"]} == set(NODES)
    assert [vm["name"] for vm in status["vms"]] == ["web"]
    page = httpx.get(f"{base}/vm/web", timeout=10.0)
    assert page.status_code == 200
    assert "/do/" not in page.text
    assert "in clear text" in httpx.get(f"{base}/login", timeout=10.0).text
    assert httpx.post(f"{base}/api/v1/verbs/stop/plan", json={"on": "web"}, timeout=10.0).status_code == 401
    first = dict(line.split(":\t", 1) for line in project.inside("web", "cat", "/proc/1/status").splitlines())
    assert first["Uid"].split()[:2] == ["65534", "65534"]
    assert int(first["CapBnd"], 16) == 0


def test_vm_moves_live_from_one_container_to_another(project: Project) -> None:
    source = place_of(project, "agent-1")
    target = other_than(source)
    project.vmha("agent-1", "vm", "migrate", "web", "--to", target, "--wait")
    assert project.guests_of(source) == []
    assert len(project.guests_of(target)) == 1
    ticks_on(project)
    assert (project.verdict("web")["boots"], project.verdict("web")["ran_twice"]) == (1, False)


def test_second_container_of_a_node_is_refused(project: Project) -> None:
    first = project.container("agent-1")
    refused = run("docker", "run", "--rm", "--volumes-from", first, "vmha-agent", code=2, stderr=True)
    assert "another container is this node" in refused
    assert online(project, ("agent-1",)) == set(NODES)


def test_killed_container_leaves_no_guest_and_its_vm_comes_back_elsewhere(project: Project) -> None:
    lost = place_of(project, "agent-1")
    asked = other_than(lost)
    (qemu,) = project.guests_of(lost)
    docker("kill", project.container(lost))
    assert not os.path.exists(f"/proc/{qemu}")
    wait_until("the vm runs elsewhere", lambda: place_of(project, asked) not in ("", lost))
    ticks_on(project)
    assert project.verdict("web")["ran_twice"] is False
    assert "guard_elapsed" in project.vmha(asked, "vm", "why", "web")
    docker("start", project.container(lost))
    wait_until("the node is back", lambda: online(project, (asked,)) == set(NODES))


def test_guard_in_the_container_ends_the_guest_of_an_agent_that_stands_still(project: Project) -> None:
    held = place_of(project, "agent-1")
    asked = other_than(held)
    (qemu,) = project.guests_of(held)
    project.inside(held, "sh", "-c", "kill -STOP $(cat /run/vmha/agent.lock)")
    wait_until("the guard has ended the guest", lambda: not os.path.exists(f"/proc/{qemu}"))
    wait_until("the vm runs elsewhere", lambda: place_of(project, asked) not in ("", held))
    assert project.verdict("web")["ran_twice"] is False
    project.inside(held, "sh", "-c", "kill -CONT $(cat /run/vmha/agent.lock)")
    wait_until("the node is back", lambda: online(project, (asked,)) == set(NODES))
    ticks_on(project)


def test_guard_that_is_killed_is_back_and_the_guest_goes_on(project: Project) -> None:
    node = place_of(project, "agent-1")
    (qemu,) = project.guests_of(node)
    (guard,) = project.processes_of(node, "vmha.fencing.guard")
    os.kill(guard, signal.SIGKILL)
    wait_until("another guard runs", lambda: project.processes_of(node, "vmha.fencing.guard") not in ([], [guard]))
    wait_until("the node promises a guard again", lambda: fence_of(project, node) == "guard")
    assert project.guests_of(node) == [qemu]


def test_stopped_container_takes_leave_and_its_vm_moves_without_a_boot(project: Project) -> None:
    leaving = place_of(project, "agent-1")
    asked = other_than(leaving)
    boots = project.verdict("web")["boots"]
    project.compose("stop", leaving)
    wait_until("the vm runs elsewhere", lambda: place_of(project, asked) not in ("", leaving))
    ticks_on(project)
    assert (project.verdict("web")["boots"], project.verdict("web")["ran_twice"]) == (boots, False)
