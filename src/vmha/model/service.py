"""A service: vms that run on one node, start in order, end in reverse, and move together."""

from typing import Literal, Self

from pydantic import Field, model_validator

from vmha.model.document import Document
from vmha.model.vm import Name, Recovery


class Service(Document):
    """``services/<name>``: which vms stay together, in the order of their start.

    ``failover_domain`` counts for all members, whatever their own is; None: they may run everywhere. ``recovery``: a
    member that crashes is started again where the others are, or another node is tried first, and the others follow it
    there, live; it counts instead of a member's own restart or relocate.
    """

    name: Name
    members: tuple[Name, ...] = Field(description="vms, in the order of their start; each in one service only.")
    failover_domain: Name | None = None
    recovery: Literal[Recovery.RESTART, Recovery.RELOCATE] = Recovery.RESTART

    @model_validator(mode="after")
    def _members_once(self) -> Self:
        twice = sorted({name for name in self.members if self.members.count(name) > 1})
        if twice:
            raise ValueError(f"members: {', '.join(twice)}: named twice (accepted: each vm once)")
        if not self.members:
            raise ValueError("members: a service needs at least one vm")
        return self
