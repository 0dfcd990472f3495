"""Faults at the end of a migration that libvirt switches by itself (``handover: libvirt``), on storage that has a lock.

Until then it is as any other (``test_migration_faults``). The lock is what keeps the second one from running while the
first does, and the twin has none but for the switch itself: a reply that is lost then is not played here.
"""

import asyncio
import itertools

import pytest

from tests.sim.test_migration_faults import FAULTS, LASTS_S, SOURCE, TARGET, migrating, one_instance
from tests.support.worlds import Cluster, in_cluster
from vmha.model.vm import Handover

INSTANTS = ("at the switch", "before the hand-over")
CASES = [
    case
    for case in itertools.product(FAULTS, (SOURCE, TARGET), INSTANTS)
    if case[0] != "last reply lost" and case[:2] != ("etcd stopped", TARGET)
]


@pytest.mark.parametrize(("fault", "side", "instant"), CASES)
def test_one_runs_in_the_end_and_never_two(fault: str, side: str, instant: str) -> None:
    async def scene(cluster: Cluster) -> None:
        cluster.world.fabric.is_own_switch_atomic = True
        await migrating(cluster, instant, handover=Handover.LIBVIRT)
        FAULTS[fault].strike(cluster, side)
        if mend := FAULTS[fault].mend:
            await asyncio.sleep(LASTS_S)
            mend(cluster, side)
        await one_instance(cluster)

    in_cluster(scene, watchdog_s=2)
