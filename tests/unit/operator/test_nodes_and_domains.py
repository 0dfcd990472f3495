"""Draining nodes, and failover domains."""

from collections.abc import Callable

import pytest

from tests.unit.operator.cluster import Cluster, xml_of
from vmha.model.errors import Rejected
from vmha.model.ids import NodeName
from vmha.model.records import Phase
from vmha.model.vm import FailoverDomain, FailoverDomainMember
from vmha.operator import domains, nodes, vms
from vmha.operator.errors import UnknownName


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
