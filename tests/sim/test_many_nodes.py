"""More nodes than RGManager's sixteen: every agent under one leader."""

from tests.support.worlds import Cluster, in_cluster

NODES, VMS = 34, 34


def test_the_vms_of_lost_nodes_are_spread_over_the_others() -> None:
    async def scene(cluster: Cluster) -> None:
        names = [f"vm{number:02d}" for number in range(VMS)]
        for name in names:
            await cluster.hands.add(name, memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        lost = [f"n{number}" for number in (1, 17, 34)]
        struck = [name for name in names if cluster.where(name)[0] in lost]
        assert len(struck) == 3
        for node in lost:
            cluster.hands.host(node).power_off()
        await cluster.rest()
        where = {name: cluster.where(name) for name in names}
        assert all(len(hosts) == 1 and hosts[0] not in lost for hosts in where.values()), where
        per_node = [sum(hosts == [f"n{number}"] for hosts in where.values()) for number in range(1, NODES + 1)]
        assert max(per_node) <= 2
        assert cluster.violations() == []

    in_cluster(scene, nodes=NODES)
