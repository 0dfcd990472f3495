"""A vm in the making: what the file around it says, what has become of it so far, and where its findings go."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vmha.operator.rgmanager.failover import Domains
from vmha.operator.rgmanager.findings import Findings
from vmha.operator.rgmanager.gather import VmSource
from vmha.operator.rgmanager.source import Attribute, Element


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the rest of the file says, as far as a vm's attributes depend on it."""

    domains: Domains
    nodes: Sequence[str]
    vms: Sequence[str]
    central: bool = False
    start: bool = False


@dataclass(slots=True, kw_only=True)
class Draft:
    """A vm in the making. ``refusals``: why it is not taken at all. ``mapping``: migration addresses it asks for."""

    source: VmSource
    ground: Ground
    found: Findings
    fields: dict[str, Any] = field(default_factory=dict)
    migration: dict[str, Any] = field(default_factory=dict)
    probe: dict[str, Any] = field(default_factory=dict)
    mapping: dict[str, Attribute] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    is_wanted: bool = True

    def about(self, what: Attribute | Element) -> str:
        element = what.element if isinstance(what, Attribute) else what
        return "" if element is self.source.name.element else f"vm {self.source.name.value}"

    def taken(self, what: Attribute | Element, text: str) -> None:
        self.found.taken(what, text, about=self.about(what))

    def changed(self, what: Attribute | Element, text: str, *, accepted: str = "") -> None:
        self.found.changed(what, text, accepted=accepted, about=self.about(what))

    def left(self, what: Attribute | Element, text: str, *, accepted: str = "") -> None:
        self.found.left(what, text, accepted=accepted, about=self.about(what))
