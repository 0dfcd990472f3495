"""Migrations that break on real libvirt and QEMU, on storage without locks: one runs in the end, never two.

The guest carries a payload, so that its migration at 1 MiB/s takes some seconds. Whatever was done, the witness's disk
and the storage server give the verdict.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.cluster import Cluster, running_cluster
from tests.lab.conftest import wait_until
from tests.lab.moving import ADDRESSES, Moving, with_payload
from vmha.lab.guests import add_witness
from vmha.lab.layout import LabDir

pytestmark = [pytest.mark.lab, pytest.mark.beside]

DEAF_PORT = "16510"
LOG = "/var/log/vmha/agent.log"


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[Cluster]:
    yield from running_cluster()


@pytest.fixture(scope="module")
def web_xml(shared_cluster: Cluster) -> str:
    return with_payload(add_witness(LabDir(shared_cluster.lab.path), "web").xml)


@pytest.fixture
def moving(shared_cluster: Cluster, web_xml: str) -> Iterator[Moving]:
    shared_cluster.lab.switch_everything_on()
    shared_cluster.await_all_online()
    moving = Moving(shared_cluster, web_xml)
    yield moving
    verdict = shared_cluster.lab.verdict("web")
    assert verdict["ran_twice"] is False, verdict
    assert verdict["double_writers"] == 0, verdict


styles = pytest.mark.parametrize("style", ["live", "pause"])


@styles
def test_source_libvirtd_killed_in_mid_copy_leaves_the_guest_running_at_home(moving: Moving, style: str):
    """In style pause nobody runs while it is copied: what was suspended for that must go on."""
    moving.settle(bandwidth_mib_s=1, style=style)
    boots = moving.boots()
    moving.begin()
    moving.sh("h1", "kill -9 $(pidof libvirtd)")
    assert moving.await_peace() == "h1"
    assert moving.boots() == boots


@pytest.mark.parametrize("host", ["h1", "h2"])
def test_libvirtd_frozen_in_mid_copy_at_either_end_leaves_one_instance(moving: Moving, host: str):
    """Until its node has noticed: calls to it hang. Then it goes on with whatever it was asked. A QEMU 7.2 whose
    migration is broken off as it switches may end itself over the state of its disks: that alone costs it a boot.
    """
    moving.settle(bandwidth_mib_s=1)
    boots, crashes = moving.boots(), moving.crashes("h1")
    moving.begin()
    pid = moving.sh(host, "pidof libvirtd")
    moving.sh(host, f"kill -STOP {pid}")
    try:
        wait_until(f"{host} says so", lambda: not moving.has_libvirtd(host))
        assert moving.cluster.lab.verdict("web")["ran_twice"] is False
    finally:
        moving.sh(host, f"kill -CONT {pid}")
    moving.await_peace()
    crashed, told = moving.crashes("h1") - crashes, moving.cluster.vmha("events", "--vm", "web")
    assert moving.boots() == boots + crashed, told
    assert not crashed or "its QEMU died" in told


def test_source_agent_killed_in_mid_copy_costs_the_guest_nothing(moving: Moving):
    """libvirt goes on peer to peer; the next agent attends to what it finds. QEMU 7.2 may cost a boot, as above."""
    moving.settle(bandwidth_mib_s=1)
    boots, crashes = moving.boots(), moving.crashes("h1")
    moving.begin()
    moving.restart_agent("h1")
    assert moving.await_peace() in ("h1", "h2")
    assert moving.boots() == boots + moving.crashes("h1") - crashes, moving.cluster.vmha("events", "--vm", "web")


@contextmanager
def agent_frozen(moving: Moving, host: str) -> Iterator[None]:
    pid = moving.agent_pid(host)
    moving.sh(host, f"kill -STOP {pid}")
    try:
        yield
    finally:
        moving.sh(host, f"kill -CONT {pid}")


def test_source_agent_frozen_in_mid_copy_hands_over_what_has_left_when_it_goes_on(moving: Moving):
    moving.settle(bandwidth_mib_s=2, patient=True)
    boots, crashes = moving.boots(), moving.crashes("h1")
    moving.begin()
    with agent_frozen(moving, "h1"):
        wait_until("it has left", lambda: not moving.sh("h1", "virsh domstate web 2>/dev/null", None))
        assert moving.sh("h2", "virsh domstate web 2>/dev/null", None) in ("paused", "")
    where, crashed = moving.await_peace(), moving.crashes("h1") - crashes
    assert (where, moving.boots()) == ("h2", boots + crashed), moving.cluster.vmha("events", "--vm", "web")


def test_source_agent_frozen_in_mid_copy_past_its_deadline_leaves_one_instance(moving: Moving):
    """Its guard ends what is left there; the vm runs again before it goes on, and is left alone when it does."""
    moving.settle(bandwidth_mib_s=1)
    moving.begin()
    with agent_frozen(moving, "h1"):
        wait_until("it is given up", lambda: moving.cluster.conditions()["h1"] == "offline", 60.0)
        assert moving.await_peace() != "h1"
        boots = moving.boots()
    moving.cluster.await_all_online()
    moving.await_peace()
    assert moving.boots() == boots


def test_target_qemu_killed_in_mid_copy_of_a_paused_guest_lets_it_go_on_at_home(moving: Moving):
    moving.settle(bandwidth_mib_s=1, style="pause")
    boots = moving.boots()
    moving.begin()
    wait_until("it stands still", lambda: "paused" in moving.sh("h1", "virsh domstate web"))
    moving.sh("h2", "kill -9 $(pidof qemu-system-x86_64)")
    assert moving.await_peace() == "h1"
    assert moving.boots() == boots
    assert "stays on h1" in moving.cluster.vmha("events", "--vm", "web")


def test_cancelled_migration_leaves_the_guest_running_at_home(moving: Moving):
    moving.settle(bandwidth_mib_s=1)
    boots = moving.boots()
    moving.begin()
    assert "cancelled" in moving.cluster.vmha("vm", "migrate", "--cancel", "web")
    assert moving.await_peace() == "h1"
    assert moving.boots() == boots


@styles
def test_network_cut_in_mid_copy_ends_with_one_instance(moving: Moving, style: str):
    moving.settle(bandwidth_mib_s=1, style=style)
    moving.begin()
    moving.cluster.lab.run("cut", "h2")
    assert moving.await_peace() == "h1"
    moving.cluster.lab.run("heal", "h2")
    moving.cluster.await_all_online()
    assert moving.await_peace() == "h1"


def test_source_without_power_in_mid_copy_is_recovered_once(moving: Moving):
    moving.settle(bandwidth_mib_s=1)
    moving.begin(to="h3")
    moving.cluster.lab.run("kill", "h1")
    assert moving.await_peace() != "h1"


def test_target_agent_frozen_as_the_guest_arrives_resumes_it_when_it_goes_on(moving: Moving):
    moving.settle(patient=True)
    boots = moving.boots()
    target = "h3" if moving.cluster.leader() == "h2" else "h2"
    pid = moving.agent_pid(target)
    moving.sh(target, f"kill -STOP {pid}")
    moving.cluster.vmha("vm", "migrate", "web", "--to", target, "--no-wait")
    wait_until("it has left", lambda: not moving.sh("h1", "virsh domstate web 2>/dev/null", None))
    moving.sh(target, f"kill -CONT {pid}")
    assert (moving.await_peace(), moving.boots()) == (target, boots)


def test_target_without_power_after_the_switch_is_recovered_once(moving: Moving):
    moving.settle(bandwidth_mib_s=1)
    moving.begin()
    wait_until("it has left", lambda: not moving.sh("h1", "virsh domstate web 2>/dev/null", None))
    moving.cluster.lab.run("kill", "h2")
    assert moving.await_peace() != "h2"


@pytest.fixture
def deaf(shared_cluster: Cluster) -> Iterator[str]:
    """The port of h2 at which its libvirtd answers everything but the Finish of a migration."""
    yield from proxy(shared_cluster, kills=False)


@pytest.fixture
def deadly(shared_cluster: Cluster) -> Iterator[str]:
    """The port of h2 at which its libvirtd is killed when it has done the Finish of a migration and not yet said so."""
    yield from proxy(shared_cluster, kills=True)


def proxy(shared_cluster: Cluster, *, kills: bool) -> Iterator[str]:
    shared_cluster.lab.switch_everything_on()
    shared_cluster.await_all_online()
    source = Path(__file__).with_name("deaf_proxy.py").read_text()
    source = source.replace("sys.argv[1]", DEAF_PORT).replace("sys.argv[2:]", '["kill"]' if kills else "[]")
    process = shared_cluster.lab.spawn("h2", source)
    assert process.stdout
    pid = process.stdout.readline().strip()
    assert pid.isdigit()
    try:
        yield DEAF_PORT
    finally:
        shared_cluster.lab.sh("h2", f"kill {pid}")
        process.kill()
        process.wait()


def test_last_reply_lost_makes_libvirt_run_both_sides_by_itself(shared_cluster: Cluster, deaf: str):
    """The control: plain virsh, a guest that vmha does not know, and storage without locks. Both oracles say so."""
    lab = shared_cluster.lab
    xml = add_witness(LabDir(lab.path), "plain").xml
    lab.sh("h1", f"cat > /tmp/plain.xml <<'XML'\n{xml}\nXML\nvirsh create /tmp/plain.xml")
    try:
        wait_until("it ticks", lambda: lab.verdict("plain")["ticks"] > 5)
        target = ADDRESSES["h2"]
        command = f"virsh migrate --live --p2p plain qemu+tcp://{target}:{deaf}/system tcp://{target}"
        assert "client socket is closed" in lab.sh("h1", f"{command} 2>&1", code=1)
        wait_until("it runs twice", lambda: lab.verdict("plain")["ran_twice"])
        assert lab.verdict("plain")["double_writers"] > 0
    finally:
        for host in ("h1", "h2"):
            lab.sh(host, "virsh destroy plain", code=None)


@contextmanager
def migrating_by(moving: Moving, port: str) -> Iterator[None]:
    """h1 sends its guests to another port of the target's."""
    settings = "/etc/vmha/vmha.toml"
    moving.sh("h1", f"""sed -i '1i migration_uri = "qemu+tcp://{{address}}:{port}/system"' {settings}""")
    try:
        moving.restart_agent("h1")
        yield
    finally:
        moving.sh("h1", f"sed -i 1d {settings}")
        moving.restart_agent("h1")


