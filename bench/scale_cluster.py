"""A large cluster on one etcd: processes of simulated hosts (``scale_hosts``), the watcher, and the orders to them.

The first process has one host only, which comes first and so leads: what that process costs, leading costs. No vm may
run there. The other hosts stand in groups of ``GROUP`` in the same process; each vm's failover domain is one group.
"""

import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.etcd import RealEtcd

from bench.scale_watch import Watcher
from vmha.hypervisor.fabric_state import Deed, Fact
from vmha.model.clock import SystemClock
from vmha.model.ids import NodeName, Revision, VmName
from vmha.model.keys import Keys, encode
from vmha.model.records import UuidClaim
from vmha.model.settings import ClusterConfig, Startup, Timing
from vmha.model.vm import Desired, FailoverDomain, FailoverDomainMember, FenceDeviceSpec, NodeSpec, VmSpec
from vmha.operator.client import OperatorClient
from vmha.sim.hands import domain_xml
from vmha.sim.invariants import Violation, check_safety
from vmha.store.etcd import EtcdStore
from vmha.store.port import Op, Put

GROUP = 8
_A_BATCH = 100
_LONGEST_LINE = 64 * 1024 * 1024
_ROOT = Path(__file__).resolve().parents[1]


def timing_for(beat_s: float) -> Timing:
    """The default profile, or its proportions when the beats are slower."""
    return Timing(
        beat_s=beat_s,
        lease_ttl_s=min(30, max(8, round(4 * beat_s))),
        hold_s=max(10.0, 5 * beat_s),
        suspect_s=max(5.0, 2.5 * beat_s),
    )


class NotInTime(Exception):
    """What was waited for did not come."""


