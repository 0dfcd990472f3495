"""A cluster is set up and a host joins it, at a real etcd with certificates and roles, and with a real libvirtd."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.libvirt import LibvirtHost
from tests.support.said import Said, Vmha, command_line
from tests.support.secured import CLUSTER, Secured, secured
from vmha.cli.connect import author
from vmha.cli.exits import ExitCode
from vmha.model.ids import NodeName, SessionId
from vmha.model.keys import Keys, encode
from vmha.model.records import ArmedLevel, BeatRecord
from vmha.store.port import Put

pytestmark = pytest.mark.real

KEYS = Keys(CLUSTER)
PEM = ("ca.pem", "cert.pem", "key.pem")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured(tmp_path_factory.mktemp("joining"), "n1", "n2") as running:
        yield running


@pytest.fixture
def host() -> Iterator[LibvirtHost]:
    host = LibvirtHost("n1", "10.0.0.1", "5d0f0a11-8c1e-4a53-9c07-0d2f6a1c0b77")
    try:
        host.start_libvirtd()
        yield host
    finally:
        host.close()


@pytest.fixture
def vmha(site: Secured, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Vmha:
    """As alice, the operator."""
    alice = site.files("operator-alice")
    monkeypatch.setenv("VMHA_ENDPOINTS", ",".join(site.etcd.endpoints))
    monkeypatch.setenv("VMHA_CLUSTER", CLUSTER)
    for variable, path in (("VMHA_CA", alice.ca), ("VMHA_CERT", alice.cert), ("VMHA_KEY", alice.key)):
        monkeypatch.setenv(variable, str(path))

    return command_line(capfd)


def files(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_a_cluster_is_set_up_and_a_host_joins_it(
    site: Secured, host: LibvirtHost, vmha: Vmha, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, etc = site.authority.folder, tmp_path / "etc"

    def join(node: str, *more: str | Path) -> Said:
        options = ["--address", "127.0.0.1", "--certificates", authority, "--libvirt-uri", host.uri]
        return vmha(
            "node", "join", node, *options, "--watchdog", "", "--config", etc / "vmha.toml", "--no-start", *more
        )

    said = vmha("cluster", "init", "--profile", "tuned")
    assert said.code == 0, said.err
    assert "is set up with profile tuned" in said.out
    assert "etcd-open" not in said.out, "roles keep the operator to this cluster"
    assert "etcd-members" in said.out, "it is told what could be better"
    assert vmha("cluster", "init").code == ExitCode.REFUSED
    assert vmha("config", "show", "--json").json["profile"] == "tuned"

    stranger = join("n3")
    assert stranger.code == ExitCode.BAD_INPUT
    assert "vmha cluster roles" in stranger.err
    assert not etc.exists(), "nothing is written for a host that etcd does not let in"
    assert "would be written" in join("n1", "--dry-run").out
    deaf = join("n1", "--libvirt-uri", "qemu+unix:///system?socket=/nowhere")
    assert (deaf.code, "start libvirtd" in deaf.err) == (ExitCode.FAILED, True)
    assert not etc.exists(), "nor for one whose libvirt does not answer"

    joined = join("n1")
    assert joined.code == 0, joined.err
    assert "libvirt answers" in joined.out
    assert set(files(etc)) == {"vmha.toml", *(f"tls/{name}" for name in PEM)}
    told = {entry["kind"]: entry for entry in vmha("events", "--json").json}
    assert told["founded"]["hand"]["author"] == told["join"]["hand"]["author"] == author()
    written = "ca.pem, key.pem, cert.pem, vmha.toml"
    assert told["join"]["node"] == "n1"
    assert told["join"]["text"].endswith(f"{written} written; its services are not started")
    before = files(etc)
    assert join("n1").code == 0
    assert files(etc) == before
    (etc / "web").mkdir(mode=0o700)
    joined = join("n1", "--web", "--web-listen", "0.0.0.0:9780")
    assert joined.code == 0, joined.err
    assert "the dashboard speaks to etcd as vmha-t-reader" in joined.out
    its_own = {f"web/{name}" for name in ("vmha.toml", *PEM, "https-cert.pem", "https-key.pem")}
    assert set(files(etc)) == {*before, *its_own}
    for variable in ("VMHA_CA", "VMHA_CERT", "VMHA_KEY", "VMHA_ENDPOINTS", "VMHA_CLUSTER"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("VMHA_CONFIG", str(etc / "vmha.toml"))
    assert vmha("status").code == 0, "with nothing but what joining has written"
    monkeypatch.setenv("VMHA_CONFIG", str(etc / "web/vmha.toml"))
    assert vmha("status").code == 0, "the dashboard as well"
    denied = vmha("pause", "--reason", "to see who may")
    assert denied.code != 0, "which may only read"
    assert "permission denied" in denied.err, denied.err


def test_the_name_of_another_machine_is_not_taken(site: Secured, vmha: Vmha, tmp_path: Path) -> None:
    beat = BeatRecord(
        session=SessionId("n2-1"),
        boot_id="b",
        host="another machine",
        count=1,
        armed=ArmedLevel.GUARD,
        hold_s=4.0,
        dead_after_s=5.0,
    )

    async def put() -> None:
        store = site.open("node-n2")
        await store.txn([], [Put(KEYS.beat(NodeName("n2")), encode(beat))])
        await store.close()

    asyncio.run(put())
    config = tmp_path / "etc/vmha.toml"
    said = vmha("node", "join", "n2", "--certificates", site.folder / "node-n2", "--config", config, "--no-start")
    assert said.code == ExitCode.FAILED
    assert "is another machine" in said.err
    assert not config.parent.exists()