def test_last_reply_lost_leaves_one_instance_where_the_handover_is_vmhas(moving: Moving, deaf: str):
    moving.settle(patient=True)
    boots = moving.boots()
    with migrating_by(moving, deaf):
        said = moving.cluster.vmha("vm", "migrate", "web", "--to", "h2", code=None)
        assert "stays on h1" in said
        assert moving.await_peace() == "h1"
        assert moving.boots() == boots


def test_target_libvirtd_killed_at_the_switch_leaves_one_instance(moving: Moving, deadly: str):
    """The guest is complete there and the source is not told: it goes on at once, and what stands there is ended."""
    moving.settle(patient=True)
    boots, before = moving.boots(), moving.sh("h2", "pidof libvirtd")
    with migrating_by(moving, deadly):
        said = moving.cluster.vmha("vm", "migrate", "web", "--to", "h2", code=None)
        assert "stays on h1" in said
        wait_until("another libvirtd runs", lambda: moving.sh("h2", "pidof libvirtd", None) not in ("", before))
        wait_until("nothing is left there", lambda: moving.sh("h2", "virsh list --name 2>&1", None) == "")
        assert not moving.sh("h2", "pidof qemu-system-x86_64", None)
        assert moving.await_peace() == "h1"
        assert moving.boots() == boots


