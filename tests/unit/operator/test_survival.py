"""N+1 as an operator reads it, and what a change is warned of."""

import json
from pathlib import Path

import pytest

from tests.unit.operator.cluster import Cluster, xml_of
from vmha.cli.output import Screen
from vmha.cli.status_view import look, render
from vmha.model.ids import NodeName, VmName
from vmha.operator import nodes, vms
from vmha.operator.apply import prepare
from vmha.operator.document import load_document
from vmha.operator.overview import as_plain
from vmha.operator.survival import cost, cost_of_drain, cost_of_start, in_one_line
from vmha.policy.state.steps import Waiting
from vmha.policy.telling.survival import Loss, Survival

PLAIN = Screen(colour=False, width=None)


@pytest.fixture
async def full(cluster: Cluster) -> Cluster:
    """Two nodes of 1000 MiB; web (300) on h1, db (300) and mail (200) on h2, log (400) is stopped."""
    cluster.elect()
    cluster.join("h1", "h2", memory_mib=1000)
    for name, memory_mib, node in (("web", 300, "h1"), ("db", 300, "h2"), ("mail", 200, "h2"), ("log", 400, None)):
        await vms.add_vm(cluster.client, name, xml_of(name, memory_mib=memory_mib), start=node is not None)
        cluster.run(name, node) if node else cluster.place(name, None)
    return cluster


def _loss(node: str, *names: str) -> Loss:
    return Loss(node=NodeName(node), vms=tuple(Waiting(vm=VmName(name), text="it is frozen by ann") for name in names))


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (Survival(), ""),
        (Survival(running=3), "survives the loss of any one node"),
        (
            Survival(running=3, unsure=(NodeName("h1"),)),
            "survives the loss of any one node; of h1 that is not certain (vmha plan --if 'any node lost')",
        ),
        (
            Survival(running=3, losses=(_loss("h2", "db", "mail"), _loss("h3", "app"))),
            "would not survive the loss of h2: db, mail would not come back (it is frozen by ann); "
            "nor the loss of h3 (app)",
        ),
        (
            Survival(running=3, unknown=(NodeName("h4"), NodeName("h5"))),
            "survives the loss of any one node as far as that was looked at: 2 nodes not looked at "
            "(vmha plan --if 'any node lost')",
        ),
        (
            Survival(on_their_way=300),
            "whether it survives the loss of a node is not known yet: 300 vms are still to be placed",
        ),
    ],
)
def test_it_is_one_line(found: Survival, line: str) -> None:
    assert in_one_line(found) == line


def test_many_are_counted() -> None:
    losses = tuple(_loss(f"h{number}", *(f"vm{at}" for at in range(7))) for number in range(1, 8))
    line = in_one_line(Survival(running=99, losses=losses))
    assert "vm0, vm1, vm2, vm3, vm4 and 2 more would not come back" in line
    assert line.endswith("h5 (vm0, vm1 and 5 more) and 2 nodes more")


async def test_status_says_it_first_and_to_programs_as_well(full: Cluster) -> None:
    shown = await look(full.client)
    assert render(shown, PLAIN)[1] == "survives the loss of any one node"
    assert as_plain(shown)["loss_of_any_one_node"]["survives"] is True
    await vms.add_vm(full.client, "more", xml_of("more", memory_mib=450), start=True)
    full.run("more", "h1")
    shown = await look(full.client)
    said = "would not survive the loss of h1: web would not come back (memory); nor the loss of h2 (db)"
    assert render(shown, PLAIN)[1] == said
    plain = json.loads(json.dumps(as_plain(shown)["loss_of_any_one_node"]))
    assert (plain["survives"], plain["text"]) == (False, said)
    assert [(loss["node"], loss["certain"], [vm["vm"] for vm in loss["vms"]]) for loss in plain["losses"]] == [
        ("h1", True, ["web"]),
        ("h2", True, ["db"]),
    ]
    assert "h2 has 50 MiB free of 1000" in plain["losses"][0]["vms"][0]["waits_for"]


async def test_a_start_that_costs_it_is_warned_of(full: Cluster) -> None:
    before = full.contents()
    (warning,) = await cost_of_start(full.client, "log")
    assert warning.startswith(
        "with this the cluster would not survive the loss of h1: web would not come back (memory)"
    )
    assert full.contents() == before
    assert await cost_of_start(full.client, "web") == []  # it runs, and that costs nothing
    assert await cost_of_start(full.client, "nosuch") == []


async def test_a_drain_that_costs_it_is_warned_of(full: Cluster) -> None:
    (warning,) = await cost_of_drain(full.client, "h1")
    assert "the loss of h2: db, mail, web would not come back" in warning
    await nodes.drain(full.client, "h1")
    assert len(await cost_of_drain(full.client, "h1")) == 1
    full.join("h3", memory_mib=1000)
    assert await cost_of_drain(full.client, "h1") == []


async def test_a_document_that_costs_it_is_warned_of(full: Cluster) -> None:
    text = f"vms: [{{name: new, desired: running, xml: {json.dumps(xml_of('new', memory_mib=600))}}}]"
    plan = await prepare(full.client, load_document(text, file="new.yaml", base=Path()))
    imagined = await full.client.imagine([write.op for write in plan.writes])
    (warning,) = cost(await full.client.read(), imagined, full.client.clock)
    assert warning.startswith("with this the cluster would not survive the loss of ")


async def test_what_was_not_survived_before_is_not_warned_of_again(full: Cluster) -> None:
    await vms.add_vm(full.client, "huge", xml_of("huge", memory_mib=1500), start=True)
    full.join("h3", memory_mib=2000)
    full.run("huge", "h3")
    assert await cost_of_start(full.client, "nosuch") == []
    assert await cost_of_start(full.client, "web") == []
