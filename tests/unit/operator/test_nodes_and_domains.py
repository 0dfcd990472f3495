"""Draining nodes, and failover domains."""

from collections.abc import Callable

import pytest

from tests.unit.operator.cluster import Cluster, xml_of
from vmha.model.clock import SystemClock
from vmha.model.errors import Rejected
from vmha.model.ids import NodeName
from vmha.model.records import Phase
from vmha.model.vm import FailoverDomain, FailoverDomainMember
from vmha.operator import domains, nodes, vms
from vmha.operator.client import OperatorClient
from vmha.operator.errors import UnknownName
from vmha.store.memory import MemoryEtcd
from vmha.store.memory_store import MemoryStore
from vmha.store.port import Listing


def domain(name: str, *members: str, **fields: bool) -> FailoverDomain:
    return FailoverDomain.model_validate({"name": name, "members": [{"node": node} for node in members], **fields})


async def test_a_drained_node_says_by_whom_and_why_until_it_is_undrained(cluster: Cluster) -> None:
    cluster.join("h1")
    await nodes.drain(cluster.client, "h1", why="new memory")
    spec = (await cluster.client.read()).nodes[NodeName("h1")].spec
    assert spec is not None
    assert (spec.value.maintenance, spec.value.maintenance_why) == (True, "drained by operator: new memory")
    spec_after = await nodes.undrain(cluster.client, "h1")
    assert (spec_after.maintenance, spec_after.maintenance_why) == (False, "")


async def test_draining_twice_keeps_the_first_reason(cluster: Cluster) -> None:
    cluster.join("h1")
    await nodes.drain(cluster.client, "h1", why="new memory")
    spec = await nodes.drain(cluster.client, "h1", why="something else")
    assert "new memory" in spec.maintenance_why


async def test_a_vm_on_its_way_counts_on_both_nodes(cluster: Cluster) -> None:
    cluster.join("h1", "h2")
    cluster.place("web", "h1", target=NodeName("h2"), phase=Phase.MIGRATING)
    cluster.place("db", None)
    snapshot = await cluster.client.read()
    assert nodes.vms_on(snapshot, "h1") == nodes.vms_on(snapshot, "h2") == ["web"]


async def test_an_unknown_node_suggests_the_near_ones_and_does_nothing(cluster: Cluster) -> None:
    cluster.join("node1", "node2")
    before = cluster.contents()
    with pytest.raises(UnknownName, match="did you mean node"):
        await nodes.drain(cluster.client, "nod1")
    with pytest.raises(UnknownName):
        await nodes.confirm_off(cluster.client, "nod1")
    assert cluster.contents() == before


async def test_a_failover_domain_with_an_unknown_node_is_refused(cluster: Cluster) -> None:
    cluster.join("h1", "h2")
    before = cluster.contents()
    with pytest.raises(Rejected, match=r"failover domain home: members: h9: no such node \(accepted: h1, h2"):
        await domains.add_domain(cluster.client, domain("home", "h1", "h9"))
    assert cluster.contents() == before


async def test_a_failover_domain_is_replaced_only_when_asked_for(cluster: Cluster) -> None:
    cluster.join("h1", "h2")
    await domains.add_domain(cluster.client, domain("home", "h1"))
    await domains.add_domain(cluster.client, domain("home", "h1"))
    with pytest.raises(Rejected, match="another failover domain home"):
        await domains.add_domain(cluster.client, domain("home", "h2"))
    await domains.add_domain(cluster.client, domain("home", "h2"), replace=True)
    assert [member.node for member in (await cluster.client.read()).domains["home"].members] == ["h2"]


async def test_a_failover_domain_that_a_vm_names_is_not_removed(cluster: Cluster) -> None:
    cluster.join("h1")
    await domains.add_domain(cluster.client, domain("home", "h1"))
    await vms.add_vm(cluster.client, "web", xml_of("web"), failover_domain="home")
    with pytest.raises(Rejected, match="named by web"):
        await domains.remove_domain(cluster.client, "home")
    await vms.remove_vm(cluster.client, "web")
    await domains.remove_domain(cluster.client, "home")
    assert (await cluster.client.read()).domains == {}