QEMU = "$(pidof qemu-system-x86_64)"


@contextmanager
def qemu_frozen(moving: Moving, host: str) -> Iterator[None]:
    moving.sh(host, f"kill -STOP {QEMU}")
    try:
        yield
    finally:
        moving.sh(host, f"kill -CONT {QEMU}", None)  # it may have been ended as it stood


def test_target_qemu_frozen_in_mid_copy_is_ended_and_the_guest_stays_at_home(moving: Moving):
    """Nothing moves and nobody answers: the deadline of the migration ends it."""
    moving.settle(bandwidth_mib_s=1, timeout_s=5)
    boots = moving.boots()
    moving.begin()
    with qemu_frozen(moving, "h2"):
        assert moving.await_peace() == "h1"
        assert moving.boots() == boots
        assert not moving.sh("h2", "pidof qemu-system-x86_64", None)


def test_source_qemu_frozen_in_mid_copy_past_the_deadline_runs_once_when_it_thaws(moving: Moving):
    """It answers no abort; what came of the migration is seen when it goes on, and one instance is kept."""
    moving.settle(bandwidth_mib_s=1, timeout_s=5)
    boots = moving.boots()
    begin, failed = int(moving.sh("h1", f"wc -l < {LOG}")) + 1, f"tail -n +%d {LOG} | grep 'migration failed'"
    moving.begin()
    with qemu_frozen(moving, "h1"):
        wait_until("the migration has failed", lambda: moving.sh("h1", failed % begin, None), 90.0)
        assert moving.sh("h2", "virsh domstate web 2>/dev/null", None) in ("", "paused")
    moving.await_peace()
    assert moving.boots() == boots


