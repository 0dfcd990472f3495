"""Pages whose commands are typed, one after the other, into a lab: what they say is what happens."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.cluster import Cluster, running_cluster
from tests.lab.conftest import LabRun, make_directory, wait_until
from tests.support.doc_story import ROOT, play
from vmha.lab.boxplan import etcd_argv
from vmha.lab.layout import LabDir, LabSpec

pytestmark = pytest.mark.lab


def test_tutorial_goes_as_it_says() -> None:
    directory = make_directory()
    lab = LabRun(path=directory / "lab")
    try:
        page = (ROOT / "docs/tutorial/first-failover.md").read_text()
        played = [line for line, _ in play(page, environment={"VMHA_LAB": str(lab.path)}, directory=Path(directory))]
        assert "vmha lab kill h2" in played
        assert "vmha lab verdict web" in played
    finally:
        lab.run("down", code=None)
        shutil.rmtree(directory)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    yield from running_cluster()


def test_disaster_recovery_goes_as_it_says_and_no_guest_notices(cluster: Cluster) -> None:
    """What happens between the snapshot and the disaster is not in it: a vm moves, and another is added."""
    cluster.add("web", "--failover-domain", "pref")
    cluster.add("mail", "--failover-domain", "pref")
    page = (ROOT / "docs/howto/disaster-recovery.md").read_text()
    beside = cluster.lab.path.parent
    told = play(page, environment=etcd_settings(cluster), directory=beside)
    before = [next(told)[0], next(told)[0]]
    assert "snapshot save" in before[0]
    assert "vmha export" in before[1]
    cluster.vmha("vm", "migrate", "web", "--to", "h2")
    cluster.add("late", "--failover-domain", "pref")
    late = cluster.vmha("export")
    boots = {vm: cluster.lab.verdict(vm)["boots"] for vm in ("web", "mail", "late")}
    rest = [line for line, _ in told]
    assert any("snapshot restore" in line for line in rest)
    assert cluster.await_running("web") == "h2"
    assert cluster.await_running("mail") == "h1"
    wait_until("the restored store is settled", lambda: "restored from a backup" not in cluster.vmha("status"), 60.0)
    assert "late" not in {vm["name"] for vm in cluster.status()["vms"]}
    cluster.vmha("apply", str(cluster.file("late.yaml", late)), "--yes")
    assert cluster.await_running("late") == "h1"
    for vm, boot in boots.items():
        cluster.await_ticks(vm)
        verdict = cluster.lab.verdict(vm)
        assert (verdict["boots"], verdict["ran_twice"]) == (boot, False), (vm, verdict)


def etcd_settings(cluster: Cluster) -> dict[str, str]:
    """What /etc/default/etcd says on a real member, of the lab's."""
    spec = LabSpec.from_json(LabDir(cluster.lab.path).spec.read_text())
    (node,) = spec.etcd_specs
    options = dict(option.removeprefix("--").split("=", 1) for option in etcd_argv(spec, node)[1:])
    return {
        "VMHA_LAB": str(cluster.lab.path),
        "ETCDCTL_ENDPOINTS": f"unix://{LabDir(cluster.lab.path).etcd}",
        "ETCD_NAME": options["name"],
        "ETCD_DATA_DIR": str(cluster.lab.path / node.name / options["data-dir"].lstrip("/")),
        "ETCD_INITIAL_CLUSTER": options["initial-cluster"],
        "ETCD_INITIAL_CLUSTER_TOKEN": options["initial-cluster-token"],
        "ETCD_INITIAL_ADVERTISE_PEER_URLS": options["initial-advertise-peer-urls"],
    }
