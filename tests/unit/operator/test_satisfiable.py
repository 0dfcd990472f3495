"""Rules and failover domains that together leave vms no node: refused, by the smallest set."""

from collections.abc import Awaitable, Callable
from itertools import combinations, permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.operator.cluster import Cluster, xml_of
from tests.unit.operator.test_apply import apply
from vmha.model.errors import Rejected
from vmha.model.rules import Rule
from vmha.model.service import Service
from vmha.model.vm import FailoverDomain, FailoverDomainMember
from vmha.operator import vms
from vmha.operator.client import OperatorClient
from vmha.operator.domains import add_domain
from vmha.operator.nodes import label
from vmha.operator.overview import overview
from vmha.operator.rules import put_rule
from vmha.operator.services import put_service
from vmha.policy.telling.no_node_left import Layout, no_node_left

SSD = Rule(name="ssd", vms=("db",), on={"disk": "ssd"}, hard=True)
RACK_B = Rule(name="rack-b", vms=("db", "app"), on={"rack": "b"}, hard=True)
WEB_APART = Rule(name="web-apart", apart=("web1", "web2", "web3"), hard=True)
LABELS = {"h1": {"disk": "ssd", "rack": "a"}, "h2": {"rack": "b"}, "h3": {}}


def domain(name: str, *nodes: str, restricted: bool = True) -> FailoverDomain:
    return FailoverDomain(
        name=name, restricted=restricted, members=tuple(FailoverDomainMember(node=node) for node in nodes)
    )


@pytest.fixture
async def farm(cluster: Cluster) -> Cluster:
    """Three nodes, of which the first two have labels; one of them is offline."""
    cluster.join("h1", "h2", "h3")
    cluster.elect()
    cluster.lose_lease("h3")
    for name, labels in LABELS.items():
        await label(cluster.client, name, labels)
    await add_domain(cluster.client, domain("home", "h2", "h3"))
    for name in ("db", "app", "web1", "web2", "web3"):
        await vms.add_vm(cluster.client, name, xml_of(name))
    return cluster


Act = Callable[[OperatorClient], Awaitable[Any]]


async def refused(farm: Cluster, act: Act, words: str) -> None:
    before = farm.contents()
    with pytest.raises(Rejected) as error:
        await act(farm.client)
    assert str(error.value) == words
    assert farm.contents() == before


# --- each verb refuses what it would make impossible


SSD_AT_HOME = (
    "no node is left for db: rule ssd keeps db on nodes labelled disk=ssd and failover domain home keeps it on h2 "
    "and h3 (accepted: a node that suits both, or one of these less)"
)


async def test_label_and_restricted_failover_domain_that_no_node_suits_are_refused_whichever_comes_last(
    farm: Cluster,
) -> None:
    await put_rule(farm.client, SSD)
    await refused(farm, lambda client: vms.edit(client, "db", failover_domain="home"), SSD_AT_HOME)
    await add_domain(farm.client, domain("wide", "h1", "h2"))
    await vms.edit(farm.client, "db", failover_domain="wide")
    narrow = SSD_AT_HOME.replace("home keeps it on h2 and h3", "wide keeps it on h2")
    await refused(farm, lambda client: add_domain(client, domain("wide", "h2"), replace=True), narrow)
    await add_domain(farm.client, domain("wide", "h2", restricted=False), replace=True)  # that leaves all nodes


async def test_rule_for_a_vm_that_its_failover_domain_keeps_elsewhere_is_refused(farm: Cluster) -> None:
    await vms.edit(farm.client, "db", failover_domain="home")
    await refused(farm, lambda client: put_rule(client, SSD), SSD_AT_HOME)
    await put_rule(farm.client, SSD.model_copy(update={"hard": False}))


