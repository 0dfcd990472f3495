"""A drain as an operator follows it, and what is asked for afterwards."""

from tests.unit.operator.cluster import Cluster, xml_of
from vmha.model.ids import NodeName, VmName
from vmha.model.records import Phase, Verb
from vmha.operator import holds, nodes, vms
from vmha.operator.drains import bring_back, check, how_far, in_words


async def add(cluster: Cluster, *names: str) -> None:
    for name in names:
        await vms.add_vm(cluster.client, name, xml_of(name), start=True)


async def test_progress_names_who_is_on_its_way_and_what_others_wait_for(cluster: Cluster) -> None:
    cluster.elect()
    cluster.join("h1", "h2")
    await add(cluster, "db", "web", "off")
    cluster.run("web", "h1")
    cluster.place("db", "h1", phase=Phase.MIGRATING, target=NodeName("h2"))
    cluster.see("db", "h1", progress="pass 2, 40 %")
    cluster.place("off", "h1", ended_why="the cpu lacks avx512")
    said = how_far("h1", await cluster.client.read())
    assert said == "3 still on h1: db to h2 (pass 2, 40 %); off (failed: the cpu lacks avx512); web"
    assert how_far("h3", await cluster.client.read()) == ""


async def test_what_can_not_leave_is_told_before_anything_is_done(cluster: Cluster) -> None:
    cluster.elect()
    cluster.join("h1")
    await add(cluster, "web")
    cluster.run("web", "h1")
    before = cluster.contents()
    left = await check(cluster.client, "h1")
    assert in_words("h1", left).startswith("1 vm can not leave h1:\n  web: h1 is in maintenance; no node can take it")
    assert cluster.contents() == before


async def test_vms_that_the_drain_took_away_are_asked_back_and_no_others(cluster: Cluster) -> None:
    cluster.elect()
    cluster.join("h1", "h2")
    await add(cluster, "db", "web", "off")
    await nodes.drain(cluster.client, "h1")
    cluster.run("db", "h2")
    cluster.place("web", "h2", drained_from=NodeName("h1"))
    cluster.see("web", "h2")
    cluster.place("off", None, drained_from=NodeName("h1"))
    asked, refused = await bring_back(cluster.client, "h1")
    assert refused == []
    assert [(one.verb, one.vm, one.node) for one in asked] == [(Verb.MIGRATE, "web", "h1")]
    snapshot = await cluster.client.read()
    spec = snapshot.nodes[NodeName("h1")].spec
    assert spec is not None
    assert not spec.value.maintenance
    assert VmName("db") not in {request.vm for request in snapshot.requests.values()}


async def test_one_that_can_not_come_back_keeps_no_other_from_coming(cluster: Cluster) -> None:
    cluster.elect()
    cluster.join("h1", "h2")
    await add(cluster, "db", "web")
    await nodes.drain(cluster.client, "h1")
    for name in ("db", "web"):
        cluster.place(name, "h2", drained_from=NodeName("h1"))
        cluster.see(name, "h2")
    await holds.freeze(cluster.client, "db", reason="a backup")
    asked, refused = await bring_back(cluster.client, "h1")
    assert [one.vm for one in asked] == ["web"]
    assert ["frozen" in str(error) for error in refused] == [True]
