"""Members of a cluster in this process, on a real etcd and in real time; only their hypervisors and guards are twins.

``n1``, ``n2``, ... are the product's own members, each with a connection of its own through relays that a test may cut,
delay or make lose an answer. Profile ``tuned``, so that faults play out in seconds.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.etcd import RealEtcd, free_ports
from tests.support.relay import Loss, Relay
from tests.support.until import until
from vmha.fencing.power import Halt, PowerOff, PowerSwitch
from vmha.fencing.simulated import SimulatedGuard
from vmha.hypervisor.twin.fabric import SimulatedFabric
from vmha.hypervisor.twin.fabric_state import Deed
from vmha.hypervisor.twin.simulated import SimulatedHypervisor
from vmha.model.clock import Clock, SystemClock
from vmha.model.ids import NodeName, SessionId, VmName
from vmha.model.keys import Keys, encode
from vmha.model.records import JournalEntry, Phase, Placement
from vmha.model.settings import ClusterConfig, Profile
from vmha.model.vm import FailoverDomain, FailoverDomainMember, FenceDeviceSpec, NodeSpec
from vmha.node.member import Member, Ports
from vmha.operator import vms
from vmha.operator.client import OperatorClient
from vmha.operator.domains import add_domain
from vmha.peers.tcp import TcpChannel
from vmha.policy.state.snapshot import Snapshot
from vmha.sim.judge.invariants import Violation, check_safety
from vmha.sim.quiet import silence_logs
from vmha.sim.world.gate import SimGate
from vmha.sim.world.guarding import kill_managed
from vmha.sim.world.hands import domain_xml
from vmha.store.etcd import EtcdStore
from vmha.store.port import Put

CONFIG = ClusterConfig(profile=Profile.TUNED)
TIMING = CONFIG.clockwork
UNHURRIED = ClusterConfig(profile=Profile.TUNED, timing=TIMING.model_copy(update={"hold_s": 12.0}))
"""For tests in which nothing is to end: what a busy machine takes to start an etcd is no fault that they are about."""


class _NoPower:
    async def power_off(self, node: NodeName, devices: Sequence[FenceDeviceSpec], *, halt: Halt) -> PowerOff:
        return PowerOff(confirmed=False, how="there is no switch")

    async def give_back(self, node: NodeName, devices: Sequence[FenceDeviceSpec]) -> PowerOff:
        return PowerOff(confirmed=False, how="there is no switch")


@dataclass(slots=True)
class Identity:
    node: NodeName
    address: str
    boot_id: str = "b1"
    host: str = ""
    sessions: int = 0

    def new_session(self) -> SessionId:
        self.sessions += 1
        return SessionId(f"{self.node}-{self.sessions}")


@dataclass(slots=True, eq=False)
class Node:
    """One member, its guard and its cables. ``start_agent`` and ``stop_agent`` are its agent process's life."""

    name: str
    cluster: "RealCluster"
    relays: list[Relay]
    guard: SimulatedGuard
    identity: Identity
    clock: Clock
    gate: SimGate = field(default_factory=SimGate)
    member: Member | None = None
    store: EtcdStore | None = None
    crashes: list[BaseException] = field(default_factory=list)
    _task: asyncio.Task[None] | None = None

    def start_agent(self) -> None:
        first = int(self.name[-1]) - 1  # n1 begins at the first member, n2 at the second
        self.store = self.cluster.open_store([relay.endpoint for relay in self.relays], first=first, who=self.name)
        ports = Ports(
            store=self.store,
            hypervisor=SimulatedHypervisor(self.cluster.fabric, self.name),
            guard=self.guard,
            power=self.cluster.power,
            gate=self.gate,
            clock=self.clock,
            peers=self.cluster.open_channel(self.name),
        )
        self.member = Member(
            ports,
            self.identity,
            self.cluster.keys,
            migration_uri="qemu+tcp://{address}/system",
            migration_address=self.name,
        )
        self._task = asyncio.create_task(self._run(self.member), name=f"member-{self.name}")

    async def stop_agent(self) -> None:
        """As ``kill -9``: what it had asked of others goes on."""
        if self._task is not None:
            assert self.store
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self.store.close()
            self._task = self.member = self.store = None

    async def _run(self, member: Member) -> None:
        try:
            await member.run()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.crashes.append(error)
            raise

    @property
    def session(self) -> SessionId | None:
        return self.member.keeper.current.id if self.member and self.member.keeper.current else None

    def snapshot(self) -> Snapshot:
        assert self.member
        return self.member.mirror.snapshot()


