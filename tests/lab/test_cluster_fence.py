"""Recovery by a fence agent, by an operator's word, and libvirt's own switch at the end of a migration."""

from collections.abc import Iterator

import pytest
import yaml

from tests.lab.bmc import ON_H2, give_password, serve_bmc
from tests.lab.cluster import Cluster, running_cluster
from tests.lab.conftest import wait_until
from tests.lab.patience import patient
from tests.support.doc_story import ROOT, code_blocks, play
from vmha.lab.chaos.strikes import find_etcd_leader
from vmha.lab.client import ask
from vmha.lab.layout import LabDir

pytestmark = pytest.mark.lab

QUICK = {"beat_s": 0.5, "lease_ttl_s": 4, "suspect_s": 2}
"""To suspect, where no deadline is to be over before a fence agent has answered."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    yield from running_cluster("--fence", "--etcd", "3")


@pytest.fixture
def web(cluster: Cluster) -> Iterator[str]:
    cluster.lab.switch_everything_on()
    cluster.await_all_online()
    cluster.add("web", "--failover-domain", "pref")
    cluster.await_running("web", on="h1")
    yield "web"
    verdict = cluster.lab.verdict("web")
    assert verdict["ran_twice"] is False, verdict
    cluster.lab.switch_everything_on()
    cluster.await_all_online()
    cluster.remove("web")


def test_confirmed_power_off_recovers_without_waiting_for_a_deadline(cluster: Cluster, web: str):
    with patient(cluster, **QUICK):
        cluster.lab.run("kill", "h1")
        cluster.await_running(web, on="h2")
        assert "power_off_confirmed" in cluster.vm(web)["reason"]
    cluster.await_ticks(web)


def test_host_cut_off_is_powered_off_before_its_vm_runs_elsewhere(cluster: Cluster, web: str):
    with patient(cluster, **QUICK):
        cluster.lab.run("cut", "h1")
        cluster.await_running(web, on="h2")
        assert cluster.lab.node("h1")["power"] == "off"
    cluster.await_ticks(web)


def test_fenced_host_is_switched_on_again_and_gets_its_vm_back_live(cluster: Cluster, web: str):
    """A frozen host: nothing but its power brings it back, and nobody here gives it."""
    before = cluster.vmha("export")
    config = yaml.safe_load(before).get("config", {})
    config["fencing"] = {**config.get("fencing", {}), "afterwards": "power-on"}
    cluster.vmha("apply", str(cluster.file("on.yaml", yaml.safe_dump({"config": config}))), "--yes")
    cluster.lab.run("freeze", "h1")
    cluster.await_running(web, on="h2")
    assert "power_off_confirmed" in cluster.vm(web)["reason"]
    cluster.await_running(web, on="h1", timeout_s=120.0)
    assert cluster.lab.node("h1")["power"] == "on"
    assert [one["text"] for one in cluster.journal() if one["kind"] == "switched-on" and one["node"] == "h1"]
    cluster.await_ticks(web)
    verdict = cluster.lab.verdict(web)
    assert (verdict["boots"], verdict["migrations_survived"]) == (2, 1)
    cluster.vmha("apply", str(cluster.file("before.yaml", before)), "--yes")


def test_page_on_ipmi_goes_as_it_says_and_the_board_cuts_the_power(cluster: Cluster, web: str):
    """The boards of h1 and h2 are in h3, on their own; their chassis is the lab's power switch."""
    before = cluster.vmha("export")
    page = (ROOT / "docs/howto/fencing-with-ipmi.md").read_text()
    for number, host in enumerate(("h1", "h2"), 1):
        port = serve_bmc(cluster.lab, host, on="h3")
        page = page.replace(f"ip: 10.0.0.1{number},", f'ip: 10.97.0.3, ipport: "{port}",').replace(f"kvm{number}", host)
        by_hand = f"{ON_H2} fence_ipmilan --ip=10.97.0.3 --ipport={port}"
        page = page.replace(f"fence_ipmilan --ip=10.0.0.1{number}", by_hand)
    cluster.file("fence.yaml", code_blocks(page, "yaml")[0])
    for host in ("h1", "h2", "h3"):
        give_password(cluster.lab, host)
    told = play(page, environment={"VMHA_LAB": str(cluster.lab.path)}, directory=cluster.lab.path.parent)
    for line, _ in told:
        if line == "vmha apply fence.yaml":
            break
    with patient(cluster, **QUICK):
        cluster.lab.run("cut", "h1")
        cluster.await_running(web, on="h2")
        assert cluster.lab.node("h1")["power"] == "off"
        assert "power_off_confirmed" in cluster.vm(web)["reason"]
        assert [line for line, _ in told] == ["vmha events", "vmha node why h1"]
    cluster.await_ticks(web)
    cluster.vmha("apply", str(cluster.file("before.yaml", before)), "--yes")


