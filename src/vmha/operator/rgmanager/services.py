"""``<service>`` elements with vms in them: services of vmha, whose vms stay together. The rest of them has no place.

Their policy is their vms' as well (``gather``): the service has the failover domain, and restart or relocate.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from pydantic import ValidationError

from vmha.model.document import what_is_wrong
from vmha.model.relations import find_cycle
from vmha.model.service import Service
from vmha.model.vm import Recovery
from vmha.operator.rgmanager.draft import Draft
from vmha.operator.rgmanager.findings import Findings
from vmha.operator.rgmanager.source import Element


def members_of(drafts: Sequence[Draft]) -> dict[str, list[str]]:
    """By name of the service, the vms of it that are taken, in the order of the file."""
    return {service.attributes.get("name", ""): [name for name, _ in members] for service, members in _groups(drafts)}


def translate_services(
    drafts: Sequence[Draft], entries: Sequence[dict[str, Any]], found: Findings
) -> list[dict[str, Any]]:
    """``entries`` are the drafts' in their order, with their needs."""
    by_name = {entry["name"]: entry for entry in entries}
    taken: dict[str, dict[str, Any]] = {}
    for service, members in _groups(drafts):
        name = service.attributes.get("name", "")
        inside = [by_name[vm] for vm, _ in members]
        refusal = _why_not(name, inside, entries) or (f"there is a service {name} already" if name in taken else "")
        fields: dict[str, Any] = {"name": name, "members": [vm["name"] for vm in inside]}
        if domain := inside[0].get("failover_domain"):
            fields["failover_domain"] = domain
        if inside[0].get("recovery") == Recovery.RELOCATE:
            fields["recovery"] = str(Recovery.RELOCATE)
        if refusal or (refusal := _wrong(fields)):
            found.left(service, f"is not taken as a service: {refusal}; the vms in it are, each by itself")
            continue
        taken[name] = fields
        text = f"service {name}: {', '.join(fields['members'])} start in this order on one node and move together, live"
        found.changed(service, f"{text}; RGManager stopped and started them")
    return list(taken.values())


def _groups(drafts: Sequence[Draft]) -> Iterator[tuple[Element, list[tuple[str, Draft]]]]:
    groups: dict[int, tuple[Element, list[tuple[str, Draft]]]] = {}
    for draft in drafts:
        if (service := draft.source.service) is not None:
            groups.setdefault(id(service), (service, []))[1].append((draft.source.name.value, draft))
    yield from groups.values()


def _why_not(name: str, inside: Sequence[dict[str, Any]], entries: Sequence[dict[str, Any]]) -> str:
    if not name:
        return "it has no name"
    if any(vm.get("exclusive") for vm in inside):
        return "it is exclusive, and vms of a service can not be so each by itself"
    needs = {entry["name"]: [need["vm"] for need in entry.get("depends_on", ())] for entry in entries}
    for before, vm in pairwise(inside):
        needs[vm["name"]].append(before["name"])
    cycle = next((found for vm in inside if (found := find_cycle(needs, vm["name"]))), ())
    return f"its order and what its vms need are a circle ({' -> '.join(cycle)})" if cycle else ""


def _wrong(fields: dict[str, Any]) -> str:
    try:
        Service.model_validate(fields)
    except ValidationError as error:
        return "; ".join(
            f"{'.'.join(map(str, each['loc']))}: {what_is_wrong(each)}" for each in error.errors(include_url=False)
        )
    return ""
