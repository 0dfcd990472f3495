"""Least privilege at a real etcd: what each certificate may do suffices for its work, and what it may not is denied."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.support.members import UNHURRIED, RealCluster, real_cluster
from tests.support.secured import CLUSTER, NotingStore, Secured, now, secured
from tests.support.until import until
from tests.unit.operator.cluster import xml_of
from vmha.model.clock import SystemClock
from vmha.model.ids import NodeName, RequestId, Revision, SessionId, VmName
from vmha.model.keys import Keys, encode
from vmha.model.records import Verb
from vmha.model.schema import ClusterSchema
from vmha.model.vm import Desired
from vmha.operator import holds, vms
from vmha.operator.backup import back_up, prepare
from vmha.operator.backup import restore as put_back
from vmha.operator.client import OperatorClient
from vmha.operator.doctor import diagnose
from vmha.operator.etcd_roles import removal
from vmha.operator.nodes import drain, undrain
from vmha.operator.requests import submit
from vmha.pki.authority import Kind, Step
from vmha.policy.telling.doctor import DEFAULT_QUOTA_BYTES
from vmha.store.port import Created, Delete, Denied, Put, Unavailable
from vmha.store.tls_files import TlsFiles

pytestmark = pytest.mark.real

KEYS = Keys(CLUSTER)
N1, N2, WEB = NodeName("n1"), NodeName("n2"), VmName("web")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured(tmp_path_factory.mktemp("secured"), "n1", "n2") as running:
        yield running


@asynccontextmanager
async def opened(site: Secured, who: str) -> AsyncIterator[NotingStore]:
    store = site.open(who)
    try:
        yield store
    finally:
        await store.close()


MAY_NOT_WRITE = {
    "reader-wall": [
        KEYS.config,
        KEYS.leader,
        KEYS.vm_spec(WEB),
        KEYS.placement(WEB),
        KEYS.node_spec(N1),
        KEYS.beat(N1),
        KEYS.request(RequestId("1")),
        KEYS.journal("1"),
        KEYS.fencing(SessionId("n1-1")),
    ],
    "operator-alice": [
        KEYS.leader,
        KEYS.history,
        KEYS.outcome(RequestId("1")),
        KEYS.fencing(SessionId("n1-1")),
        KEYS.hook("page"),
        "/vmha/other/config",
        "/elsewhere",
    ],
    "restore-alice": [
        KEYS.leader,
        KEYS.survival,
        KEYS.outcome(RequestId("1")),
        KEYS.fencing(SessionId("n1-1")),
        KEYS.hook("page"),
        "/vmha/other/config",
        "/elsewhere",
    ],
    "node-n1": [
        KEYS.config,
        KEYS.node_spec(N1),
        KEYS.node_spec(N2),
        KEYS.node_status(N2),
        KEYS.observation(N2, WEB),
        KEYS.domain("home"),
        KEYS.rule("apart"),
        KEYS.service("shop"),
        KEYS.uuid("6c9e0d7e-2f6b-4a59-9d3c-d9c0a3a6d9b1"),
        "/vmha/other/config",
        "/elsewhere",
    ],
}


@pytest.mark.parametrize("who", sorted(MAY_NOT_WRITE))
async def test_each_identity_is_denied_what_is_not_its_to_write_and_nothing_of_it_is_written(
    site: Secured, who: str
) -> None:
    async with opened(site, who) as store, opened(site, "root-admin") as root:
        for key in MAY_NOT_WRITE[who]:
            for op in (Put(key, b"{}"), Delete(key)):
                with pytest.raises(Denied, match="permission denied"):
                    await store.txn([Created(KEYS.pause, Revision(0))], [op])
            assert await root.get(key) is None


async def test_nobody_reads_another_clusters_keys_and_an_unknown_name_reads_none(site: Secured) -> None:
    for who in MAY_NOT_WRITE:
        async with opened(site, who) as store:
            assert (await store.list(KEYS.prefix)).items == ()
            health = await store.health()
            assert health.member_count in (0, 1)
            assert health.members[0].quota_bytes == DEFAULT_QUOTA_BYTES, "by the same certificate"
            for prefix in ("/vmha/other/", "/"):
                with pytest.raises(Denied):
                    await store.list(prefix)
    site.give("node", "stranger")
    async with opened(site, "node-stranger") as store:
        with pytest.raises(Denied):
            await store.list(KEYS.prefix)


async def test_agents_a_leader_and_an_operator_do_all_their_work_under_their_roles(site: Secured) -> None:
    del site.denied[:]
    async with real_cluster(site.etcd, nodes=2, open_store=site.open_for()) as cluster:
        operator = cluster.operator
        await cluster.add_vm("web")
        await until(lambda: len(cluster.where("web")) == 1, what="it runs")
        await cluster.until_runs("web", cluster.where("web")[0])
        leads = await cluster.until_leader()
        other = "n2" if leads == "n1" else "n1"
        for there in (other, leads):
            if cluster.where("web") != [there]:
                await submit(operator, Verb.MIGRATE, vm="web", node=there)
                await cluster.until_runs("web", there)
        await holds.freeze(operator, "web", reason="a while", for_s=0.5)
        await until(lambda: _is_thawed(cluster), what="the leader ends the hold")
        assert [finding.text for finding in await diagnose(operator, timeout_s=5.0) if "enied" in finding.text] == []
        await cluster.nodes[leads].stop_agent()
        await until(lambda: cluster.leaders() == [other], what="the other one leads")
        await cluster.until_runs("web", other, timeout_s=30.0)
        cluster.nodes[leads].start_agent()
        await cluster.until_online(leads)
        await drain(operator, other)
        await cluster.until_runs("web", leads)
        await undrain(operator, other)
        await vms.set_desired(operator, "web", Desired.STOPPED)
        await until(lambda: cluster.where("web") == [], what="it is stopped")
        await until(lambda: _is_released(cluster), what="its holder says so")
        await vms.remove_vm(operator, "web")
        await until(lambda: _is_forgotten(cluster), what="the leader forgets it")
    assert site.denied == []


async def _is_thawed(cluster: RealCluster) -> bool:
    return (await cluster.operator.read()).vms[WEB].freeze is None


async def _is_released(cluster: RealCluster) -> bool:
    placement = await cluster.placement("web")
    return placement is None or placement.node is None


async def _is_forgotten(cluster: RealCluster) -> bool:
    return WEB not in (await cluster.operator.read()).vms


async def test_agent_keeps_its_session_while_the_authority_and_every_certificate_change(tmp_path: Path) -> None:
    with secured(tmp_path, "n1") as site:
        async with real_cluster(site.etcd, nodes=1, open_store=site.open_for(), config=UNHURRIED) as cluster:
            await cluster.add_running("web", "n1")
            node = cluster.nodes["n1"]
            session = node.session
            shutil.copytree(site.home("node", "n1"), tmp_path / "kept")
            for kind, name in ((Kind.READER, "wall"), (Kind.RESTORE, "alice")):
                site.authority.forget(kind, name)
            for number, step in enumerate(Step, start=1):
                site.authority.rotate(step, now=now(), days=30)
                for kind, name in (("root", "admin"), ("node", "n1"), ("operator", "alice"), ("etcd", "server")):
                    if step is Step.SWITCH:
                        site.give(kind, name)
                    else:
                        site.put(site.authority.folder / f"issued/{kind}-{name}")
                await until(partial(_have_new_files, cluster, number), what=f"the files after --{step} are in use")
                if step is not Step.SWITCH:  # etcd reads its certificate at each handshake, whom it trusts only once
                    site.hand_out_ca()
                    site.etcd.kill(0)
                    site.etcd.launch(0)
            await asyncio.to_thread(site.etcd.wait_healthy, 0)
            before = await _beats(cluster)
            await until(partial(_beats_go_on, cluster, before), what="beats commit; only the new authority is trusted")
            assert node.session == session
            assert cluster.starts("web") == 1
            await site_refuses_the_old(site, tmp_path)


async def site_refuses_the_old(site: Secured, folder: Path) -> None:
    """What the old authority signed opens nothing now."""
    old = TlsFiles(ca=site.authority.ca, cert=folder / "kept/cert.pem", key=folder / "kept/key.pem")
    store = NotingStore(site.etcd.endpoints, [], tls=old)
    try:
        with pytest.raises(Unavailable):
            await store.get(KEYS.config, timeout_s=1.0)
    finally:
        await store.close()


async def _have_new_files(cluster: RealCluster, times: int) -> bool:
    await cluster.operator.read()
    stores = (cluster.nodes["n1"].store, cluster.store)
    return all(store is not None and store.tls_renewals >= times for store in stores)


async def _beats(cluster: RealCluster) -> int:
    beat = (await cluster.operator.read(timeout_s=10.0)).nodes[N1].beat
    return beat.value.count if beat else 0


async def _beats_go_on(cluster: RealCluster, before: int) -> bool:
    return await _beats(cluster) > before + 1


async def test_node_whose_rights_were_taken_away_can_not_write_any_more(tmp_path: Path) -> None:
    with secured(tmp_path, "n1", "n2") as site:
        async with opened(site, "node-n2") as store:
            await store.txn([], [Put(KEYS.beat(N2), b"{}")])
            site.run("\n".join(removal(KEYS, N2)))
            with pytest.raises(Denied):
                await store.txn([], [Put(KEYS.beat(N2), b"{}")])
        async with opened(site, "node-n1") as store:
            with pytest.raises(Denied):
                await store.txn([], [Delete(KEYS.beat(N2))])


async def test_what_browsers_are_shown_opens_nothing_at_etcd(site: Secured) -> None:
    """Whoever has the dashboard's key for browsers is no client, whatever authority he trusts himself."""
    browsers = site.give("web", "n1")
    stolen = TlsFiles(ca=site.ca, cert=browsers.cert, key=browsers.key)
    store = NotingStore(site.etcd.endpoints, [], tls=stolen)
    try:
        with pytest.raises(Unavailable):
            await store.get(KEYS.config, timeout_s=1.0)
    finally:
        await store.close()
    async with opened(site, "reader-wall") as store:
        await store.list(KEYS.prefix)  # whom etcd knows it answers


