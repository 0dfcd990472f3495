"""The main job on real hosts: failover, live migration, failback, and what happens when parts of vmha itself fail.

Every test ends with the witness's verdict: whatever was done, its disk never saw two at once.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.another_version import FIELD, NEW_NAME, OLD_NAME, AnotherVersion
from tests.lab.cluster import Cluster, processes_of, running_cluster
from tests.lab.conftest import wait_until
from tests.lab.patience import patient
from tests.lab.under_load import loaded
from tests.lab.wall_clock import lead, wall_clock
from tests.support.faketime import DAY_S, to_1970
from tests.support.squeeze import squeezed
from vmha.lab.layout import STORAGE_ADDRESS, STORAGE_PORT

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[Cluster]:
    yield from running_cluster()


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    """The shared cluster, whole again, with the witness ``web`` at home on h1."""
    shared_cluster.lab.switch_everything_on()
    shared_cluster.await_all_online()
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


def test_power_cut_host_loses_its_vm_to_the_next_node_and_gets_it_back_live(cluster: Cluster):
    cluster.lab.run("kill", "h1")
    cluster.await_running("web", on="h2")
    cluster.await_ticks("web")
    assert cluster.lab.verdict("web")["boots"] == 2
    assert "fenced" in cluster.vm("web")["reason"]
    told = cluster.vmha("vm", "story", "web")
    for words in ("h1 fell silent", "-> h1 was fenced", "-> web is recovered on h2, because", "s after the loss"):
        assert words in told, told
    cluster.lab.run("start", "h1")
    cluster.await_running("web", on="h1")
    cluster.await_ticks("web")
    verdict = cluster.lab.verdict("web")
    assert verdict["boots"] == 2, "it came home by live migration, not by a boot"
    assert verdict["migrations_survived"] == 1
    assert "more preferred" in cluster.vm("web")["reason"]


def test_migration_keeps_the_guests_memory_and_raises_the_epoch(cluster: Cluster):
    before = cluster.vm("web")["epoch"]
    cluster.vmha("vm", "migrate", "web", "--to", "h3")
    vm = cluster.vm("web")
    assert (vm["node"], vm["state"], vm["epoch"]) == ("h3", "running", before + 1)
    cluster.await_ticks("web")
    verdict = cluster.lab.verdict("web")
    assert (verdict["boots"], verdict["migrations_survived"]) == (1, 1)
    tag = cluster.lab.sh("h3", "virsh metadata web https://vmha.dev/xmlns/domain/1")
    assert f"epoch='{before + 1}'" in tag.replace('"', "'")
    assert cluster.qemu_pids("h1") == []
    said = cluster.vmha("vm", "migrate", "web", "--to", "h2", "--style", "pause")
    assert "web runs on h2; migrated from h3 in" in said
    cluster.await_ticks("web")
    verdict = cluster.lab.verdict("web")
    assert (verdict["boots"], verdict["migrations_survived"]) == (1, 2)


def test_doctor_finds_every_way_open_between_hosts_and_to_their_disks_and_each_that_is_barred(cluster: Cluster):
    def found(code: int | None = None) -> list[dict[str, Any]]:
        said = cluster.vmha("doctor", "--json", code=code)
        return [one for one in json.loads(said) if one["severity"] == "error"]

    assert found() == []
    astray = cluster.file("astray.yaml", "nodes: [{name: h3, migration_address: nobody.invalid}]")
    right = cluster.file("right.yaml", "nodes: [{name: h3}]")
    cluster.vmha("apply", str(astray), "--yes")
    cluster.lab.run("cut", "h2", "--link", "storage")
    try:
        barred = {(one["kind"], *one["about"]): one["text"] for one in found(code=1)}
        ways = {("unreachable", "h1", "h3"), ("unreachable", "h2", "h3")}
        assert barred.keys() == ways | {("disk-unserved", "h2", f"{STORAGE_ADDRESS}:{STORAGE_PORT}", "web")}
        assert all("migration_address" in barred[way] for way in ways)
    finally:
        cluster.vmha("apply", str(right), "--yes")


def test_stopped_vm_goes_on_from_its_memory_and_boots_where_the_file_is_not(cluster: Cluster):
    """Through the start gate: a restore is a start. The lab's hosts share no directory, so only h1 has the file."""
    cluster.lab.sh("h1", "mkdir -p /var/lib/saves")
    cluster.vmha("vm", "edit", "web", "--saved-state", "/var/lib/saves")
    cluster.vmha("vm", "stop", "web")
    assert cluster.lab.sh("h1", "ls /var/lib/saves").endswith(".save")
    cluster.vmha("vm", "start", "web")
    cluster.await_running("web", on="h1")
    cluster.await_ticks("web")
    assert cluster.lab.verdict("web")["boots"] == 1, "it went on from its memory"
    assert cluster.lab.sh("h1", "ls /var/lib/saves") == ""
    cluster.vmha("vm", "relocate", "web", "--to", "h2")
    cluster.await_running("web", on="h2")
    cluster.await_ticks("web")
    assert cluster.lab.verdict("web")["boots"] == 2
    told = {entry["kind"]: entry["text"] for entry in cluster.journal("web")}
    assert "restored" in told
    assert "no such file" in told["not-restored"]


