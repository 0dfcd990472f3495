"""What speaks when parts of a node's self-fence are gone, and who is believed about a node's power.

Every test ends with the witness's verdict: whatever was done, its disk never saw two at once.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.cluster import Cluster, processes_of, running_cluster
from tests.lab.conftest import wait_until
from tests.support.squeeze import squeezed

pytestmark = pytest.mark.lab

POWER_SWITCH = {"agent": "fence_vmha_lab", "options": {"plug": "h1"}}
# Says whatever is asked for, and does nothing.
LIAR = "/var/lib/vmha/fence_liar"
_LIAR = '#!/bin/sh\ngrep -q "^action=status" && exit 2\nexit 0\n'
_RECORD = "rm -f {file}; ETCDCTL_API=3 setsid etcdctl watch --prefix /vmha/lab/ -w json >{file} 2>&1 & echo $!"

_UNIT = Path(__file__).parents[2] / "deploy/systemd/vmha-agent.service"
# Stands in for systemd on a host that is being shut down; nothing else in a machine of the lab runs it.
_SYSTEMCTL = "mkdir -p /var/lib/systemd-says; printf '#!/bin/sh\\necho stopping\\n' > {file}; chmod 755 {file}"


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[Cluster]:
    for cluster in running_cluster():
        for host in ("h1", "h2", "h3"):
            cluster.lab.sh(host, f"printf '%s' '{_LIAR}' > {LIAR}; chmod 755 {LIAR}")
        yield cluster


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    """The shared cluster, whole again, without fence agents, with the witness ``web`` at home on h1."""
    shared_cluster.lab.switch_everything_on()
    shared_cluster.await_all_online()
    fence_h1_with(shared_cluster)
    shared_cluster.add("web", "--failover-domain", "pref")
    shared_cluster.await_running("web", on="h1")
    try:
        yield shared_cluster
        verdict = shared_cluster.lab.verdict("web")
        assert verdict["ran_twice"] is False, verdict
        assert verdict["double_writers"] == 0, verdict
    finally:
        shared_cluster.lab.switch_everything_on()
        shared_cluster.await_all_online()
        shared_cluster.remove("web")


def fence_h1_with(cluster: Cluster, *agents: dict[str, Any]) -> None:
    document = cluster.file("nodes.yaml", yaml.safe_dump({"nodes": [{"name": "h1", "fence": list(agents)}]}))
    cluster.vmha("apply", str(document), "--yes")


def pid_of(cluster: Cluster, host: str, program: str) -> str:
    return cluster.lab.sh(host, f"pgrep -f '{program}'").split()[0]


def session_of(cluster: Cluster, host: str) -> str:
    return str(next(node["session"] for node in cluster.status()["nodes"] if node["name"] == host))


def metric(cluster: Cluster, host: str, name: str) -> float:
    code = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9590/metrics', timeout=10).read().decode())"
    told = cluster.lab.run("exec", host, "--", "python3", "-c", code)
    return float(next(line.split()[-1] for line in told.splitlines() if line.startswith(name)))


@contextmanager
def recorded(cluster: Cluster, host: str) -> Iterator[list[tuple[str, dict[str, Any] | None]]]:
    """Every change below the cluster's prefix, in order, as seen from ``host``: key and record (None: deleted)."""
    found: list[tuple[str, dict[str, Any] | None]] = []
    file = "/var/lib/vmha/changes"
    pid = cluster.lab.sh(host, _RECORD.format(file=file))
    wait_until("beats are recorded", lambda: "Events" in cluster.lab.sh(host, f"head -c 1000 {file}", code=None))
    yield found
    cluster.lab.sh(host, f"kill {pid}")
    for line in cluster.lab.sh(host, f"cat {file}").splitlines():
        found += [_read(event) for event in json.loads(line).get("Events") or ()]