async def test_a_node_that_is_gone_for_good_leaves_nothing_behind(cluster: Cluster) -> None:
    cluster.join("h1", "h2")
    await nodes.drain(cluster.client, "h1", why="scrapped")
    cluster.see("stray", "h1")
    for key in (cluster.keys.beat(NodeName("h1")), cluster.keys.session(NodeName("h1"))):
        cluster.delete(key)
    await nodes.remove(cluster.client, "h1")
    assert not any("nodes/h1/" in key for key in cluster.contents())
    assert list((await cluster.client.read()).nodes) == ["h2"]


async def test_a_node_that_ran_more_vms_than_a_transaction_takes_is_removed_too(cluster: Cluster) -> None:
    cluster.join("h1", "h2")
    for number in range(300):
        cluster.see(f"vm{number}", "h1")
    for key in (cluster.keys.beat(NodeName("h1")), cluster.keys.session(NodeName("h1"))):
        cluster.delete(key)
    await nodes.remove(cluster.client, "h1")
    assert not any("nodes/h1/" in key for key in cluster.contents())


@pytest.mark.parametrize(
    ("hinder", "words"),
    [
        (lambda cluster: None, "it has a session"),
        (lambda cluster: offline_with(cluster, vm="web"), "it holds web.*confirm-off h1"),
        (lambda cluster: offline_with(cluster, domain="pref"), "failover domain pref names it"),
    ],
)
async def test_a_node_that_may_still_matter_is_not_removed(
    cluster: Cluster, hinder: Callable[[Cluster], None], words: str
) -> None:
    cluster.join("h1", "h2")
    hinder(cluster)
    before = cluster.contents()
    with pytest.raises(Rejected, match=words):
        await nodes.remove(cluster.client, "h1")
    assert cluster.contents() == before


def offline_with(cluster: Cluster, *, vm: str = "", domain: str = "") -> None:
    for key in (cluster.keys.beat(NodeName("h1")), cluster.keys.session(NodeName("h1"))):
        cluster.delete(key)
    if vm:
        cluster.place(vm, "h1")
    if domain:
        members = (FailoverDomainMember(node="h1"),)
        cluster.put(cluster.keys.domain(domain), FailoverDomain(name=domain, members=members))


class NotedStore(MemoryStore):
    """Notes which keys were read."""

    def __init__(self, etcd: MemoryEtcd, name: str) -> None:
        super().__init__(etcd, name)
        self.keys_read: set[str] = set()

    async def list(self, prefix: str, *, without: str = "", timeout_s: float = 10.0) -> Listing:
        listing = await super().list(prefix, without=without, timeout_s=timeout_s)
        self.keys_read |= {kv.key for kv in listing.items}
        return listing


async def test_drain_undrain_and_labels_of_a_node_read_nothing_of_other_nodes_and_of_vms(cluster: Cluster) -> None:
    cluster.join("h1", "h10", "h2")
    for vm in ("db", "web"):
        await vms.add_vm(cluster.client, vm, xml_of(vm))
    store = NotedStore(cluster.etcd, "other")
    client = OperatorClient(store, cluster.keys, SystemClock(), author="other")
    await nodes.drain(client, "h1")
    await nodes.label(client, "h1", {"rack": "7"})
    await nodes.undrain(client, "h1")
    assert store.keys_read
    assert {key for key in store.keys_read if not key.startswith(cluster.keys.node(NodeName("h1")))} == set()
    spec = (await cluster.client.read()).nodes[NodeName("h1")].spec
    assert spec
    assert (spec.value.maintenance, spec.value.labels) == (False, {"rack": "7"})
