"""What an operator is shown."""

import json

import pytest

from tests.unit.operator.cluster import Cluster, xml_of
from vmha.model.ids import NodeName, SessionId, VmName
from vmha.model.records import FenceAttempt, FenceStage, Phase, SeenState
from vmha.model.settings import Afterwards, ClusterConfig, Fencing
from vmha.model.vm import FenceDeviceSpec, NodeSpec, VmSpec
from vmha.operator import nodes, vms
from vmha.operator.errors import UnknownName
from vmha.operator.node_why import as_plain as node_as_plain
from vmha.operator.node_why import sentences as node_sentences
from vmha.operator.node_why import why_node
from vmha.operator.overview import Overview, as_plain, overview
from vmha.operator.story import sentences as told_story
from vmha.operator.story import story
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


async def fencing_that_failed(cluster: Cluster) -> None:
    """h2 holds web and is silent; its fence agent failed for the third time at 95 and is due again at 100."""
    cluster.elect()
    cluster.join("h1", "h2", "h3")
    await vms.add_vm(cluster.client, "web", xml_of("web"), start=True)
    cluster.run("web", "h2")
    device = FenceDeviceSpec(agent="fence_ipmilan")
    cluster.put(cluster.keys.node_spec(NodeName("h2")), NodeSpec(name="h2", fence=(device,)))
    cluster.lose_lease("h2")
    session = (await cluster.client.read()).nodes[NodeName("h2")].session_id
    assert session
    attempt = FenceAttempt(
        node=NodeName("h2"),
        session=session,
        stage=FenceStage.FAILED,
        attempts=3,
        message="fence_ipmilan: exit code 1: Connection timed out (action off of h2, expected exit code: 0)",
        at=95.0,
        next_at=100.0,
        by=NodeName("h1"),
    )
    cluster.put(cluster.keys.fence_attempt(NodeName("h2")), attempt)


async def test_fencing_that_fails_is_shown_with_what_was_said_and_the_next_try(cluster: Cluster) -> None:
    await fencing_that_failed(cluster)
    seen = overview(await cluster.client.read(), cluster="test", wall=97.0)
    (line,) = [node.fencing for node in seen.nodes if node.name == "h2"]
    assert line.startswith("attempt 3 failed: fence_ipmilan: exit code 1: Connection timed out")
    assert line.endswith("; the next is in 3 s")
    assert any(line in warning for warning in seen.warnings)
    (reason,) = [vm.reason for vm in seen.vms]
    assert "waiting for a beat, or for proof that it does not run there, by its fence agent fence_ipmilan" in reason
    assert "or its guard, which has acted" in reason
    assert "or your word: vmha node confirm-off h2" in reason


@pytest.mark.parametrize(
    ("stage", "says"),
    [
        (FenceStage.OFF, "its power is off: fence_ipmilan: so it is"),
        (FenceStage.SWITCHING_ON, "it is being switched on again, attempt 2"),
        (
            FenceStage.NOT_ON,
            "it was not switched on again, attempt 2 failed: fence_ipmilan: so it is; the next is in 3 s",
        ),
        (FenceStage.ON, "it was switched on again (fence_ipmilan: so it is), and is not back yet"),
        (FenceStage.LEFT_OFF, "it fence_ipmilan: so it is"),
    ],
)
async def test_node_that_is_off_says_what_becomes_of_it(cluster: Cluster, stage: FenceStage, says: str) -> None:
    cluster.elect()
    cluster.join("h1")
    h2 = NodeName("h2")
    cluster.put(cluster.keys.node_spec(h2), NodeSpec(name="h2", maintenance=True, fence=(FenceDeviceSpec(agent="f"),)))
    attempt = FenceAttempt(
        node=h2,
        session=SessionId("h2-1"),
        stage=stage,
        attempts=2,
        message="fence_ipmilan: so it is",
        at=95.0,
        next_at=100.0,
        by=NodeName("h1"),
    )
    cluster.put(cluster.keys.fence_attempt(h2), attempt)
    cluster.put(cluster.keys.config, ClusterConfig(fencing=Fencing(afterwards=Afterwards.POWER_ON)))
    snapshot = await cluster.client.read()
    (line,) = [node.fencing for node in overview(snapshot, cluster="test", wall=97.0).nodes if node.name == "h2"]
    assert line == says
    text = "\n".join(node_sentences(why_node(snapshot, "h2", wall=97.0), wall=97.0))
    assert f"Fencing: {says}." in text
    is_left_so = "It is not switched on again: it is in maintenance." in text
    assert is_left_so is (stage not in (FenceStage.ON, FenceStage.LEFT_OFF))