def test_hook_is_told_by_the_leader_on_its_node(cluster: Cluster):
    program = "#!/bin/sh\\ncat > /run/told\\n"
    put = f"mkdir -p /etc/vmha/hooks; printf '{program}' > /etc/vmha/hooks/tell; chmod 755 /etc/vmha/hooks/tell"
    for host in ("h1", "h2", "h3"):
        cluster.lab.sh(host, put)
    config = yaml.safe_load(cluster.vmha("export"))["config"]
    hooks = [{"name": "tell", "on": ["vm-stopped"], "exec": "tell"}]
    try:
        document = cluster.file("hooks.yaml", yaml.safe_dump({"config": {**config, "hooks": hooks}}))
        cluster.vmha("apply", str(document), "--yes")
        assert "tell was told: exit code 0" in cluster.vmha("hooks", "test", "tell")
        cluster.vmha("vm", "stop", "web")

        def told() -> bool:
            event = json.loads(cluster.lab.sh(str(cluster.leader()), "cat /run/told", code=None) or "{}")
            return (event.get("event"), event.get("vm")) == ("vm-stopped", "web")

        def counted() -> tuple[int, int] | None:
            (listed,) = json.loads(cluster.vmha("hooks", "list", "--json"))
            state = listed["state"]
            return (state["delivered"], state["failed"]) if state["delivered"] + state["failed"] >= 2 else None

        wait_until("the stop is told", told)
        assert wait_until("it is counted once its program has ended", counted) == (2, 0)
    finally:
        cluster.vmha("apply", str(cluster.file("plain.yaml", yaml.safe_dump({"config": config}))), "--yes")


def test_vm_moved_by_hand_to_a_less_preferred_node_stays_there(cluster: Cluster):
    cluster.vmha("vm", "migrate", "web", "--to", "h2")
    cluster.await_ticks("web", more=30)
    assert cluster.vm("web")["node"] == "h2"


def test_killed_qemu_is_started_again_on_its_node(cluster: Cluster):
    (pid,) = cluster.qemu_pids("h1")
    cluster.lab.sh("h1", f"kill -9 {pid}")
    wait_until("another QEMU runs", lambda: cluster.qemu_pids("h1") not in ([], [pid]))
    cluster.await_running("web", on="h1")
    cluster.await_ticks("web")
    assert cluster.lab.verdict("web")["boots"] == 2
    assert "crashed" in cluster.vm("web")["reason"]


def test_killed_agent_takes_its_session_up_again_and_touches_no_guest(cluster: Cluster):
    with patient(cluster):
        before = sessions(cluster)["h1"]
        pids = cluster.qemu_pids("h1")
        old = cluster.lab.sh("h1", "pgrep -f 'vmha agent'").split()[0]
        cluster.lab.sh("h1", f"kill -9 {old}")
        look = "pgrep -f 'vmha agent'"
        wait_until("a new agent runs", lambda: cluster.lab.sh("h1", look, code=None) not in ("", old))
        cluster.await_all_online()
        cluster.await_ticks("web", more=60)
        assert sessions(cluster)["h1"] == before
    assert cluster.qemu_pids("h1") == pids
    assert cluster.lab.verdict("web")["boots"] == 1


