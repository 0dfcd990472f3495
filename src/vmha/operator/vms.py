"""Adding, changing and removing vms, and their desired state. Removing or adding one touches no guest."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pydantic import ValidationError

from vmha.model.document import in_words
from vmha.model.errors import Rejected
from vmha.model.ids import VmName
from vmha.model.keys import encode
from vmha.model.records import Stored
from vmha.model.source import DefinitionSource
from vmha.model.vm import Desired, FailoverDomain, FailoverDomainMember, VmSpec
from vmha.operator import defined, hand
from vmha.operator.client import Edit, OperatorClient, Reading
from vmha.operator.definition import FOLLOWS, Definition, define, describe, removal, uuid_moves, uuids_in_use
from vmha.operator.domains import check_members, find_domain
from vmha.operator.errors import RefusedByCluster
from vmha.operator.holds import unless_on_hold
from vmha.operator.known import find_vm
from vmha.operator.reasons import checked_reason
from vmha.operator.relations import all_needed, check_needs
from vmha.operator.satisfiable import check_places
from vmha.operator.services import check_membership
from vmha.policy.state.hands_off import pause_of
from vmha.policy.state.snapshot import Snapshot
from vmha.store.port import Compare, Delete, Put


async def add_vm(
    client: OperatorClient,
    name: str,
    xml: str,
    *,
    start: bool = False,
    failover_domain: str | None = None,
    node_preference: Sequence[str] = (),
    **fields: Any,
) -> VmSpec:
    """Define a vm. Without ``start`` it is neither started nor stopped: found running, it is adopted where it runs.

    Args:
        client: The cluster.
        name: The vm's name; the XML's ``<name>`` must be the same.
        xml: libvirt domain XML; '' with ``definition`` among the fields, and then ``uuid`` and ``memory_mib`` if known.
        start: Want it running at once.
        failover_domain: An existing one.
        node_preference: Nodes, the most preferred first: makes an ordered failover domain of the vm's own name.
        fields: Any other field of ``VmSpec``.

    Raises:
        Rejected: naming what is wrong and what is accepted. Nothing is written then.
    """
    if failover_domain and node_preference:
        raise Rejected("failover domain and node preference exclude each other", accepted="one of the two")
    desired = Desired.RUNNING if start else Desired.AS_FOUND
    why = f"started by {client.author}" if start else ""
    given = {"desired": desired, "desired_why": why, **fields}

    def decide(reading: Reading) -> Edit[VmSpec]:
        snapshot = reading.snapshot
        vm = snapshot.vms.get(VmName(name))
        if vm and vm.spec:
            raise Rejected(f"there is a vm {name} already", accepted="another name, or change it: vmha vm edit")
        spec = _checked(client, snapshot, name, xml, {**given, "failover_domain": failover_domain})
        if start and (off := pause_of(snapshot)):
            raise RefusedByCluster(f"{name} can not be started now: {off.in_full}; or add it without a start")
        key = client.keys.vm_spec(VmName(spec.name))
        compares: list[Compare] = [reading.unchanged(key)]
        ops = [Put(key, encode(spec))]
        told: list[hand.Told] = []
        if node_preference:
            domain = _preference(spec.name, node_preference)
            check_members(domain, snapshot)
            found = snapshot.domains.get(domain.name)
            if found not in (None, domain):
                message = f"node preference: there is a failover domain {domain.name} already, and it is another one"
                raise Rejected(message, accepted="use it by name, or remove it: vmha domain remove")
            if found is None:
                told.append(defined.put("failover domain", name, None, domain, client.author))
            spec = spec.model_copy(update={"failover_domain": domain.name})
            ops = [Put(key, encode(spec)), Put(client.keys.domain(domain.name), encode(domain))]
            compares.append(reading.unchanged(client.keys.domain(domain.name)))
        elif spec.failover_domain:
            compares.append(reading.unchanged(client.keys.domain(spec.failover_domain)))
        compares += (reading.unchanged(client.keys.vm_spec(needed)) for needed in all_needed(spec, snapshot))
        moves = uuid_moves(client.keys, name, None, spec.uuid)
        told += defined.added(spec, client.author)
        compares += map(reading.unchanged_by, moves)
        return Edit(result=spec, ops=[*ops, *moves], compares=compares, told=told)

    return await client.change(decide)


async def edit(client: OperatorClient, name: str, **fields: Any) -> tuple[VmSpec, VmSpec]:
    """Change fields of a vm. New XML counts from the vm's next start on.

    Returns:
        The spec as it was and as it is.
    """

    def decide(reading: Reading) -> Edit[tuple[VmSpec, VmSpec]]:
        old = find_spec(reading.snapshot, name).value
        if fields.get("xml"):
            fields["definition"] = None
        elif fields.get("definition"):
            fields["xml"] = ""
        kept = old.model_dump(exclude={"name", *FOLLOWS, "xml", *fields})
        changed = {key: value for key, value in fields.items() if key != "xml"}
        new = _checked(client, reading.snapshot, name, fields.get("xml", old.xml), {**kept, **changed}, old)
        for key in FOLLOWS:
            if fields.get(key) not in (None, getattr(new, key)):
                raise Rejected(
                    f"vm {name}: {key}: {fields[key]}: it follows from the vm's XML ({getattr(new, key)})",
                    accepted="another definition, with --xml FILE",
                )
        if new == old:
            return Edit(result=(old, new))
        key = client.keys.vm_spec(VmName(name))
        compares: list[Compare] = [reading.unchanged(key)]
        if new.failover_domain:
            compares.append(reading.unchanged(client.keys.domain(new.failover_domain)))
        compares += (reading.unchanged(client.keys.vm_spec(needed)) for needed in all_needed(new, reading.snapshot))
        moves = uuid_moves(client.keys, name, old.uuid, new.uuid)
        compares += map(reading.unchanged_by, moves)
        told = [defined.put("vm", name, old, new, client.author)]
        return Edit(result=(old, new), ops=[Put(key, encode(new)), *moves], compares=compares, told=told)

    return await client.change(decide)


async def remove_vm(client: OperatorClient, name: str) -> VmSpec:
    """Forget a vm. It is not stopped: a running guest runs on, unmanaged."""

    def decide(reading: Reading) -> Edit[VmSpec]:
        stored = find_spec(reading.snapshot, name)
        spec = stored.value
        key = client.keys.vm_spec(VmName(name))
        moves = uuid_moves(client.keys, name, spec.uuid, None)
        moves.append(removal(client.keys, stored, at=client.clock.wall(), by=client.author))
        compares = [reading.unchanged(key), *map(reading.unchanged_by, moves)]
        forgotten = [Delete(key), Delete(client.keys.freeze(VmName(name)))]
        told = [defined.removed("vm", name, client.author, "; its guest, if there is one, is left as it is")]
        return Edit(result=spec, ops=[*forgotten, *moves], compares=compares, told=told)

    return await client.change(decide)


async def set_desired(
    client: OperatorClient, name: str, desired: Desired, *, author: str | None = None, why: str = ""
) -> VmSpec:
    """Start (running), stop (stopped) or disable a vm. What is so already is a success, and nothing is written.

    Raises:
        Rejected: a start of a disabled vm; or ``why`` is too long.
    """
    by, why = author or client.author, checked_reason(why)

    def decide(reading: Reading) -> Edit[VmSpec]:
        old = find_spec(reading.snapshot, name).value
        if old.desired is Desired.DISABLED and desired is Desired.RUNNING:
            raise Rejected(
                f"{name} is disabled ({old.desired_why or 'no reason given'})", accepted=_ENABLE.format(name)
            )
        if old.desired is Desired.DISABLED and desired is Desired.STOPPED:
            return Edit(result=old)  # it is stopped; a stop does not undo somebody's "keep it off"
        return _with_desired(client, reading, old, desired, f"{_DONE[desired]} by {by}", why)

    return await client.change(decide)


async def enable(client: OperatorClient, name: str, *, author: str | None = None, why: str = "") -> VmSpec:
    """Want a vm running, whether it was disabled or not (RGManager's word). Raises: Rejected: as ``set_desired``."""
    did, why = f"enabled by {author or client.author}", checked_reason(why)

    def decide(reading: Reading) -> Edit[VmSpec]:
        old = find_spec(reading.snapshot, name).value
        return _with_desired(client, reading, old, Desired.RUNNING, did, why)

    return await client.change(decide)


def find_spec(snapshot: Snapshot, name: str) -> Stored[VmSpec]:
    """Raises: UnknownName, with the near names."""
    spec = find_vm(snapshot, name).spec
    assert spec
    return spec


_ENABLE = "vmha vm enable {}"
_DONE = {
    Desired.RUNNING: "started",
    Desired.STOPPED: "stopped",
    Desired.DISABLED: "disabled",
    Desired.AS_FOUND: "left as it is",
}


def _with_desired(
    client: OperatorClient, reading: Reading, old: VmSpec, desired: Desired, did: str, why: str
) -> Edit[VmSpec]:
    if old.desired is desired:
        return Edit(result=old)
    new = old.model_copy(update={"desired": desired, "desired_why": hand.because(did, why)})
    key = client.keys.vm_spec(VmName(old.name))
    allowed = unless_on_hold(client, reading, old.name, desired)
    told = [defined.wanted(reading.snapshot.vms[VmName(old.name)], new, why)]
    return Edit(result=new, ops=[Put(key, encode(new))], compares=[reading.unchanged(key), *allowed], told=told)


def _checked(
    client: OperatorClient,
    snapshot: Snapshot,
    name: str,
    xml: str,
    fields: dict[str, Any],
    old: VmSpec | None = None,
) -> VmSpec:
    others = {uuid: vm for uuid, vm in uuids_in_use(snapshot).items() if vm != name}
    given: dict[str, Any] = {"cluster": client.keys.cluster, "uuids": others, "names": snapshot.vms}
    rest = {key: value for key, value in fields.items() if key not in FOLLOWS}
    try:
        if (source := fields.get("definition")) is not None and not xml:
            source = DefinitionSource.model_validate(source)
            said: dict[str, Any] = {key: fields.get(key) for key in ("uuid", "memory_mib")}
            if old and old.definition == source and not any(said.values()):
                found = Definition.of(old)  # it is not what is being changed
            else:
                found = describe(name, source, **said, **given, old=old)
        else:
            found = define(name, xml, **given)
        spec = VmSpec.model_validate({**rest, "name": name, "xml": xml, **asdict(found)})
    except ValidationError as error:
        raise in_words(error, where=f"vm {name}") from error
    if spec.failover_domain:
        find_domain(snapshot, spec.failover_domain)
    check_needs(spec, snapshot)
    check_membership(spec, snapshot)
    check_places(snapshot, spec)
    return spec


def _preference(name: str, nodes: Sequence[str]) -> FailoverDomain:
    try:
        members = tuple(FailoverDomainMember(node=node, priority=rank) for rank, node in enumerate(nodes, start=1))
        return FailoverDomain(name=name, ordered=True, members=members)
    except ValidationError as error:
        raise in_words(error, where="node preference") from error
