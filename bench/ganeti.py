"""Ganeti's htools on the same clusters: ``hail`` places the vms of a lost node, ``hbal`` moves vms.

Both read the cluster from a file in their text format: one node group, disks that every node reaches, and no failover
domains or vms kept apart, which they know in other forms. ``hail`` is asked for all vms of the lost node at once,
without its check that a further node may be lost (of small clusters for one after the other: for several at once it has
an answer only where all find room); ``hbal -E`` moves them off the node that is offline, and nothing else; plain
``hbal`` may move everything, for balance. Seconds are of the processor: theirs of the whole program, which reads and
prints as well, the planner's of the plan alone, made of records in memory.
"""

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from bench.child import Ran, ran
from bench.instances import Instance, Node, Vm, draw
from bench.measure import Run, progress
from bench.planner import LOST
from bench.small_world import planned
from bench.world import NODE_MIB, VM_MIB

VMS, NODES = 1000, 32
CLUSTERS = 300
"""Small ones: two programs are begun for each."""
LARGE, SMALL = "placement.ganeti", "placement.ganeti.small"
HAIL = "/usr/lib/ganeti/iallocators/hail"
PACKAGE = "ganeti-htools"
_GROUP = "5f0c9a67-0000-4000-8000-000000000000"
_DISK_MIB = 1024
GIB = 1024
PLENTY = 64


@dataclass(frozen=True, slots=True)
class Outcome:
    """``nodes``: of each vm, by number; None: it finds no room. ``moves``: of vms that run."""

    nodes: tuple[int | None, ...]
    moves: int
    ran: Ran

    @property
    def placed(self) -> int:
        return sum(node is not None for node in self.nodes)


def ganeti(run: Run) -> None:
    if not (hbal := shutil.which("hbal", path="/usr/bin:/usr/sbin")) or not Path(HAIL).exists():
        progress(f"{LARGE}: not measured, there is no hbal here (Debian: apt-get install {PACKAGE})")
        return
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        _large(run, hbal, room)
        _small(run, hbal, room)


