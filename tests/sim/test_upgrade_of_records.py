"""A second schema, rehearsed: a cluster full of records in an older shape is upgraded, agent by agent, and goes on.

The older shape is made up: a vm's limit of restarts was one field, ``restart_budget``, and stood in no other. What is
read of it is what the function of version 2 makes of it; who reads version 1 alone writes nothing once the cluster is
at 2, so nothing that stands in the newer fields is lost.
"""

import json
from typing import Any

import pytest

from tests.sim.test_upgrade import NEW, NODES, OLD, VMS, kinds, lives, populate, replace_agent, schema, upgraded
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.errors import Rejected
from vmha.model.ids import VmName
from vmha.model.schema import UPGRADES
from vmha.model.vm import VmSpec
from vmha.operator import vms
from vmha.operator.backup import back_up, prepare
from vmha.operator.errors import RefusedByCluster
from vmha.store.port import Put

LIMIT, WINDOW_S = 1, 600.0


def to_version_2(old: dict[str, Any]) -> dict[str, Any]:
    """Fills what is new from what is old, where that is all there is; both may stand there for a while."""
    if "restart_budget" not in old or "max_restarts" in old:
        return old
    count, window_s = old["restart_budget"]
    return old | {"max_restarts": count, "restart_window_s": window_s}


@pytest.fixture(autouse=True)
def second_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(UPGRADES, VmSpec, {2: to_version_2})


async def stored(cluster: Cluster, vm: str) -> dict[str, Any]:
    found = await cluster.world.operator_store.get(cluster.world.keys.vm_spec(VmName(vm)))
    assert found
    document: dict[str, Any] = json.loads(found.value)
    return document


async def as_of_version_1(cluster: Cluster) -> None:
    """Its vms' definitions, as an older vmha had written them."""
    for vm in VMS:
        document = await stored(cluster, vm)
        document.pop("max_restarts", None)
        document.pop("restart_window_s", None)
        older = document | {"restart_budget": [LIMIT, WINDOW_S]}
        key = cluster.world.keys.vm_spec(VmName(vm))
        await cluster.world.operator_store.txn([], [Put(key, json.dumps(older).encode())])
    await until(lambda: all(limit_of(cluster, vm) == (LIMIT, WINDOW_S) for vm in VMS))


def limit_of(cluster: Cluster, vm: str) -> tuple[int, float]:
    spec = cluster.observer.snapshot.vms[VmName(vm)].spec
    assert spec
    return spec.value.max_restarts, spec.value.restart_window_s


def test_records_of_an_older_shape_are_read_through_the_upgrade_and_no_guest_notices() -> None:
    async def scene(cluster: Cluster) -> None:
        await populate(cluster)
        await as_of_version_1(cluster)
        before = lives(cluster)
        await upgraded(cluster, *NODES)
        assert (schema(cluster), lives(cluster)) == (2, before)
        assert cluster.observer.snapshot.problems == {}
        assert (await stored(cluster, "web"))["restart_budget"] == [LIMIT, WINDOW_S], "nobody wrote it for its shape"
        assert cluster.violations() == []

    in_cluster(scene)


def test_what_was_read_through_the_upgrade_is_decided_by_and_written_in_the_newer_shape() -> None:
    async def scene(cluster: Cluster) -> None:
        await populate(cluster)
        await as_of_version_1(cluster)
        await upgraded(cluster, *NODES)
        home = cluster.where("web")
        for _ in range(LIMIT):
            cluster.hands.crash("web")
            await until(lambda: cluster.where("web") == home)
            await cluster.rest()
        cluster.hands.crash("web")
        await until(lambda: cluster.where("web") not in ([], home))
        cluster.hands.operator.software = NEW
        await vms.edit(cluster.hands.operator, "web", max_restarts=5)
        written = await stored(cluster, "web")
        assert (written["max_restarts"], written["restart_window_s"]) == (5, WINDOW_S)
        await until(lambda: limit_of(cluster, "web") == (5, WINDOW_S))
        assert cluster.violations() == []

    in_cluster(scene)


def test_older_command_line_and_agent_lose_nothing_of_the_newer_shape() -> None:
    async def scene(cluster: Cluster) -> None:
        await populate(cluster)
        await as_of_version_1(cluster)
        await upgraded(cluster, *NODES)
        cluster.hands.operator.software = NEW
        await vms.edit(cluster.hands.operator, "web", max_restarts=5)
        written = await stored(cluster, "web")
        cluster.hands.operator.software = OLD
        with pytest.raises(RefusedByCluster, match="nothing is written"):
            await vms.edit(cluster.hands.operator, "web", priority=7)
        cluster.hands.operator.software = NEW
        backup = await back_up(cluster.hands.operator)
        before = lives(cluster)
        replace_agent(cluster, cluster.where("web")[0], OLD)
        await cluster.rest()
        assert (await stored(cluster, "web"), lives(cluster)) == (written, before)
        cluster.hands.operator.software = OLD
        with pytest.raises(Rejected, match="is of a later schema"):
            await prepare(cluster.hands.operator, backup, file="backup.json", force=True)
        assert (await kinds(cluster)).count("schema-raised") == 1

    in_cluster(scene)
