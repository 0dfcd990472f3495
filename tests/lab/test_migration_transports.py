"""A guest's memory survives by each way to another host, and a way that is barred is told with its remedy.

Every test ends with the witness's verdict.
"""

import json
from collections.abc import Iterator

import pytest

from tests.lab.cluster import Cluster, running_cluster
from tests.lab.transports import ADDRESSES, Equipment
from vmha.pki.authority import Step

LETS_ALL_IN = "tls-lets-all-in"

pytestmark = pytest.mark.lab

ETCD_SECONDS = 60
DISKLESS = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os></domain>"""


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


def test_authority_is_changed_while_guests_run_and_no_libvirtd_is_restarted(
    equipment: Equipment, cluster: Cluster
) -> None:
    """Between two steps a host that has its new files migrates to one that has not, and back."""
    cluster.vmha("vm", "edit", "web", "--transport", "tls", "--not-tunnelled")
    before = cluster.lab.verdict("web")["migrations_survived"]
    old_certificate = (equipment.etc("h1") / "pki/libvirt/clientcert.pem").read_text()
    old_key = (equipment.etc("h1") / "pki/libvirt/private/clientkey.pem").read_text()
    old_ca = (equipment.etc("h1") / "pki/CA/cacert.pem").read_text()
    equipment.rotate(Step.BEGIN)
    for host in ADDRESSES:
        equipment.hand_out(host)
        equipment.tell_libvirtd(host)
    equipment.rotate(Step.SWITCH)
    home, to = cluster.vm("web")["node"], elsewhere(cluster)
    equipment.issue(home)
    equipment.hand_out(home)
    equipment.tell_libvirtd(home)
    for target in (to, home):
        cluster.vmha("vm", "migrate", "web", "--to", target)
        cluster.await_ticks("web")
    for host in ADDRESSES:
        equipment.issue(host)
    equipment.rotate(Step.FINISH)
    for host in ADDRESSES:
        equipment.hand_out(host)
        equipment.tell_libvirtd(host)
    cluster.vmha("vm", "migrate", "web", "--to", to)
    cluster.await_ticks("web")
    assert cluster.lab.verdict("web")["migrations_survived"] == before + 3
    # What the old authority has signed opens nothing any more.
    outsider = cluster.lab.path / to / "etc/outsider"
    outsider.mkdir()
    for name, text in (("cacert", old_ca), ("clientcert", old_certificate), ("clientkey", old_key)):
        (outsider / f"{name}.pem").write_text(text)
    asked = f"virsh -c 'qemu+tls://{ADDRESSES[home]}/system?pkipath=/etc/outsider&no_verify=1' list"
    assert "Unable to read TLS confirmation" in cluster.lab.sh(to, f"{asked} 2>&1", code=1)
    cluster.lab.sh(to, f"virsh -c 'qemu+tls://{ADDRESSES[home]}/system' list")


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


def test_doctor_finds_each_kind_of_barred_way_before_anybody_migrates(equipment: Equipment, cluster: Cluster) -> None:
    """All of them at once: what is wrong between one pair of hosts is told of that pair alone."""

    def found_kinds(code: int | None = None) -> dict[str, dict[tuple[str, ...], str]]:
        found: dict[str, dict[tuple[str, ...], str]] = {}
        for one in json.loads(cluster.vmha("doctor", "--json", "--timeout", "40", code=code)):
            if one["severity"] == "error" or one["kind"] == LETS_ALL_IN:
                found.setdefault(one["kind"], {})[tuple(one["about"])] = f"{one['text']} -> {one['remedy']}"
        return found

    cluster.vmha("vm", "edit", "web", "--transport", "tcp", "--not-tunnelled")
    for name, transport in (("shell", "ssh"), ("secret", "tls")):
        xml = cluster.file(f"{name}.xml", DISKLESS.format(name=name))
        cluster.vmha("vm", "add", name, "--xml", str(xml), "--transport", transport)
    try:
        before = found_kinds(code=1)
        assert before.keys() == {LETS_ALL_IN}
        assert before[LETS_ALL_IN].keys() == {("h1",), ("h2",), ("h3",)}
        listed = (equipment.etc("h1") / "libvirt/libvirtd.conf").read_text() + 'tls_allowed_dn_list = ["CN=*-node-*"]\n'
        qemu_old, libvirt_old = equipment.expired_certificate("h3"), equipment.expired_certificate("h1")
        known = (equipment.etc("h1") / "ssh/known_hosts").read_text()
        astray = known.replace(known.splitlines()[2], f"{ADDRESSES['h3']} {equipment.another_host_key()}".strip())
        with (
            equipment.instead_of("h1", "libvirt/libvirtd.conf", listed),
            equipment.ports_shut("h2", "49152:49215"),
            equipment.instead_of("h1", "ssh/known_hosts", astray),
            equipment.instead_of("h2", "ssh/authorized_keys", ""),
            equipment.instead_of("h2", "pki/CA/cacert.pem", equipment.other_authority()),
            equipment.instead_of("h3", "pki/qemu/server-cert.pem", qemu_old[0]),
            equipment.instead_of("h3", "pki/qemu/server-key.pem", qemu_old[1]),
            equipment.instead_of("h1", "pki/libvirt/clientcert.pem", libvirt_old[0]),
            equipment.instead_of("h1", "pki/libvirt/private/clientkey.pem", libvirt_old[1]),
        ):
            found = found_kinds(code=1)
        assert found.pop(LETS_ALL_IN).keys() == {("h2",), ("h3",)}
        ways = found.pop("way-barred")
        assert {about[:2]: about[2:] for about in ways if "shell" in about} == {
            ("h1", "h2"): ("shell",),
            ("h1", "h3"): ("shell",),
            ("h3", "h2"): ("shell",),
        }
        assert "put it into the target's authorized_keys" in ways["h3", "h2", "shell"]
        assert "ssh-keygen -R 10.97.0.3" in ways["h1", "h3", "shell"]
        assert {about[:2] for about in ways if "secret" in about} == {
            ("h1", "h2"),
            ("h1", "h3"),
            ("h2", "h1"),
            ("h2", "h3"),
        }
        assert "certificates of one authority" in ways["h2", "h1", "secret"]
        assert "has ended" in ways["h1", "h3", "secret"]
        shut = found.pop("ports-shut")
        assert shut.keys() == {("h1", "h2"), ("h3", "h2")}
        assert all("49152 to 49215" in text for text in shut.values())
        distrust = found.pop("qemu-distrusts")
        assert distrust.keys() == {("h1", "h3"), ("h2", "h3")}
        assert all("certificate has expired" in text for text in distrust.values())
        assert found == {}
    finally:
        for name in ("shell", "secret"):
            cluster.vmha("vm", "remove", name)
