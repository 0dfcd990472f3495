"""``vmha plan``: what may be supposed, how it is told, and that nothing is written."""

import json
from pathlib import Path

import pytest

from tests.unit.operator.cluster import Cluster, xml_of
from vmha.model.errors import Rejected
from vmha.operator import vms
from vmha.operator.apply import prepare
from vmha.operator.document import load_document
from vmha.operator.errors import UnknownName
from vmha.operator.forecast import Foretold, as_plain, is_all_well, parse, sentences, tell


@pytest.fixture
async def running(cluster: Cluster) -> Cluster:
    cluster.elect()
    cluster.join("h1", "h2", memory_mib=1000)
    await vms.add_vm(cluster.client, "web", xml_of("web", memory_mib=600), start=True)
    cluster.run("web", "h1")
    return cluster


async def told(cluster: Cluster, *supposed: str) -> Foretold:
    return tell(await cluster.client.read(), supposed, wall=100.0)


async def test_the_loss_of_a_node_is_told_and_nothing_is_written(running: Cluster) -> None:
    before = running.contents()
    found = await told(running, "node h1 lost")
    assert sentences(found)[0] == "Supposed: node h1 lost."
    assert sentences(found)[1].startswith("web would be recovered from h1 on h2, booting anew: h1 is fenced")
    assert is_all_well(found)
    plain = json.loads(json.dumps(as_plain(found)))
    (move,) = plain["moves"]
    assert (move["vm"], move["change"], move["from"], move["to"], move["live"]) == ("web", "recover", "h1", "h2", False)
    assert (plain["down"], plain["ends"], plain["supposed"]) == ([], True, ["node h1 lost"])
    assert running.contents() == before


async def test_what_would_be_interrupted_is_told_and_a_migration_is_not(running: Cluster) -> None:
    lost = tell(await running.client.read(), ["node h1 lost"], wall=1.0)
    drained = tell(await running.client.read(), ["node h1 drained"], wall=1.0)
    assert "Interrupted would be web: ended, and booted anew." in sentences(lost)
    assert "No guest would be interrupted." in sentences(drained)
    assert [as_plain(told)["interrupted"] for told in (lost, drained)] == [["web"], []]


async def test_nothing_to_do_is_said(running: Cluster) -> None:
    assert sentences(await told(running)) == ["Nothing would be started, stopped or moved."]


async def test_what_would_not_come_back_is_told_for_each_node(running: Cluster) -> None:
    await vms.add_vm(running.client, "db", xml_of("db", memory_mib=600), start=True)
    running.run("db", "h2")
    found = await told(running, "any  node lost")
    assert not is_all_well(found)
    lines = sentences(found)
    assert "If h1 were lost, web would not come back:" in lines
    assert any("h2 has 400 MiB free of 1000, the vm needs 600" in line for line in lines)
    plain = as_plain(found)
    assert [(one["node"], one["survives"]) for one in plain["any_node_lost"]] == [("h1", False), ("h2", False)]


async def test_many_nodes_whose_loss_costs_nothing_are_told_in_a_line(running: Cluster) -> None:
    running.join(*(f"n{number}" for number in range(30)), memory_mib=1000)
    lines = sentences(await told(running, "any node lost"))
    assert lines[1:] == ["If any one of 32 nodes were lost, every vm would come back."]


async def test_many_moves_are_cut_short_and_counted(running: Cluster) -> None:
    for number in range(6):
        await vms.add_vm(running.client, f"v{number}", xml_of(f"v{number}", memory_mib=10), start=True)
    found = await told(running, "node h1 lost")
    lines = sentences(found, at_most=2)
    assert len([line for line in lines if " would be " in line and "Interrupted" not in line]) == 2
    assert any(line.startswith("... and ") and "(--all)" in line for line in lines)
    assert not any("(--all)" in line for line in sentences(found))


async def test_a_document_that_is_not_applied_is_supposed(running: Cluster) -> None:
    text = f"vms: [{{name: new, desired: running, xml: {json.dumps(xml_of('new', memory_mib=300))}}}]"
    loaded = load_document(text, file="new.yaml", base=Path())
    before = running.contents()
    ops = [write.op for write in (await prepare(running.client, loaded)).writes]
    found = tell(await running.client.imagine(ops), [], wall=100.0)
    assert [(move.vm, move.target) for move in found.forecast.moves] == [("new", "h2")]
    with_a_loss = tell(await running.client.imagine(ops), ["node h2 lost", "vm web stopped"], wall=100.0)
    assert [(move.vm, move.target) for move in with_a_loss.forecast.moves] == [("new", "h1"), ("web", None)]
    assert running.contents() == before


@pytest.mark.parametrize(
    "text", ["", "node h1", "node h1 burnt", "h1 lost", "vm web as-found", "any node drained", "node h1 lost now"]
)
async def test_what_can_not_be_supposed_is_refused_with_what_can(running: Cluster, text: str) -> None:
    with pytest.raises(Rejected, match="accepted: 'node NAME lost'"):
        await told(running, text)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("any nod lost", "any node lost"),
        ("node h1 lots", "node h1 lost"),
        ("nod h1 draind", "node h1 drained"),
        ("h1 lost", "node h1 lost"),
        ("vm web stoped", "vm web stopped"),
    ],
)
async def test_what_can_not_be_supposed_suggests_what_was_meant(running: Cluster, text: str, near: str) -> None:
    with pytest.raises(Rejected, match=f"can not be supposed: did you mean '{near}'"):
        parse(text, await running.client.read())


@pytest.mark.parametrize("text", ["", "the moon fell", "lost"])
async def test_what_is_near_to_nothing_is_told_what_is_accepted(running: Cluster, text: str) -> None:
    with pytest.raises(Rejected, match=r"can not be supposed \(accepted: 'node NAME lost'"):
        parse(text, await running.client.read())


@pytest.mark.parametrize(("text", "near"), [("node h3 lost", "h1"), ("vm wep stopped", "web")])
async def test_an_unknown_name_suggests_the_near_ones(running: Cluster, text: str, near: str) -> None:
    with pytest.raises(UnknownName, match=near):
        await told(running, text)