class Company:
    """One process of hosts."""

    def __init__(self, nodes: Sequence[str]) -> None:
        self.nodes = list(nodes)
        self._process: asyncio.subprocess.Process | None = None
        self._one_at_a_time = asyncio.Lock()

    async def begin(self, endpoints: list[str], cluster: str, folder: Path) -> None:
        what = json.dumps({"endpoints": endpoints, "cluster": cluster, "folder": str(folder)})
        command = ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", "bench.scale_hosts", what]
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, cwd=_ROOT, limit=_LONGEST_LINE
        )

    async def do(self, what: str, **words: Any) -> Any:
        process = self._process
        assert process
        assert process.stdin
        assert process.stdout
        async with self._one_at_a_time:
            process.stdin.write(json.dumps({"do": what, **words}).encode() + b"\n")
            line = await process.stdout.readline()
        if not line:
            raise NotInTime(f"the process of {self.nodes[0]} has ended")
        return json.loads(line)

    async def end(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        self._process.kill()
        await self._process.wait()


class LargeCluster:
    """Whoever uses it gives the orders and waits."""

    def __init__(self, etcd: RealEtcd, nodes: int, processes: int, timing: Timing) -> None:
        self.clock = SystemClock()
        self.keys = Keys("scale")
        self.etcd, self.timing = etcd, timing
        self.store = EtcdStore(etcd.endpoints)
        self.operator = OperatorClient(self.store, self.keys, self.clock, author="operator")
        self.watcher = Watcher(self.store, self.keys, self.clock)
        self.lead, *self.nodes = [f"node-{number:04d}" for number in range(nodes)]
        self.groups = [self.nodes[at : at + GROUP] for at in range(0, len(self.nodes), GROUP)]
        workers = max(1, processes - 1)
        shares = [[node for group in self.groups[at::workers] for node in group] for at in range(workers)]
        self.companies = [Company([self.lead]), *(Company(share) for share in shares if share)]
        self.vms: list[str] = []
        self.lost: set[str] = set()
        self._folder = Path(tempfile.mkdtemp(prefix="vmha-scale-"))
        self._watching: asyncio.Task[None] | None = None

    # --- orders

    async def join(self, *, timeout_s: float) -> None:
        """Settings and nodes are written, the agents start, and all come online."""
        config = ClusterConfig(timing=self.timing, startup=Startup(settle_s=1.0))
        ops: list[Op] = [Put(self.keys.config, encode(config))]
        for node in (self.lead, *self.nodes):
            spec = NodeSpec(name=node, fence=(FenceDeviceSpec(agent="fence_switch"),))
            ops.append(Put(self.keys.node_spec(NodeName(node)), encode(spec)))
        for number, group in enumerate(self.groups):
            members = tuple(FailoverDomainMember(node=node) for node in group)
            domain = FailoverDomain(name=f"group-{number}", restricted=True, members=members)
            ops.append(Put(self.keys.domain(domain.name), encode(domain)))
        self._watching = asyncio.create_task(self.watcher.follow(Revision(1)), name="watcher")
        await self._write(ops)
        for company in self.companies:
            await company.begin(self.etcd.endpoints, self.keys.cluster, self._folder)
        await self.companies[0].do("start", nodes=[self.lead])
        await self.until(lambda: self.watcher.leaders > 0, "a leader", timeout_s=timeout_s)
        await asyncio.gather(*(company.do("start", nodes=company.nodes) for company in self.companies[1:]))
        await self.until(lambda: len(self.watcher.online) == len(self.nodes) + 1, "all online", timeout_s=timeout_s)

    async def start_vms(self, count: int) -> None:
        """They are defined, and wanted running; all at once."""
        ops: list[Op] = []
        for number in range(count):
            spec = self._spec(f"vm-{number:05d}", number % len(self.groups))
            ops.append(Put(self.keys.vm_spec(VmName(spec.name)), encode(spec)))
            ops.append(Put(self.keys.uuid(spec.uuid), encode(UuidClaim(vm=VmName(spec.name)))))
            self.vms.append(spec.name)
        await self._write(ops)

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
        """Their power goes. Returns the instant at which it began to."""
        self.lost |= set(names)
        at = self.clock.now()
        for company in self.companies:
            if mine := [name for name in names if name in company.nodes]:
                await company.do("lose", nodes=mine)
        return at

    async def _write(self, ops: list[Op]) -> None:
        for at in range(0, len(ops), _A_BATCH):
            await self.store.txn([], ops[at : at + _A_BATCH], timeout_s=30.0)

    # --- looking

    def all_run(self, *, off: Sequence[str] = ()) -> bool:
        """Every vm runs, none on a host that is lost nor on one of ``off``."""
        not_there = self.lost | set(off)
        running = self.watcher.running
        return len(running) == len(self.vms) and all(node not in not_there for node, _, _ in running.values())

    async def look(self) -> list[dict[str, Any]]:
        """Each process's own word; the leader's first."""
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

    async def until(self, condition: Callable[[], bool], what: str, *, timeout_s: float) -> None:
        give_up_at = self.clock.now() + timeout_s
        while not condition():
            if self._watching and self._watching.done():
                self._watching.result()
            if self.clock.now() > give_up_at:
                running, online = len(self.watcher.running), len(self.watcher.online)
                raise NotInTime(f"{what}: not within {timeout_s:g} s ({running} vms run, {online} nodes are online)")
            await self.watcher.moves(0.1)

    async def quiet(self, *, for_s: float, timeout_s: float) -> None:
        """Until nothing but beats was written for a while."""
        calm = lambda: self.clock.now() > self.watcher.last_deed_at + for_s  # noqa: E731
        await self.until(calm, "quiet", timeout_s=timeout_s)

    async def close(self) -> None:
        for company in self.companies:
            await company.end()
        if self._watching:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._watching
        await self.store.close()
        shutil.rmtree(self._folder, ignore_errors=True)


@asynccontextmanager
async def large_cluster(etcd: RealEtcd, nodes: int, processes: int, timing: Timing) -> AsyncIterator[LargeCluster]:
    cluster = LargeCluster(etcd, nodes, processes, timing)
    try:
        yield cluster
    finally:
        await cluster.close()
