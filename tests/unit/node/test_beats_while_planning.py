"""The leader of a large cluster thinks beside the loop: its own beats go on meanwhile."""

import asyncio
import threading
from contextlib import suppress

from tests.support.members import Identity
from tests.support.until import until
from vmha.fencing.power import PowerSwitch
from vmha.fencing.simulated import SimulatedGuard
from vmha.hypervisor.twin.fabric import SimulatedFabric
from vmha.hypervisor.twin.simulated import SimulatedHypervisor
from vmha.leader.leader import PLANS_OFF_LOOP_FROM, Leader
from vmha.model.clock import SystemClock
from vmha.model.ids import NodeName, VmName
from vmha.model.keys import Keys, encode
from vmha.model.settings import ClusterConfig, Profile
from vmha.model.vm import Desired, NodeSpec, VmSpec
from vmha.node.member import Member, Ports
from vmha.policy.members.membership import Verdict
from vmha.policy.state.snapshot import Moment, Snapshot
from vmha.policy.state.steps import Plan
from vmha.sim.quiet import silence_logs
from vmha.sim.world.gate import SimGate
from vmha.sim.world.guarding import kill_managed
from vmha.store.memory import MemoryEtcd
from vmha.store.memory_store import MemoryStore
from vmha.store.port import Put

KEYS, NODE = Keys("c"), NodeName("n1")
BEATS = 3
DEADLINE_S = 60.0


def filled() -> MemoryEtcd:
    etcd = MemoryEtcd()
    etcd.txn([], [Put(KEYS.config, encode(ClusterConfig(profile=Profile.TUNED)))])
    etcd.txn([], [Put(KEYS.node_spec(NODE), encode(NodeSpec(name=NODE)))])
    for number in range(PLANS_OFF_LOOP_FROM):
        name = VmName(f"vm{number}")
        uuid = f"00000000-0000-4000-8000-{number:012d}"
        spec = VmSpec(name=name, xml="<domain/>", uuid=uuid, desired=Desired.STOPPED)
        etcd.txn([], [Put(KEYS.vm_spec(name), encode(spec))])
    return etcd


async def test_beats_go_on_for_as_long_as_a_plan_takes() -> None:
    silence_logs()
    clock, etcd = SystemClock(), filled()
    fabric = SimulatedFabric(clock)
    fabric.add_host(NODE, addresses=(NODE,))
    guard = SimulatedGuard(clock, lambda: kill_managed(fabric, NODE))
    store = MemoryStore(etcd, NODE)
    power = PowerSwitch  # nothing is there to be powered off
    ports = Ports(
        store=store,
        hypervisor=SimulatedHypervisor(fabric, NODE),
        guard=guard,
        power=power,  # type: ignore[arg-type]
        gate=SimGate(),
        clock=clock,
    )
    uri = "qemu+tcp://{address}/system"
    member = Member(ports, Identity(NODE, NODE), KEYS, migration_uri=uri, migration_address=NODE)
    beaten, is_over = threading.Event(), threading.Event()
    begun_at: list[int] = []

    def think(snapshot: Snapshot, moment: Moment, verdicts: dict[NodeName, Verdict]) -> Plan:
        """Takes until this node has beaten some more times: for ever, if it can not meanwhile."""
        begun_at.append(member.keeper.beats.committed)
        beaten.wait(DEADLINE_S)
        is_over.set()
        return Plan()

    member.leader = Leader(
        store=store,
        keys=KEYS,
        clock=clock,
        mirror=member.mirror,
        node=NODE,
        power=power,  # type: ignore[arg-type]
        read_session=lambda: member.keeper.current,
        store_live_s=member.keeper.store_live_s,
        may_decide=member.keeper.has_confirmed,
        think=think,
    )
    living = asyncio.create_task(member.run())
    try:
        await until(lambda: bool(begun_at), what="a plan has begun", timeout_s=DEADLINE_S)
        assert not is_over.is_set()
        await until(lambda: member.keeper.beats.committed >= begun_at[0] + BEATS, what="beats", timeout_s=DEADLINE_S)
        assert not is_over.is_set()
    finally:
        beaten.set()
        living.cancel()
        with suppress(asyncio.CancelledError):
            await living
        guard.stop()
        await store.close()
