"""What a start of many vms at once writes: of each placement what really happens to it, and nothing in between."""

import asyncio
from collections.abc import Mapping

from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.domain_xml import default_uuid
from vmha.model.ids import VmName
from vmha.model.keys import encode
from vmha.model.vm import Desired, VmSpec
from vmha.sim.world.hands import domain_xml
from vmha.store.port import Put

VMS = [VmName(f"vm{number:02d}") for number in range(60)]
"""More than three nodes start at once."""


def define_all(cluster: Cluster, *, memory_mib: int = 64) -> None:
    """Wanted running, all of them in one instant."""
    for name in VMS:
        xml = domain_xml(name, memory_mib=memory_mib, vcpus=1)
        spec = VmSpec(
            name=name,
            xml=xml,
            uuid=default_uuid("sim", name),
            desired=Desired.RUNNING,
            memory_mib=memory_mib,
            vcpus=1,
        )
        cluster.world.etcd.txn([], [Put(cluster.world.keys.vm_spec(name), encode(spec))])


async def all_run(cluster: Cluster) -> None:
    await until(lambda: all(cluster.where(vm) for vm in VMS), what="all run", timeout_s=120.0)
    await cluster.rest()


def written(cluster: Cluster) -> Mapping[str, list[str]]:
    """Every placement's phases, one for each time that it was written."""
    found: dict[str, list[str]] = {}
    for line in cluster.world.record.catch_up().lines:
        for put in line.written:
            match put.key.split("/"):
                case ["vms", vm, "placement"]:
                    found.setdefault(vm, []).append(put.read()["phase"])
    return found


def reasons(cluster: Cluster, vm: str) -> list[str]:
    return [
        put.read()["reason"]["rule"]
        for line in cluster.world.record.catch_up().lines
        for put in line.written
        if put.key == f"vms/{vm}/placement"
    ]


def test_vms_that_are_defined_all_at_once_are_written_when_they_are_assigned_and_when_they_are_claimed() -> None:
    async def scene(cluster: Cluster) -> None:
        define_all(cluster)
        await all_run(cluster)
        assert written(cluster) == {vm: ["assigned", "held"] for vm in VMS}

    in_cluster(scene)


def test_cold_start_of_a_whole_cluster_writes_each_placement_when_it_is_assigned_and_when_it_is_claimed() -> None:
    async def scene(cluster: Cluster) -> None:
        for host in cluster.world.hosts.values():
            host.power_off()
        await asyncio.sleep(30.0)
        define_all(cluster)
        for host in cluster.world.hosts.values():
            host.power_on()
            await asyncio.sleep(0.3)
        await all_run(cluster)
        assert written(cluster) == {vm: ["assigned", "held"] for vm in VMS}

    in_cluster(scene)


def test_vm_that_finds_no_room_is_written_once_with_the_reason_and_again_when_there_is_some() -> None:
    async def scene(cluster: Cluster) -> None:
        define_all(cluster, memory_mib=900)  # eighteen find room on each of three nodes
        left_over = VMS[-1]
        await until(lambda: bool(reasons(cluster, left_over)), what="its wait is on record", timeout_s=60.0)
        await cluster.rest()
        assert reasons(cluster, left_over) == ["no-node-can-take-it"]
        cluster.world.add_host("n4").power_on()
        await cluster.hands.register("n4", fence=False)
        await all_run(cluster)
        assert reasons(cluster, left_over) == ["no-node-can-take-it", "wanted-running", "wanted-running"]

    in_cluster(scene)