def test_agent_that_is_out_of_memory_loses_its_guest_to_the_guard_before_anybody_takes_over(cluster: Cluster):
    """No beat any more, with the host healthy: the guard must end the guest, or two would run."""
    with squeezed(*processes_of(cluster, "h1", lambda command: "vmha agent" in command)):
        cluster.await_running("web", not_on="h1")
        assert cluster.qemu_pids("h1") == []
        assert "kill" in cluster.lab.sh("h1", "cat /run/vmha/guard.json")
    cluster.await_all_online()
    cluster.await_running("web", on="h1")


@contextmanager
def blocked_loop(cluster: Cluster, host: str, pid: str) -> Iterator[None]:
    """The thread of the agent's event loop stands still; its other threads, and the guard, go on."""
    source = Path(__file__).with_name("blocked_thread.py").read_text().replace("sys.argv[1]", repr(pid))
    process = cluster.lab.spawn(host, source)
    assert process.stdin
    assert process.stdout
    try:
        assert process.stdout.readline() == "it stands\n"
        yield
    finally:
        process.stdin.close()
        process.wait()


def test_agent_whose_event_loop_is_blocked_loses_its_guest_to_the_guard_and_it_boots_once_elsewhere(cluster: Cluster):
    """Not stopped: libvirt's threads and the kernel's sockets go on, and only what the agent decides is missing."""
    pid = cluster.lab.sh("h1", "pgrep -f 'vmha agent'").split()[0]
    with blocked_loop(cluster, "h1", pid):
        cluster.await_running("web", not_on="h1")
        assert cluster.qemu_pids("h1") == []
        assert "kill" in cluster.lab.sh("h1", "cat /run/vmha/guard.json")
        states = cluster.lab.sh("h1", f"sed 's/.*) //' /proc/{pid}/task/*/stat | cut -c1").split()
        assert states.count("t") == 1
        assert len(states) > 1
    cluster.await_all_online()
    cluster.await_running("web", on="h1")
    cluster.await_ticks("web")
    assert cluster.lab.verdict("web")["boots"] == 2


def test_host_cut_off_ends_its_guest_itself_and_comes_back_clean(cluster: Cluster):
    cluster.lab.run("cut", "h1")
    cluster.await_running("web", not_on="h1")
    assert cluster.qemu_pids("h1") == []
    cluster.lab.run("heal", "h1")
    cluster.await_all_online()
    cluster.await_running("web", on="h1")
    cluster.await_ticks("web")


def test_frozen_leader_is_replaced_and_the_vms_notice_nothing(cluster: Cluster):
    cluster.vmha("vm", "migrate", "web", "--to", "h3")
    leader = cluster.leader()
    if leader == "h3":
        cluster.vmha("vm", "migrate", "web", "--to", "h2")
    home = cluster.vm("web")["node"]
    term = cluster.status()["leader"]["term"]
    cluster.lab.run("freeze", leader)
    wait_until("another leads", lambda: cluster.leader() not in (None, leader))
    assert cluster.status()["leader"]["term"] > term
    cluster.lab.run("thaw", leader, code=None)  # its watchdog may have reset it by now: nothing to thaw then
    cluster.await_all_online()
    assert cluster.vm("web")["node"] == home
    assert cluster.lab.verdict("web")["boots"] == 1


def test_killed_leader_process_is_replaced_and_requests_go_on(cluster: Cluster):
    with patient(cluster, beat_s=0.5, lease_ttl_s=4):  # another leads soon, and guests outlive an agent's new start
        leader = cluster.leader()
        pid = cluster.lab.sh(leader, "pgrep -f 'vmha agent'").split()[0]
        target = "h3" if leader == "h2" else "h2"  # a node whose agent is just coming back may be refused as a target
        cluster.lab.sh(leader, f"kill -9 {pid}")
        cluster.vmha("vm", "migrate", "web", "--to", target, "--timeout", "60")
        assert cluster.vm("web")["node"] == target
    assert cluster.lab.verdict("web")["boots"] == 1


