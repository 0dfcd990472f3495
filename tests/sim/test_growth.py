"""What a change costs an agent does not grow with the vms that the change is not about.

Counted are the lines of the agents' own modules that are run for one change, not seconds. The simulation replays to the
byte, so that two clusters that differ in their vms alone differ in nothing else.
"""

import asyncio
import sys
from collections import Counter
from types import FrameType
from typing import Any

from tests.support.worlds import Cluster, in_cluster
from vmha.model.holds import Hold
from vmha.model.ids import VmName
from vmha.model.keys import encode
from vmha.model.vm import Desired, VmSpec
from vmha.store.port import Put

FEW, MANY = 40, 400
AGENTS_OWN = ("/agent/", "/store/mirror", "/policy/assemble", "/policy/indexes", "/policy/membership", "/leader/leader")
A_MOMENT_S = 0.1
"""Shorter than any poll or sweep."""


def lines_for_one_change(vms: int) -> Counter[str]:
    """By module and function, in a cluster of two with so many vms that are not to run."""

    async def scene(cluster: Cluster) -> Counter[str]:
        world = cluster.world
        for number in range(vms):
            name, uuid = VmName(f"vm{number:04d}"), f"00000000-0000-4000-8000-{number:012d}"
            spec = VmSpec(name=name, xml="<domain/>", uuid=uuid, desired=Desired.STOPPED)
            world.etcd.txn([], [Put(world.keys.vm_spec(name), encode(spec))])
        await asyncio.sleep(25.0)
        lines: Counter[str] = Counter()

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            place = frame.f_code.co_filename
            if not any(part in place for part in AGENTS_OWN):
                return None
            if event == "line":
                lines[f"{place.rpartition('/vmha/')[2]}:{frame.f_code.co_name}"] += 1
            return trace

        freeze = Put(world.keys.freeze(VmName("vm0007")), encode(Hold(author="test")))
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            world.etcd.txn([], [freeze])
            await asyncio.sleep(A_MOMENT_S)
        finally:
            sys.settrace(before)
        return lines

    return in_cluster(scene, nodes=2)


def test_one_change_costs_an_agent_the_same_however_many_vms_there_are() -> None:
    few, many = lines_for_one_change(FEW), lines_for_one_change(MANY)
    assert few["store/mirror.py:_put"] > 0, "the change was seen while it was looked"
    grown = {where: (few[where], count) for where, count in many.items() if count - few[where] > (MANY - FEW) / 4}
    assert grown == {}