async def test_two_label_rules_that_no_node_suits_are_refused_and_others_of_the_vm_are_not_named(farm: Cluster) -> None:
    await put_rule(farm.client, Rule(name="any", vms=("db",), off={"disk": "tape"}, hard=True))
    await put_rule(farm.client, SSD)
    words = (
        "no node is left for db: rule rack-b keeps db on nodes labelled rack=b and rule ssd keeps db on nodes labelled "
        "disk=ssd (accepted: a node that suits both, or one of these less)"
    )
    await refused(farm, lambda client: put_rule(client, RACK_B), words)
    await label(farm.client, "h3", {"rack": "b", "disk": "ssd"})  # it is offline, and would do
    await put_rule(farm.client, RACK_B)


async def test_more_vms_apart_than_the_nodes_that_are_left_to_them_are_refused(farm: Cluster) -> None:
    await put_rule(farm.client, WEB_APART)
    for name in ("web1", "web3"):
        await vms.edit(farm.client, name, failover_domain="home")
    words = (
        "rule web-apart keeps web1, web2 and web3 apart, and only h2 and h3 are left for these 3: failover domain home "
        "keeps web1, web2 and web3 on h2 and h3 (accepted: at most 2 of them apart, or more nodes for them)"
    )
    await refused(farm, lambda client: vms.edit(client, "web2", failover_domain="home"), words)
    one = Rule(name="in-b", vms=("web1", "web3"), on={"rack": "b"}, hard=True)
    words = (
        "rule web-apart keeps web1 and web3 apart, and only h2 is left for these 2: rule in-b keeps web1 and web3 on "
        "nodes labelled rack=b (accepted: at most 1 of them apart, or more nodes for them)"
    )
    await refused(farm, lambda client: put_rule(client, one), words)


async def test_rules_of_vms_that_a_service_keeps_on_one_node_count_together(farm: Cluster) -> None:
    await put_rule(farm.client, SSD)
    await put_rule(farm.client, RACK_B.model_copy(update={"vms": ("app",)}))
    words = (
        "no node is left for service shop: rule rack-b keeps app on nodes labelled rack=b and rule ssd keeps db on "
        "nodes labelled disk=ssd (accepted: a node that suits both, or one of these less)"
    )
    await refused(farm, lambda client: put_service(client, Service(name="shop", members=("db", "app"))), words)
    shop = Service(name="shop", members=("db", "web1"), failover_domain="home")
    await refused(farm, lambda client: put_service(client, shop), SSD_AT_HOME.replace("for db", "for service shop"))


# --- documents


async def test_document_is_refused_as_a_whole_and_judged_with_the_nodes_that_it_names(farm: Cluster) -> None:
    text = """
failover_domains: [{name: here, restricted: true, members: [{node: h2}, {node: h4}]}]
nodes: [{name: h4%s}]
vms:
  - {name: db, failover_domain: here, xml: "<domain type='qemu'><name>db</name><memory unit='MiB'>64</memory></domain>"}
rules:
  - {name: ssd, vms: [db], on: {disk: ssd}, hard: true}
"""
    before = farm.contents()
    with pytest.raises(Rejected, match=r"c.yaml:7: rules\[ssd\]: no node is left for db: .* keeps it on h2 and h4 "):
        await apply(farm, text % "")
    assert farm.contents() == before
    await apply(farm, text % ", labels: {disk: ssd}")
    with pytest.raises(Rejected, match=r"nodes: no node is left for db"):
        await apply(farm, "nodes: [{name: h4}]")


async def test_what_is_impossible_since_a_label_was_lost_is_told_and_keeps_nothing_else_out(farm: Cluster) -> None:
    await add_domain(farm.client, domain("wide", "h1", "h2"))
    await vms.edit(farm.client, "db", failover_domain="wide")
    await put_rule(farm.client, SSD)
    await label(farm.client, "h3", {"disk": "ssd"})
    await label(farm.client, "h1", {}, ["disk"])
    words = SSD_AT_HOME.replace("home keeps it on h2 and h3", "wide keeps it on h1 and h2")
    shown = overview(await farm.client.read(), cluster="test", wall=farm.client.clock.wall())
    assert words in shown.warnings
    await put_rule(farm.client, WEB_APART)
    await put_rule(farm.client, Rule(name="more", vms=("db", "app"), off={"disk": "tape"}, hard=True))
    await vms.edit(farm.client, "db", priority=200)
    await add_domain(farm.client, domain("wide", "h2", "h1"), replace=True)
    await apply(farm, "rules: [{name: ssd, vms: [db], on: {disk: ssd}, hard: true}]\nconfig: {profile: tuned}\n")
    await vms.edit(farm.client, "app", failover_domain="wide")
    with pytest.raises(Rejected, match="no node is left for app: "):  # another vm: that is new
        await put_rule(farm.client, SSD.model_copy(update={"vms": ("db", "app")}), replace=True)