def test_host_with_leader_and_vm_lost_together_is_recovered(cluster: Cluster):
    leader = cluster.leader()
    cluster.vmha("vm", "migrate", "web", "--to", leader, code=None)
    cluster.await_running("web", on=leader)
    cluster.lab.run("kill", leader)
    cluster.await_running("web", not_on=leader)
    cluster.await_ticks("web")


def test_stop_start_and_restart_do_what_they_say(cluster: Cluster):
    cluster.vmha("vm", "stop", "web")
    assert cluster.vm("web")["state"] == "stopped"
    assert cluster.qemu_pids("h1") == []
    cluster.vmha("vm", "start", "web")
    assert cluster.vm("web")["state"] == "running"
    cluster.vmha("vm", "restart", "web")
    cluster.await_ticks("web")
    assert cluster.lab.verdict("web")["boots"] == 3
    assert cluster.vm("web")["node"] == "h1"


def test_vm_whose_qemu_stands_still_is_stopped_by_force_and_starts_again(cluster: Cluster):
    cluster.vmha("vm", "edit", "web", "--stop-timeout", "1")
    (pid,) = cluster.qemu_pids("h1")
    cluster.lab.sh("h1", f"kill -STOP {pid}")
    cluster.vmha("vm", "stop", "web", "--timeout", "60")
    assert cluster.qemu_pids("h1") == []
    cluster.vmha("vm", "start", "web")
    cluster.await_ticks("web")


def unsent_bytes(cluster: Cluster, host: str) -> int:
    """What the host's kernel holds for the storage server, on connections with a process or without one."""
    lines = [line.split() for line in cluster.lab.sh(host, "cat /proc/net/tcp").splitlines()]
    return sum(int(words[4].partition(":")[0], 16) for words in lines if words[2].endswith(f":{STORAGE_PORT:04X}"))


def test_nothing_of_a_guest_ended_by_force_is_sent_when_its_storage_cable_is_mended(cluster: Cluster):
    cluster.vmha("vm", "edit", "web", "--stop-timeout", "1")
    cluster.lab.run("cut", "h1", "--link", "storage")
    wait_until("the guest waits for its disk", lambda: unsent_bytes(cluster, "h1"))
    cluster.vmha("vm", "stop", "web", "--timeout", "60")
    assert unsent_bytes(cluster, "h1") == 0
    cluster.lab.run("heal", "h1", "--link", "storage")
    cluster.vmha("vm", "start", "web")
    cluster.await_ticks("web")


def test_nothing_of_a_guest_ended_by_the_guard_is_sent_when_its_storage_cable_is_mended(cluster: Cluster):
    cluster.lab.run("cut", "h1", "--link", "storage")
    wait_until("the guest waits for its disk", lambda: unsent_bytes(cluster, "h1"))
    cluster.lab.run("cut", "h1")
    cluster.await_running("web", not_on="h1")
    assert unsent_bytes(cluster, "h1") == 0
    cluster.lab.run("heal", "h1", "--link", "storage")
    cluster.lab.run("heal", "h1")
    cluster.await_all_online()
    cluster.await_running("web", on="h1")
    cluster.await_ticks("web")


def test_relocate_stops_it_here_and_starts_it_there(cluster: Cluster):
    cluster.vmha("vm", "relocate", "web", "--to", "h3")
    assert cluster.vm("web")["node"] == "h3"
    cluster.await_ticks("web")
    assert cluster.lab.verdict("web")["boots"] == 2


def test_drained_node_sends_its_vm_away_live_and_gets_it_back(cluster: Cluster):
    cluster.vmha("node", "drain", "h1", "--wait")
    assert cluster.vm("web")["node"] == "h2"
    assert cluster.conditions()["h1"] == "maintenance"
    cluster.await_ticks("web")
    cluster.vmha("node", "undrain", "h1")
    cluster.await_running("web", on="h1")
    cluster.await_ticks("web")
    verdict = cluster.lab.verdict("web")
    assert (verdict["boots"], verdict["migrations_survived"]) == (1, 2)


