"""Small random clusters for the planner and for a solver: memory, vcpus, restricted failover domains, vms kept apart.

The same seed draws the same cluster. One that has lost a node ran whole before: every vm had found room by the rules.
"""

from dataclasses import dataclass
from random import Random  # noqa: TID251 (not a decision: what is decided upon)

NODES, VMS = (3, 6), (6, 14)
NODE_GIB, VM_GIB = (16, 24, 32, 48), (1, 2, 4, 6, 8, 12)
NODE_VCPUS, VM_VCPUS = (8, 12, 16), (1, 2, 4)


@dataclass(frozen=True, slots=True)
class Node:
    gib: int
    vcpus: int


@dataclass(frozen=True, slots=True)
class Vm:
    """``allowed``: the members of its restricted failover domain, or all nodes. ``home``: where it ran, or None."""

    gib: int
    vcpus: int
    allowed: frozenset[int]
    home: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """Nodes and vms by number. ``apart``: of each group no two on one node. ``lost``: a node that is gone, or None."""

    nodes: tuple[Node, ...]
    vms: tuple[Vm, ...]
    apart: tuple[frozenset[int], ...] = ()
    lost: int | None = None

    def stands(self, vm: int) -> bool:
        """Whether it runs on a node that is still here."""
        home = self.vms[vm].home
        return home is not None and home != self.lost


def draw(seed: int, *, cold: bool) -> Instance:
    """``cold``: nothing runs yet, and not everything need find room; else a node of a running cluster is lost."""
    random = Random(seed)
    while True:
        made = _draw(random)
        if cold:
            return made
        homes = _homes(made, random)
        if homes is not None:
            vms = tuple(Vm(vm.gib, vm.vcpus, vm.allowed, home) for vm, home in zip(made.vms, homes, strict=True))
            return Instance(nodes=made.nodes, vms=vms, apart=made.apart, lost=random.choice(homes))


def _draw(random: Random) -> Instance:
    nodes = tuple(Node(random.choice(NODE_GIB), random.choice(NODE_VCPUS)) for _ in range(random.randint(*NODES)))
    everywhere = range(len(nodes))
    vms = []
    for _ in range(random.randint(*VMS)):
        members = random.sample(everywhere, random.randint(2, len(nodes))) if random.random() < 0.4 else everywhere
        vms.append(Vm(random.choice(VM_GIB), random.choice(VM_VCPUS), frozenset(members)))
    groups = random.randint(0, 2)
    apart = tuple(frozenset(random.sample(range(len(vms)), random.randint(2, 3))) for _ in range(groups))
    return Instance(nodes=nodes, vms=tuple(vms), apart=apart)


def _homes(instance: Instance, random: Random) -> list[int] | None:
    """A node for each vm, at random among those with room; None: one found none."""
    homes: list[int] = []
    for number, vm in enumerate(instance.vms):
        able = [node for node in sorted(vm.allowed) if _takes(instance, homes, number, node)]
        if not able:
            return None
        homes.append(random.choice(able))
    return homes


def _takes(instance: Instance, homes: list[int], vm: int, node: int) -> bool:
    here = [instance.vms[other] for other, home in enumerate(homes) if home == node] + [instance.vms[vm]]
    if sum(there.gib for there in here) > instance.nodes[node].gib:
        return False
    if sum(there.vcpus for there in here) > instance.nodes[node].vcpus:
        return False
    return not any(
        vm in group and any(homes[other] == node for other in group if other < vm) for group in instance.apart
    )