async def test_why_of_a_node_tells_what_is_armed_what_was_tried_and_what_is_waited_for(cluster: Cluster) -> None:
    await fencing_that_failed(cluster)
    told = why_node(await cluster.client.read(), "h2", wall=100.0)
    text = "\n".join(node_sentences(told, wall=100.0))
    assert "h2 is suspect: it is suspected to be lost." in text
    assert "It holds web." in text
    assert "its guard ends its guests" in text
    assert "Fence agents: fence_ipmilan." in text
    assert "Fencing: attempt 3 failed: fence_ipmilan" in text
    assert "the next is due." in text
    assert "Its vms wait for a proof, by its fence agent fence_ipmilan" in text
    assert json.loads(json.dumps(node_as_plain(told)))["attempt"]["attempts"] == 3


async def test_why_of_a_healthy_node_waits_for_nothing(cluster: Cluster) -> None:
    cluster.elect()
    cluster.join("h1")
    told = why_node(await cluster.client.read(), "h1", wall=100.0)
    assert (told.condition, told.refusal, told.waits_for, told.proofs) == ("online", "", (), ())
    with pytest.raises(UnknownName, match="did you mean h1"):
        why_node(await cluster.client.read(), "h11", wall=100.0)


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


async def test_why_tells_what_would_end_the_wait_and_why_not_there(cluster: Cluster) -> None:
    cluster.elect()
    cluster.join("h1", "h2", memory_mib=100)
    await nodes.drain(cluster.client, "h2")
    await vms.add_vm(cluster.client, "big", xml_of("big", memory_mib=300), start=True)
    told = why(await cluster.client.read(), "big", wall=100.0)
    assert "That ends when h1 has room for it" in "\n".join(sentences(told))
    assert why_as_plain(told)["ends_when"][1] == "h2 is let in again (vmha node undrain h2)"
    await nodes.undrain(cluster.client, "h2")
    await vms.add_vm(cluster.client, "web", xml_of("web"), start=True)
    cluster.run("web", "h1")
    told = why(await cluster.client.read(), "web", wall=100.0)
    assert told.ends_when == ()
    assert "Now h2 could take it, with score 3; h1 is as good" in "\n".join(sentences(told))
    assert why_as_plain(told)["why_not_there"] == {"h2": "h1 is as good, and what runs well is left where it is"}


async def test_why_of_a_node_tells_what_its_vms_do_and_what_a_drain_would_do_with_them(cluster: Cluster) -> None:
    cluster.elect()
    cluster.join("h1", "h2", memory_mib=1000)
    for name in ("web", "db"):
        await vms.add_vm(cluster.client, name, xml_of(name, memory_mib=600), start=True)
        cluster.run(name, "h1")
    text = "\n".join(node_sentences(why_node(await cluster.client.read(), "h1", wall=100.0), wall=100.0))
    assert "h1 is online; it may take vms." in text
    assert "Its self-fence is guard:" in text
    assert "There web is running on h1." in text
    assert "A drain would send db to h2." in text
    assert "A drain could not send web away: no node can take it" in text
    plain = node_as_plain(why_node(await cluster.client.read(), "h2", wall=100.0))
    assert (plain["may_receive"], plain["doing"], plain["drain"]) == (True, {}, ())


async def test_why_of_a_node_says_what_it_is_once(cluster: Cluster) -> None:
    cluster.join("h1", "h2")
    await nodes.drain(cluster.client, "h1", why="new memory")
    cluster.delete(cluster.keys.beat(NodeName("h2")))
    cluster.lose_lease("h2")
    snapshot = await cluster.client.read()
    first = [node_sentences(why_node(snapshot, node, wall=100.0), wall=100.0)[0] for node in ("h1", "h2")]
    assert first == ["h1 is in maintenance (drained by operator: new memory).", "h2 is offline."]


async def test_story_of_a_vm_is_told_as_long_as_the_journal_knows_it(cluster: Cluster) -> None:
    with pytest.raises(UnknownName):
        await story(cluster.client, "web")
    await vms.add_vm(cluster.client, "web", xml_of("web"))
    assert [text for _, text in told_story(await story(cluster.client, "web"), str)] == ["vm web is added by operator"]
    cluster.put(cluster.keys.vm_spec(VmName("db")), VmSpec(name="db", xml="<domain/>", uuid="u", memory_mib=64))
    assert await story(cluster.client, "db") == ()
    with pytest.raises(UnknownName, match="did you mean web"):
        await story(cluster.client, "weeb")
    await vms.remove_vm(cluster.client, "web")
    added, removed = [text for _, text in told_story(await story(cluster.client, "web"), str)]
    assert (added, removed.partition(";")[0]) == ("vm web is added by operator", "vm web is removed by operator")
