"""What a change costs an agent does not grow with the vms that the change is not about.

Counted are the lines of the agents' own modules that are run for one change, not seconds. The simulation replays to the
byte, so that two clusters that differ in their vms alone differ in nothing else.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tests.sim.probes import raw
from tests.support.worlds import Cluster, in_cluster
from vmha.agent.outlook import Outlook
from vmha.model.holds import Hold
from vmha.model.ids import VmName
from vmha.model.keys import encode
from vmha.model.vm import Desired, VmSpec
from vmha.store.port import Delete, Put

FEW, MANY = 40, 400
AGENTS_OWN = (
    "/agent/",
    "/store/mirror",
    "/policy/state/assemble",
    "/policy/state/indexes",
    "/policy/members/membership",
    "/leader/leader",
)
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


@contextmanager
def seen_to_look() -> Iterator[set[tuple[str, str]]]:
    """Fills with (node, vm): whose agent has decided what is to be done there about which vm."""
    found: set[tuple[str, str]] = set()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if event == "call" and frame.f_code is Outlook.decide.__code__:
            found.add((frame.f_locals["self"].ports.node, frame.f_locals["vm"]))

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield found
    finally:
        sys.settrace(before)


async def who_looks_at_a_change(cluster: Cluster, vm: str) -> set[tuple[str, str]]:
    """That it is frozen, or not any more."""
    key = cluster.world.keys.freeze(VmName(vm))
    is_frozen = raw(cluster, key) is not None
    with seen_to_look() as found:
        cluster.world.etcd.txn([], [Delete(key) if is_frozen else Put(key, encode(Hold(author="test")))])
        await asyncio.sleep(A_MOMENT_S)
    return found


def test_change_of_a_vm_is_looked_at_by_the_nodes_that_it_concerns_and_by_no_other() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        (source,) = cluster.where("web")
        target = next(name for name in ("n1", "n2", "n3") if name != source)
        assert await who_looks_at_a_change(cluster, "web") == {(source, "web")}
        assert await who_looks_at_a_change(cluster, "web") == {(source, "web")}
        await cluster.rest()

        with seen_to_look() as looked:
            await cluster.hands.migrate("web", target)
            await cluster.rest()
        assert {node for node, _ in looked} == {source, target}
        assert cluster.where("web") == [target]
        assert await who_looks_at_a_change(cluster, "web") == {(target, "web")}

    in_cluster(scene)


def test_vm_that_runs_where_no_record_says_so_is_looked_at_there() -> None:
    """What is here concerns this node, whatever the store says."""

    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        (node,) = cluster.where("web")
        with seen_to_look() as looked:
            await cluster.hands.remove("web")
            await asyncio.sleep(A_MOMENT_S)
        assert looked == {(node, "web")}
        assert cluster.where("web") == [node]

    in_cluster(scene)