class RealCluster:
    """Nodes, the fabric that their guests run in, and an operator with a cable of his own."""

    def __init__(
        self,
        etcd: RealEtcd,
        *,
        store_options: dict[str, Any] | None = None,
        secret: bytes | None = None,
        open_store: Callable[[str, list[str]], EtcdStore] | None = None,
        power: PowerSwitch | None = None,
    ) -> None:
        """``open_store``: who (a node, or ``operator``) opens the store, and at which endpoints."""
        self.power = power or _NoPower()
        self.etcd, self._secret, self._open_store = etcd, secret, open_store
        self._peer_ports: dict[str, int] = {}
        self.clock = SystemClock()
        self.keys = Keys("t")
        self.fabric = SimulatedFabric(self.clock)
        self.nodes: dict[str, Node] = {}
        self._store_options = store_options or {}
        self.relays = [Relay(port_of(endpoint)) for endpoint in etcd.endpoints]
        self.store = self.open_store(etcd.endpoints)
        self.operator = OperatorClient(self.store, self.keys, self.clock, author="operator")

    def open_store(self, endpoints: list[str], *, first: int = 0, who: str = "operator") -> EtcdStore:
        if self._open_store is not None:
            return self._open_store(who, endpoints)
        return EtcdStore(endpoints, first=first, **self._store_options)

    def open_channel(self, name: str) -> TcpChannel | None:
        """The agents' own, on loopback; None without a secret. A restarted agent listens where it did before."""
        if self._secret is None:
            return None
        port = self._peer_ports.setdefault(name, free_ports(1)[0])
        return TcpChannel(
            node=NodeName(name),
            cluster=self.keys.cluster,
            secret=self._secret,
            listen=("127.0.0.1", port),
            address=f"127.0.0.1:{port}",
            clock=self.clock,
        )

    async def add_node(self, name: str, *, clock: Clock | None = None, start: bool = True) -> Node:
        self.fabric.add_host(name, addresses=(name,))
        relays = [Relay(port_of(endpoint)) for endpoint in self.etcd.endpoints]
        for relay in relays:
            await relay.start()
        guard = SimulatedGuard(
            self.clock,
            lambda: kill_managed(self.fabric, name),
            list_managed=lambda: [g.name for g in self.fabric.host(name).guests.values() if g.tag is not None],
        )
        identity = Identity(NodeName(name), name, host=f"machine-{name}")
        node = self.nodes[name] = Node(name, self, relays, guard, identity, clock or self.clock)
        if start:
            node.start_agent()
        return node

    async def put_operator_behind_relays(self) -> None:
        for relay in self.relays:
            await relay.start()
        await self.store.close()
        self.store = self.open_store([relay.endpoint for relay in self.relays])
        self.operator = OperatorClient(self.store, self.keys, self.clock, author="operator")

    def lose(self, piece: bytes, *, done: bool) -> Loss:
        """One request, of whomever: see ``Loss``."""
        loss = Loss(piece, done)
        for relay in (*self.relays, *(relay for node in self.nodes.values() for relay in node.relays)):
            relay.losses.append(loss)
        return loss

    async def close(self) -> None:
        for node in self.nodes.values():
            await node.stop_agent()
            for relay in node.relays:
                await relay.stop()
            node.guard.stop()
        await self.store.close()
        for relay in self.relays:
            await relay.stop()

    # --- asking for things

    async def prefer(self, *nodes: str) -> str:
        members = tuple(FailoverDomainMember(node=node, priority=rank) for rank, node in enumerate(nodes, start=1))
        await add_domain(self.operator, FailoverDomain(name="home", ordered=True, members=members))
        return "home"

    async def add_vm(self, name: str, **fields: Any) -> None:
        await vms.add_vm(self.operator, name, domain_xml(name, memory_mib=64, vcpus=1), start=True, **fields)

    async def add_running(self, name: str, on: str, **fields: Any) -> None:
        """``on`` is where it is at home."""
        others = [node for node in self.nodes if node != on]
        await self.add_vm(name, failover_domain=await self.prefer(on, *others), **fields)
        await self.until_runs(name, on)

    # --- looking

    def where(self, vm: str) -> list[str]:
        return [host for host, _ in self.fabric.running_instances(vm)]

    def starts(self, vm: str) -> int:
        """How often it was booted, wherever."""
        return sum(1 for _ in self._boots(vm))

    def _boots(self, vm: str) -> list[int]:
        """Positions in the history at which a guest began to run that was running or standing nowhere."""
        here: set[str] = set()
        found = []
        for at, fact in enumerate(self.fabric.history):
            if fact.vm == vm:
                if fact.deed is Deed.ENDS:
                    here.discard(fact.host)
                else:
                    found += [at] if not here else []
                    here.add(fact.host)
        return found

    def violations(self) -> list[Violation]:
        return check_safety(self.fabric.history, [])

    def crashes(self) -> list[BaseException]:
        return [crash for node in self.nodes.values() for crash in node.crashes]

    async def placement(self, vm: str) -> Placement | None:
        view = (await self.operator.read()).vms.get(VmName(vm))
        return view.placement.value if view and view.placement else None

    async def journal(self, kind: str = "") -> list[JournalEntry]:
        entries, _ = await self.operator.journal()
        return [entry for entry in entries if not kind or entry.kind == kind]

    # --- waiting

    async def until_online(self, *names: str, timeout_s: float = 20.0) -> None:
        """All (or the named) nodes hold a session with a lease and have published their inventory."""
        wanted = names or tuple(self.nodes)

        async def online() -> bool:
            snapshot = await self.operator.read()
            views = [snapshot.nodes.get(NodeName(name)) for name in wanted]
            return all(
                view is not None
                and view.session is not None
                and view.beat is not None
                and view.session.value.session == view.beat.value.session
                and view.current_status is not None
                and view.current_status.eligible
                for view in views
            )

        await until(online, what=f"{', '.join(wanted)} online", timeout_s=timeout_s)

    async def until_leader(self, *, timeout_s: float = 20.0) -> str:
        await until(lambda: bool(self.leaders()), what="a leader", timeout_s=timeout_s)
        return self.leaders()[0]

    def leaders(self) -> list[str]:
        return [name for name, node in self.nodes.items() if node.member and node.member.leader.term is not None]

    async def until_runs(self, vm: str, on: str, *, timeout_s: float = 20.0) -> None:
        """It runs there, and its holder says so."""

        async def runs() -> bool:
            if self.where(vm) != [on]:
                return False
            held = await self.placement(vm)
            return held is not None and held.node == on and held.phase is Phase.HELD

        await until(runs, what=f"{vm} runs on {on}", timeout_s=timeout_s)

    async def stays(self, holds: Callable[[], bool], seconds: float, what: str) -> None:
        """Look all the time."""
        end_at = self.clock.now() + seconds
        while self.clock.now() < end_at:
            assert holds(), f"no longer: {what}"
            await asyncio.sleep(0.02)


