"""Clusters worth looking at: four hosts with the vms of a small company, on a good day and on a bad one."""

from collections.abc import Mapping

from tests.unit.operator.cluster import Cluster
from vmha.model.ids import NodeName, Revision, SessionId, VmName
from vmha.model.migration import MIB, MigrationProgress
from vmha.model.records import (
    ArmedLevel,
    JournalEntry,
    LeaderRecord,
    NodeStatus,
    Phase,
    Reason,
    SessionRecord,
)
from vmha.operator import holds, vms

NODES = ("kvm1", "kvm2", "kvm3", "kvm4")
HOMES: Mapping[str, tuple[str, int, int]] = {
    "web": ("kvm1", 8192, 4),
    "mail": ("kvm1", 12288, 4),
    "db": ("kvm2", 24576, 8),
    "ldap": ("kvm2", 2048, 2),
    "files": ("kvm3", 16384, 4),
    "build": ("kvm3", 24576, 8),
    "wiki": ("kvm4", 4096, 2),
    "monitor": ("kvm4", 8192, 2),
}
HOST_MIB = 65536
HOUR = 3600.0
JOURNAL = (
    (2900.0, "lost", "", "kvm4", "kvm4 fell silent: no beat for 5.2 s"),
    (2896.0, "fenced", "", "kvm4", "kvm4 was fenced: power_off_confirmed by fence_ipmilan"),
    (
        2895.6,
        "recover",
        "wiki",
        "kvm3",
        "wiki is recovered on kvm3: kvm4 is fenced; kvm3 is preferred: fewest vms",
    ),
    (2893.1, "running", "wiki", "kvm3", "wiki runs on kvm3, epoch 2, 7.1 s after the loss"),
    (1700.0, "online", "", "kvm4", "kvm4 is online again"),
    (1690.0, "migrated", "wiki", "kvm4", "wiki is back home on kvm4; it stood still for 0.09 s"),
    (310.0, "balance", "monitor", "kvm4", "monitor stays on kvm4: a move would gain too little"),
)


def definition(name: str, memory_mib: int, vcpus: int) -> str:
    return (
        f"<domain type='kvm'>\n  <name>{name}</name>\n  <memory unit='MiB'>{memory_mib}</memory>\n"
        f"  <vcpu>{vcpus}</vcpu>\n</domain>\n"
    )


async def good_day(cluster: Cluster) -> None:
    wall = cluster.client.clock.wall()
    cluster.elect("kvm1")
    cluster.join(*NODES, memory_mib=HOST_MIB)
    began = wall - 9 * 24 * HOUR
    cluster.put(cluster.keys.leader, LeaderRecord(node=NodeName("kvm1"), session=SessionId("s-kvm1"), since=began))
    for node in NODES:
        who = {"node": NodeName(node), "session": SessionId(f"s-{node}"), "address": f"{node}.example"}
        cluster.put(cluster.keys.session(NodeName(node)), SessionRecord(since=began, version="0.1.0", **who))
        can = {"eligible": True, "looked_for": Revision(10**9), "armed": ArmedLevel.WATCHDOG}
        status = NodeStatus(memory_mib=HOST_MIB, vcpus=16, **who, **can)
        cluster.put(cluster.keys.node_status(NodeName(node)), status)
    for number, (name, (node, memory_mib, vcpus)) in enumerate(HOMES.items()):
        await vms.add_vm(cluster.client, name, definition(name, memory_mib, vcpus), start=True)
        why = Reason(rule="wanted-running", text=f"it is wanted running; {node} is preferred: most memory left")
        began = wall - (number + 1) * 7 * HOUR
        cluster.place(name, node, since=began, reason=why)
        cluster.see(name, node)


async def recorded(cluster: Cluster) -> None:
    """What the journal has of the last hour."""
    wall = cluster.client.clock.wall()
    for number, (ago_s, kind, vm, node, text) in enumerate(JOURNAL):
        entry = JournalEntry(
            id=f"{number:04d}",
            at=wall - ago_s,
            by=NodeName("kvm1"),
            kind=kind,
            text=text,
            vm=VmName(vm) if vm else None,
            node=NodeName(node) if node else None,
        )
        cluster.put(cluster.keys.journal(entry.id), entry)


async def freeze_ldap(cluster: Cluster) -> None:
    await holds.freeze(cluster.client, "ldap", reason="being repaired")


async def under_way(cluster: Cluster, share: float = 0.62) -> None:
    """``web`` is moving to kvm4."""
    why = Reason(rule="asked", text="migration to kvm4 asked for by alice (web)")
    where = {"target": NodeName("kvm4"), "phase": Phase.MIGRATING, "reason": why}
    cluster.place("web", "kvm1", since=cluster.client.clock.wall() - 6, **where)
    far = MigrationProgress(
        elapsed_s=6.0,
        remaining_bytes=round((1 - share) * 8192) * MIB,
        total_bytes=8192 * MIB,
        expected_downtime_ms=41,
        iteration=2,
        dirty_bytes_per_s=27 * MIB,
    )
    cluster.see("web", "kvm1", migration=far)


async def bad_day(cluster: Cluster) -> None:
    """kvm2 is silent."""
    cluster.lose_lease("kvm2")
