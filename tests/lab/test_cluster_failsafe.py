"""All of etcd is gone for longer than the hold: guests tick on, by their disks; a power cut after that is recovered."""

from collections.abc import Iterator

import pytest

from tests.lab.cluster import Cluster, running_cluster
from tests.lab.conftest import wait_until
from vmha.model.settings import PROFILES, Profile

pytestmark = pytest.mark.lab

HOLD_S = PROFILES[Profile.TUNED].hold_s


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    yield from running_cluster()


def test_guests_outlive_etcd_and_a_power_cut_is_recovered_when_it_is_back(cluster: Cluster) -> None:
    cluster.add("web", "--failover-domain", "pref")
    cluster.await_running("web", on="h1")
    wait_until(
        "no node remarks that it has no failsafe",
        lambda: not any("no failsafe" in note for node in cluster.status()["nodes"] for note in node["notes"]),
    )
    pid, clock = cluster.qemu_pids("h1"), cluster.lab
    cluster.lab.run("kill", "etcd-1")
    began = float(clock.sh("h1", "cut -d' ' -f1 /proc/uptime"))
    while float(clock.sh("h1", "cut -d' ' -f1 /proc/uptime")) < began + 4 * HOLD_S:
        cluster.await_ticks("web", more=20)
    told = cluster.lab.sh("h1", "curl -sf --max-time 10 http://127.0.0.1:9590/metrics")
    assert "\nvmha_store_answers 0" in told
    assert cluster.qemu_pids("h1") == pid
    cluster.lab.run("start", "etcd-1")
    cluster.await_all_online()
    verdict = cluster.lab.verdict("web")
    assert (verdict["boots"], verdict["ran_twice"]) == (1, False), verdict
    wait_until("the journal tells of it", lambda: any("no guest was ended" in e["text"] for e in cluster.journal()))
    cluster.lab.run("kill", "h1")
    cluster.await_running("web", on="h2")
    cluster.await_ticks("web")
    verdict = cluster.lab.verdict("web")
    assert (verdict["boots"], verdict["ran_twice"]) == (2, False), verdict


def test_peer_lost_while_etcd_is_gone_ends_the_guests_and_all_run_again_with_etcd(cluster: Cluster) -> None:
    cluster.lab.switch_everything_on()
    cluster.await_all_online()
    where = cluster.await_running("web")
    lost = next(node for node in ("h2", "h3") if node != where)
    cluster.lab.run("kill", "etcd-1")
    cluster.await_ticks("web", more=20)
    cluster.lab.run("kill", lost)
    wait_until("its guard ends the guest", lambda: not cluster.qemu_pids(where), 60.0)
    cluster.lab.run("start", "etcd-1")
    wait_until("the vm runs again", lambda: cluster.vm("web")["state"] == "running", 60.0)
    cluster.await_ticks("web")
    assert cluster.lab.verdict("web")["ran_twice"] is False