def test_libvirts_own_switch_hands_over_too_where_it_is_asked_for(cluster: Cluster, web: str):
    document = cluster.file("handover.yaml")
    cluster.vmha("export", str(document))
    exported = yaml.safe_load(document.read_text())
    exported["vms"][0]["migration"] = {"handover": "libvirt"}
    document.write_text(yaml.safe_dump(exported))
    cluster.vmha("apply", str(document), "--yes")
    cluster.vmha("vm", "migrate", web, "--to", "h3")
    assert cluster.vm(web)["node"] == "h3"
    cluster.await_ticks(web)
    verdict = cluster.lab.verdict(web)
    assert (verdict["boots"], verdict["migrations_survived"]) == (1, 1)


def test_killed_etcd_member_costs_no_vm_anything(cluster: Cluster, web: str):
    cluster.lab.run("kill", "etcd-1")
    cluster.vmha("vm", "migrate", web, "--to", "h2", "--timeout", "60")
    cluster.await_ticks(web, more=60)
    assert cluster.lab.verdict(web)["boots"] == 1
    cluster.lab.run("start", "etcd-1")


def test_frozen_etcd_members_one_by_one_cost_no_vm_anything(cluster: Cluster, web: str):
    for member in ("etcd-1", "etcd-2", "etcd-3"):
        cluster.lab.run("freeze", member)
        cluster.await_ticks(web, more=40)
        cluster.lab.run("thaw", member)
        wait_until("a leader is there", cluster.leader, 30.0)
        cluster.await_all_online()
    assert cluster.lab.verdict(web)["boots"] == 1
    assert cluster.vm(web)["node"] == "h1"


def test_etcd_leader_frozen_for_longer_than_the_leases_costs_no_guest_and_no_host_anything(cluster: Cluster, web: str):
    """It comes back and may revoke leases that were kept alive: nobody is fenced, though there is a power switch."""
    guests = {web: "h1", "db": "h2", "mail": "h3"}
    for vm in ("db", "mail"):
        if cluster.add(vm) != guests[vm]:
            cluster.vmha("vm", "migrate", vm, "--to", guests[vm])
    before = {vm: cluster.lab.verdict(vm)["boots"] for vm in guests}
    known = {entry["id"] for entry in cluster.journal()}
    leader = etcd_leader(cluster)
    cluster.lab.run("freeze", leader)
    cluster.await_ticks(web, more=40)  # over four seconds; the leases last two
    cluster.lab.run("thaw", leader)
    cluster.await_all_online()
    for vm, host in guests.items():
        cluster.await_ticks(vm, more=20)
        assert cluster.lab.verdict(vm)["boots"] == before[vm]
        assert cluster.vm(vm)["node"] == host
    kinds = {entry["kind"] for entry in cluster.journal() if entry["id"] not in known}
    assert not kinds & {"fencing", "fenced", "recover", "release", "assign"}, kinds
    for vm in ("db", "mail"):
        cluster.remove(vm)


def etcd_leader(cluster: Cluster) -> str:
    members = ("etcd-1", "etcd-2", "etcd-3")

    def find() -> str:
        said = cluster.lab.sh("h1", "etcdctl endpoint status --command-timeout=2s -w fields", code=None)
        return find_etcd_leader(said, members)

    found: str = wait_until("etcd has a leader", find)
    return found


def test_most_hosts_cut_off_at_once_keep_their_power_and_a_persons_word_recovers_what_they_held(
    cluster: Cluster, web: str
):
    """Both have fence agents that would work, and etcd is elsewhere: it looks like the network, and is waited for."""
    for host in ("h1", "h2"):  # at once: two commands would begin seconds apart on a busy machine
        ask(LabDir(cluster.lab.path), "cut", node=host, link="lan")
    wait_until("it is told", lambda: "most nodes fell silent at once" in cluster.vmha("status"))
    wait_until("its own guard has ended the guest", lambda: not cluster.qemu_pids("h1"))
    assert [cluster.lab.node(host)["power"] for host in ("h1", "h2")] == ["on", "on"]
    assert cluster.qemu_pids("h3") == []
    cluster.vmha("node", "confirm-off", "h1", "--yes")
    cluster.await_running(web, on="h3")
    assert "operator_confirmed" in cluster.vm(web)["reason"]
    assert [cluster.lab.node(host)["power"] for host in ("h1", "h2")] == ["on", "on"]
    cluster.await_ticks(web)


def test_operators_word_recovers_what_no_other_proof_covers(cluster: Cluster, web: str):
    document = cluster.file("accept.yaml", "config: {profile: tuned, fencing: {accept: [operator_confirmed]}}\n")
    cluster.vmha("apply", str(document), "--yes")
    cluster.lab.run("kill", "h1")
    wait_until("h1 is suspected", lambda: cluster.conditions()["h1"] not in ("online", "joining"))
    wait_until("the vm waits for a proof", lambda: "proof" in cluster.vm(web)["reason"])
    cluster.vmha("node", "confirm-off", "h1", "--yes")
    cluster.await_running(web, on="h2")
    assert "operator_confirmed" in cluster.vm(web)["reason"]
    document.write_text("config: {profile: tuned}\n")
    cluster.vmha("apply", str(document), "--yes")
