"""Histories that only a missing check makes bad, and that neither a schedule nor another directed test can say."""

from tests.support.worlds import Cluster, in_cluster
from vmha.model.vm import FailoverDomain, FailoverDomainMember
from vmha.sim.world.hands import domain_xml


def vm_run_by_hand_is_added_while_nobody_can_look_where_it_runs() -> None:
    """n3's libvirtd is down: n3 has not looked for a vm of that name, and it runs there."""

    async def scene(cluster: Cluster) -> None:
        members = (FailoverDomainMember(node="n1", priority=1),)
        await cluster.hands.add_domain(FailoverDomain(name="home", ordered=True, members=members))
        cluster.hands.virsh_start(domain_xml("web", memory_mib=1024, vcpus=1), "n3")
        await cluster.rest()
        cluster.world.fabric.stop_libvirtd("n3")
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True, failover_domain="home")
        await cluster.rest()  # at which nothing of it is placed yet
        cluster.world.fabric.start_libvirtd("n3")
        await cluster.rest()

    in_cluster(scene)
