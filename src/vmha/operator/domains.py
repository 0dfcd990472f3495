"""Failover domains: which nodes a vm prefers."""

from collections.abc import Collection

from vmha.model.errors import Rejected
from vmha.model.keys import encode
from vmha.model.vm import FailoverDomain
from vmha.operator import defined
from vmha.operator.client import Edit, OperatorClient, Reading
from vmha.operator.errors import unknown_name
from vmha.operator.satisfiable import check_places
from vmha.policy.state.snapshot import Snapshot
from vmha.store.port import Compare, Delete, Put


async def add_domain(client: OperatorClient, domain: FailoverDomain, *, replace: bool = False) -> FailoverDomain:
    """Create a failover domain. An equal one is a success; another of its name is replaced only when asked for.

    Raises:
        Rejected: a member that is no node of the cluster, or the name is taken.
    """

    def decide(reading: Reading) -> Edit[FailoverDomain]:
        check_members(domain, reading.snapshot)
        found = reading.snapshot.domains.get(domain.name)
        if found == domain:
            return Edit(result=domain)
        if found is not None and not replace:
            raise Rejected(f"there is another failover domain {domain.name}", accepted="another name, or --replace")
        check_places(reading.snapshot, domain)
        key = client.keys.domain(domain.name)
        told = [defined.put("failover domain", domain.name, found, domain, client.author)]
        compares: list[Compare] = [reading.unchanged(key), reading.settled(client.keys.rule(""))]
        return Edit(result=domain, ops=[Put(key, encode(domain))], compares=compares, told=told)

    return await client.change(decide)


async def remove_domain(client: OperatorClient, name: str) -> FailoverDomain:
    """Raises: Rejected while a vm names it."""

    def decide(reading: Reading) -> Edit[FailoverDomain]:
        domain = find_domain(reading.snapshot, name)
        users = [*users_of(reading.snapshot, name), *services_of(reading.snapshot, name)]
        if users:
            raise Rejected(
                f"failover domain {name} is named by {', '.join(users)}", accepted="a domain that nothing names"
            )
        key = client.keys.domain(name)
        told = [defined.removed("failover domain", name, client.author)]
        return Edit(result=domain, ops=[Delete(key)], compares=[reading.unchanged(key)], told=told)

    return await client.change(decide)


def users_of(snapshot: Snapshot, name: str) -> list[str]:
    """The vms that name a failover domain."""
    return sorted(vm.name for vm in snapshot.vms.values() if vm.spec and vm.spec.value.failover_domain == name)


def services_of(snapshot: Snapshot, name: str) -> list[str]:
    return sorted(f"service {each.name}" for each in snapshot.services.values() if each.failover_domain == name)


def find_domain(snapshot: Snapshot, name: str) -> FailoverDomain:
    """Raises: UnknownName, with the near names."""
    domain = snapshot.domains.get(name)
    if domain is None:
        raise unknown_name("failover domain", name, snapshot.domains)
    return domain


def needed_domain(snapshot: Snapshot, name: str) -> FailoverDomain:
    """As ``find_domain``, for a domain that something else names: the request as a whole is then bad input."""
    domain = snapshot.domains.get(name)
    if domain is None:
        raise Rejected(f"failover_domain: {unknown_name('failover domain', name, snapshot.domains)}")
    return domain


def check_members(domain: FailoverDomain, snapshot: Snapshot, *, also: Collection[str] = ()) -> None:
    """Raises: Rejected when a member is no node of the cluster (``also``: nodes that are about to be)."""
    known = {*map(str, snapshot.nodes), *also}
    unknown = [member.node for member in domain.members if member.node not in known]
    if unknown:
        message = f"failover domain {domain.name}: members: {', '.join(unknown)}: no such node"
        raise Rejected(message, accepted=accepted_nodes(known))


def accepted_nodes(known: Collection[str]) -> str:
    """What to write instead of an unknown node."""
    names = ", ".join(sorted(known)) or "none has joined yet"
    return f"{names}; name a node that is yet to join under 'nodes:' in a document for vmha apply"
