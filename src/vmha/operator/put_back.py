"""What a backup that is put back creates and changes, for the journal: an entry for each vm, node, rule and the like.

So that the story of a vm says where it came from. Pure. What has no hand of its own (epochs, uuids) is not told.
"""

from typing import Any

from pydantic import BaseModel

from vmha.model.by_hand import FROZEN, PAUSED
from vmha.model.holds import Hold
from vmha.model.ids import VmName
from vmha.model.rules import Rule
from vmha.model.service import Service
from vmha.model.settings import ClusterConfig
from vmha.model.vm import FailoverDomain, NodeSpec, VmSpec
from vmha.operator import defined
from vmha.operator.hand import Told, ends_at
from vmha.policy.state.causes import of_hold
from vmha.policy.state.hands_off import WHAT_IS_PAUSED

_KINDS: dict[type[BaseModel], str] = {
    VmSpec: "vm",
    NodeSpec: "node",
    FailoverDomain: "failover domain",
    Rule: "rule",
    Service: "service",
    ClusterConfig: "config",
}


def told_of(parts: tuple[str, ...], record: Any, old: Any, author: str) -> list[Told]:
    """``parts``: of the key. ``old``: what is there, and is another; None: nothing that can be read."""
    by, until = f"a backup that {author} put back", ends_at(record) if isinstance(record, Hold) else 0.0
    match record:
        case VmSpec() | NodeSpec() | FailoverDomain() | Rule() | Service() | ClusterConfig():
            name = "" if isinstance(record, ClusterConfig) else record.name
            was = old if isinstance(old, type(record)) else None
            return [defined.put(_KINDS[type(record)], name, was, record, by, less=())]
        case Hold() if parts[0] == "vms":
            text, vm = f"frozen, by {by}, as it was by {record.in_full}", VmName(parts[1])
            return [Told(kind=FROZEN, text=text, why=record.reason, until=until, vm=vm, cause=of_hold(vm, record))]
        case Hold():
            text = f"{WHAT_IS_PAUSED[record.mode]}, by {by}, as by {record.in_full}"
            return [Told(kind=PAUSED, text=text, why=record.reason, until=until, cause=of_hold(None, record))]
        case _:
            return []