async def test_backup_is_put_back_by_the_role_for_that_and_by_no_operator(site: Secured) -> None:
    """An operator is denied before the first key is written; root's certificate is not wanted for it."""
    async with opened(site, "root-admin") as root, opened(site, "operator-alice") as store:
        operator = OperatorClient(store, KEYS, SystemClock(), author="alice")
        await vms.add_vm(operator, "old", xml_of("old"))
        await root.txn([], [Put(KEYS.schema, encode(ClusterSchema(version=1, by=N1, at=0.0)))])
        backup = await back_up(operator)
        there = [kv.key for kv in (await root.list(KEYS.prefix)).items]
        await root.txn([], [Delete(key) for key in there])
        plan = await prepare(operator, backup, file="backup.json")
        with pytest.raises(Denied):
            await put_back(operator, plan)
        assert (await root.list(KEYS.prefix)).items == ()
        async with opened(site, "restore-alice") as allowed:
            await put_back(OperatorClient(allowed, KEYS, SystemClock(), author="alice"), plan)
        restored = {kv.key for kv in (await root.list(KEYS.prefix)).items}
        assert {KEYS.history, KEYS.schema, KEYS.vm_spec(VmName("old"))} <= restored
        await root.txn([], [Delete(key) for key in sorted(restored)])