def port_of(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2])


@asynccontextmanager
async def real_cluster(
    etcd: RealEtcd,
    *,
    nodes: int = 3,
    names: Sequence[str] = (),
    store_options: dict[str, Any] | None = None,
    secret: bytes | None = None,
    open_store: Callable[[str, list[str]], EtcdStore] | None = None,
    power: PowerSwitch | None = None,
    config: ClusterConfig = CONFIG,
) -> AsyncIterator[RealCluster]:
    """Nodes that have joined, and a leader. At the end nothing may have run twice and no agent may have crashed.

    ``names``: the nodes', if they are to have others than n1 and so on. ``secret``: the agents talk to each other, over
    TCP.
    """
    silence_logs()
    cluster = RealCluster(etcd, store_options=store_options, secret=secret, open_store=open_store, power=power)
    try:
        await cluster.store.txn([], [Put(cluster.keys.config, encode(config))])
        for name in names or [f"n{number}" for number in range(1, nodes + 1)]:
            await cluster.store.txn([], [Put(cluster.keys.node_spec(NodeName(name)), encode(NodeSpec(name=name)))])
            await cluster.add_node(name)
        await cluster.until_online()
        await cluster.until_leader()
        yield cluster
        assert cluster.violations() == []
        assert cluster.crashes() == []
    finally:
        with contextlib.suppress(Exception):
            await cluster.close()
