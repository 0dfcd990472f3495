"""What an operator is shown."""

import json

import pytest

from tests.unit.operator.cluster import Cluster, xml_of
from vmha.model.ids import NodeName, SessionId
from vmha.model.records import Phase, SeenState
from vmha.operator import nodes, vms
from vmha.operator.errors import UnknownName
from vmha.operator.overview import Overview, as_plain, overview
from vmha.operator.why import as_plain as why_as_plain
from vmha.operator.why import sentences, why


async def shown(cluster: Cluster) -> Overview:
    return overview(await cluster.client.read(), cluster="test", wall=100.0)


async def test_the_plain_form_has_the_promised_keys(cluster: Cluster) -> None:
    cluster.elect()
    cluster.join("h1")
    await vms.add_vm(cluster.client, "web", xml_of("web"), start=True)
    cluster.run("web", "h1")
    plain = json.loads(json.dumps(as_plain(await shown(cluster))))
    assert plain["cluster"] == "test"
    assert set(plain["leader"]) == {"node", "session", "since", "term"}
    assert plain["leader"]["node"] == "h1"
    (node,) = plain["nodes"]
    promised = {"name", "condition", "session", "eligible", "why_not", "armed", "vms", "memory_mib", "address"}
    assert promised <= set(node)
    assert (node["condition"], node["eligible"], node["armed"], node["vms"]) == ("online", True, "guard", 1)
    (vm,) = plain["vms"]
    assert {"name", "state", "desired", "node", "epoch", "reason", "target", "last_node"} <= set(vm)
    assert (vm["state"], vm["desired"], vm["node"], vm["epoch"]) == ("running", "running", "h1", 1)
    assert plain["warnings"] == []


async def test_an_empty_cluster_is_shown_and_misses_a_leader(cluster: Cluster) -> None:
    plain = as_plain(await shown(cluster))
    assert (plain["leader"], plain["nodes"], plain["vms"]) == (None, [], [])
    assert "no leader" in plain["warnings"][0]


async def test_memory_in_use_counts_what_a_node_holds(cluster: Cluster) -> None:
    cluster.join("h1", "h2", memory_mib=1000)
    await vms.add_vm(cluster.client, "web", xml_of("web", memory_mib=300))
    await vms.add_vm(cluster.client, "db", xml_of("db", memory_mib=200))
    cluster.run("web", "h1")
    cluster.place("db", "h1", target=NodeName("h2"), phase=Phase.MIGRATING)
    lines = {line.name: line for line in (await shown(cluster)).nodes}
    assert (lines[NodeName("h1")].memory_used_mib, lines[NodeName("h2")].memory_used_mib) == (500, 200)


async def test_a_vm_that_runs_twice_is_the_first_warning(cluster: Cluster) -> None:
    cluster.join("h1", "h2")
    await vms.add_vm(cluster.client, "web", xml_of("web"))
    cluster.run("web", "h1")
    cluster.see("web", "h2")
    assert (await shown(cluster)).warnings[0] == "vm web RUNS TWICE: seen on h1, h2"


async def test_what_needs_attention_is_said(cluster: Cluster) -> None:
    cluster.elect()
    cluster.join("h1", "h2", "h3", "h4")
    cluster.lose_lease("h2")
    cluster.put_raw(cluster.keys.domain("x"), b"{}")
    cluster.see("ghost", "h1")
    warnings = "\n".join((await shown(cluster)).warnings)
    assert "node h2 is suspected to be lost" in warnings
    assert "domains/x" in warnings
    assert "vm ghost runs unmanaged on h1" in warnings


async def test_the_loss_of_most_nodes_at_once_is_named(cluster: Cluster) -> None:
    cluster.elect()
    cluster.join("h1", "h2", "h3")
    cluster.lose_lease("h2")
    cluster.lose_lease("h3")
    assert any("most nodes fell silent" in warning for warning in (await shown(cluster)).warnings)


async def test_a_drained_node_is_no_warning(cluster: Cluster) -> None:
    cluster.elect()
    cluster.join("h1")
    await nodes.drain(cluster.client, "h1", why="new memory")
    seen = await shown(cluster)
    assert seen.warnings == ()
    assert (seen.nodes[0].condition, seen.nodes[0].eligible) == ("maintenance", False)
    assert "new memory" in seen.nodes[0].why_not


async def test_why_tells_state_reason_and_what_each_node_said(cluster: Cluster) -> None:
    cluster.elect()
    cluster.join("h1", "h2")
    await vms.add_vm(cluster.client, "web", xml_of("web"), start=True)
    cluster.run("web", "h1")
    told = why(await cluster.client.read(), "web", wall=100.0)
    text = "\n".join(sentences(told))
    assert "web is running on h1." in text
    assert "Why: it is wanted running; h1 is the only node that can take it." in text
    assert "It is wanted running (started by operator)." in text
    assert "When it was placed, h1 could take it, with score 3 and was chosen." in text
    assert "When it was placed, h9 could not take it: h9 is offline." in text
    assert "Now h2 could take it, with score" in text
    plain = json.loads(json.dumps(why_as_plain(told)))
    assert plain["candidates"][1] == {"node": "h9", "score": 0, "refusal": "is offline"}
    assert plain["candidates_now"][1]["node"] == "h2"


async def test_why_tells_what_a_vm_waits_for(cluster: Cluster) -> None:
    cluster.elect()
    cluster.join("h1", memory_mib=100)
    await vms.add_vm(cluster.client, "web", xml_of("web", memory_mib=300), start=True)
    text = "\n".join(sentences(why(await cluster.client.read(), "web", wall=100.0)))
    assert "It waits: no node can take it: h1 has 100 MiB free of 100, the vm needs 300." in text


async def test_why_tells_that_a_lost_holder_is_waited_for(cluster: Cluster) -> None:
    cluster.elect("h2")
    cluster.join("h1", "h2")
    await vms.add_vm(cluster.client, "web", xml_of("web"), start=True)
    cluster.place("web", "h1", session=SessionId("s-older"))
    text = "\n".join(sentences(why(await cluster.client.read(), "web", wall=100.0)))
    assert "web is recovering" in text
    assert "waiting for proof that it does not run there" in text


async def test_why_of_an_unknown_vm_suggests_the_near_ones(cluster: Cluster) -> None:
    await vms.add_vm(cluster.client, "web", xml_of("web"))
    with pytest.raises(UnknownName, match="did you mean web"):
        why(await cluster.client.read(), "weeb", wall=0.0)


async def test_a_paused_vm_is_not_shown_as_running(cluster: Cluster) -> None:
    cluster.join("h1")
    await vms.add_vm(cluster.client, "web", xml_of("web"))
    cluster.place("web", "h1")
    cluster.see("web", "h1", SeenState.PAUSED)
    assert (await shown(cluster)).vms[0].state == "paused"