def without_disk(xml: str) -> str:
    """A second copy that a hand may start without spoiling the first one's disk."""
    return re.sub(r"<disk .*?</disk>", "", xml, flags=re.DOTALL)


def verified(moving: Moving, *, code: int) -> tuple[str, list[str]]:
    """What ``vmha verify``, which asks every host's libvirt, says of web, and where it was found."""
    said = json.loads(moving.cluster.vmha("verify", "--json", code=code))
    assert (said["proven"], said["asked"], said["silent"]) == (code == 0, list(ADDRESSES), {}), said
    (web,) = [one for one in said["vms"] if one["vm"] == "web"]
    return web["verdict"], web["places"]


@pytest.mark.parametrize("policy", ["pause", "destroy", "alarm"])
def test_second_copy_that_runs_past_an_open_gate_is_alarmed_and_treated_as_the_vm_says(moving: Moving, policy: str):
    moving.settle(on_duplicate=policy, open_gate="h2")
    wait_until("its gate is open", lambda: '"off"' in moving.sh("h2", "cat /var/lib/vmha/managed.json"))
    copy = without_disk(moving.sh("h1", "virsh dumpxml web"))
    before = len(moving.duplicates())
    moving.sh("h2", f"cat > /tmp/copy.xml <<'XML'\n{copy}\nXML\nvirsh create /tmp/copy.xml")
    try:
        wait_until("the journal tells of it", lambda: len(moving.duplicates()) > before)
        state = {"pause": "paused", "destroy": "", "alarm": "running"}[policy]
        wait_until(f"it is {state}", lambda: moving.sh("h2", "virsh domstate web 2>/dev/null", None) == state)
        assert moving.sh("h1", "virsh domstate web") == "running"
        warned = {"pause": "a second copy of vm web stands on h2", "destroy": "", "alarm": "vm web RUNS TWICE"}[policy]
        wait_until("the status says so", lambda: warned in "\n".join(moving.cluster.status()["warnings"]))
        assert "a second copy runs here" in moving.sh("h2", "cat /var/log/vmha/agent.log")
        if policy != "destroy":
            assert verified(moving, code=1) == ("twice", ["h1", "h2"]), "as each host's own libvirt says"
        if policy == "pause":
            moving.cluster.vmha("vm", "stop", "web")
            wait_until("the copy is ended with the vm", lambda: moving.sh("h2", "virsh list --name", None) == "")
            moving.cluster.vmha("vm", "start", "web")
    finally:
        moving.sh("h2", "virsh destroy web", None)
    assert moving.await_peace() == "h1"
    assert verified(moving, code=0) == ("once", ["h1"])


