"""Failover domains, by RGManager's rules of reading; where its manual and its code disagreed, by the manual.

Two of its corners are told rather than copied: a name given twice ended the whole list (here the first one counts
and the list goes on), and a node without a priority in an ordered domain was the most preferred, in central mode the
least.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from vmha.model.document import what_is_wrong
from vmha.model.vm import FailoverDomain
from vmha.operator.rgmanager.findings import Findings
from vmha.operator.rgmanager.source import Attribute, Element
from vmha.operator.rgmanager.values import atoi, is_flag

_REFUSED = "the failover domain is not taken"
_FLAGS = ("ordered", "restricted", "nofailback")
LAST = 100
"""The least preferred priority there is."""


@dataclass(slots=True, kw_only=True)
class Domains:
    """``taken``: as they stand in a document. ``everywhere`` and ``nowhere``: left out, and what that means for a vm.

    An empty domain that is not restricted lets its vms run everywhere, like none at all; a restricted one nowhere.
    """

    taken: dict[str, dict[str, Any]] = field(default_factory=dict)
    everywhere: set[str] = field(default_factory=set)
    nowhere: set[str] = field(default_factory=set)

    def find(self, name: str) -> str | None:
        """The domain's name as it is written where it is defined: RGManager compared without regard to case."""
        known = (*self.taken, *self.everywhere, *self.nowhere)
        if name in known:
            return name
        return next((each for each in known if each.lower() == name.lower()), None)


def translate_domains(rm: Element, nodes: Collection[str], found: Findings, *, central: bool) -> Domains:
    domains = Domains()
    for element in (domain for group in rm.named("failoverdomains") for domain in group.children):
        name = element.find_attribute("name")
        if element.tag != "failoverdomain":
            found.left_whole(element, "is not known here")
        elif name is None:
            found.left_whole(element, "a failover domain without a name")
        elif (there := domains.find(name.value)) is not None:
            text = f"there is a failover domain {there} already; the first one counts (RGManager lost all that follow)"
            found.left_whole(element, text)
        else:
            _domain(element, name, nodes, domains, found, central=central)
    return domains


def _domain(
    element: Element, name: Attribute, nodes: Collection[str], domains: Domains, found: Findings, *, central: bool
) -> None:
    inner = Findings()
    flags = _flags(element, inner)
    members = _members(element, nodes, inner, ordered=flags["ordered"], central=central)
    if not members:
        found.absorb(inner, refused=_REFUSED)
        kind = "restricted: its vms are not imported, for it lets them run nowhere"
        if not flags["restricted"]:
            kind = "not restricted: its vms may run everywhere, which is what no failover domain means"
        (domains.nowhere if flags["restricted"] else domains.everywhere).add(name.value)
        found.left(name, f"has no member that is a node, and is {kind}")
        return
    entry = {"name": name.value, **{flag: True for flag in _FLAGS if flags[flag]}, "members": members}
    try:
        FailoverDomain.model_validate(entry)
    except ValidationError as error:
        (domains.nowhere if flags["restricted"] else domains.everywhere).add(name.value)
        found.absorb(inner, refused=_REFUSED)
        found.left(name, what_is_wrong(error.errors(include_url=False)[0]))
        return
    found.absorb(inner)
    domains.taken[name.value] = entry
    found.taken(name, f"failover domain {name.value}")


def _flags(element: Element, found: Findings) -> dict[str, bool]:
    flags = dict.fromkeys(_FLAGS, False)
    for attribute in element.all_attributes(but=("name",)):
        if attribute.name not in _FLAGS:
            found.left(attribute, "is not known here", accepted=f"name, {', '.join(_FLAGS)}")
            continue
        flags[attribute.name] = is_flag(attribute.value)
        told = f"{attribute.name}: {str(flags[attribute.name]).lower()}"
        if attribute.value.strip() in ("0", "1"):
            found.taken(attribute, told)
        else:
            found.changed(attribute, f"{told}, as RGManager read it", accepted="0, 1")
    return flags


def _members(
    element: Element, nodes: Collection[str], found: Findings, *, ordered: bool, central: bool
) -> list[dict[str, Any]]:
    members: dict[str, dict[str, Any]] = {}
    for child in element.children:
        name = child.find_attribute("name")
        if child.tag != "failoverdomainnode":
            found.left_whole(child, "is not known here")
        elif name is None:
            found.left(child, "has no name", accepted=_list(nodes))
        elif name.value in members:
            text = "is a member already; the first one counts (RGManager lost all members that follow)"
            found.left(name, text, accepted="each node once")
        elif name.value not in nodes:
            found.left(name, "there is no such node, so it is no member", accepted=_list(nodes))
        else:
            found.taken(name, "a member")
            members[name.value] = {"node": name.value, **_priority(child, found, ordered=ordered, central=central)}
            unknown = child.all_attributes(but=("name", "priority"))
            for attribute in unknown:
                found.left(attribute, "is not known here", accepted="name, priority")
    return list(members.values())


def _priority(member: Element, found: Findings, *, ordered: bool, central: bool) -> dict[str, int]:
    attribute = member.find_attribute("priority")
    if not ordered:
        if attribute:
            found.left(attribute, "the failover domain is not ordered: RGManager did not read it either")
        return {}
    number = atoi(attribute.value) if attribute else 0
    if attribute and 1 <= number <= LAST:
        found.taken(attribute, f"priority: {number}")
        return {"priority": number}
    why = "no priority in an ordered failover domain" if attribute is None else "is no priority"
    place = "the least preferred" if central else "the most preferred"
    found.changed(attribute or member, f"{why}: {place}, as RGManager had it", accepted="1 to 100, 1 is tried first")
    return {"priority": LAST} if central else {}


def _list(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "a node of <clusternodes>, and there is none"
