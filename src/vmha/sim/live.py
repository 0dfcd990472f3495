"""A live cluster as a scenario: from ``vmha dump``, with what runs where, or ``vmha export``, the definitions alone.

The scenario begins with the same nodes, room, rules and vms, each vm running where the dump shows it held; what is
supposed of it (``vmha plan``'s words) becomes what happens, one thing after another, each when the cluster has come to
rest. What a scenario can not have is left out, and said: holds, operations under way, vms that have departed, failures
and restarts of the past.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vmha.model.document import in_words
from vmha.model.errors import Rejected
from vmha.model.ids import LeaseId, NodeName, Revision
from vmha.model.keys import Keys
from vmha.model.records import ArmedLevel, Phase
from vmha.model.vm import Desired, FenceRole
from vmha.operator.apply import prepare
from vmha.operator.client import OperatorClient
from vmha.operator.document import load_document
from vmha.operator.forecast import ANY_NODE_LOST, parse
from vmha.policy.state.assemble import Assembler
from vmha.policy.state.reservation import memory_of
from vmha.policy.state.snapshot import NodeView, Snapshot, VmView
from vmha.policy.state.supposing import NodeDrained, NodeLost, NodeUndrained, Supposition, VmWanted
from vmha.sim.scenario import Fence, Scenario, SimNode, SimVm, Step
from vmha.sim.world.virtual import VirtualClock, VirtualLoop, run_virtual
from vmha.store.memory import MemoryEtcd
from vmha.store.memory_store import MemoryStore

WATCHDOG_S = 2
"""Of a node whose watchdog was armed: the dump does not say with which timeout."""

_RUNS = (Phase.HELD, Phase.STOPPING, Phase.MIGRATING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """``notes``: what the scenario leaves out."""

    scenario: Scenario
    notes: tuple[str, ...]


def is_dump(text: str) -> bool:
    """Told by its shape: a scenario has no ``keys``."""
    head = text.lstrip()[:1]
    return head == "{" and '"keys"' in text and '"revision"' in text


def is_export(data: Any) -> bool:
    """A document of ``vmha apply``: its vms have definitions, which a scenario's never have."""
    vms = data.get("vms") if isinstance(data, dict) else None
    mappings = [vm for vm in vms if isinstance(vm, dict)] if isinstance(vms, list) else []
    return any(key in vm for vm in mappings for key in ("xml", "xml_file", "definition"))


def from_dump(text: str, supposed: Sequence[str], *, file: str) -> Live:
    """Raises: Rejected: it is no dump, or what is supposed is nothing that can happen in it."""
    snapshot, name, unread = read_dump(text, file=file)
    return _live(snapshot, supposed, name=name, notes=unread, file=file)


def from_export(text: str, supposed: Sequence[str], *, file: str, base: Path) -> Live:
    """Raises: Rejected: as ``vmha apply`` would say it of the document, or of what is supposed."""
    loaded = load_document(text, file=file, base=base)
    loop = VirtualLoop()

    async def apply() -> Snapshot:
        client = OperatorClient(MemoryStore(MemoryEtcd(), "simulate"), Keys("sim"), VirtualClock(loop), author="export")
        return await client.imagine([write.op for write in (await prepare(client, loaded)).writes])

    notes = ("an export does not say where its vms run: they start where they would be placed",)
    return _live(run_virtual(apply(), loop), supposed, name=f"the cluster of {file}", notes=notes, file=file)


def read_dump(text: str, *, file: str) -> tuple[Snapshot, str, tuple[str, ...]]:
    """The cluster as the dump has it, what to call it, and what could not be read."""
    accepted = "what vmha dump writes"
    try:
        data = json.loads(text)
    except ValueError as error:
        raise Rejected(f"{file}: not JSON: {error}", accepted=accepted) from error
    entries, revision = data.get("keys"), data.get("revision")
    if not isinstance(entries, dict) or not isinstance(revision, int):
        raise Rejected(f"{file}: keys, revision: a mapping and a number are expected", accepted=accepted)
    keys = Keys(str(data.get("cluster", "sim")))
    assembler = Assembler(keys)
    for name, entry in entries.items():
        if not isinstance(entry, dict) or "value" not in entry:
            raise Rejected(f"{file}: keys.{name}: a mapping with a value is expected", accepted=accepted)
        assembler.put(
            f"{keys.prefix}{name}",
            json.dumps(entry["value"]).encode(),
            created=Revision(int(entry.get("created", 0))),
            modified=Revision(int(entry.get("modified", 0))),
            lease=LeaseId(0),
        )
    snapshot = assembler.snapshot(Revision(revision))
    unread = tuple(f"{key}: it could not be read" for key in sorted(snapshot.problems))
    return snapshot, f"cluster {keys.cluster} at revision {revision}", unread