def test_locks_and_leases_of_a_definition_come_through_to_qemu(moving: Moving):
    """QEMU's own image lock refuses a second writer of one file; a lease in the definition is in the domain's."""
    path = "/var/tmp/locked.img"
    moving.sh("h1", f"truncate -s 1M {path}")
    disk = f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{path}'/>"
    disk += "<target dev='hdb' bus='ide'/></disk>"
    lease = "<lease><lockspace>vmha</lockspace><key>web</key><target path='/var/tmp/web.lease'/></lease>"
    moving.settle()
    moving.cluster.vmha("vm", "stop", "web")
    plain, moving.xml = moving.xml, moving.xml.replace("</devices>", f"{disk}{lease}</devices>")
    try:
        moving.settle()
        assert "<key>web</key>" in moving.sh("h1", "virsh dumpxml web")
        command = moving.sh("h1", "tr '\\0' ' ' < /proc/$(pidof qemu-system-x86_64)/cmdline")
        assert path in command
        assert "locking" not in command
        other = re.sub(
            r"<metadata>.*</metadata>|<uuid>.*?</uuid>", "", moving.sh("h1", "virsh dumpxml web"), flags=re.S
        )
        other = re.sub(r"<disk type='network'.*?</disk>|<lease>.*?</lease>", "", other, flags=re.DOTALL)
        other = other.replace("<name>web</name>", "<name>thief</name>")
        said = moving.sh("h1", f"cat > /tmp/thief.xml <<'XML'\n{other}\nXML\nvirsh create /tmp/thief.xml 2>&1", code=1)
        assert 'Failed to get "write" lock' in said
    finally:
        moving.cluster.vmha("vm", "stop", "web")
        moving.xml = plain
        moving.settle()


def test_hand_made_migration_is_refused_under_a_strict_gate_and_vmhas_own_passes(moving: Moving):
    moving.settle(gate="strict")
    command = "virsh migrate --live --p2p web qemu+tcp://10.97.0.2/system tcp://10.97.0.2"
    wait_until("the gate is strict", lambda: '"strict"' in moving.sh("h2", "cat /var/lib/vmha/managed.json"))
    said = moving.sh("h1", f"{command} 2>&1", code=1)
    assert "is not expected here by migration" in said
    assert "use 'vmha vm migrate web --to NODE'" in said
    assert moving.await_peace() == "h1"
    boots = moving.boots()
    moving.cluster.vmha("vm", "migrate", "web", "--to", "h2")
    assert moving.await_peace() == "h2"
    assert moving.boots() == boots


@contextmanager
def without_agent(moving: Moving, host: str, how: str) -> Iterator[None]:
    """``how``: "stopped", or "killed": then its settings keep the next one from starting."""
    pid, settings = moving.agent_pid(host), "/etc/vmha/vmha.toml"
    if how == "stopped":
        moving.sh(host, f"kill -STOP {pid}")
    else:
        moving.sh(host, f"sed -i '1i no such line' {settings}; kill -9 {pid}")
        wait_until("no agent runs", lambda: moving.agent_pid(host) != pid)
    try:
        yield
    finally:
        moving.sh(host, f"kill -CONT {pid}" if how == "stopped" else f"sed -i 1d {settings}")
        moving.cluster.await_all_online()


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_gate_of_a_node_whose_agent_is_dead_refuses_starts_of_managed_vms_and_of_no_others(moving: Moving, how: str):
    moving.settle()
    xml = moving.sh("h1", "virsh dumpxml web")
    other = re.sub(r"<metadata>.*</metadata>", "", xml, flags=re.DOTALL)
    other = other.replace("<name>web</name>", "<name>mine</name>")
    other = re.sub(r"<uuid>.*</uuid>", "", other)
    other = re.sub(r"<disk .*?</disk>", "", other, flags=re.DOTALL)
    with without_agent(moving, "h3", how):
        said = moving.sh("h3", f"cat > /tmp/web.xml <<'XML'\n{xml}\nXML\nvirsh create /tmp/web.xml 2>&1", code=1)
        assert "use 'vmha vm start web'" in said
        moving.sh("h3", f"cat > /tmp/mine.xml <<'XML'\n{other}\nXML\nvirsh create /tmp/mine.xml")
        moving.sh("h3", "virsh destroy mine")


