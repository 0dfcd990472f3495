"""Applying a document: check it against the cluster as a whole, say what would change, then change it.

``prepare`` is pure apart from one reading. ``commit`` writes what it prepared, in transactions that compare everything
the plan was made from: what somebody else changed meanwhile is not overwritten. Up to 24 objects are one transaction,
all or nothing; a larger document is written in several, what is referred to before what refers to it. Each object has
its entry in the journal in the transaction that writes it, and each transaction one of its own.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vmha.model.errors import Refused, Rejected
from vmha.model.ids import NodeName, VmName
from vmha.model.keys import encode
from vmha.model.rules import Rule
from vmha.model.service import Service
from vmha.model.settings import ClusterConfig
from vmha.model.vm import Desired, FailoverDomain, NodeSpec, VmSpec
from vmha.operator import defined, hand
from vmha.operator.client import OperatorClient, Reading
from vmha.operator.definition import FOLLOWS, Definition, define, describe, removal, uuid_moves, uuids_in_use
from vmha.operator.document import Loaded
from vmha.operator.domains import accepted_nodes
from vmha.operator.dump import without_secrets
from vmha.operator.fence_secrets import refused_secrets
from vmha.operator.relations import specs_of, wrong_needs
from vmha.operator.rules import settled, wrong_rules
from vmha.operator.satisfiable import wrong_places
from vmha.operator.services import wrong_services
from vmha.operator.yaml_source import Complaint
from vmha.store.port import Compare, Delete, Exists, Op, Put, Settled

MOST_OPS = 120
MOST_BYTES = 1_000_000
"""Limits of one transaction, with room below etcd's own (128 operations, 1.5 MiB)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """One field, dotted when it is nested. None: it is not there."""

    field: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectChange:
    """``action``: created, changed, unchanged or removed."""

    kind: str
    name: str
    action: str
    fields: tuple[FieldChange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Write:
    op: Op
    compares: tuple[Compare, ...]
    what: tuple[str, str]  # what is done, and with what
    told: tuple[hand.Told, ...] = ()
    claims: tuple[Op, ...] = ()  # of uuids; in the same transaction, so that who gives one away at the same time loses


@dataclass(slots=True, kw_only=True)
class ApplyPlan:
    """What a document changes, in the order in which it is written."""

    changes: list[ObjectChange] = field(default_factory=list)
    writes: list[_Write] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not self.writes

    def count(self, action: str) -> int:
        return sum(change.action == action for change in self.changes)


async def prepare(client: OperatorClient, loaded: Loaded, *, prune: bool = False) -> ApplyPlan:
    """What applying the document would change now.

    Args:
        client: The cluster.
        loaded: The document.
        prune: Also remove what the document's lists do not name. A removed vm is forgotten, never stopped.

    Raises:
        Rejected: one line for each thing that does not fit the cluster. Nothing is written then.
    """
    reading = await client.reading()
    complaints = await _lease_floor(client, loaded, reading)
    specs = _checked(loaded, reading, client.keys.cluster, complaints, prune=prune)
    return _Planner(client, loaded, reading).plan(specs, prune=prune)


async def commit(client: OperatorClient, plan: ApplyPlan) -> None:
    """Write what ``prepare`` found.

    Raises:
        Refused: something was changed by others since; says how much is written.
    """
    done = 0
    held: set[Compare] = set()
    for writes in _batches(plan.writes):
        compares = {compare.key: compare for write in writes for compare in write.compares}
        # A compare of a key's revision says more than one of its existence: it comes last and wins.
        compares |= {c.key: c for write in writes for c in write.compares if not isinstance(c, Exists)}
        ops = [op for write in writes for op in (write.op, *write.claims)]
        # Of a document too long for one transaction the first part writes under what the second would compare.
        told = [defined.applied((write.what for write in writes), client.author)]
        told += [one for write in writes for one in write.told]
        if not await client.commit([compare for compare in compares.values() if compare not in held], ops, told):
            said = f"{done} of {len(plan.writes)} objects are written" if done else "nothing was written"
            raise Refused(f"the cluster was changed by others since the document was compared; {said}: apply again")
        done += len(writes)
        held |= {compare for compare in compares.values() if isinstance(compare, Settled)}


def _batches(writes: list[_Write]) -> Iterator[list[_Write]]:
    batch: list[_Write] = []
    keys: set[str] = set()
    size = ops = 0
    for write in writes:
        more = keys | {compare.key for compare in write.compares}
        weight = len(write.op.value) if isinstance(write.op, Put) else 0
        count = 1 + len(write.claims) + len(write.told)
        if batch and (ops + count > MOST_OPS or len(more) > MOST_OPS or size + weight > MOST_BYTES):
            yield batch
            batch, more, size, ops = [], {compare.key for compare in write.compares}, 0, 0
        batch.append(write)
        keys, size, ops = more, size + weight, ops + count
    if batch:
        yield batch


def _checked(
    loaded: Loaded, reading: Reading, cluster: str, complaints: list[Complaint], *, prune: bool
) -> dict[str, VmSpec]:
    """The specs of the document's vms. Raises Rejected with everything that does not fit."""
    document, snapshot = loaded.document, reading.snapshot
    nodes = {*map(str, snapshot.nodes), *(node.name for node in document.nodes or ())}
    for index, domain in enumerate(document.failover_domains or ()):
        complaints += _unknown_members(index, domain, nodes)
    domains = {domain.name for domain in document.failover_domains or ()}
    if not (prune and document.failover_domains is not None):
        domains |= set(snapshot.domains)
    named = set(loaded.xmls)
    stay = {vm.name for vm in snapshot.vms.values() if vm.spec and not (prune and document.vms is not None)}
    uuids = {uuid: str(vm) for uuid, vm in uuids_in_use(snapshot).items() if vm in stay and vm not in named}
    specs: dict[str, VmSpec] = {}
    for index, entry in enumerate(document.vms or ()):
        spec = _spec_of(entry, index, loaded, reading, cluster, uuids, {*stay, *named}, complaints)
        if spec.failover_domain is not None and spec.failover_domain not in domains:
            accepted = ", ".join(sorted(domains)) or "one that is named under failover_domains"
            text = f"{spec.failover_domain!r}: there is no such failover domain (accepted: {accepted})"
            complaints.append(Complaint(path=("vms", index, "failover_domain"), text=text))
        specs[spec.name] = spec
    complaints += wrong_needs(specs, (spec for spec in specs_of(snapshot) if spec.name in stay))
    complaints += _orphans(loaded, reading, domains, stay - named)
    complaints += wrong_services(document, snapshot, specs, domains, stay, prune=prune)
    complaints += wrong_rules(document, snapshot, {*specs, *stay}, prune=prune)
    complaints += wrong_places(document, snapshot, specs, stay, prune=prune)
    complaints += refused_secrets(document, snapshot)
    loaded.refuse(complaints)
    return specs


def _unknown_members(index: int, domain: FailoverDomain, nodes: Collection[str]) -> Iterator[Complaint]:
    for place, member in enumerate(domain.members):
        if member.node not in nodes:
            text = f"{member.node!r}: there is no such node (accepted: {accepted_nodes(nodes)})"
            yield Complaint(path=("failover_domains", index, "members", place, "node"), text=text)


def _spec_of(
    entry: Any,
    index: int,
    loaded: Loaded,
    reading: Reading,
    cluster: str,
    uuids: dict[str, str],
    names: Collection[str],
    complaints: list[Complaint],
) -> VmSpec:
    """The whole spec; what is wrong with its XML is added to ``complaints``, and a uuid is taken for later vms."""
    view = reading.snapshot.vms.get(VmName(entry.name))
    old = view.spec.value if view and view.spec else None
    xml, file = loaded.xmls[entry.name]
    known = Definition.of(old)
    given: dict[str, Any] = {"cluster": cluster, "uuids": uuids, "names": names}
    try:
        known = (
            describe(entry.name, entry.definition, uuid=entry.uuid, memory_mib=entry.memory_mib, old=old, **given)
            if entry.definition
            else define(entry.name, xml, **given)
        )
        uuids[known.uuid] = entry.name
    except Rejected as error:
        path = ("vms", index, "definition" if entry.definition else "xml_file" if file else "xml")
        complaints.append(Complaint(path=path, text=f"{file}: {error}" if file else str(error)))
    desired = entry.desired
    if old and ("desired" not in entry.model_fields_set or desired is Desired.AS_FOUND):
        desired = old.desired
    fields = entry.model_dump(exclude={"xml", "xml_file", *FOLLOWS, "desired"})
    why = old.desired_why if old and old.desired is desired else ""
    return VmSpec(**fields, xml=xml, **asdict(known), desired=desired, desired_why=why)


def _orphans(loaded: Loaded, reading: Reading, domains: Collection[str], left: Collection[str]) -> Iterator[Complaint]:
    """vms that are not in the document and would lose their failover domain by pruning."""
    for name in sorted(left):
        stored = reading.snapshot.vms[VmName(name)].spec
        domain = stored.value.failover_domain if stored else None
        if domain is not None and domain in reading.snapshot.domains and domain not in domains:
            text = f"would be pruned, but vm {name} names it (accepted: name it here, or change the vm)"
            yield Complaint(path=("failover_domains",), text=f"{domain}: {text}")


async def _lease_floor(client: OperatorClient, loaded: Loaded, reading: Reading) -> list[Complaint]:
    """etcd silently grants more than it is asked for when that is below its floor: ask it, and look."""
    config = loaded.document.config
    if config is None or config.clockwork == reading.snapshot.config.clockwork:
        return []
    wanted = config.clockwork.lease_ttl_s
    lease = await client.store.grant(wanted)
    await client.store.revoke(lease.id)
    if lease.ttl_s <= wanted:
        return []
    text = (
        f"{wanted}: this etcd grants no lease shorter than {lease.ttl_s} s "
        f"(accepted: at least {lease.ttl_s}, and below hold_s; the floor follows from etcd's --election-timeout)"
    )
    if config.timing is None:
        return [Complaint(path=("config", "profile"), text=f"{config.profile}: lease_ttl_s: {text}")]
    return [Complaint(path=("config", "timing", "lease_ttl_s"), text=text)]


class _Planner:
    def __init__(self, client: OperatorClient, loaded: Loaded, reading: Reading) -> None:
        self._keys = client.keys
        self._author, self._wall = client.author, client.clock.wall()
        self._document = loaded.document
        self._reading = reading
        self._plan = ApplyPlan()
        self._given: set[str] = set()  # uuids that the document's vms have

    def plan(self, specs: dict[str, VmSpec], *, prune: bool) -> ApplyPlan:
        snapshot, document = self._reading.snapshot, self._document
        if document.config is not None:
            self._put("config", "", self._keys.config, snapshot.config, document.config)
        for node in document.nodes or ():
            self._put_node(node)
        for domain in document.failover_domains or ():
            old = snapshot.domains.get(domain.name)
            self._put("failover domain", domain.name, self._keys.domain(domain.name), old, domain)
        self._given = {spec.uuid.lower() for spec in specs.values()}
        for spec in specs.values():
            self._put_vm(spec)
        judged = tuple(settled(self._keys, self._reading))  # by one look at all of them
        for service in document.services or ():
            known = snapshot.services.get(service.name)
            self._put("service", service.name, self._keys.service(service.name), known, service, needs=judged)
        for rule in document.rules or ():
            old_rule = snapshot.rules.get(rule.name)
            self._put("rule", rule.name, self._keys.rule(rule.name), old_rule, rule, needs=judged)
        if prune:
            self._prune(specs)
        return self._plan

    def _put_node(self, node: NodeSpec) -> None:
        view = self._reading.snapshot.nodes.get(NodeName(node.name))
        old = view.spec.value if view and view.spec else None
        if old and "maintenance" not in node.model_fields_set:
            kept = {"maintenance": old.maintenance, "maintenance_why": old.maintenance_why}
            node = node.model_copy(update=kept)
        told = hand.drained(old, node, self._author, node.maintenance_why)
        self._put("node", node.name, self._keys.node_spec(NodeName(node.name)), old, node, told=told)

    def _put_vm(self, spec: VmSpec) -> None:
        view = self._reading.snapshot.vms.get(VmName(spec.name))
        old = view.spec.value if view and view.spec else None
        if spec.desired is not (old.desired if old else Desired.AS_FOUND):
            spec = spec.model_copy(update={"desired_why": f"{spec.desired} by a document that {self._author} applied"})
        needs: tuple[Compare, ...] = ()
        if spec.failover_domain and spec.failover_domain in self._reading.snapshot.domains:
            needs = (Exists(self._keys.domain(spec.failover_domain)),)
        claims = self._claims(spec.name, old, spec)
        key = self._keys.vm_spec(VmName(spec.name))
        told = defined.vm_by_document(view, old, spec, self._author)
        self._put("vm", spec.name, key, old, spec, needs=needs, claims=claims, told=told, is_told=True)

    def _claims(self, name: str, old: VmSpec | None, new: VmSpec | None) -> tuple[Op, ...]:
        # A uuid that goes from one vm to another is written once, by the one that gets it.
        given_up = old.uuid if old and (new is not None or old.uuid.lower() not in self._given) else None
        moves = uuid_moves(self._keys, name, given_up, new.uuid if new else None)
        return tuple(op for op in moves if isinstance(op, Put) or op.key not in map(self._keys.uuid, self._given))

    def _prune(self, specs: dict[str, VmSpec]) -> None:
        snapshot, document = self._reading.snapshot, self._document
        if document.vms is not None:
            for name, vm in sorted(snapshot.vms.items()):
                if vm.spec and name not in specs:
                    remembered = removal(self._keys, vm.spec, at=self._wall, by=self._author)
                    claims = (*self._claims(name, vm.spec.value, None), remembered)
                    self._delete("vm", name, self._keys.vm_spec(name), claims)
        if document.rules is not None:
            for rule_name in sorted(set(snapshot.rules) - {rule.name for rule in document.rules}):
                self._delete("rule", rule_name, self._keys.rule(rule_name))
        if document.services is not None:
            for service_name in sorted(set(snapshot.services) - {service.name for service in document.services}):
                self._delete("service", service_name, self._keys.service(service_name))
        if document.failover_domains is not None:
            kept = {domain.name for domain in document.failover_domains}
            for domain_name in sorted(set(snapshot.domains) - kept):
                self._delete("failover domain", domain_name, self._keys.domain(domain_name))
        if document.nodes is not None:
            named = {node.name for node in document.nodes}
            for node_name, node in sorted(snapshot.nodes.items()):
                if node.spec and node_name not in named:
                    self._delete("node", node_name, self._keys.node_spec(node_name))

    def _put(
        self,
        kind: str,
        name: str,
        key: str,
        old: ClusterConfig | NodeSpec | FailoverDomain | VmSpec | Service | Rule | None,
        new: ClusterConfig | NodeSpec | FailoverDomain | VmSpec | Service | Rule,
        *,
        needs: tuple[Compare, ...] = (),
        claims: tuple[Op, ...] = (),
        told: Sequence[hand.Told] = (),
        is_told: bool = False,
    ) -> None:
        """``told``: beside what is told of the definition itself, unless it ``is_told`` with that."""
        shown = new.model_dump(mode="json", exclude_defaults=old is None, exclude={"name"})
        fields = tuple(map(_told, _differences(old.model_dump(mode="json") if old else {}, shown)))
        if old == new:
            self._plan.changes.append(ObjectChange(kind=kind, name=name, action="unchanged"))
            return
        action = "changed" if old else "created"
        self._plan.changes.append(ObjectChange(kind=kind, name=name, action=action, fields=fields))
        if not is_told:
            told = (*defined.put_by_document(kind, name, old, new, self._author), *told)
        self._write(Put(key, encode(new)), (action, f"{kind} {name}".rstrip()), claims, needs, told)

    def _delete(self, kind: str, name: str, key: str, claims: tuple[Op, ...] = ()) -> None:
        self._plan.changes.append(ObjectChange(kind=kind, name=name, action="removed"))
        more = "; its guest, if there is one, is left as it is" if kind == "vm" else ""
        told = defined.removed(kind, name, defined.by_document(self._author), more)
        self._write(Delete(key), ("removed", f"{kind} {name}"), claims, told=(told,))

    def _write(
        self,
        op: Op,
        what: tuple[str, str],
        claims: tuple[Op, ...],
        needs: tuple[Compare, ...] = (),
        told: Sequence[hand.Told] = (),
    ) -> None:
        compares = (*needs, *map(self._reading.unchanged_by, (op, *claims)))
        self._plan.writes.append(_Write(op=op, what=what, compares=compares, claims=claims, told=tuple(told)))


def _told(change: FieldChange) -> FieldChange:
    """Changes are shown, and land in other programs' logs."""
    return FieldChange(field=change.field, old=without_secrets(change.old), new=without_secrets(change.new))


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> Iterator[FieldChange]:
    for key, now in new.items():
        was = old.get(key)
        if was == now:
            continue
        if isinstance(now, dict) and isinstance(was, dict | None):
            yield from _differences(was or {}, now, f"{prefix}{key}.")
        else:
            yield FieldChange(field=f"{prefix}{key}", old=was, new=now)
