"""A guest's memory survives by each way to another host, and a way that is barred is told with its remedy.

Every test ends with the witness's verdict.
"""

from collections.abc import Iterator

import pytest

from tests.lab.cluster import Cluster, running_cluster
from tests.lab.transports import Equipment

pytestmark = [pytest.mark.lab, pytest.mark.beside]

ETCD_SECONDS = 60


@pytest.fixture(scope="module")
def equipment() -> Iterator[Equipment]:
    for cluster in running_cluster():
        equipment = Equipment(cluster)
        equipment.install()
        cluster.await_all_online()
        cluster.add("web", "--failover-domain", "pref")
        cluster.await_running("web", on="h1")
        yield equipment


@pytest.fixture
def cluster(equipment: Equipment) -> Iterator[Cluster]:
    cluster = equipment.cluster
    cluster.await_running("web")
    yield cluster
    cluster.await_ticks("web")
    verdict = cluster.lab.verdict("web")
    assert (verdict["boots"], verdict["ran_twice"], verdict["double_writers"]) == (1, False, 0), verdict


def elsewhere(cluster: Cluster) -> str:
    return "h2" if cluster.vm("web")["node"] != "h2" else "h3"


@pytest.mark.parametrize(
    "way",
    [
        ("--transport", "tcp", "--tunnelled"),
        ("--transport", "ssh", "--not-tunnelled"),
        ("--transport", "ssh", "--tunnelled"),
        ("--transport", "tls", "--not-tunnelled"),
        ("--transport", "tls", "--tunnelled"),
    ],
    ids=" ".join,
)
def test_memory_survives_and_the_epoch_grows_by_each_way(cluster: Cluster, way: tuple[str, ...]) -> None:
    before, survived = cluster.vm("web"), cluster.lab.verdict("web")["migrations_survived"]
    target = elsewhere(cluster)
    cluster.vmha("vm", "edit", "web", *way, "--handover", "safe")
    cluster.vmha("vm", "migrate", "web", "--to", target)
    vm = cluster.vm("web")
    assert (vm["node"], vm["state"], vm["epoch"]) == (target, "running", before["epoch"] + 1)
    cluster.await_ticks("web")
    assert cluster.lab.verdict("web")["migrations_survived"] == survived + 1
    assert cluster.qemu_pids(before["node"]) == []


def refused(cluster: Cluster, to: str) -> str:
    """What is said of a migration that does not come about; the guest runs on where it was, and nothing is there."""
    home, boots = cluster.vm("web")["node"], cluster.qemu_pids(to)
    said = cluster.vmha("vm", "migrate", "web", "--to", to, code=1)
    assert (cluster.vm("web")["node"], cluster.qemu_pids(to)) == (home, boots)
    assert f"web stays on {home}" in said
    return said


def test_way_that_is_barred_is_told_with_its_remedy(equipment: Equipment, cluster: Cluster) -> None:
    """An unknown key, a key that is not accepted, no sshd, a certificate of another authority: in one sitting."""
    home, to = cluster.vm("web")["node"], elsewhere(cluster)
    cluster.vmha("vm", "edit", "web", "--transport", "ssh", "--not-tunnelled")
    with equipment.instead_of(home, "ssh/known_hosts", ""):
        assert "root here does not know the target's ssh key" in refused(cluster, to)
    with equipment.instead_of(to, "ssh/authorized_keys", ""):
        assert "not accepted there: put it into the target's authorized_keys" in refused(cluster, to)
    cluster.lab.sh(to, "kill $(cat /run/sshd.pid)")
    assert "no sshd listens there" in refused(cluster, to)
    cluster.lab.sh(to, "/usr/sbin/sshd")
    cluster.vmha("vm", "edit", "web", "--transport", "tls")
    with equipment.instead_of(home, "pki/CA/cacert.pem", equipment.other_authority()):
        assert "libvirt needs certificates of one authority" in refused(cluster, to)
    with equipment.instead_of(home, "pki/qemu/ca-cert.pem", equipment.other_authority()):
        assert "QEMU needs certificates of one authority" in refused(cluster, to)
    assert all(entry["text"] for entry in cluster.journal("web") if entry["kind"] == "migration-failed")


def test_sshd_that_takes_the_connection_and_says_nothing_holds_nothing_up(cluster: Cluster) -> None:
    to = elsewhere(cluster)
    cluster.vmha("vm", "edit", "web", "--transport", "ssh", "--not-tunnelled")
    cluster.lab.sh(to, "kill -STOP $(cat /run/sshd.pid)")
    try:
        assert "does not answer by ssh" in refused(cluster, to)
    finally:
        cluster.lab.sh(to, "kill -CONT $(cat /run/sshd.pid)")
    cluster.vmha("vm", "migrate", "web", "--to", to)
    assert cluster.vm("web")["node"] == to
