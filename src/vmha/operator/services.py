"""Services: which vms stay together. Defining or removing one touches no guest."""

from collections.abc import Collection, Iterable, Iterator, Mapping

from vmha.model.errors import Rejected
from vmha.model.ids import VmName
from vmha.model.keys import encode
from vmha.model.relations import find_cycle
from vmha.model.service import Service
from vmha.model.vm import Desired, VmSpec
from vmha.operator import defined
from vmha.operator.client import Edit, OperatorClient, Reading
from vmha.operator.document import ClusterDocument
from vmha.operator.domains import needed_domain
from vmha.operator.errors import unknown_name
from vmha.operator.hand import Told, because
from vmha.operator.holds import unless_on_hold
from vmha.operator.reasons import checked_reason
from vmha.operator.relations import NO_CIRCLE, in_a_circle, needs_of, specs_of
from vmha.operator.rules import check_service, settled
from vmha.operator.yaml_source import Complaint
from vmha.policy.state.snapshot import Snapshot
from vmha.store.port import Compare, Delete, Op, Put

MOST_MEMBERS = 50
"""They are started, stopped and frozen in one transaction, and each needs two compares of its 128."""


async def put_service(client: OperatorClient, service: Service, *, replace: bool = False, why: str = "") -> Service:
    """Create a service. An equal one is a success; another of its name is replaced only when asked for.

    Raises:
        UnknownName: no such vm.
        Rejected: naming the member or failover domain that does not fit, and what is accepted; or ``why`` is too long.
    """
    why = checked_reason(why)

    def decide(reading: Reading) -> Edit[Service]:
        snapshot = reading.snapshot
        found = snapshot.services.get(service.name)
        if found == service:
            return Edit(result=service)
        if found is not None and not replace:
            raise Rejected(f"there is another service {service.name}", accepted="another name, or --replace")
        if service.failover_domain:
            needed_domain(snapshot, service.failover_domain)
        specs = {spec.name: spec for spec in specs_of(snapshot)}
        if missing := [name for name in service.members if name not in specs]:
            raise unknown_name("vm", missing[0], specs)
        for text in wrong_members(service, specs, snapshot.services.values()):
            raise Rejected(f"service {service.name}: members: {text}")
        check_service(service, snapshot)
        key = client.keys.service(service.name)
        compares: list[Compare] = [reading.unchanged(key)]
        compares += [reading.unchanged(client.keys.domain(service.failover_domain))] if service.failover_domain else []
        compares += [reading.unchanged(client.keys.vm_spec(VmName(name))) for name in service.members]
        compares += settled(client.keys, reading)
        told = [defined.put("service", service.name, found, service, client.author, why=why)]
        return Edit(result=service, ops=[Put(key, encode(service))], compares=compares, told=told)

    return await client.change(decide)


async def remove_service(client: OperatorClient, name: str, *, why: str = "") -> Service:
    """Its vms run on where they are, each by itself from now on."""
    why = checked_reason(why)

    def decide(reading: Reading) -> Edit[Service]:
        service = find_service(reading.snapshot, name)
        key = client.keys.service(name)
        told = [defined.removed("service", name, client.author, why=why)]
        return Edit(result=service, ops=[Delete(key)], compares=[reading.unchanged(key)], told=told)

    return await client.change(decide)


async def set_desired(
    client: OperatorClient, name: str, desired: Desired, *, is_enable: bool = False, why: str = ""
) -> Service:
    """Want all its vms running, stopped or disabled. In one transaction; they start in order and end in reverse.

    A stop leaves a disabled vm disabled. ``is_enable``: a disabled one is to run as well. ``why``: for those who wonder
    later, with each of them.

    Raises:
        Rejected: a member is disabled, and they are to start; or ``why`` is too long.
        RefusedByCluster: a member is frozen, or the cluster is paused.
    """
    did = "enabled" if is_enable else "started" if desired is Desired.RUNNING else str(desired)
    why = checked_reason(why)
    said = because(f"service {name} {did} by {client.author}", why)

    def decide(reading: Reading) -> Edit[Service]:
        service = find_service(reading.snapshot, name)
        ops: list[Op] = []
        told: list[Told] = []
        compares: list[Compare] = [reading.unchanged(client.keys.service(name))]
        for spec in members_of(service, reading.snapshot):
            if spec.desired is Desired.DISABLED and desired is Desired.RUNNING and not is_enable:
                message = f"{spec.name} of service {name} is disabled ({spec.desired_why or 'no reason given'})"
                raise Rejected(message, accepted=f"vmha service enable {name}")
            if spec.desired is desired or (spec.desired is Desired.DISABLED and desired is Desired.STOPPED):
                continue
            key = client.keys.vm_spec(VmName(spec.name))
            new = spec.model_copy(update={"desired": desired, "desired_why": said})
            ops.append(Put(key, encode(new)))
            told.append(defined.wanted(reading.snapshot.vms[VmName(spec.name)], new, why))
            compares += [reading.unchanged(key), *unless_on_hold(client, reading, spec.name, desired)]
        compares = list({compare.key: compare for compare in compares}.values())
        return Edit(result=service, ops=ops, compares=compares, told=told)

    return await client.change(decide)