def test_vm_migrated_by_hand_is_adopted_where_it_is(cluster: Cluster):
    cluster.lab.sh("h1", "virsh migrate --live --p2p web qemu+tcp://10.97.0.3/system tcp://10.97.0.3")
    cluster.await_running("web", on="h3")
    cluster.await_ticks("web", more=20)
    verdict = cluster.lab.verdict("web")
    assert (verdict["boots"], verdict["migrations_survived"]) == (1, 1)
    assert any(entry["kind"] == "adopt" for entry in cluster.journal("web"))


def test_second_copy_started_by_hand_is_refused_with_words(cluster: Cluster):
    copy = cluster.lab.sh("h1", "virsh dumpxml web")
    untagged = copy[: copy.index("<metadata>")] + copy[copy.index("</metadata>") + len("</metadata>") :]
    for xml in (copy, untagged):
        said = cluster.lab.sh("h2", f"cat > /tmp/copy.xml <<'XML'\n{xml}\nXML\nvirsh create /tmp/copy.xml", code=1)
        assert "use 'vmha vm start web'" in said
    assert cluster.qemu_pids("h2") == []
    assert cluster.vm("web")["node"] == "h1"


def test_removing_a_vm_from_the_cluster_leaves_the_guest_alone_and_adding_adopts_it(cluster: Cluster):
    pids = cluster.qemu_pids("h1")
    xml = cluster.lab.sh("h1", "virsh dumpxml web")
    cluster.vmha("vm", "remove", "web")
    wait_until("the mark is off", lambda: "vmha" not in cluster.lab.sh("h1", "virsh dumpxml web"))
    assert cluster.qemu_pids("h1") == pids
    path = cluster.file("web.xml", xml)
    cluster.vmha("vm", "add", "web", "--xml", str(path), "--failover-domain", "pref")
    cluster.await_running("web", on="h1")
    assert cluster.qemu_pids("h1") == pids


def test_confirming_a_living_node_off_is_refused(cluster: Cluster):
    said = cluster.vmha("node", "confirm-off", "h1", "--yes", code=6)
    assert "alive" in said
    assert cluster.vm("web")["node"] == "h1"


def test_libvirtd_killed_and_back_moves_nothing(cluster: Cluster):
    pids = cluster.qemu_pids("h1")
    cluster.lab.sh("h1", "kill -9 $(pidof libvirtd)")
    wait_until("the node says so or is back", lambda: cluster.lab.sh("h1", "pidof libvirtd", code=None))
    cluster.await_all_online()
    cluster.await_ticks("web", more=20)
    assert cluster.qemu_pids("h1") == pids
    assert cluster.lab.verdict("web")["boots"] == 1


def test_service_moves_live_as_a_whole_and_is_recovered_as_a_whole(cluster: Cluster):
    cluster.add("db", "--failover-domain", "pref")
    try:
        cluster.vmha("service", "add", "shop", "--vm", "db", "--vm", "web", "--failover-domain", "pref")
        assert "service shop is running on h2" in cluster.vmha("service", "migrate", "shop", "--to", "h2")
        for vm in ("db", "web"):
            cluster.await_ticks(vm)
            assert cluster.lab.verdict(vm)["boots"] == 1, "it went live"
        cluster.lab.run("kill", "h2")
        home = cluster.await_running("db", not_on="h2")
        assert cluster.await_running("web", not_on="h2") == home
        for vm in ("db", "web"):
            cluster.await_ticks(vm)
            assert cluster.lab.verdict(vm)["boots"] == 2
        (listed,) = json.loads(cluster.vmha("service", "list", "--json"))
        assert (listed["state"], listed["node"]) == ("running", home)
        assert cluster.lab.verdict("db")["ran_twice"] is False
    finally:
        cluster.vmha("service", "remove", "shop", code=None)
        cluster.remove("db")


