"""Agents of two versions in one cluster: replaced one by one no guest notices, and one that is too old harms none."""

from typing import Any

import pytest

from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.errors import Rejected
from vmha.model.ids import NodeName, VmName
from vmha.model.schema import Software
from vmha.operator import nodes
from vmha.operator.backup import back_up, prepare, restore
from vmha.operator.errors import RefusedByCluster
from vmha.operator.overview import as_plain, overview
from vmha.store.port import Delete

OLD, NEW = Software(version="0.1.0", reads=1), Software(version="0.2.0", reads=2)
NODES, VMS = ("n1", "n2", "n3"), ("web", "db", "mail")


def replace_agent(cluster: Cluster, node: str, software: Software) -> None:
    """Its agent is killed, and the one that comes up is of another version."""
    cluster.hands.host(node).software = software
    cluster.hands.host(node).kill_agent()


async def upgraded(cluster: Cluster, *of: str) -> None:
    for node in of:
        replace_agent(cluster, node, NEW)
        await until(lambda node=node: software_of(cluster, node) == (NEW.version, NEW.reads))  # type: ignore[misc]
        await cluster.rest()


def software_of(cluster: Cluster, node: str) -> tuple[str, int] | None:
    session = cluster.observer.snapshot.nodes[NodeName(node)].session
    return (session.value.version, session.value.reads) if session else None


def schema(cluster: Cluster) -> int:
    return cluster.observer.snapshot.schema


def leads(cluster: Cluster) -> str:
    leader = cluster.observer.snapshot.leader
    assert leader
    return leader.value.node


def lives(cluster: Cluster) -> tuple[dict[str, tuple[list[str], int, int]], int]:
    """Of each vm: where it runs, its epoch and the revision of its claim; and how much has ever happened to guests."""
    found = {}
    for vm in VMS:
        placement = cluster.observer.snapshot.vms[VmName(vm)].placement
        assert placement
        found[vm] = (cluster.where(vm), placement.value.epoch, placement.modified)
    return found, len(cluster.world.fabric.history)


def status(cluster: Cluster) -> dict[str, Any]:
    snapshot = cluster.observer.snapshot
    return as_plain(overview(snapshot, cluster="sim", wall=cluster.world.clock.wall()))


async def kinds(cluster: Cluster) -> list[str]:
    entries, _ = await cluster.hands.operator.journal()
    return [entry.kind for entry in entries]


async def populate(cluster: Cluster) -> None:
    """A vm on each node, and agents that read schema 1."""
    for node in NODES:
        replace_agent(cluster, node, OLD)
    for vm in VMS:
        await cluster.hands.add(vm, memory_mib=1024, vcpus=1, start=True)
    await cluster.rest()
    assert sorted(cluster.where(vm)[0] for vm in VMS) == list(NODES)


def test_agents_replaced_one_by_one_move_no_guest_and_the_last_one_raises_the_schema() -> None:
    async def scene(cluster: Cluster) -> None:
        await populate(cluster)
        before = lives(cluster)
        await upgraded(cluster, "n1", "n2")
        assert (schema(cluster), lives(cluster)) == (1, before)
        said = status(cluster)
        assert said["schema"] == {
            "version": 1,
            "next": 2,
            "waits_for": [{"node": "n3", "why": "vmha 0.1.0 reads up to 1"}],
            "too_old": [],
        }
        assert [(node["version"], node["reads"]) for node in said["nodes"]] == [
            ("0.2.0", 2),
            ("0.2.0", 2),
            ("0.1.0", 1),
        ]
        assert "schema-raised" not in await kinds(cluster)
        await upgraded(cluster, "n3")
        assert (schema(cluster), lives(cluster)) == (2, before)
        assert (await kinds(cluster)).count("schema-raised") == 1
        assert status(cluster)["schema"]["waits_for"] == []
        assert cluster.violations() == []

    in_cluster(scene)


