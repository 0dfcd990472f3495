"""Placement rules as an operator gives them: what is refused, in which words, what is written, and what is shown."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.unit.operator.cluster import Cluster, xml_of
from tests.unit.operator.test_apply import actions, apply
from vmha.model.errors import Refused, Rejected
from vmha.model.ids import NodeName
from vmha.model.rules import Rule
from vmha.model.service import Service
from vmha.model.vm import Desired, NodeSpec
from vmha.operator import vms
from vmha.operator.apply import MOST_OPS, ApplyPlan, commit, prepare
from vmha.operator.client import OperatorClient
from vmha.operator.document import load_document
from vmha.operator.errors import UnknownName
from vmha.operator.export import export
from vmha.operator.nodes import drain, label
from vmha.operator.overview import overview
from vmha.operator.rules import conflicts, find_rule, put_rule, remove_rule, rule_views, who_rules
from vmha.operator.services import put_service
from vmha.operator.why import sentences, why

APART = Rule(name="web-apart", apart=("web1", "web2"), hard=True)
DOCUMENT = """
rules:
  - name: web-apart
    apart: [web1, web2, web3]
    hard: true
  - name: near-cache
    together: [app, cache]
    hard: false
  - name: ssd-only
    vms: [db]
    on: {disk: ssd}
    off: {rack: b}
    hard: true
nodes:
  - name: h1
    labels: {disk: ssd, rack: a}
