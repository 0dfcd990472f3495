"""How well something is: the sentence above everything, and the shape that says it to who sees no colours."""

import re

import pytest

from tests.unit.operator.cluster import Cluster, xml_of
from vmha.model.ids import NodeName
from vmha.model.records import Health, HealthState, Phase, SeenState
from vmha.operator import vms
from vmha.operator.overview import overview
from vmha.policy.members.membership import Condition
from vmha.policy.telling.explain import VmState
from vmha.web.html import TONES, mark
from vmha.web.pages import page
from vmha.web.tones import _NODES, _VMS, RANK, Headline, headline, troubles


async def said(cluster: Cluster, *, lost: str = "") -> Headline:
    return headline(overview(await cluster.client.read(), cluster="test", wall=100.0), lost=lost)


@pytest.fixture
async def running(cluster: Cluster) -> Cluster:
    for name in ("web", "db"):
        await vms.add_vm(cluster.client, name, xml_of(name), start=True)
        cluster.run(name, "h1")
    return cluster


async def test_all_is_well_when_everything_runs(running: Cluster) -> None:
    assert await said(running) == Headline(tone="ok", title="All is well")


async def test_a_migration_is_no_trouble(running: Cluster) -> None:
    running.place("web", "h1", target=NodeName("h2"), phase=Phase.MIGRATING)
    assert await said(running) == Headline(tone="busy", title="All is well; web is on the way")


async def test_a_suspected_node_and_its_vms_are_named(running: Cluster) -> None:
    running.lose_lease("h1")
    found = await said(running)
    assert found.tone == "bad"
    assert found.title == "h1 is suspected to be lost; db and web are out of sight"


async def test_a_vm_that_runs_twice_is_said_first(running: Cluster) -> None:
    running.see("web", "h2")
    assert (await said(running)).title.startswith("web runs twice")


async def test_a_cluster_without_a_leader_says_so(running: Cluster) -> None:
    running.delete(running.keys.leader)
    assert (await said(running)).title == "nobody leads"


async def test_a_store_that_does_not_answer_counts_more_than_what_was_read_before(running: Cluster) -> None:
    assert (await said(running, lost="no answer")).title == "The store does not answer"


async def test_a_running_vm_whose_probes_fail_is_not_well(running: Cluster) -> None:
    running.see("web", "h1", health=Health(state=HealthState.FAILING, ready=True, text="port 80: refused"))
    found = await said(running)
    assert (found.tone, found.title) == ("bad", "web is not answering")


async def test_a_paused_guest_is_told_of_with_its_reason(running: Cluster) -> None:
    running.see("web", "h1", SeenState.PAUSED, reason="ioerror")
    shown = overview(await running.client.read(), cluster="test", wall=100.0)
    assert [vm for _, vm in troubles(shown)] == ["web"]
    assert headline(shown, lost="") == Headline(tone="warn", title="web is paused")


def shapes() -> dict[str, str]:
    """What each page draws for a tone."""
    return dict(re.findall(r'<symbol id="mark-(\w+)" viewBox="0 0 16 16">(.*?)</symbol>', page("t", cluster="c")))


def test_each_tone_has_a_shape_of_its_own_whatever_its_colour() -> None:
    drawn = shapes()
    assert set(drawn) == set(TONES) == set(RANK) == {*_VMS.values(), *_NODES.values()}
    assert len(set(drawn.values())) == len(TONES), "no two look the same"
    for tone in TONES:
        assert f'href="#mark-{tone}"' in mark(tone)
        assert "fill=" not in drawn[tone], "one shape: its colour is the style's"


def test_states_of_one_tone_are_told_apart_by_their_words() -> None:
    assert set(_VMS) == set(VmState)
    assert set(_NODES) == set(Condition)
    assert len({state.value for state in VmState}) == len(VmState)
