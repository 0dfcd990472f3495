"""``vmha export --all`` and ``vmha restore`` as they are typed, from one real etcd into another."""

import asyncio
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.etcd import RealEtcd
from tests.support.said import Said, Vmha, command_line
from vmha.cli.exits import ExitCode
from vmha.model.ids import NodeName, SessionId
from vmha.model.keys import Keys, encode
from vmha.model.records import SessionRecord
from vmha.store.etcd import EtcdStore
from vmha.store.port import Put

pytestmark = pytest.mark.real

SECRET = "s3cr3t-of-the-bmc"
DOCUMENT = f"""
config: {{profile: tuned, fencing: {{secrets: stored}}}}
nodes:
  - name: h1
    fence: [{{agent: fence_ipmilan, options: {{ip: 10.0.0.1, password: {SECRET}}}}}]
failover_domains:
  - name: pair
    members: [{{node: h1}}]
"""
XML = "<domain type='qemu'>\n  <name>web</name>\n  <memory unit='MiB'>64</memory>\n</domain>\n"


@pytest.fixture(scope="module")
def stores() -> Iterator[tuple[RealEtcd, RealEtcd]]:
    with RealEtcd() as first, RealEtcd() as second:
        yield first, second


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)[:40]


@pytest.fixture
def vmhas(
    stores: tuple[RealEtcd, RealEtcd],
    cluster: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> tuple[Vmha, Vmha]:
    """On the cluster that was, and on the empty store; the first holds a vm, a node and a failover domain."""
    monkeypatch.setenv("VMHA_CLUSTER", cluster)

    def at(etcd: RealEtcd) -> Vmha:
        def call(*args: str | Path) -> Said:
            monkeypatch.setenv("VMHA_ENDPOINTS", etcd.endpoints[0])
            return command_line(capfd)(*args)

        return call

    here, there = map(at, stores)
    (tmp_path / "cluster.yaml").write_text(DOCUMENT)
    (tmp_path / "web.xml").write_text(XML)
    applied = here("apply", tmp_path / "cluster.yaml")
    assert applied.code == 0, applied.err
    assert here("vm", "add", "web", "--xml", tmp_path / "web.xml", "--failover-domain", "pair").code == 0
    return here, there


def test_backup_goes_into_an_empty_store_and_comes_out_of_it_the_same(vmhas: tuple[Vmha, Vmha], tmp_path: Path) -> None:
    here, there = vmhas
    file = tmp_path / "backup.json"
    assert here("export", "--all", file).code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert SECRET in file.read_text()  # a backup without it could not fence

    tried = there("restore", file, "--dry-run")
    assert tried.code == 0
    assert "vms/web/spec would be created" in tried.out
    assert there("vm", "list", "--json").json == []

    put_back = there("restore", file)
    assert put_back.code == 0
    assert "vms/web/spec created" in put_back.out
    assert "Nothing is started until every node" in put_back.out
    assert (
        put_back.err == "vmha: warning: fence_ipmilan of h1: password can be read by everybody who reads the cluster\n"
    )
    assert there("vm", "show", "web", "--xml").out == XML
    assert there("export", "-").out == here("export", "-").out
    assert json.loads(there("export", "--all").out)["keys"] == json.loads(here("export", "--all").out)["keys"]

    again = there("restore", file, "--json").json
    assert (again["created"], again["changed"]) == ([], [])
    assert "Nothing to restore" in there("restore", file).out


def test_restore_beside_living_agents_is_refused_unless_it_is_said(
    vmhas: tuple[Vmha, Vmha], stores: tuple[RealEtcd, RealEtcd], cluster: str, tmp_path: Path
) -> None:
    here, there = vmhas
    file = tmp_path / "backup.json"
    here("export", "--all", file)
    session = SessionRecord(
        node=NodeName("h1"), session=SessionId("h1-s"), since=1.0, version="0.1.0", address="h1.example"
    )

    async def live() -> None:
        store = EtcdStore((stores[1].endpoints[0],))
        await store.txn([], [Put(Keys(cluster).session(NodeName("h1")), encode(session))])
        await store.close()

    asyncio.run(live())
    refused = there("restore", file)
    assert refused.code == ExitCode.REFUSED
    assert "(h1)" in refused.err
    assert "--force" in refused.err
    assert there("vm", "list", "--json").json == []
    assert there("restore", file, "--force").code == 0
    assert there("vm", "show", "web", "--xml").out == XML


def test_what_is_no_backup_of_this_cluster_is_refused_by_name_and_nothing_is_written(
    vmhas: tuple[Vmha, Vmha], cluster: str, tmp_path: Path
) -> None:
    here, there = vmhas
    good = json.loads(here("export", "--all").out)
    bad = {
        "cut.json": (json.dumps(good)[:-20], "export --all"),
        "dump.json": (here("dump").out, "is no backup"),
        "later.json": (json.dumps({**good, "vmha_backup": 99}), "vmha_backup: 99"),
        "other.json": (json.dumps({**good, "cluster": "lyon"}), "--cluster lyon"),
        "key.json": (json.dumps({**good, "keys": {**good["keys"], "leader": {}}}), "'leader'"),
        "value.json": (json.dumps({**good, "keys": {**good["keys"], "vms/web/spec": {"name": 7}}}), "vms/web/spec"),
    }
    for name, (text, said) in bad.items():
        file = tmp_path / name
        file.write_text(text)
        refused = there("restore", file)
        assert refused.code == ExitCode.BAD_INPUT, (name, refused)
        assert said in refused.err, (name, refused.err)
        assert name in refused.err, (name, refused.err)
        assert "Traceback" not in refused.err
    missing = there("restore", tmp_path / "none.json")
    assert missing.code == ExitCode.BAD_INPUT
    assert "none.json" in missing.err
    assert there("vm", "list", "--json").json == []
    assert there("domain", "list", "--json").json == []
