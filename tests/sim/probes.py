"""What the hard cases look at and lay hands on: raw keys, an ordered failover domain, a libvirtd that queues."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.until import until
from tests.support.worlds import Cluster
from vmha.hypervisor.port import Tag
from vmha.hypervisor.twin.fabric_state import Deed, Fact, Guest, Host
from vmha.model.ids import NodeName, RequestId, VmName
from vmha.model.keys import decode, encode
from vmha.model.records import Outcome, Placement, Progress
from vmha.model.vm import FailoverDomain, FailoverDomainMember
from vmha.node.metrics import MemberMetrics
from vmha.sim.world.virtual import VirtualClock
from vmha.store.port import Delete, Put

T = TypeVar("T")

DOMAIN = "home"
AN_INSTANT_S = 0.0002


class SkewedClock(VirtualClock):
    """Runs as the others do; its wall clock is ``ahead_s`` ahead of theirs (behind, if negative)."""

    def __init__(self, true: VirtualClock, ahead_s: float) -> None:
        self._true, self._ahead_s = true, ahead_s

    def now(self) -> float:
        return self._true.now()

    def wall(self) -> float:
        return self._true.wall() + self._ahead_s


async def prefer(cluster: Cluster, *nodes: str) -> str:
    """The name of an ordered failover domain of these nodes, the most preferred first."""
    members = tuple(FailoverDomainMember(node=node, priority=rank) for rank, node in enumerate(nodes, start=1))
    await cluster.hands.add_domain(FailoverDomain(name=DOMAIN, ordered=True, members=members))
    return DOMAIN


async def add_running(cluster: Cluster, name: str, *, on: tuple[str, ...] = ("n1", "n2", "n3"), **fields: Any) -> None:
    """A vm that runs on the first of the nodes ``on`` and prefers them in this order."""
    domain = await prefer(cluster, *on)
    await cluster.hands.add(name, memory_mib=1024, vcpus=1, start=True, failover_domain=domain, **fields)
    await cluster.rest()
    assert cluster.where(name) == [on[0]]


def scrape(cluster: Cluster, node: str) -> dict[tuple[str, str], float]:
    """What its endpoint writes for Prometheus: name and the one label's value (empty: none) to number."""
    member = cluster.hands.host(node).member
    assert member
    text = generate_latest(MemberMetrics(member, cluster.world.clock, cluster="sim").registry()).decode()
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        (one.name, next(iter(one.labels.values()), "")): one.value for one in found if one.name != "vmha_agent_info"
    }


async def put(cluster: Cluster, key: str, value: Any) -> None:
    raw = value if isinstance(value, bytes) else encode(value)
    await cluster.world.operator_store.txn([], [Put(key, raw)])


async def delete(cluster: Cluster, key: str) -> None:
    await cluster.world.operator_store.txn([], [Delete(key)])


def raw(cluster: Cluster, key: str) -> bytes | None:
    kv = cluster.world.etcd.get(key)
    return kv.value if kv else None


def placement(cluster: Cluster, vm: str) -> Placement | None:
    value = raw(cluster, cluster.world.keys.placement(VmName(vm)))
    return decode(Placement, value, where=vm) if value else None


def outcome(cluster: Cluster, request: RequestId) -> Outcome | None:
    value = raw(cluster, cluster.world.keys.outcome(request))
    return decode(Outcome, value, where=request) if value else None


async def answered(cluster: Cluster, request: RequestId, *, timeout_s: float) -> Outcome:
    def is_answered() -> bool:
        found = outcome(cluster, request)
        return found is not None and found.progress is not Progress.RUNNING

    await until(is_answered, what=f"an answer to {request}", timeout_s=timeout_s)
    found = outcome(cluster, request)
    assert found
    return found


def given_to(cluster: Cluster, vm: str, node: str) -> list[float]:
    """The instants at which a leader named this node for this vm: to start it, or as the target of a migration."""
    found = []
    for line in cluster.world.record.catch_up().lines:
        for written in line.written:
            if written.key != f"vms/{vm}/placement" or written.value is None:
                continue
            now = written.read()
            starts = now["phase"] == "assigned" and now["node"] == node and not now["arrival"]
            if starts or (now["phase"] == "migrating" and now["target"] == node):
                found.append(line.at_s)
    return found


async def see_at_once(find: Callable[[], T | None], *, timeout_s: float = 10.0) -> T:
    """What ``find`` finds, seen sooner than a message can pass between the store and anybody."""
    for _ in range(int(timeout_s / AN_INSTANT_S)):
        if (found := find()) is not None:
            return found
        await asyncio.sleep(AN_INSTANT_S)
    raise AssertionError(f"not found within {timeout_s:g} s")


async def runs_on(cluster: Cluster, vm: str, *nodes: str, timeout_s: float) -> None:
    await until(lambda: cluster.where(vm) == list(nodes), what=f"{vm} runs on {nodes}", timeout_s=timeout_s)


def starts(cluster: Cluster, vm: str) -> list[Fact]:
    return [fact for fact in cluster.world.fabric.history if fact.vm == vm and fact.deed is Deed.RUNS]


def leader_of(cluster: Cluster) -> NodeName:
    leader = cluster.observer.snapshot.leader
    assert leader
    return leader.value.node


def restart_agent(cluster: Cluster, node: str) -> None:
    cluster.hands.host(node).stop_agent()
    cluster.hands.host(node).start_agent()


def queue_one_start(cluster: Cluster, node: str, delay_s: float) -> Callable[[], bool]:
    """The libvirtd of ``node`` leaves the next start in its queue for so long. It stays there whoever stops waiting.

    Returns whether it has come out of the queue by now.
    """
    fabric = cluster.world.fabric
    at_once, came_out = fabric.begin_start, asyncio.Event()

    def queued(host: Host, xml: str, tag: Tag | None = None) -> "asyncio.Future[Guest]":
        if host.name != node:
            return at_once(host, xml, tag)
        fabric.begin_start = at_once  # type: ignore[method-assign]
        answer: asyncio.Future[Guest] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be left to look

        def pass_on(done: "asyncio.Future[Guest]") -> None:
            if error := done.exception():
                answer.set_exception(error)
            else:
                answer.set_result(done.result())

        def go_on() -> None:
            came_out.set()
            at_once(host, xml, tag).add_done_callback(pass_on)

        asyncio.get_running_loop().call_later(delay_s, go_on)
        return answer

    fabric.begin_start = queued  # type: ignore[method-assign]
    return came_out.is_set