def _read(event: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
    from base64 import b64decode

    key = b64decode(event["kv"]["key"]).decode().removeprefix("/vmha/lab/")
    value = event["kv"].get("value")
    return key, json.loads(b64decode(value)) if value else None


def test_host_fenced_and_rebooted_at_once_gets_its_vm_back_only_armed_and_can_be_isolated_again(cluster: Cluster):
    """The order that makes Proxmox HA run a vm twice: fence, quick reboot, failback, isolated once more."""
    fence_h1_with(cluster, POWER_SWITCH)
    observer = "h3"
    with recorded(cluster, observer) as changes:
        cluster.lab.run("cut", "h1")
        wait_until("its power is cut", lambda: cluster.lab.node("h1")["power"] == "off")
        cluster.lab.run("heal", "h1")
        cluster.lab.run("start", "h1")
        cluster.await_running("web", on="h1")  # it failed over, and came home
    fence_h1_with(cluster)  # nobody helps from outside this time
    cluster.lab.run("cut", "h1")
    cluster.await_running("web", on="h2")
    assert cluster.lab.node("h1")["power"] == "on"
    assert cluster.qemu_pids("h1") == []  # its own guard has ended it, so it was armed
    cluster.await_ticks("web")
    _assert_given_only_when_armed_and_looked(changes)


def _assert_given_only_when_armed_and_looked(changes: list[tuple[str, dict[str, Any] | None]]) -> None:
    """From the records: since its reboot, h1 was named for the vm only after it was armed and had said what it runs."""
    was_lost = False
    beat: dict[str, Any] | None = None
    status: dict[str, Any] | None = None
    given = 0
    for key, record in changes:
        if key == "nodes/h1/beat":
            was_lost, beat = was_lost or record is None, record
        elif key == "nodes/h1/status":
            status = record
        elif key == "vms/web/placement" and was_lost and record and "h1" in (record["node"], record["target"]):
            if record["node"] == "h1" and record["target"] is None and record["phase"] == "held" and given:
                continue
            given += 1
            assert beat is not None
            assert beat["armed"] in ("guard", "watchdog")
            assert status is not None
            assert (status["session"], status["eligible"]) == (beat["session"], True)
    assert given, changes


def test_killed_guard_is_missed_at_once_and_back_at_once_and_no_guest_notices(cluster: Cluster):
    session, guard = session_of(cluster, "h1"), pid_of(cluster, "h1", "vmha.fencing.guard")
    with recorded(cluster, "h3") as changes:
        cluster.lab.sh("h1", f"kill -9 {guard}")
        wait_until("another guard runs", lambda: cluster.lab.sh("h1", "pgrep -f vmha.fencing.guard", code=None) != "")
        wait_until("h1 is online", lambda: cluster.conditions()["h1"] == "online")
        wait_until("it is armed again", lambda: metric(cluster, "h1", "vmha_guard_alive") == 1)
    said = [record["eligible"] for key, record in changes if key == "nodes/h1/status" and record]
    assert said[0] is False  # it said so itself
    assert said[-1] is True
    assert session_of(cluster, "h1") == session
    assert pid_of(cluster, "h1", "vmha.fencing.guard") != guard
    cluster.await_ticks("web")
    assert cluster.lab.verdict("web")["boots"] == 1


@pytest.mark.parametrize("programs", [("vmha.fencing.guard",), ("vmha.fencing.guard", "vmha agent")])
def test_watchdog_speaks_when_the_guard_stands_still_with_or_without_its_agent(
    cluster: Cluster, programs: tuple[str, ...]
):
    boots, fired = cluster.lab.node("h1")["boots"], len(cluster.lab.events("watchdog-fired"))
    pids = " ".join(pid_of(cluster, "h1", program) for program in programs)
    cluster.lab.sh("h1", f"kill -STOP {pids}")
    wait_until("its watchdog fires", lambda: len(cluster.lab.events("watchdog-fired")) == fired + 1)
    wait_until("h1 boots again", lambda: cluster.lab.node("h1")["boots"] == boots + 1)
    cluster.await_running("web")
    cluster.await_ticks("web")


def test_guard_ends_guests_of_a_host_that_is_out_of_memory_and_without_a_libvirtd_that_answers(cluster: Cluster):
    """Everything on it but the guard, which has its own: init, agent, libvirtd, QEMU. Given back, all goes on."""
    libvirtd = pid_of(cluster, "h1", "libvirtd")
    cluster.lab.sh("h1", f"kill -STOP {libvirtd}")
    guard = "-m vmha.fencing.guard"
    with squeezed(*processes_of(cluster, "h1", lambda command: guard not in command)):
        cluster.await_running("web", on="h2")
        assert cluster.qemu_pids("h1") == []
        assert cluster.lab.node("h1")["power"] == "on"
        cluster.await_ticks("web")
    cluster.lab.sh("h1", f"kill -CONT {libvirtd}")
    cluster.await_all_online()
    cluster.await_running("web", on="h1")
    cluster.await_ticks("web")


def test_host_fenced_by_its_storage_gets_it_back_with_its_next_session(cluster: Cluster):
    """Its guest goes on until its guard ends it, and writes nothing: the other one may start before that."""
    accept = "[storage_fenced, guard_elapsed, watchdog_elapsed, operator_confirmed]"
    settings = cluster.file("accept.yaml", f"config: {{profile: tuned, fencing: {{accept: {accept}}}}}\n")
    cluster.vmha("apply", str(settings), "--yes")
    fence_h1_with(
        cluster, {"agent": "fence_vmha_lab", "role": "storage", "options": {"plug": "h1", "method": "storage"}}
    )
    cluster.lab.run("cut", "h1")
    cluster.await_running("web", on="h2")
    assert "storage_fenced" in cluster.vm("web")["reason"]
    cluster.await_ticks("web")
    assert cluster.lab.node("h1")["power"] == "on"
    cluster.lab.run("heal", "h1")
    cluster.await_running("web", on="h1")  # home again: so it was let in
    assert any(entry["kind"] == "storage-given-back" for entry in cluster.journal())
    settings.write_text("config: {profile: tuned}\n")
    cluster.vmha("apply", str(settings), "--yes")


def test_fence_agent_that_lies_about_the_power_is_refuted_by_another_that_looks(cluster: Cluster):
    """Its lie would start the vm elsewhere while h1, cut off, still runs it."""
    fence_h1_with(cluster, {"agent": LIAR}, {**POWER_SWITCH, "role": "verify"})
    cluster.lab.run("cut", "h1")
    lie = "which verifies, says of h1: power is on (expected: off)"
    wait_until("the lie is told", lambda: lie in cluster.vmha("node", "why", "h1"))
    cluster.await_running("web", on="h2")
    assert "elapsed" in cluster.vm("web")["reason"]
    assert cluster.lab.node("h1")["power"] == "on"
    told = [entry["text"] for entry in cluster.journal() if entry["kind"] == "fencing-failed"]
    assert any(LIAR in text and lie in text for text in told), told
    cluster.await_ticks("web")


def test_fence_agents_that_print_garbage_or_are_missing_prove_nothing_and_are_told_of(cluster: Cluster):
    babbler = "/var/lib/vmha/fence_babbler"
    program = "#!/bin/sh\\nhead -c 3000 /dev/urandom >&2; echo I am a teapot >&2; exit 42\\n"
    for host in ("h2", "h3"):
        cluster.lab.sh(host, f"printf '{program}' > {babbler}; chmod 755 {babbler}")
    missing = "/var/lib/vmha/fence_nowhere"
    fence_h1_with(cluster, {"agent": babbler}, {"agent": missing})
    cluster.lab.run("cut", "h1")
    told = (
        f"{babbler}: exit code 42: ",
        "I am a teapot (action off of h1, expected exit code: 0)",
        f"{missing}: no such program (action off of h1)",
    )
    wait_until("both failures are told", lambda: all(one in cluster.vmha("node", "why", "h1") for one in told))
    cluster.await_running("web", on="h2")
    assert "elapsed" in cluster.vm("web")["reason"]
    assert cluster.lab.node("h1")["power"] == "on"
    assert cluster.qemu_pids("h1") == []
    texts = [entry["text"] for entry in cluster.journal() if entry["kind"] == "fencing-failed"]
    assert any(all(one in text for one in told) for text in texts), texts
    cluster.await_ticks("web")


def stop_command() -> str:
    """What systemd runs when it stops the agent's service, with the program where it is on this machine."""
    line = next(line for line in _UNIT.read_text().splitlines() if line.startswith("ExecStop="))
    return line.removeprefix("ExecStop=-").replace("/opt/vmha/bin/vmha", f"{sys.executable} -m vmha")


@contextmanager
def shut_down(cluster: Cluster, host: str) -> Iterator[None]:
    """In good order, as far as the agent's unit does it; in the end its power is off."""
    cluster.lab.sh(host, _SYSTEMCTL.format(file="/var/lib/systemd-says/systemctl"))
    said = cluster.lab.sh(host, f"PATH=/var/lib/systemd-says:$PATH {stop_command()}")
    try:
        assert "has left the cluster" in said
        assert f"For good: vmha node remove {host}" in said
        yield
    finally:
        cluster.lab.run("kill", host)


def test_host_that_is_shut_down_is_left_by_its_vm_as_the_policy_says_and_needs_no_fence(cluster: Cluster):
    sessions = [session_of(cluster, host) for host in ("h1", "h2")]
    cluster.lab.sh("h1", stop_command())  # the service is stopped, the host is not: nothing comes of it
    assert session_of(cluster, "h1") == sessions[0]
    assert cluster.vm("web")["node"] == "h1"
    assert cluster.lab.node("h1")["watchdog"]["armed"]
    with shut_down(cluster, "h1"):
        assert cluster.qemu_pids("h1") == []
        cluster.await_running("web", on="h2")
        cluster.await_ticks("web")
        assert cluster.lab.verdict("web")["boots"] == 1, "it went live"
        assert cluster.conditions()["h1"] == "offline"
        wait_until("h1's watchdog is let go", lambda: not cluster.lab.node("h1")["watchdog"]["armed"])
    policy = cluster.file("policy.yaml", "config: {profile: tuned, on_host_shutdown: {vms: failover}}\n")
    cluster.vmha("apply", str(policy), "--yes")
    with shut_down(cluster, "h2"):
        assert cluster.qemu_pids("h2") == []
        cluster.await_running("web", on="h3")
        cluster.await_ticks("web")
        assert cluster.lab.verdict("web")["boots"] == 2, "it was stopped at once, and started again"
    proofs = cluster.lab.sh("h3", "ETCDCTL_API=3 etcdctl get --prefix --keys-only /vmha/lab/fencing/")
    assert [one for one in sessions if one in proofs] == [], "what has left is nobody's to fence"
    policy.write_text("config: {profile: tuned}\n")
    cluster.vmha("apply", str(policy), "--yes")