def _live(snapshot: Snapshot, supposed: Sequence[str], *, name: str, notes: Sequence[str], file: str) -> Live:
    if not snapshot.nodes:
        raise Rejected(f"{file}: there is no node in it", accepted="a dump or an export of a cluster that has nodes")
    nodes = [_node(view) for _, view in sorted(snapshot.nodes.items())]
    named = {member.node for domain in snapshot.domains.values() for member in domain.members}
    nodes += [SimNode(name=node, on=False) for node in sorted(named - set(map(str, snapshot.nodes)))]
    on = {node.name for node in nodes if node.on}
    try:
        scenario = Scenario(
            name=name,
            config=snapshot.config,
            nodes=tuple(nodes),
            failover_domains=tuple(domain for _, domain in sorted(snapshot.domains.items())),
            vms=tuple(_vm(vm, on) for _, vm in sorted(snapshot.vms.items()) if _is_played(vm)),
            services=tuple(service for _, service in sorted(snapshot.services.items())),
            rules=tuple(rule for _, rule in sorted(snapshot.rules.items())),
            steps=tuple(_step(text, snapshot) for text in supposed),
        )
    except ValidationError as error:
        raise in_words(error, where=file) from error
    return Live(scenario=scenario, notes=(*notes, *_left_out(snapshot)))


def _node(view: NodeView) -> SimNode:
    spec, status = view.spec.value if view.spec else None, view.status.value if view.status else None
    has_switch = spec is not None and any(device.role is not FenceRole.VERIFY for device in spec.fence)
    known: dict[str, Any] = {
        "memory_mib": (spec.memory_mib if spec else None) or (status.memory_mib if status else None),
        "vcpus": (spec.vcpus if spec else None) or (status.vcpus if status else None),
        "capacity": spec.capacity if spec else None,
        "labels": spec.labels if spec else None,
    }
    armed = view.beat.value.armed if view.beat else ArmedLevel.NONE
    return SimNode(
        name=view.name,
        watchdog_s=WATCHDOG_S if armed is ArmedLevel.WATCHDOG else 0,
        fence=Fence.WORKS if has_switch else Fence.NONE,
        on=view.status is None or (view.beat is not None and view.session is not None),
        maintenance=bool(spec and spec.maintenance),
        **{key: value for key, value in known.items() if value},
    )


def _is_played(vm: VmView) -> bool:
    placement = vm.placement.value if vm.placement else None
    return vm.spec is not None and (placement is None or placement.phase is not Phase.DEPARTED)


def _vm(vm: VmView, on: set[str]) -> SimVm:
    assert vm.spec
    spec, placement = vm.spec.value, vm.placement.value if vm.placement else None
    own = {field for field in SimVm.model_fields if field in type(spec).model_fields} - {"memory_mib", "vcpus"}
    runs_on = placement.node if placement and placement.phase in _RUNS else None
    return SimVm(
        memory_mib=max(1, memory_of(spec, placement)),
        vcpus=max(1, spec.vcpus, placement.vcpus if placement else 0),
        running_on=runs_on if runs_on in on else None,
        **{field: getattr(spec, field) for field in sorted(own)},
    )


def _left_out(snapshot: Snapshot) -> Iterator[str]:
    if snapshot.pause is not None:
        yield "the cluster is paused, and is not here"
    for name, vm in sorted(snapshot.vms.items()):
        if vm.spec is None:
            yield f"{name} runs unmanaged, and is not here"
        elif not _is_played(vm):
            yield f"{name} has departed, and is not here"
        elif vm.freeze is not None:
            yield f"{name} is frozen, and is not here"


def _step(text: str, snapshot: Snapshot) -> Step:
    """Raises: Rejected."""
    what = parse(text, snapshot)
    if what is None:
        raise Rejected(
            f"--if {ANY_NODE_LOST!r} is a question, and nothing that happens",
            accepted="'node NAME lost' and the like; vmha plan answers it",
        )
    return Step.model_validate(_happens(what, snapshot))


def _happens(what: Supposition, snapshot: Snapshot) -> dict[str, NodeName | str]:
    match what:
        case NodeLost():
            return {"power_off": what.node}
        case NodeDrained():
            return {"drain": what.node}
        case NodeUndrained():
            return {"undrain": what.node}
        case VmWanted():
            vm = snapshot.vms[what.vm]
            was_disabled = vm.spec is not None and vm.spec.value.desired is Desired.DISABLED
            start = "enable" if was_disabled else "start"
            verb = {Desired.RUNNING: start, Desired.STOPPED: "stop", Desired.DISABLED: "disable"}[what.desired]
            return {verb: what.vm}