def members_of(service: Service, snapshot: Snapshot) -> list[VmSpec]:
    views = [snapshot.vms.get(VmName(name)) for name in service.members]
    return [view.spec.value for view in views if view and view.spec]


def find_service(snapshot: Snapshot, name: str) -> Service:
    """Raises: UnknownName, with the near names."""
    service = snapshot.services.get(name)
    if service is None:
        raise unknown_name("service", name, snapshot.services)
    return service


def wrong_members(service: Service, specs: Mapping[str, VmSpec], services: Iterable[Service]) -> Iterator[str]:
    """What keeps vms from being members, in words. ``specs`` and ``services`` as they are to be."""
    if len(service.members) > MOST_MEMBERS:
        yield f"{len(service.members)} vms (accepted: at most {MOST_MEMBERS})"
    owner = {name: other.name for other in services if other.name != service.name for name in other.members}
    for name in service.members:
        if name not in specs:
            yield f"{unknown_name('vm', name, specs)}"
        elif name in owner:
            yield f"{name} is in service {owner[name]} (accepted: each vm in one service)"
        elif specs[name].exclusive:
            yield f"{name} is exclusive, and a service is more than one vm (accepted: vms that are not exclusive)"
    needs = needs_of(specs.values())
    for before, name in zip(service.members, service.members[1:], strict=False):
        needs[name] = [*needs.get(name, ()), before]
    for name in service.members:
        if cycle := find_cycle(needs, name):
            yield f"{in_a_circle(cycle)} (accepted: {NO_CIRCLE})"
            return


def check_membership(spec: VmSpec, snapshot: Snapshot) -> None:
    """Raises: Rejected when the vm, as it is to be, can not stay in its service."""
    specs = {known.name: known for known in specs_of(snapshot)} | {spec.name: spec}
    for service in snapshot.services.values():
        if spec.name in service.members:
            for text in wrong_members(service, specs, ()):
                if spec.name in text:
                    raise Rejected(f"vm {spec.name}: it is in service {service.name}: {text}")


def wrong_services(
    document: ClusterDocument,
    snapshot: Snapshot,
    specs: Mapping[str, VmSpec],
    domains: Collection[str],
    stay: Collection[str],
    *,
    prune: bool,
) -> Iterator[Complaint]:
    """The same of a document. ``specs``: of its vms; ``stay``: vms of the cluster that are left beside them."""
    known = {spec.name: spec for spec in specs_of(snapshot) if spec.name in stay} | dict(specs)
    given = {service.name: service for service in document.services or ()}
    others = {} if prune and document.services is not None else dict(snapshot.services)
    all_services = {**others, **given}
    for index, service in enumerate(given.values()):
        if service.failover_domain is not None and service.failover_domain not in domains:
            accepted = ", ".join(sorted(domains)) or "one that is named under failover_domains"
            text = f"{service.failover_domain!r}: there is no such failover domain (accepted: {accepted})"
            yield Complaint(path=("services", index, "failover_domain"), text=text)
        for text in wrong_members(service, known, all_services.values()):
            yield Complaint(path=("services", index, "members"), text=text)
    for service in (service for name, service in sorted(others.items()) if name not in given):
        domain = service.failover_domain
        if domain in snapshot.domains and domain not in domains:
            text = f"would be pruned, but service {service.name} names it (accepted: name it here, or change that)"
            yield Complaint(path=("failover_domains",), text=f"{domain}: {text}")
