"""A cluster's keys are lost and put back from a backup: definitions and epochs return, and no guest is harmed."""

import json
from typing import Any

import pytest

from tests.sim.probes import add_running, placement, raw, runs_on
from tests.sim.test_restored_store import is_held_where_it_runs, ran_twice, settled
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.errors import Refused, Rejected
from vmha.model.ids import NodeName, VmName
from vmha.model.records import Phase
from vmha.operator.backup import Restoring, back_up, prepare, read_backup, restore
from vmha.operator.errors import RefusedByCluster
from vmha.policy.state.backup import EPOCH_GAP
from vmha.store.memory import Backup

NODES = ("n1", "n2", "n3")


async def written(cluster: Cluster) -> dict[str, Any]:
    """As it is read from its file."""
    text = json.dumps(await back_up(cluster.hands.operator))
    return read_backup(text, file="backup.json", cluster=cluster.world.keys.cluster)


async def planned(cluster: Cluster, backup: dict[str, Any], *, force: bool = False) -> Restoring:
    return await prepare(cluster.hands.operator, backup, file="backup.json", force=force)


async def lose_everything(cluster: Cluster) -> None:
    cluster.world.etcd.stop()
    revision = cluster.world.etcd.back_up().revision
    cluster.world.restore(Backup(revision, {}, {}))
    cluster.world.etcd.start()


def epoch(cluster: Cluster) -> int:
    held = placement(cluster, "web")
    assert held
    return held.epoch


def test_hosts_that_were_off_get_their_vms_back_under_epochs_above_all_that_were_given() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        await cluster.hands.add("off", memory_mib=64, vcpus=1)
        await cluster.rest()
        backup, before = await written(cluster), epoch(cluster)
        for node in NODES:
            cluster.hands.host(node).power_off()
        await lose_everything(cluster)
        plan = await planned(cluster, backup)
        await restore(cluster.hands.operator, plan)
        assert "vms/web/spec" in plan.created
        held = placement(cluster, "web")
        assert held
        assert (held.phase, held.session) == (Phase.STOPPED, None)
        for node in NODES:
            cluster.hands.host(node).power_on()
        await runs_on(cluster, "web", "n1", timeout_s=120.0)
        assert epoch(cluster) > before + EPOCH_GAP
        await cluster.rest()
        assert cluster.where("off") == []
        assert ran_twice(cluster) == []

    in_cluster(scene)


def test_guests_that_ran_on_while_the_keys_were_lost_are_adopted_and_never_interrupted() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        backup, before = await written(cluster), epoch(cluster)
        beats = [cluster.world.keys.beat(NodeName(node)) for node in NODES]
        await lose_everything(cluster)
        await until(lambda: all(raw(cluster, key) for key in beats), what="agents are back", timeout_s=30.0)
        with pytest.raises(RefusedByCluster, match="hold sessions"):
            await planned(cluster, backup)
        await restore(cluster.hands.operator, await planned(cluster, backup, force=True))
        await settled(cluster)
        await is_held_where_it_runs(cluster, "web")
        assert epoch(cluster) > before
        assert [fact.deed for fact in cluster.world.fabric.history if fact.vm == "web" and fact.deed == "ends"] == []
        assert ran_twice(cluster) == []

    in_cluster(scene, peers=True)


def test_in_the_same_cluster_what_was_removed_comes_back_and_what_runs_stays_as_it_is() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        await cluster.hands.add("old", memory_mib=64, vcpus=1)
        await cluster.rest()
        backup = await written(cluster)
        assert (await planned(cluster, backup, force=True)).puts == ()
        await cluster.hands.remove("old")
        await cluster.hands.add("new", memory_mib=64, vcpus=1)
        await cluster.rest()
        before = epoch(cluster)
        plan = await planned(cluster, backup, force=True)
        assert "vms/old/spec" in plan.created
        assert "vms/web/placement" in plan.kept
        assert plan.beside == ("new",)
        await restore(cluster.hands.operator, plan)
        await settled(cluster)
        await cluster.rest()
        assert cluster.where("web") == ["n1"]
        assert epoch(cluster) == before
        assert {"web", "old", "new"} <= {str(name) for name in cluster.observer.snapshot.vms}

    in_cluster(scene)


def test_planning_a_restore_writes_nothing_and_what_changes_meanwhile_ends_it() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add("old", memory_mib=64, vcpus=1)
        backup = await written(cluster)
        await cluster.hands.remove("old")
        await cluster.rest()
        keys = {kv.key for kv in cluster.world.etcd.list(cluster.world.keys.prefix).items}
        plan = await planned(cluster, backup, force=True)
        assert {kv.key for kv in cluster.world.etcd.list(cluster.world.keys.prefix).items} == keys
        await cluster.hands.add("old", memory_mib=128, vcpus=1)
        with pytest.raises(Refused, match=r"changed meanwhile: \d+ of \d+ keys are restored"):
            await restore(cluster.hands.operator, plan)
        now = raw(cluster, cluster.world.keys.vm_spec(VmName("old")))
        assert now
        assert json.loads(now)["memory_mib"] == 128

    in_cluster(scene)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda backup: backup | {"cluster": "another"}, "guests bear their cluster's name"),
        (lambda backup: backup | {"vmha_backup": 99}, "vmha_backup: 99"),
        (lambda backup: {"keys": {}}, "is no backup"),
        (lambda backup: [], "is no backup"),
        (lambda backup: backup | {"keys": {"leader": {}}}, "'leader' is none that a backup holds"),
        (lambda backup: backup | {"keys": {"nodes/n1/beat": {}}}, "is none that a backup holds"),
        (lambda backup: backup | {"keys": {"vms/x/placement": {"epoch": "?"}}}, "vms/x/placement: "),
    ],
)
def test_a_file_that_is_no_backup_of_this_cluster_is_refused_by_name(spoil: Any, said: str) -> None:
    async def scene(cluster: Cluster) -> None:
        text = json.dumps(spoil(await back_up(cluster.hands.operator)))

        async def try_it() -> None:
            backup = read_backup(text, file="backup.json", cluster=cluster.world.keys.cluster)
            await planned(cluster, backup, force=True)

        with pytest.raises(Rejected, match=said):
            await try_it()

    in_cluster(scene, nodes=1)