async def test_rule_that_no_node_suits_by_itself_is_left_to_the_nodes_that_are_yet_to_come(farm: Cluster) -> None:
    await put_rule(farm.client, Rule(name="tape", vms=("db",), on={"disk": "tape"}, hard=True))
    await vms.edit(farm.client, "db", failover_domain="home")
    await put_rule(farm.client, Rule(name="all", apart=("db", "app", "web1", "web2", "web3"), hard=True))


# --- of any layout: by trying out where the vms could be


NODES, VMS = ("n1", "n2", "n3"), ("a", "b", "c", "d")


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    label_of = st.sampled_from([{}, {"x": "1"}, {"y": "1"}, {"x": "1", "y": "1"}])
    rules = [Rule(name="apart", apart=tuple(draw(st.permutations(VMS))[: draw(st.integers(2, 4))]), hard=True)]
    for name in ("x", "y"):
        named = tuple(draw(st.permutations(VMS))[: draw(st.integers(1, 4))])
        rules.append(Rule(name=name, vms=named, on={name: "1"}, hard=True))
    members = draw(st.permutations(NODES))[: draw(st.integers(1, 3))]
    return Layout(
        nodes={node: draw(label_of) for node in NODES},
        domains={"d": domain("d", *members)},
        rules={rule.name: rule for rule in rules if draw(st.booleans())},
        services={},
        vms={vm: draw(st.sampled_from([None, "d"])) for vm in VMS},
    )


def can_all_be(layout: Layout, vms: tuple[str, ...], rules: tuple[str, ...], domains: tuple[str, ...]) -> bool:
    """Each on some node, by these alone: every way to put them is tried."""

    def may(vm: str, node: str) -> bool:
        named = layout.vms[vm]
        members = [m.node for m in layout.domains[named].members] if named and named in domains else [node]
        given = [layout.rules[name] for name in rules if vm in layout.rules[name].vms]
        return node in members and all(layout.nodes[node].get(k) == v for rule in given for k, v in rule.on.items())

    if "apart" in rules:
        return any(all(map(may, vms, nodes)) for nodes in permutations(layout.nodes, len(vms)))
    return all(any(may(vm, node) for node in layout.nodes) for vm in vms)


@given(layout=layouts())
def test_each_set_that_is_named_is_impossible_and_with_one_less_it_is_not(layout: Layout) -> None:
    for one in no_node_left(layout):
        assert not can_all_be(layout, one.vms, one.rules, one.domains)
        causes = [("rule", name) for name in one.rules] + [("domain", name) for name in one.domains]
        for left in combinations(causes, len(causes) - 1):
            rules = tuple(name for kind, name in left if kind == "rule")
            assert can_all_be(layout, one.vms, rules, tuple(name for kind, name in left if kind == "domain")), one.text


@given(layout=layouts())
def test_what_nothing_is_said_of_is_possible_for_every_vm_and_every_rule(layout: Layout) -> None:
    if list(no_node_left(layout)):
        return
    kept = tuple(r for r in layout.rules if r != "apart" and can_all_be(layout, layout.rules[r].vms, (r,), ()))
    for vm in VMS:
        assert can_all_be(layout, (vm,), kept, ("d",))
    if "apart" in layout.rules and len(layout.rules["apart"].apart) <= len(NODES):
        assert can_all_be(layout, layout.rules["apart"].apart, ("apart", *kept), ("d",))


@given(layout=layouts())
def test_nothing_is_said_of_what_was_so_before(layout: Layout) -> None:
    assert list(no_node_left(layout, layout)) == []
