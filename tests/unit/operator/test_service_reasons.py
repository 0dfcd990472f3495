"""Why somebody does something with a service, in his own words: with each of its vms, in journal, why and story."""

from typing import Any

import pytest
import typer

from tests.unit.operator.cluster import Cluster, xml_of
from vmha.cli.service import app
from vmha.model.errors import Rejected
from vmha.model.records import Hand, JournalEntry
from vmha.model.service import Service
from vmha.model.vm import Desired
from vmha.operator import service_verbs, service_view, services, vms
from vmha.operator.client import OperatorClient
from vmha.operator.errors import RefusedByCluster, TimedOut
from vmha.operator.events import Wanted, past
from vmha.operator.story import sentences, story
from vmha.operator.why import sentences as why_sentences
from vmha.operator.why import why as explain

SHOP = Service(name="shop", members=("db", "app"))
ONLY_SHOW = {"list", "show", "why"}


@pytest.fixture
async def shop(cluster: Cluster) -> Cluster:
    """``shop`` runs on h1, ``rest`` is down."""
    cluster.join("h1", "h2")
    cluster.elect()
    for name in (*SHOP.members, "tea"):
        await vms.add_vm(cluster.client, name, xml_of(name), start=name != "tea")
    await vms.set_desired(cluster.client, "tea", Desired.STOPPED)
    for name in SHOP.members:
        cluster.run(name, "h1")
    await services.put_service(cluster.client, SHOP)
    await services.put_service(cluster.client, Service(name="rest", members=("tea",)))
    return cluster


async def newest(cluster: Cluster, count: int) -> list[JournalEntry]:
    return (await past(cluster.client, Wanted()))[0][-count:]


async def do(client: OperatorClient, verb: str, why: str) -> None:
    match verb:
        case "start":
            await services.set_desired(client, "rest", Desired.RUNNING, why=why)
        case "enable":
            await services.set_desired(client, "rest", Desired.RUNNING, is_enable=True, why=why)
        case "stop":
            await services.set_desired(client, "shop", Desired.STOPPED, why=why)
        case "disable":
            await services.set_desired(client, "shop", Desired.DISABLED, why=why)
        case "restart":
            await service_verbs.restart(client, "shop", why=why)
        case "relocate":
            await service_verbs.relocate(client, "shop", to="h2", why=why)
        case "migrate":
            await service_view.move(client, "shop", "h2", why=why)
        case "freeze":
            await service_verbs.freeze(client, "shop", reason=why)
        case "unfreeze":
            await service_verbs.freeze(client, "shop")
            await service_verbs.unfreeze(client, "shop", why=why)
        case "add":
            await services.put_service(client, Service(name="shop", members=("db",)), replace=True, why=why)
        case _:
            await services.remove_service(client, "shop", why=why)


CONCERNED: dict[str, list[str | None]] = {
    **{verb: ["tea"] for verb in ("start", "enable")},
    **{verb: ["app", "db"] for verb in ("stop", "disable", "restart", "relocate", "freeze", "unfreeze")},
    "migrate": ["db"],
    "add": [None],
    "remove": [None],
}


def options(verb: str) -> set[str]:
    group: Any = typer.main.get_command(app)
    return {option for parameter in group.commands[verb].params for option in parameter.opts}


def test_every_verb_that_changes_something_takes_a_reason_by_either_name() -> None:
    group: Any = typer.main.get_command(app)
    assert set(group.commands) == set(CONCERNED) | ONLY_SHOW
    for verb in CONCERNED:
        assert {"--why", "--reason"} <= options(verb), verb


@pytest.mark.parametrize("verb", CONCERNED)
async def test_what_is_done_with_a_service_is_told_of_each_of_its_vms_with_the_words_for_it(
    shop: Cluster, verb: str
) -> None:
    await do(shop.new_client("ann"), verb, "  disk\n swap ")
    told = await newest(shop, len(CONCERNED[verb]))
    assert sorted((entry.vm for entry in told), key=str) == CONCERNED[verb]
    for entry in told:
        assert entry.hand == Hand(author="ann", why="disk swap")
        assert entry.text.endswith(": disk swap")
        if entry.vm:
            last = [text for _, text in sentences(await story(shop.client, entry.vm), lambda at: "noon")][-1]
            assert last.endswith(": disk swap")


@pytest.mark.parametrize("verb", [verb for verb in CONCERNED if verb not in ("freeze", "unfreeze")])
async def test_words_that_nobody_reads_are_refused_and_nothing_is_done(shop: Cluster, verb: str) -> None:
    before = shop.contents()
    with pytest.raises(Rejected, match="reason: 201 characters"):
        await do(shop.client, verb, "x" * 201)
    assert shop.contents() == before


async def test_why_a_service_is_stopped_is_in_the_answer_of_each_of_its_vms(shop: Cluster) -> None:
    await services.set_desired(shop.new_client("ann"), "shop", Desired.STOPPED, why="disk swap")
    snapshot = await shop.client.read()
    for vm in SHOP.members:
        assert vms.find_spec(snapshot, vm).value.desired_why == "service shop stopped by ann: disk swap"
        shop.place(vm, None)
    snapshot = await shop.client.read()
    for vm in SHOP.members:
        said = why_sentences(explain(snapshot, vm, wall=1.0))
        assert any("service shop stopped by ann: disk swap" in line for line in said), said


async def test_why_a_move_is_called_off_is_told_with_the_one_that_leads(shop: Cluster) -> None:
    await service_view.move(shop.client, "shop", "h2")
    await service_verbs.cancel_move(shop.new_client("ann"), "shop", why="backup runs")
    (entry,) = await newest(shop, 1)
    assert (entry.vm, entry.hand) == ("db", Hand(author="ann", why="backup runs"))


async def test_why_it_is_to_start_on_a_node_is_told_with_its_first_vm(shop: Cluster) -> None:
    with pytest.raises(RefusedByCluster):
        await service_verbs.start_on(shop.client, "shop", "h2", is_enable=False, timeout_s=0.0, why="new disk")
    with pytest.raises(TimedOut):
        await service_verbs.start_on(shop.client, "rest", "h2", is_enable=False, timeout_s=0.0, why="new disk")
    (entry,) = await newest(shop, 1)
    assert (entry.vm, entry.text) == ("tea", "operator asks for: start on h2: new disk")