def _large(run: Run, hbal: str, room: Path) -> None:
    node = Node(NODE_MIB // GIB, 64)
    everywhere = frozenset(range(NODES))
    vms = tuple(Vm(VM_MIB // GIB, 1, everywhere, number % NODES) for number in range(VMS))
    cluster = Instance(nodes=(node,) * NODES, vms=vms, lost=LOST)
    size = f"{VMS:,} vms x {NODES} nodes, one lost"
    kinds: dict[str, tuple[str, Callable[[], Outcome]]] = {
        "hail": ("hail, all of the lost node at once", lambda: hailed(cluster, room)),
        "evacuate": ("hbal -E", lambda: balanced(cluster, hbal, room, "--evac-mode")),
        "balance": ("hbal", lambda: balanced(cluster, hbal, room)),
    }
    for kind, (what, do) in kinds.items():
        done = [do() for _ in range(1 if kind == "balance" else run.samples)]  # that one takes half a minute
        run.add(f"{LARGE}.{kind}", f"{what}, {size}", [one.ran.cpu_s for one in done])
        run.add(f"{LARGE}.{kind}.memory", "its peak memory", [one.ran.peak_mib for one in done], unit="MiB")
        run.add(f"{LARGE}.{kind}.left-out", "vms left out", [VMS - done[0].placed], unit="vms")
        run.add(f"{LARGE}.{kind}.moves", "moves of vms that run", [done[0].moves], unit="moves")
    ours = [_our_plan() for _ in range(run.samples)]
    cpu = [float(one.said.split()[-1]) for one in ours]
    run.add(f"{LARGE}.vmha", f"full plan, {size}", cpu, baseline=f"{LARGE}.hail")
    run.add(
        f"{LARGE}.vmha.memory", "peak memory of a process that plans it", [one.peak_mib for one in ours], unit="MiB"
    )


def _our_plan() -> Ran:
    lost = len(range(LOST, VMS, NODES))
    words = f"from bench.planner import plan_s; print(plan_s({VMS}, {NODES}, lost={LOST}, expected={lost}))"
    return ran([sys.executable, "-c", words])


def _small(run: Run, hbal: str, room: Path) -> None:
    drawn = [plain(draw(seed, cold=False)) for seed in range(CLUSTERS)]
    progress(f"{SMALL}: {CLUSTERS} small clusters, each planned, given to hail, and to hbal -E")
    found: dict[str, list[tuple[tuple[int | None, ...], int]]] = {"stay": [], "move": [], "hail": [], "evacuate": []}
    for cluster in drawn:
        for kind in ("stay", "move"):
            made = planned(cluster, may_move=kind == "move")
            found[kind].append((made.nodes, made.moves))
        for kind, done in (
            ("hail", hailed_each(cluster, room)),
            ("evacuate", balanced(cluster, hbal, room, "--evac-mode")),
        ):
            found[kind].append((done.nodes, done.moves))
    said = {"stay": "vmha, what runs stays", "move": "vmha", "hail": "hail", "evacuate": "hbal -E"}
    for kind, outcomes in found.items():
        missing = sum(node is None for nodes, _ in outcomes for node in nodes)
        run.add(f"{SMALL}.{kind}.left-out", f"vms left out, {said[kind]}", [missing], unit="vms")
        run.add(f"{SMALL}.{kind}.moves", "moves of vms that run", [sum(moves for _, moves in outcomes)], unit="moves")
    everybody = [at for at in range(CLUSTERS) if all(None not in outcomes[at][0] for outcomes in found.values())]
    for kind, outcomes in found.items():
        shares = [fullest(outcomes[at][0], drawn[at]) for at in everybody]
        what = f"memory share of the fullest node over the cluster's, {len(everybody)} clusters, {said[kind]}"
        run.add(f"{SMALL}.{kind}.balance", what, [mean(shares)], unit="x")


def plain(cluster: Instance) -> Instance:
    """Only memory counts: hail keeps to no ratio of vcpus."""
    everywhere = frozenset(range(len(cluster.nodes)))
    nodes = tuple(replace(node, vcpus=PLENTY) for node in cluster.nodes)
    vms = tuple(replace(vm, vcpus=1, allowed=everywhere) for vm in cluster.vms)
    return replace(cluster, nodes=nodes, vms=vms, apart=())


def fullest(nodes: Sequence[int | None], cluster: Instance) -> float:
    taken = [0] * len(cluster.nodes)
    for vm, node in zip(cluster.vms, nodes, strict=True):
        if node is not None:
            taken[node] += vm.gib
    room = sum(node.gib for number, node in enumerate(cluster.nodes) if number != cluster.lost)
    most = max(used / node.gib for used, node in zip(taken, cluster.nodes, strict=True))
    return most / (sum(vm.gib for vm in cluster.vms) / room)


# --- the programs


def hailed(cluster: Instance, room: Path) -> Outcome:
    """All vms of the lost node by one request: it fails as a whole where one finds no room."""
    down = [number for number in range(len(cluster.vms)) if not cluster.stands(number)]
    placed, done = _hail(cluster, down, down, room)
    return Outcome(_with(cluster, placed), 0, done)


def hailed_each(cluster: Instance, room: Path) -> Outcome:
    """One request for each, by name, as far as they find room."""
    down = [number for number in range(len(cluster.vms)) if not cluster.stands(number)]
    found, done = cluster, Ran(0.0, 0.0, "")
    for number in list(down):
        placed, done = _hail(found, [number], down, room)
        if number in placed:
            vms = list(found.vms)
            vms[number] = replace(vms[number], home=placed[number])
            found, down = replace(found, vms=tuple(vms)), [other for other in down if other != number]
    return Outcome(tuple(None if number in down else vm.home for number, vm in enumerate(found.vms)), 0, done)


def _with(cluster: Instance, placed: Mapping[int, int]) -> tuple[int | None, ...]:
    homes = [vm.home if cluster.stands(number) else None for number, vm in enumerate(cluster.vms)]
    return tuple(placed.get(number, home) for number, home in enumerate(homes))


def _hail(cluster: Instance, asked: Sequence[int], down: Sequence[int], room: Path) -> tuple[dict[int, int], Ran]:
    data, request = room / "cluster.data", room / "request.json"
    data.write_text(_text(cluster, without=frozenset(down)))
    wanted = {"type": "multi-allocate", "instances": [_allocation(number, cluster.vms[number]) for number in asked]}
    nothing: dict[str, object] = {"cluster_tags": [], "nodegroups": {}, "nodes": {}, "instances": {}}
    request.write_text(json.dumps({**nothing, "enabled_hypervisors": ["kvm"], "request": wanted}))
    done = ran([HAIL, "--no-capacity-checks", f"--text-data={data}", str(request)])
    result = json.loads(done.said)["result"]
    return {_number(name): _number(node) for name, (node, *_) in (result[0] if result else [])}, done


def _allocation(number: int, vm: Vm) -> dict[str, object]:
    return {
        "type": "allocate",
        "name": f"vm{number}",
        "memory": vm.gib * GIB,
        "vcpus": vm.vcpus,
        "disks": [{"size": _DISK_MIB, "mode": "w"}],
        "disk_space_total": _DISK_MIB,
        "required_nodes": 1,
        "disk_template": "ext",
        "os": "any",
        "tags": [],
        "nics": [],
        "hypervisor": "kvm",
        "spindle_use": 1,
    }


def balanced(cluster: Instance, hbal: str, room: Path, *options: str) -> Outcome:
    data = room / "cluster.data"
    data.write_text(_text(cluster))
    done = ran([hbal, f"--text-data={data}", *options])
    nodes: list[int | None] = [vm.home for vm in cluster.vms]
    for name, target in re.findall(r"^ +\d+\. (\S+) +\S+ +=> (\S+)", done.said, re.MULTILINE):
        nodes[_number(name)] = _number(target)
    moves = sum(cluster.stands(number) and node != cluster.vms[number].home for number, node in enumerate(nodes))
    return Outcome(tuple(None if node == cluster.lost else node for node in nodes), moves, done)


def _number(name: str) -> int:
    return int(re.sub(r"\D", "", name))


def _text(cluster: Instance, without: frozenset[int] = frozenset()) -> str:
    """Groups, nodes, instances, tags, policies: a section each, with an empty line between them."""
    vms = [(number, vm) for number, vm in enumerate(cluster.vms) if number not in without]
    groups = [f"default|{_GROUP}|preferred||"]
    nodes = []
    for number, node in enumerate(cluster.nodes):
        free = node.gib - sum(vm.gib for _, vm in vms if vm.home == number)
        offline = "Y" if number == cluster.lost else "N"
        memory, disk = f"{node.gib * GIB}|0|{free * GIB}", "10000000|10000000"
        nodes.append(f"node{number}|{memory}|{disk}|{node.vcpus}|{offline}|{_GROUP}|1||N|1|0|1.0")
    lines = [
        f"vm{number}|{vm.gib * GIB}|{_DISK_MIB}|{vm.vcpus}|running|Y|node{vm.home}||ext||1|1" for number, vm in vms
    ]
    sizes = "128,1,1024,1,1,1"
    policies = [
        f"{owner}|{sizes}|{sizes};1048576,64,1048576,16,8,64|diskless,ext|1.0|1000.0|1.0" for owner in ("", "default")
    ]
    return "\n\n".join("\n".join(section) for section in (groups, nodes, lines, [""], policies)) + "\n"
