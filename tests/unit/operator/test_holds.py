"""Freeze, unfreeze, pause, resume as an operator asks for them; what a hold forbids is refused, and nothing written."""

import pytest

from tests.unit.operator.cluster import Cluster, xml_of
from vmha.cli.durations import read_duration
from vmha.cli.output import Screen
from vmha.cli.status_view import render
from vmha.model.durations import in_words
from vmha.model.errors import Rejected
from vmha.model.holds import PauseMode
from vmha.model.records import Verb
from vmha.model.vm import Desired
from vmha.operator import holds, vms
from vmha.operator.errors import RefusedByCluster, UnknownName
from vmha.operator.follow import vm_is, wait
from vmha.operator.overview import as_plain, overview
from vmha.operator.requests import submit
from vmha.operator.why import sentences, why


async def running(cluster: Cluster) -> None:
    cluster.join("h1", "h2")
    cluster.elect()
    await vms.add_vm(cluster.client, "web", xml_of("web"), start=True)
    cluster.run("web", "h1")


async def test_freeze_is_shown_with_its_author_and_reason_wherever_the_vm_is(cluster: Cluster) -> None:
    await running(cluster)
    await holds.freeze(cluster.client, "web", reason="disk swap", for_s=7200.0)
    shown = overview(await cluster.client.read(), cluster="test", wall=1.0)
    assert shown.vms[0].frozen == "operator: disk swap"
    text = "\n".join(render(shown, Screen(width=None, colour=False)))
    assert "running, frozen" in text
    assert "frozen by operator: disk swap" in text
    told = sentences(why(await cluster.client.read(), "web", wall=1.0))
    assert "It is frozen by operator: disk swap; lift it with: vmha vm unfreeze web." in told


async def test_pause_stands_at_the_top_of_the_status(cluster: Cluster) -> None:
    await running(cluster)
    await holds.pause(cluster.client, PauseMode.ALL, reason="new switches", for_s=3600.0)
    shown = overview(await cluster.client.read(), cluster="test", wall=1.0)
    second = render(shown, Screen(width=None, colour=False))[1]
    assert second.startswith("PAUSED by operator: new switches (since ")
    assert second.endswith("for 1h in all); lift it with: vmha resume")
    assert as_plain(shown)["pause"]["mode"] == "all"


async def test_what_a_hold_forbids_is_refused_and_what_is_so_already_is_not(cluster: Cluster) -> None:
    await running(cluster)
    await holds.freeze(cluster.client, "web")
    before = cluster.contents()
    for wanted in (Desired.STOPPED, Desired.DISABLED):
        with pytest.raises(RefusedByCluster, match="web: it is frozen by operator; lift it with: vmha vm unfreeze web"):
            await vms.set_desired(cluster.client, "web", wanted)
    with pytest.raises(RefusedByCluster, match="frozen"):
        await submit(cluster.client, Verb.MIGRATE, vm="web", node="h2")
    await vms.set_desired(cluster.client, "web", Desired.RUNNING)
    assert cluster.contents() == before


@pytest.mark.parametrize("mode", list(PauseMode))
async def test_no_start_is_asked_for_while_the_cluster_is_paused(cluster: Cluster, mode: PauseMode) -> None:
    await running(cluster)
    await vms.add_vm(cluster.client, "db", xml_of("db"))
    await holds.pause(cluster.client, mode, reason="storage work")
    before = cluster.contents()
    with pytest.raises(RefusedByCluster, match=r"storage work.*vmha resume"):
        await vms.set_desired(cluster.client, "db", Desired.RUNNING)
    with pytest.raises(RefusedByCluster, match=r"storage work.*add it without a start"):
        await vms.add_vm(cluster.client, "new", xml_of("new"), start=True)
    assert cluster.contents() == before


async def test_who_waits_for_a_vm_that_is_held_up_is_told_at_once(cluster: Cluster) -> None:
    cluster.join("h1")
    cluster.elect()
    await vms.add_vm(cluster.client, "web", xml_of("web"), start=True)
    await holds.freeze(cluster.client, "web", reason="disk swap")
    with pytest.raises(RefusedByCluster, match="disk swap"):
        await wait(cluster.client, vm_is(cluster.client, "web", Desired.RUNNING), timeout_s=5.0)


async def test_lifting_what_is_not_there_is_a_success_and_writes_nothing(cluster: Cluster) -> None:
    await running(cluster)
    before = cluster.etcd.revision
    assert await holds.unfreeze(cluster.client, "web") is None
    assert await holds.resume(cluster.client) is None
    assert cluster.etcd.revision == before


async def test_unknown_vm_is_not_frozen_and_the_near_name_is_told(cluster: Cluster) -> None:
    await running(cluster)
    for verb in (holds.freeze(cluster.client, "wbe"), holds.unfreeze(cluster.client, "wbe")):
        with pytest.raises(UnknownName, match="did you mean web"):
            await verb


async def test_removed_vm_takes_its_freeze_with_it(cluster: Cluster) -> None:
    await running(cluster)
    await holds.freeze(cluster.client, "web")
    await vms.remove_vm(cluster.client, "web")
    assert not [key for key in cluster.contents() if key.endswith("/freeze")]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1.5h", 5400), ("1h30", 3630)],
)
def test_times_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert read_duration(text, option="--for") == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "-1h", "2 h", "h", "1x", "1h 30m", "30 30", "nan"])
def test_time_that_is_none_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(Rejected, match=r"--for .*\(accepted: a time above 0"):
        read_duration(text, option="--for")


@pytest.mark.parametrize(("seconds", "words"), [(90, "1m30s"), (7200, "2h"), (90061, "1d1h"), (0.2, "0s")])
def test_times_are_told_in_two_units(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
