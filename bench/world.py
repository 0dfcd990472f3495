"""A large cluster as records: every key that its agents, its leader and its operator would have written.

Nodes stand in groups of four, each with an ordered failover domain that begins at another of the four; the vms are
spread evenly, each at home on its most preferred node. The reasons name as many candidates as the planner names.
"""

from collections.abc import Iterator
from typing import Any

from vmha.lab.witness.domain import witness_domain_xml
from vmha.model.ids import Epoch, LeaseId, NodeName, Revision, SessionId, VmName
from vmha.model.keys import Keys
from vmha.model.records import (
    ArmedLevel,
    BeatRecord,
    Candidate,
    FenceRecord,
    LeaderRecord,
    NodeStatus,
    Observation,
    Phase,
    Placement,
    Reason,
    SeenState,
    SessionRecord,
    Stored,
)
from vmha.model.settings import ClusterConfig, Proof
from vmha.model.vm import Desired, FailoverDomain, FailoverDomainMember, NodeSpec, VmSpec
from vmha.policy.placing.placement import NAMED_AT_MOST
from vmha.policy.state.snapshot import NodeView, Snapshot, VmView

GROUP = 4
NODE_MIB = 262_144
VM_MIB = 4096
WALL = 1.7e9
"""Of the records: it has been. A leader sets dates right that are yet to come, with a write for each."""
_CREATED, _MODIFIED = 1000, 2000
"""Revisions: every node has looked for every vm since it was defined, or a cold start would wait for that."""


def node_name(number: int) -> NodeName:
    return NodeName(f"node-{number:04d}")


def _session(node: NodeName) -> SessionId:
    return SessionId(f"{node}-5f0c9a67")


def _domain_name(home: int) -> str:
    return f"prefers-{node_name(home)}"


def domains(nodes: int) -> list[FailoverDomain]:
    """One for each node as the first: it, then the other nodes of its group."""
    found = []
    for home in range(nodes):
        first = home - home % GROUP
        group = [first + (home + step) % GROUP for step in range(GROUP)]
        members = tuple(
            FailoverDomainMember(node=node_name(number), priority=priority)
            for priority, number in enumerate((number for number in group if number < nodes), start=1)
        )
        found.append(FailoverDomain(name=_domain_name(home), ordered=True, members=members))
    return found


def node_records(name: NodeName) -> tuple[NodeSpec, SessionRecord, BeatRecord, NodeStatus]:
    session = _session(name)
    return (
        NodeSpec(name=name),
        SessionRecord(node=name, session=session, since=WALL, version="0.1.0", address=f"{name}.example:2400"),
        BeatRecord(session=session, boot_id=name, count=7, armed=ArmedLevel.WATCHDOG, hold_s=10.0, dead_after_s=15.0),
        NodeStatus(
            node=name,
            session=session,
            eligible=True,
            armed=ArmedLevel.WATCHDOG,
            memory_mib=NODE_MIB,
            vcpus=64,
            hypervisor="QEMU 8.2",
            address=f"{name}.example",
            migration_address=f"{name}.example",
            looked_for=Revision(_CREATED + 1),
        ),
    )


def vm_records(number: int, nodes: int) -> tuple[VmSpec, Placement, Observation]:
    name, home = VmName(f"vm-{number:05d}"), number % nodes
    node = node_name(home)
    named = sorted({(home + step) % nodes for step in range(NAMED_AT_MOST)})
    spec = VmSpec(
        name=name,
        xml=witness_domain_xml(name, VM_MIB),
        uuid=f"00000000-0000-4000-8000-{number:012d}",
        desired=Desired.RUNNING,
        desired_why="started by an operator",
        failover_domain=_domain_name(home),
        memory_mib=VM_MIB,
    )
    reason = Reason(
        rule="wanted-running",
        text=f"it is wanted running; {node} is preferred in failover domain {_domain_name(home)}",
        candidates=tuple(Candidate(node=node_name(n), score=3 if n == home else 2) for n in named),
    )
    placement = Placement(
        vm=name,
        epoch=Epoch(1),
        phase=Phase.HELD,
        reason=reason,
        since=WALL,
        node=node,
        session=_session(node),
        last_node=node,
    )
    seen = Observation(
        vm=name, node=node, session=_session(node), state=SeenState.RUNNING, epoch=Epoch(1), uuid=spec.uuid, since=WALL
    )
    return spec, placement, seen


def records(vms: int, nodes: int, keys: Keys) -> Iterator[tuple[str, Any]]:
    """Every key of the cluster with its record, all nodes online and all vms running."""
    first = node_name(0)
    yield keys.config, ClusterConfig()
    yield keys.leader, LeaderRecord(node=first, session=_session(first), since=WALL)
    for domain in domains(nodes):
        yield keys.domain(domain.name), domain
    for number in range(nodes):
        name = node_name(number)
        spec, session, beat, status = node_records(name)
        yield keys.node_spec(name), spec
        yield keys.session(name), session
        yield keys.beat(name), beat
        yield keys.node_status(name), status
    for number in range(vms):
        vm, placement, seen = vm_records(number, nodes)
        yield keys.vm_spec(placement.vm), vm
        yield keys.placement(placement.vm), placement
        yield keys.observation(seen.node, placement.vm), seen


def snapshot_of(vms: int, nodes: int, *, lost: int | None = None, placed: bool = True) -> Snapshot:
    """The same cluster as the planner reads it.

    Args:
        vms: How many.
        nodes: How many.
        lost: The number of a node that was fenced a moment ago: its session is gone, the proof is on record.
        placed: False: a cold start, where nothing runs and nothing was ever placed.
    """
    views: dict[NodeName, NodeView] = {}
    for number in range(nodes):
        name = node_name(number)
        spec, session, beat, status = node_records(name)
        views[name] = NodeView(
            name=name,
            spec=_stored(spec),
            session=_stored(session) if number != lost else None,
            beat=_stored(beat) if number != lost else None,
            status=_stored(status),
        )
    vm_views: dict[VmName, VmView] = {}
    for number in range(vms):
        vm, placement, seen = vm_records(number, nodes)
        vm_views[placement.vm] = VmView(
            name=placement.vm,
            spec=_stored(vm),
            placement=_stored(placement) if placed else None,
            seen={seen.node: seen} if placed else {},
        )
    fenced = {}
    if lost is not None:
        node = node_name(lost)
        how = "the fence agent says that its power is off"
        fenced[_session(node)] = FenceRecord(
            session=_session(node),
            node=node,
            proof=Proof.POWER_OFF_CONFIRMED,
            how=how,
            at=WALL,
            by=node_name(lost + 1),
        )
    return Snapshot(
        revision=Revision(100_000),
        domains={domain.name: domain for domain in domains(nodes)},
        nodes=views,
        vms=vm_views,
        fenced=fenced,
    )


def _stored(record: Any) -> Stored[Any]:
    return Stored(record, Revision(_CREATED), Revision(_MODIFIED), LeaseId(0))