"""


@pytest.fixture
async def farm(cluster: Cluster) -> Cluster:
    cluster.join("h1", "h2")
    cluster.elect()
    for name in ("web1", "web2", "web3", "app", "cache", "db"):
        await vms.add_vm(cluster.client, name, xml_of(name))
        await vms.set_desired(cluster.client, name, Desired.STOPPED)
    return cluster


async def prepare_with(client: OperatorClient, text: str) -> ApplyPlan:
    return await prepare(client, load_document(text, file="c.yaml", base=Path()), prune=False)


# --- what a rule is


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "exactly one of the three is needed, none is given"),
        ({"apart": ["a", "b"], "together": ["a", "b"]}, "apart and together are given"),
        ({"apart": ["a"]}, r"apart: a alone \(accepted: at least two vms\)"),
        ({"together": ["a"]}, "together: a alone"),
        ({"apart": ["a", "b", "a"]}, "apart: a: named twice"),
        ({"together": ["a", "b"], "hard": True}, "vms that must be on one node are a service"),
        ({"vms": ["a"]}, "at least one of the two is needed"),
        ({"apart": ["a", "b"], "on": {"disk": "ssd"}}, "on: goes with vms only"),
        ({"vms": ["a"], "on": {"disk": "ssd"}, "off": {"disk": "ssd"}}, "disk=ssd: in both"),
        ({"vms": ["a"], "on": {"di sk": "ssd"}}, "di sk"),
        ({"vms": ["a"], "on": {"disk": ""}}, "disk"),
        ({"vms": ["a"], "on": {f"l{number}": "x" for number in range(33)}}, "at most 32"),
        ({"apart": ["a b", "c"]}, "a b"),
    ],
)
def test_rule_that_is_none_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Rule.model_validate({"name": "r", **fields})


def test_labels_of_a_node_are_named_by_the_rule_for_names_and_bounded() -> None:
    for labels in ({"": "x"}, {"a/b": "x"}, {"a": "x y"}, {f"l{number}": "x" for number in range(33)}, {"a" * 64: "x"}):
        with pytest.raises(ValueError, match="labels"):
            NodeSpec(name="h1", labels=labels)


# --- one at a time


async def test_rule_is_put_once_and_another_of_its_name_only_when_asked_for(farm: Cluster) -> None:
    assert await put_rule(farm.client, APART) == APART
    assert await put_rule(farm.client, APART) == APART
    other = Rule(name="web-apart", apart=("web1", "web3"))
    with pytest.raises(Rejected, match="--replace"):
        await put_rule(farm.client, other)
    await put_rule(farm.client, other, replace=True)
    assert find_rule(await farm.client.read(), "web-apart") == other


async def test_vm_that_is_not_there_is_refused_with_the_near_names(farm: Cluster) -> None:
    before = farm.contents()
    with pytest.raises(Rejected, match="apart: there is no vm 'web4': did you mean web1 or web2 or web3"):
        await put_rule(farm.client, Rule(name="r", apart=("web1", "web4")))
    assert farm.contents() == before


async def test_removed_rule_leaves_its_vms_as_they_are(farm: Cluster) -> None:
    before = farm.state()
    await put_rule(farm.client, APART)
    await remove_rule(farm.client, "web-apart")
    assert farm.state() == before
    with pytest.raises(UnknownName, match="there is no rule 'web-apart'"):
        await remove_rule(farm.client, "web-apart")


async def test_vm_can_be_removed_while_a_rule_names_it_and_the_rule_stays(farm: Cluster) -> None:
    """As with depends_on."""
    await put_rule(farm.client, APART)
    await vms.remove_vm(farm.client, "web1")
    snapshot = await farm.client.read()
    assert who_rules("web1", snapshot) == ["web-apart"]
    (view,) = rule_views(snapshot)
    assert [place["defined"] for place in view["where"]] == [False, True]
    await apply(farm, "config: {profile: tuned}\n")  # and stands in nobody's way


# --- contradictions


HARD: dict[str, Any] = {"hard": True}


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (
            [Rule(name="t", together=("a", "b", "c")), Rule(name="x", apart=("c", "d", "b"))],
            "rule t puts b and c together, and rule x keeps them apart (accepted: one of the two)",
        ),
        (
            [Rule(name="x", apart=("a", "db", "app"), hard=True)],
            "rule x keeps db and app apart, and service shop keeps them on one node "
            "(accepted: at most one vm of a service in a hard rule of vms apart)",
        ),
        (
            [Rule(name="p", vms=("a", "b"), on={"disk": "ssd"}), Rule(name="q", vms=("b",), off={"disk": "ssd"})],
            "rule p wants b on disk=ssd, rule q wants b off disk=ssd (accepted: one of the two)",
        ),
        (
            [
                Rule(name="p", vms=("a",), on={"disk": "ssd"}, **HARD),
                Rule(name="q", vms=("a",), on={"disk": "hdd"}, **HARD),
            ],
            "rule p wants a on disk=ssd, rule q wants a on disk=hdd (accepted: one of the two)",
        ),
        (
            [
                Rule(name="p", vms=("db",), on={"disk": "ssd"}, **HARD),
                Rule(name="q", vms=("app",), off={"disk": "ssd"}, **HARD),
            ],
            "rule p wants db on disk=ssd, rule q wants app off disk=ssd, and service shop keeps them on one node "
            "(accepted: one of the two)",
        ),
    ],
)
def test_contradiction_is_told_by_the_smallest_set_that_makes_it(rules: list[Rule], words: str) -> None:
    others = [Rule(name="far", apart=("y", "z")), Rule(name="else", vms=("z",), on={"disk": "ssd"})]
    services = [Service(name="shop", members=("db", "app"))]
    found = list(conflicts({rule.name: rule for rule in [*others, *rules]}, services))
    assert [conflict.text for conflict in found] == [words]
    assert set(found[0].rules) == {rule.name for rule in rules}


def test_what_only_can_not_always_be_met_is_no_contradiction() -> None:
    services = [Service(name="shop", members=("db", "app"))]
    rules = [
        Rule(name="more-than-nodes", apart=tuple("abcdefghij"), hard=True),
        Rule(name="soft", apart=("db", "app")),
        Rule(name="either", vms=("a",), on={"disk": "ssd"}),
        Rule(name="or", vms=("a",), on={"disk": "nvme"}),
        Rule(name="one-of-both", together=("a", "k")),
        Rule(name="others", vms=("b",), off={"disk": "ssd"}, hard=True),
    ]
    assert list(conflicts({rule.name: rule for rule in rules}, services)) == []


async def test_rule_and_service_that_contradict_each_other_are_refused_whichever_comes_second(farm: Cluster) -> None:
    await put_rule(farm.client, APART)
    words = "rule web-apart keeps web1 and web2 apart, and service s keeps them on one node"
    before = farm.contents()
    with pytest.raises(Rejected, match=words):
        await put_service(farm.client, Service(name="s", members=("web1", "web2")))
    with pytest.raises(Rejected, match=r"c.yaml:1: services\[s\]: " + words):
        await apply(farm, "services: [{name: s, members: [web1, web2]}]")
    assert farm.contents() == before
    await remove_rule(farm.client, "web-apart")
    await put_service(farm.client, Service(name="s", members=("web1", "web2")))
    with pytest.raises(Rejected, match=words):
        await put_rule(farm.client, APART)
    with pytest.raises(Rejected, match=r"rules\[web-apart\]: " + words):
        await apply(farm, "rules: [{name: web-apart, apart: [web1, web2], hard: true}]")
    await apply(farm, "rules: [{name: web-apart, apart: [web1, web2], hard: true}]\nservices: []", prune=True)


@pytest.mark.parametrize("by_document", [False, True])
async def test_two_rules_put_at_once_that_contradict_each_other_are_one_rule_and_one_refusal(
    farm: Cluster, by_document: bool
) -> None:
    for name in ("first", "second"):
        farm.etcd.slow(name, 0.02)  # both have read before either writes
    together = Rule(name="near", together=("web1", "web2"), hard=False)
    text = "rules: [{name: near, together: [web1, web2], hard: false}]"
    second = farm.new_client("second")
    results = await asyncio.gather(
        put_rule(farm.new_client("first"), APART),
        commit(second, await prepare_with(second, text)) if by_document else put_rule(second, together),
        return_exceptions=True,
    )
    refusals = [result for result in results if isinstance(result, Rejected | Refused)]
    assert len(refusals) == len((await farm.client.read()).rules) == 1, results


async def test_rule_and_service_put_at_once_that_contradict_each_other_are_one_and_one_refusal(farm: Cluster) -> None:
    for name in ("first", "second"):
        farm.etcd.slow(name, 0.02)
    results = await asyncio.gather(
        put_rule(farm.new_client("first"), APART),
        put_service(farm.new_client("second"), Service(name="s", members=("web1", "web2"))),
        return_exceptions=True,
    )
    snapshot = await farm.client.read()
    assert [type(result) for result in results].count(Rejected) == 1, results
    assert len(snapshot.rules) + len(snapshot.services) == 1


async def test_two_services_put_at_once_that_want_one_vm_are_one_service(farm: Cluster) -> None:
    for name in ("first", "second"):
        farm.etcd.slow(name, 0.02)
    results = await asyncio.gather(
        put_service(farm.new_client("first"), Service(name="s", members=("web1", "web2"))),
        put_service(farm.new_client("second"), Service(name="t", members=("web2", "web3"))),
        return_exceptions=True,
    )
    assert [type(result) for result in results].count(Rejected) == 1, results
    assert len((await farm.client.read()).services) == 1


async def test_document_of_more_rules_than_one_transaction_holds_is_written_whole(farm: Cluster) -> None:
    rules = [f"{{name: r{n}, vms: [db], on: {{disk: ssd}}, hard: true}}" for n in range(MOST_OPS + 20)]
    await apply(farm, f"rules: [{', '.join(rules)}]")
    assert len((await farm.client.read()).rules) == MOST_OPS + 20


# --- in documents


async def test_document_brings_rules_and_labels_and_its_export_changes_nothing(farm: Cluster) -> None:
    plan = await apply(farm, DOCUMENT)
    assert actions(plan)["rule ssd-only"] == "created"
    snapshot = await farm.client.read()
    assert snapshot.rules["web-apart"] == Rule(name="web-apart", apart=("web1", "web2", "web3"), hard=True)
    assert snapshot.rules["ssd-only"].on == {"disk": "ssd"}
    assert (await prepared_again(farm)).is_empty
    assert (await apply(farm, DOCUMENT)).is_empty


async def prepared_again(farm: Cluster) -> Any:
    return await apply(farm, export(await farm.client.read()), prune=True)


async def test_pruning_removes_the_rules_that_the_list_does_not_name(farm: Cluster) -> None:
    await apply(farm, DOCUMENT)
    await apply(farm, "vms: []\n")  # no list of rules: they are left alone
    assert len((await farm.client.read()).rules) == 3
    await apply(farm, "rules: [{name: near-cache, together: [app, cache]}]\n", prune=True)
    assert list((await farm.client.read()).rules) == ["near-cache"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rules: [{name: r, apart: [web1, web9]}]", r"rules\[r\].apart\[1\]: there is no vm 'web9'"),
        ("rules: [{name: r, apart: [web1]}]", "at least two vms"),
        ("rules: [{name: r, together: [web1, web2], hard: true}]", "are a service"),
        ("rules: [{name: r, vms: [db], on: {disk: 3}}]", r"rules\[r\].on.disk: 3 \(accepted: a valid string\)"),
        (
            "rules: [{name: r, vms: [db], no: {disk: ssd}}]",
            "unknown key .accepted: name, apart, together, vms, on, off, hard",
        ),
        ("rules: [{name: r, apart: [db, app]}, {name: r, apart: [db, app]}]", "'r': named twice"),
        ("nodes: [{name: h1, labels: {a b: c}}]", "'a b' .accepted: letters"),
        ("nodes: [{name: h1, labels: [ssd]}]", "accepted: a mapping"),
        (
            "rules: [{name: t, together: [db, app]}, {name: x, apart: [app, db]}]",
            r"rules\[x\]: rule t puts db and app together, and rule x keeps them apart",
        ),
    ],
)
async def test_what_does_not_fit_in_a_document_is_named_and_nothing_is_written(
    farm: Cluster, text: str, words: str
) -> None:
    before = farm.contents()
    with pytest.raises(Rejected, match=words):
        await apply(farm, text)
    assert farm.contents() == before


async def test_unreadable_rule_is_told_and_the_others_count(farm: Cluster) -> None:
    await put_rule(farm.client, APART)
    farm.put_raw(farm.keys.rule("bad"), b'{"name":"bad","apart":["x"]}')
    farm.put_raw(farm.keys.rule("alias"), b'{"name":"other","apart":["web1","web2"]}')
    farm.put_raw(farm.keys.rule("newer"), b'{"name":"newer","apart":["web1","web3"],"weight":3}')
    snapshot = await farm.client.read()
    assert sorted(snapshot.rules) == ["newer", "web-apart"]
    assert sorted(key.rpartition("/")[2] for key in snapshot.problems) == ["alias", "bad"]


# --- labels of nodes


async def test_labels_are_added_changed_and_taken_away_and_a_drain_keeps_them(farm: Cluster) -> None:
    await label(farm.client, "h1", {"disk": "hdd", "rack": "a"})
    assert (await label(farm.client, "h1", {"disk": "ssd"}, ["rack"])).labels == {"disk": "ssd"}
    await drain(farm.client, "h1")
    view = (await farm.client.read()).nodes[NodeName("h1")]
    assert view.spec is not None
    assert (view.spec.value.maintenance, view.spec.value.labels) == (True, {"disk": "ssd"})
    with pytest.raises(UnknownName, match="there is no label of h1 'dusk': did you mean disk"):
        await label(farm.client, "h1", {}, ["dusk"])
    with pytest.raises(Rejected, match=r"node h1: labels.*'b c' \(accepted: letters"):
        await label(farm.client, "h1", {"a": "b c"})
    with pytest.raises(UnknownName):
        await label(farm.client, "h7", {"a": "b"})


# --- what is shown


async def test_status_warns_of_a_hard_rule_that_is_broken_and_why_names_it(farm: Cluster) -> None:
    await put_rule(farm.client, APART)
    for name in ("web1", "web2"):
        await vms.set_desired(farm.client, name, Desired.RUNNING)
        farm.run(name, "h1")
    snapshot = await farm.client.read()
    shown = overview(snapshot, cluster="test", wall=farm.client.clock.wall())
    words = "rule web-apart keeps web1 and web2 apart, and they are on h1 together"
    assert any(warning.startswith(words) for warning in shown.warnings)
    told = sentences(why(snapshot, "web1", wall=farm.client.clock.wall()))
    assert "Rule web-apart keeps it apart from web2 (on h1)." in told
    assert any(line.startswith(f"Mind: {words}") for line in told)
    (view,) = rule_views(snapshot, "web-apart")
    assert view["where"][0] == {"name": "web1", "node": "h1", "defined": True}
    assert view["broken"][0].startswith(words)


async def test_why_names_the_rule_for_which_a_node_could_not_take_the_vm(farm: Cluster) -> None:
    await put_rule(farm.client, APART)
    for name, node in (("web1", "h1"), ("web2", "h2")):
        await vms.set_desired(farm.client, name, Desired.RUNNING)
        farm.run(name, node)
    told = sentences(why(await farm.client.read(), "web1", wall=farm.client.clock.wall()))
    assert any("h2 runs web2, which rule web-apart keeps apart from web1" in line for line in told)