BY_POST_COPY = {"style": "post-copy", "handover": "libvirt", "bandwidth_mib_s": 1, "post_copy_after_s": 2}
LOST_BY_POST_COPY = "its memory was lost: a migration by post-copy broke before all of it had come"


def keep_busy(moving: Moving) -> None:
    """From now on it changes more of its memory than 1 MiB in each second: a live migration of it never ends."""
    moving.sh("h1", "exec 3> $(virsh ttyconsole web); printf D >&3; sleep 2")


def is_pulling(moving: Moving, host: str) -> bool:
    return "running (post-copy)" in moving.sh(host, "virsh domstate web --reason 2>/dev/null", None)


def test_busy_guest_that_a_live_migration_never_moves_goes_on_at_its_target_by_post_copy(moving: Moving):
    moving.settle(**BY_POST_COPY)
    keep_busy(moving)
    boots, survived = moving.boots(), moving.cluster.lab.verdict("web")["migrations_survived"]
    moving.cluster.lab.run("verdict", "web", "--mark")
    moving.cluster.vmha("vm", "migrate", "web", "--to", "h2")
    assert moving.await_peace() == "h2"
    assert moving.boots() == boots
    verdict = moving.cluster.lab.verdict("web")
    assert verdict["migrations_survived"] > survived
    assert verdict["longest_gap_s"] < 16.0, verdict  # to stand while its memory is copied takes as long as that
    told = moving.cluster.vmha("events", "--vm", "web")
    assert "it switches to h2 by post-copy" in told
    (web,) = [vm for vm in moving.cluster.status()["vms"] if vm["name"] == "web"]
    took = web["moved"]
    assert took["source"] == "h1"
    assert 2.0 <= took["total_s"] < 60.0, took  # it was copied live for as long as that before
    assert 0.0 < took["switch_s"] < took["total_s"], took
    assert f"migrated from h1 in {took['total_s']:.2f} s" in told


def switched(moving: Moving) -> int:
    """It runs at h2, and most of its memory is at h1. Returns how often it had booted."""
    moving.settle(**BY_POST_COPY, post_copy_bandwidth_mib_s=1)
    keep_busy(moving)
    boots = moving.boots()
    moving.cluster.vmha("vm", "migrate", "web", "--to", "h2", "--no-wait")
    wait_until("it has switched", lambda: is_pulling(moving, "h2"))
    return boots


def test_source_qemu_killed_after_the_switch_of_a_post_copy_ends_both_halves_and_boots_it_anew(moving: Moving):
    boots = switched(moving)
    moving.sh("h1", f"kill -9 {QEMU}")
    wait_until("it has booted anew", lambda: moving.boots() == boots + 1, 60.0)
    moving.await_peace()
    assert LOST_BY_POST_COPY in moving.cluster.vmha("events", "--vm", "web")


def test_network_cut_after_the_switch_of_a_post_copy_ends_both_halves_and_boots_it_anew(moving: Moving):
    boots = switched(moving)
    moving.cluster.lab.run("cut", "h1")
    wait_until("it has booted anew", lambda: moving.boots() == boots + 1, 90.0)
    moving.await_peace()
    moving.cluster.lab.run("heal", "h1")
    moving.cluster.await_all_online()
    moving.await_peace()
    assert LOST_BY_POST_COPY in moving.cluster.vmha("events", "--vm", "web")


def test_target_qemu_frozen_for_good_after_the_switch_of_a_post_copy_is_ended_and_it_boots_anew(moving: Moving):
    """Its half has run on and answers nobody; the source's has what it lacks, and must not go on with it."""
    boots = switched(moving)
    moving.sh("h2", f"kill -STOP {QEMU}")
    wait_until("it has booted anew", lambda: moving.boots() == boots + 1, 120.0)
    moving.await_peace()
    assert LOST_BY_POST_COPY in moving.cluster.vmha("events", "--vm", "web")
