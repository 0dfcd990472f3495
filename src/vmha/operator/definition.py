"""A vm's XML held against the cluster: what makes a definition unacceptable, whoever hands it in."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from vmha.hypervisor.files import FileTrouble, read_now
from vmha.model.domain_xml import default_uuid, parse_domain
from vmha.model.errors import Rejected
from vmha.model.ids import VmName
from vmha.model.keys import Keys, encode
from vmha.model.records import RemovedVm, Stored, UuidClaim
from vmha.model.source import DefinitionSource
from vmha.model.vm import VmSpec
from vmha.policy.state.snapshot import Snapshot
from vmha.store.port import Delete, Op, Put

FOLLOWS = ("uuid", "memory_mib", "vcpus")
"""Fields of a spec that follow from its definition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What the spec takes from the XML."""

    uuid: str
    memory_mib: int = 1
    vcpus: int = 0

    @classmethod
    def of(cls, spec: VmSpec | None) -> "Definition":
        """As it is; of a vm that there is not yet, as nothing is known of it."""
        return cls(uuid=spec.uuid, memory_mib=spec.memory_mib, vcpus=spec.vcpus) if spec else cls(uuid="")


def uuids_in_use(snapshot: Snapshot) -> dict[str, VmName]:
    """Which vm has which uuid."""
    return {vm.spec.value.uuid.lower(): vm.name for vm in snapshot.vms.values() if vm.spec}


def uuid_moves(keys: Keys, vm: str, before: str | None, after: str | None) -> list[Op]:
    """What to write, and by its keys to compare, when ``vm`` has the uuid ``after`` instead of ``before``.

    Two who give one uuid to two vms at the same time write the same key, so that one of them loses its compare and
    reads again. A claim that is missing, or that was left behind, does no harm: the specs say who has what.
    """
    if before is not None and after is not None and before.lower() == after.lower():
        return []
    moves: list[Op] = [Delete(keys.uuid(before))] if before else []
    return moves + ([Put(keys.uuid(after), encode(UuidClaim(vm=VmName(vm))))] if after else [])


def removal(keys: Keys, removed: Stored[VmSpec], *, at: float, by: str) -> Put:
    """Goes with the deletion of a vm's spec: where it may run until somebody has looked (policy/members/removed.py)."""
    spec = removed.value
    id_ = f"{spec.name}.{removed.created}"  # of this definition; the next one of this name has another
    return Put(keys.removed(id_), encode(RemovedVm(id=id_, vm=VmName(spec.name), uuid=spec.uuid, at=at, by=by)))


def define(name: str, xml: str, *, cluster: str, uuids: Mapping[str, str], names: Collection[str]) -> Definition:
    """Read the XML of vm ``name``.

    Args:
        name: The vm's name, which the XML must have too.
        xml: The definition.
        cluster: Its cluster: a definition without a uuid gets one that follows from both.
        uuids: uuids in use, and by which vm.
        names: vms that there are.

    Raises:
        Rejected: naming the element, the value, and what is accepted.
    """
    facts = parse_domain(xml)
    if facts.name != name:
        whose = ", which is another vm" if facts.name in names else ""
        raise Rejected(f"the domain XML's <name> is {str(facts.name)!r}{whose}", accepted=f"{name!r}, the vm's name")
    uuid = facts.uuid or default_uuid(cluster, name)
    _require_own(name, uuid, uuids)
    return Definition(uuid=uuid, memory_mib=facts.memory_mib, vcpus=facts.vcpus)


def describe(
    name: str,
    source: DefinitionSource,
    *,
    uuid: str | None,
    memory_mib: int | None,
    cluster: str,
    uuids: Mapping[str, str],
    names: Collection[str],
    old: VmSpec | None = None,
) -> Definition:
    """What the cluster has to know of a vm whose definition it does not keep.

    Said by the operator (``uuid``, ``memory_mib``), else read, where this command runs on a host that sees the file,
    else as it was (``old``). Of a uuid that nobody knows the one that follows from the names is taken: a start says
    if the definition has another. Memory that nobody knows is learned by the first start.

    Raises:
        Rejected: what can be read here is not this vm's definition.
    """
    where, text = _look(name, source)
    if text is None:
        known = Definition.of(old)
        uuid = (uuid or known.uuid or default_uuid(cluster, name)).lower()
        _require_own(name, uuid, uuids)
        return replace(known, uuid=uuid, memory_mib=memory_mib or known.memory_mib)
    try:
        found = define(name, text, cluster=cluster, uuids=uuids, names=names)
    except Rejected as error:
        raise Rejected(f"{where}: {error}") from error
    own = parse_domain(text).uuid
    if uuid is not None and own is not None and own != uuid.lower():
        raise Rejected(f"uuid {uuid}: {where} has {own}", accepted=f"{own}, or none: it is read from there")
    uuid = own or (uuid or found.uuid).lower()
    return Definition(uuid=uuid, memory_mib=memory_mib or found.memory_mib, vcpus=found.vcpus)


def _look(name: str, source: DefinitionSource) -> tuple[str, str | None]:
    for place in source.places(name):
        try:
            text = read_now(place)
        except FileTrouble as error:
            raise Rejected(str(error)) from error
        if text is not None:
            return place, text
    return "", None


def _require_own(name: str, uuid: str, uuids: Mapping[str, str]) -> None:
    owner = uuids.get(uuid)
    if owner is not None and owner != name:
        raise Rejected(f"the domain XML's <uuid> {uuid} is vm {owner}'s", accepted="a uuid of its own, or none")
