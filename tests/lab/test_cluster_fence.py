"""Recovery by a fence agent, by an operator's word, and libvirt's own switch at the end of a migration."""

from collections.abc import Iterator

import pytest
import yaml

from tests.lab.cluster import Cluster, running_cluster
from tests.lab.conftest import wait_until
from vmha.lab.chaos.strikes import find_etcd_leader

pytestmark = pytest.mark.lab


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
    cluster.lab.run("kill", "h1")
    cluster.await_running(web, on="h2")
    assert "power_off_confirmed" in cluster.vm(web)["reason"]
    cluster.await_ticks(web)


def test_host_cut_off_is_powered_off_before_its_vm_runs_elsewhere(cluster: Cluster, web: str):
    cluster.lab.run("cut", "h1")
    cluster.await_running(web, on="h2")
    assert cluster.lab.node("h1")["power"] == "off"
    cluster.await_ticks(web)


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