def test_schema_waits_for_a_member_that_is_away_until_it_is_removed() -> None:
    async def scene(cluster: Cluster) -> None:
        for node in NODES:
            replace_agent(cluster, node, OLD)
        await cluster.rest()
        await cluster.hands.host("n3").shut_down()
        await upgraded(cluster, "n1", "n2")
        assert schema(cluster) == 1
        assert status(cluster)["schema"]["waits_for"] == [{"node": "n3", "why": "is not here"}]
        await nodes.remove(cluster.hands.operator, "n3")
        await until(lambda: schema(cluster) == 2)

    in_cluster(scene)


def test_agent_too_old_keeps_its_session_and_guests_and_does_nothing_else() -> None:
    async def scene(cluster: Cluster) -> None:
        await populate(cluster)
        await upgraded(cluster, *NODES)
        before = lives(cluster)
        node = leads(cluster)
        vm = next(vm for vm in VMS if cluster.where(vm) == [node])
        session = cluster.observer.snapshot.nodes[NodeName(node)].session_id
        replace_agent(cluster, node, OLD)
        await until(lambda: software_of(cluster, node) == (OLD.version, OLD.reads))
        await cluster.rest()
        assert lives(cluster) == before
        assert cluster.observer.snapshot.nodes[NodeName(node)].session_id == session
        said = status(cluster)
        assert said["schema"]["too_old"] == [node]
        assert any(node in line and "install the version" in line for line in said["warnings"])
        assert leads(cluster) != node
        cluster.hands.crash(vm)
        await cluster.rest()
        assert cluster.where(vm) == []  # what ends there is not started by this agent
        replace_agent(cluster, node, NEW)
        await until(lambda: cluster.where(vm) != [])
        await cluster.rest()
        assert schema(cluster) == 2
        assert cluster.violations() == []

    in_cluster(scene)


def test_agent_too_old_that_has_nothing_to_keep_does_not_start_and_is_lost_to_nobody() -> None:
    async def scene(cluster: Cluster) -> None:
        await populate(cluster)
        await upgraded(cluster, *NODES)
        host = cluster.hands.host("n3")
        host.power_off()
        await until(lambda: cluster.observer.snapshot.nodes[NodeName("n3")].beat is None)
        host.software = OLD
        host.power_on()
        await until(lambda: len(host.refused) >= 2)  # as often as systemd starts it
        await until(lambda: all(cluster.where(vm) in (["n1"], ["n2"]) for vm in VMS))
        assert "reads schema 1 of a cluster, and this one is at 2" in host.refused[0]
        assert "install the version that the other nodes have" in host.refused[0]
        assert cluster.observer.snapshot.nodes[NodeName("n3")].beat is None
        host.software = NEW
        await cluster.rest()
        assert cluster.observer.snapshot.nodes[NodeName("n3")].current_status is not None
        assert cluster.violations() == []

    in_cluster(scene)


def test_command_line_too_old_writes_nothing() -> None:
    async def scene(cluster: Cluster) -> None:
        await populate(cluster)
        await upgraded(cluster, *NODES)
        cluster.hands.operator.software = OLD
        with pytest.raises(RefusedByCluster, match=r"nothing is written: vmha 0\.1\.0 reads schema 1"):
            await cluster.hands.freeze("web")
        assert "web" not in cluster.observer.snapshot.frozen
        cluster.hands.operator.software = NEW
        await cluster.hands.freeze("web")
        await until(lambda: "web" in cluster.observer.snapshot.frozen)

    in_cluster(scene)


def test_backup_of_a_later_schema_is_restored_only_by_who_reads_it() -> None:
    async def scene(cluster: Cluster) -> None:
        await populate(cluster)
        await upgraded(cluster, *NODES)
        operator = cluster.hands.operator
        backup = await back_up(operator)
        operator.software = OLD
        with pytest.raises(Rejected, match=r"backup\.json: is of a later schema: vmha 0\.1\.0 reads schema 1"):
            await prepare(operator, backup, file="backup.json", force=True)
        operator.software = NEW
        await cluster.world.operator_store.txn([], [Delete(cluster.world.keys.schema)])
        for node in NODES:
            cluster.hands.host(node).power_off()
        await until(lambda: schema(cluster) == 1)
        await restore(operator, await prepare(operator, backup, file="backup.json", force=True))
        await until(lambda: schema(cluster) == 2)

    in_cluster(scene)
