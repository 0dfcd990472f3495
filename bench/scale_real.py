"""A large cluster all of whose agents are the product: processes of simulated hosts on one etcd.

Every agent follows every key, so what one machine must deliver grows with the square of the nodes, where each host of
a real cluster bears its own share only: how many nodes there can be is bounded by the machine, not by one agent.

The first process has one host only, which comes first and so leads: what that process costs, leading costs. No vm may
run there. The other hosts stand in groups of ``GROUP`` in the same process; each vm's failover domain is one group.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tests.support.etcd import RealEtcd

from bench.scale_cluster import Cluster
from bench.scale_company import Company
from vmha.hypervisor.twin.fabric_state import Deed, Fact
from vmha.model.ids import NodeName, Revision, VmName
from vmha.model.keys import encode
from vmha.model.records import UuidClaim
from vmha.model.settings import ClusterConfig, Startup, Timing
from vmha.model.vm import Desired, FailoverDomain, FailoverDomainMember, FenceDeviceSpec, NodeSpec, VmSpec
from vmha.sim.judge.invariants import Violation, check_safety
from vmha.sim.world.hands import domain_xml
from vmha.store.port import Op, Put

GROUP = 8


def timing_for(beat_s: float) -> Timing:
    """The default profile, or its proportions when the beats are slower."""
    return Timing(
        beat_s=beat_s,
        lease_ttl_s=min(30, max(8, round(4 * beat_s))),
        hold_s=max(10.0, 5 * beat_s),
        suspect_s=max(5.0, 2.5 * beat_s),
    )


class RealAgents(Cluster):
    def __init__(self, etcd: RealEtcd, nodes: int, processes: int, timing: Timing) -> None:
        super().__init__(etcd)
        self.timing = timing
        self.lead, *self.nodes = [f"node-{number:04d}" for number in range(nodes)]
        self.groups = [self.nodes[at : at + GROUP] for at in range(0, len(self.nodes), GROUP)]
        workers = max(1, processes - 1)
        shares = [[node for group in self.groups[at::workers] for node in group] for at in range(workers)]
        self.companies = [Company([self.lead]), *(Company(share) for share in shares if share)]

    async def begin(self, *, stalls: bool = False) -> None:
        """Settings and nodes are written, and there are the processes; no agent runs yet."""
        config = ClusterConfig(timing=self.timing, startup=Startup(settle_s=1.0))
        ops: list[Op] = [Put(self.keys.config, encode(config))]
        for node in (self.lead, *self.nodes):
            spec = NodeSpec(name=node, fence=(FenceDeviceSpec(agent="fence_switch"),))
            ops.append(Put(self.keys.node_spec(NodeName(node)), encode(spec)))
        for number, group in enumerate(self.groups):
            members = tuple(FailoverDomainMember(node=node) for node in group)
            domain = FailoverDomain(name=f"group-{number}", restricted=True, members=members)
            ops.append(Put(self.keys.domain(domain.name), encode(domain)))
        self.follow(Revision(1))
        await self.write(ops)
        for company in self.companies:
            is_leaders = company is self.companies[0]
            await company.begin(self.etcd.endpoints, self.keys.cluster, self.folder, stalls=stalls and is_leaders)

    # --- orders

    async def join(self, *, timeout_s: float) -> None:
        """The agents start, and all come online."""
        await self.companies[0].do("start", nodes=[self.lead])
        await self.until(lambda: self.watcher.leaders > 0, "a leader", timeout_s=timeout_s)
        await asyncio.gather(*(company.do("start", nodes=company.nodes) for company in self.companies[1:]))
        await self.until(lambda: len(self.watcher.online) == len(self.nodes) + 1, "all online", timeout_s=timeout_s)

    async def start_vms(self, count: int) -> None:
        """They are defined, and wanted running."""
        ops: list[Op] = []
        for number in range(count):
            spec = self._spec(f"vm-{number:05d}", number % len(self.groups))
            ops.append(Put(self.keys.vm_spec(VmName(spec.name)), encode(spec)))
            ops.append(Put(self.keys.uuid(spec.uuid), encode(UuidClaim(vm=VmName(spec.name)))))
            self.vms.append(spec.name)
        await self.write(ops)

    def _spec(self, name: str, group: int) -> VmSpec:
        xml = domain_xml(name, memory_mib=64, vcpus=1)
        return VmSpec(
            name=name,
            xml=xml,
            uuid=xml.partition("<uuid>")[2].partition("</uuid>")[0],
            desired=Desired.RUNNING,
            desired_why="started by an operator",
            failover_domain=f"group-{group}",
            memory_mib=64,
            vcpus=1,
        )

    async def lose(self, names: Sequence[str]) -> float:
        """Their power goes; the switch confirms it as soon as it is asked."""
        self.lost |= set(names)
        at = self.clock.now()
        for company in self.companies:
            if mine := [name for name in names if name in company.nodes]:
                await company.do("lose", nodes=mine)
        return at

    # --- looking

    async def look(self) -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(company.do("look") for company in self.companies)))

    async def where(self) -> dict[str, list[str]]:
        """What runs where, by the hosts' own word."""
        found: dict[str, list[str]] = {}
        for word in await self.look():
            for vm, hosts in word["running"].items():
                found.setdefault(vm, []).extend(hosts)
        return found

    async def violations(self) -> list[Violation]:
        """The judge's word on the histories of all hosts, in the order of time (one clock serves all processes)."""
        facts = []
        for history in await asyncio.gather(*(company.do("history") for company in self.companies)):
            facts += [Fact(**{**fact, "deed": Deed(fact["deed"])}) for fact in history]
        return list(check_safety(sorted(facts, key=lambda fact: fact.time), []))

    async def close(self) -> None:
        for company in self.companies:
            await company.end()
        await super().close()


@asynccontextmanager
async def real_agents(
    etcd: RealEtcd, nodes: int, processes: int, timing: Timing, *, stalls: bool = False
) -> AsyncIterator[RealAgents]:
    cluster = RealAgents(etcd, nodes, processes, timing)
    try:
        await cluster.begin(stalls=stalls)
        yield cluster
    finally:
        await cluster.close()