def test_agents_replaced_one_by_one_by_another_version_move_no_guest_and_going_back_is_refused(cluster: Cluster):
    """A guest on each host, and one that is migrated, stopped and started meanwhile."""
    other, hosts = AnotherVersion(cluster=cluster), ("h1", "h2", "h3")
    other.prepare(*hosts)
    cluster.vmha("vm", "edit", "web", "--max-restarts", "3", "--restart-window", "600")
    placed = other.record("vms/web/placement")
    with patient(cluster), loaded(cluster) as load:
        before = load.standing()
        try:
            with load.going_on():
                for host in ("h2", "h3", "h1"):
                    assert cluster.status()["schema"]["version"] == 1
                    other.install(host)
                    if host == "h3":  # these verbs are of the version before: with the last agent they are refused
                        load.await_round()
            wait_until("the schema is raised", lambda: cluster.status()["schema"]["version"] == 2)
            cluster.await_all_online()
            cluster.await_ticks("web", more=20)
            assert other.record("nodes/h2/status")[FIELD] == "yes"
            stored = other.record("vms/web/spec")
            assert (stored[OLD_NAME], stored.get(NEW_NAME)) == (600, None), (
                "as it was written, and read by all the same"
            )
            other.vmha("h2", "vm", "edit", "web", "--max-restarts", "4")
            moved = other.record("vms/web/spec")
            assert (moved[NEW_NAME], moved.get(OLD_NAME), moved["max_restarts"]) == (600, None, 4)
            assert "nothing is written" in cluster.vmha("vm", "freeze", "web", code=None)  # of a version before
            assert other.record("vms/web/spec") == moved, "which would have lost what it does not know"
            other.uninstall("h1")  # where the guest is
            assert cluster.status()["schema"]["too_old"] == ["h1"]
            assert "reads schema 1 of a cluster, and this one is at 2" in cluster.vmha("status")
            cluster.await_ticks("web", more=20)
            other.install("h1")
            cluster.await_all_online()
            assert load.standing() == before, cluster.journal()
            wanted, boots = load.boots_of_the_rover()
            assert boots == wanted, (load.done, load.refused, cluster.journal("rover"))
            assert other.record("vms/web/placement") == placed
            assert cluster.lab.verdict("web")["boots"] == 1
        finally:
            other.forget(*hosts)


def test_wall_clock_of_the_leaders_host_is_set_by_hours_and_nothing_comes_of_it_but_another_date(cluster: Cluster):
    """By an hour, back by two, to 1970, while its vm runs; and a host that is lost then is recovered all the same."""
    with wall_clock(cluster, "h1") as clock:
        cluster.await_all_online()
        cluster.await_running("web", on="h1")
        lead(cluster, "h1")
        before = sessions(cluster), cluster.status()["leader"], cluster.qemu_pids("h1")
        proofs = proofs_on_record(cluster)
        boots = cluster.lab.verdict("web")["boots"]
        for by in ("+1h", "-1h", to_1970()):
            clock.set(by)
            cluster.await_ticks("web", more=15)
        assert (sessions(cluster), cluster.status()["leader"], cluster.qemu_pids("h1")) == before
        cluster.vmha("vm", "migrate", "web", "--to", "h2")
        assert (sessions(cluster), cluster.lab.verdict("web")["boots"]) == (before[0], boots)
        assert proofs_on_record(cluster) == proofs
        cluster.lab.run("kill", "h2")
        cluster.await_running("web", on="h1")
        (proof,) = [proof for proof in proofs_on_record(cluster) if proof not in proofs]
        assert (proof["node"], proof["by"]) == ("h2", "h1")
        assert proof["at"] < 10 * DAY_S, "it goes by that clock"
        assert sessions(cluster)["h1"] == before[0]["h1"]
        cluster.await_ticks("web")
        assert cluster.lab.verdict("web")["boots"] == boots + 1


def sessions(cluster: Cluster) -> dict[str, str]:
    return {node["name"]: node["session"] for node in cluster.status()["nodes"]}


def proofs_on_record(cluster: Cluster) -> list[dict[str, Any]]:
    said = cluster.lab.sh("h1", "etcdctl get --prefix --print-value-only /vmha/lab/fencing/")
    return [json.loads(line) for line in said.splitlines() if line]
