"""``vmha failback now``: home at once, whatever keeps a vm from going home by itself."""

from typing import Any

import pytest

from tests.sim.probes import DOMAIN, add_running, answered, prefer, put
from tests.support.worlds import Cluster, in_cluster
from vmha.model.ids import NodeName
from vmha.model.records import Progress
from vmha.model.vm import FailoverDomain, FailoverDomainMember
from vmha.operator.errors import UnknownName
from vmha.operator.failback import bring_home


async def away_from_home(cluster: Cluster, *, nofailback: bool = False, **fields: Any) -> None:
    """vm web prefers n1 and runs on n2, for good."""
    await add_running(cluster, "web", on=("n1", "n2"), **fields)
    members = tuple(FailoverDomainMember(node=node, priority=rank) for rank, node in enumerate(("n1", "n2"), start=1))
    domain = FailoverDomain(name=DOMAIN, ordered=True, nofailback=nofailback, members=members)
    await put(cluster, cluster.world.keys.domain(DOMAIN), domain)
    await cluster.hands.drain("n1")
    await cluster.rest()
    await cluster.hands.undrain("n1")
    await cluster.rest()
    assert cluster.where("web") == ["n2"]


@pytest.mark.parametrize(
    "kept_by", [{"nofailback": True}, {"failback": {"enabled": False}}, {"failback": {"delay_s": 86400.0}}]
)
def test_vm_goes_home_live_and_stays_there(kept_by: dict[str, Any]) -> None:
    async def scene(cluster: Cluster) -> None:
        await away_from_home(cluster, **kept_by)
        (asked,) = await bring_home(cluster.hands.operator, [])
        assert (asked.vm, asked.node) == ("web", NodeName("n1"))
        assert (await answered(cluster, asked.id, timeout_s=60.0)).progress is Progress.DONE
        await cluster.rest()
        assert cluster.where("web") == ["n1"]
        assert await bring_home(cluster.hands.operator, []) == []
        assert cluster.violations() == []

    in_cluster(scene)


def test_home_that_can_not_take_it_is_not_asked_for_and_a_name_that_nobody_has_is_refused() -> None:
    async def scene(cluster: Cluster) -> None:
        await away_from_home(cluster, nofailback=True)
        await cluster.hands.drain("n1")
        assert await bring_home(cluster.hands.operator, ["web"]) == []
        await cluster.hands.undrain("n1")
        await cluster.rest()
        with pytest.raises(UnknownName, match="wob"):
            await bring_home(cluster.hands.operator, ["web", "wob"])
        assert cluster.where("web") == ["n2"]

    in_cluster(scene)


def test_vm_that_prefers_no_node_is_at_home_anywhere() -> None:
    async def scene(cluster: Cluster) -> None:
        await prefer(cluster, "n1")
        await cluster.hands.add("db", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        assert await bring_home(cluster.hands.operator, []) == []

    in_cluster(scene)
