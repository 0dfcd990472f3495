"""A vm on its way takes its room at both ends: who wants it there waits until one of them is free."""

from tests.sim.probes import placement
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.records import Phase
from vmha.model.vm import FailoverDomain, FailoverDomainMember

MIB = 12288
"""Of 16 GiB."""


async def send_web_and_want_db(cluster: Cluster, *, at_its_source: bool) -> tuple[str, str]:
    """web migrates, for ten seconds; db, which moves nobody, may run only at one end."""
    await cluster.hands.add("web", memory_mib=MIB, vcpus=1, start=True, priority=200)
    await cluster.rest()
    [source] = cluster.where("web")
    target = next(node for node in ("n1", "n2") if node != source)
    only = FailoverDomainMember(node=source if at_its_source else target)
    await cluster.hands.add_domain(FailoverDomain(name="only", restricted=True, members=(only,)))
    cluster.world.fabric.set_migration_time("web", 10.0)
    await cluster.hands.migrate("web", target)

    def is_on_its_way() -> bool:
        held = placement(cluster, "web")
        return held is not None and held.phase is Phase.MIGRATING

    await until(is_on_its_way, what="web is on its way", timeout_s=5.0)
    await cluster.hands.add("db", memory_mib=MIB, vcpus=1, start=True, failover_domain="only")
    return source, target


def test_room_that_a_vm_leaves_is_given_to_another_only_when_it_is_gone() -> None:
    async def scene(cluster: Cluster) -> None:
        source, target = await send_web_and_want_db(cluster, at_its_source=True)
        await cluster.rest()
        assert (cluster.where("web"), cluster.where("db")) == ([target], [source])
        assert cluster.violations() == []

    in_cluster(scene)


def test_room_that_a_vm_is_on_its_way_to_is_given_to_nobody_else() -> None:
    async def scene(cluster: Cluster) -> None:
        _, target = await send_web_and_want_db(cluster, at_its_source=False)
        await cluster.rest()
        assert (cluster.where("web"), cluster.where("db")) == ([target], [])
        assert cluster.violations() == []

    in_cluster(scene)
