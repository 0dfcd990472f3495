"""The law of holds, checked from outside: nobody begins anything with a vm that is frozen, or while all is paused.

Read from the store's raw JSON alone. A change of a placement begins something when it asks for a stop or a migration,
names a new node to start it, or lets a node's agent claim a start. A claim of what has arrived, and what a running
guest is found to be doing, begin nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from vmha.sim.world.record import Written

Json = dict[str, Any]


@dataclass(slots=True)
class Holds:
    """What is held up by what has been written so far."""

    frozen: set[str] = field(default_factory=set)
    is_paused: bool = False
    phases: dict[str, Json] = field(default_factory=dict)

    def take(self, written: tuple[Written, ...], kinds: dict[str, str]) -> Iterator[str]:
        """One commit; ``kinds``: what the journal entry that came with it says was done to which vm."""
        for each in written:
            match each.key.split("/"):
                case ["vms", vm, "placement"]:
                    yield from self._place(vm, each.read() if each.value else None, kinds.get(vm, ""))
        for each in written:
            match each.key.split("/"):
                case ["vms", vm, "freeze"]:
                    (self.frozen.add if each.value else self.frozen.discard)(vm)
                case ["pause"]:
                    self.is_paused = bool(each.value) and each.read()["mode"] == "all"

    def _place(self, vm: str, now: Json | None, kind: str) -> Iterator[str]:
        before = self.phases.pop(vm, None)
        if now is None:
            return
        self.phases[vm] = now
        why = "it is frozen" if vm in self.frozen else "the cluster is paused" if self.is_paused else ""
        if why and (begun := _what_begins(before, now, kind)):
            yield f"{vm} {begun} while {why}"


def _what_begins(before: Json | None, now: Json, kind: str) -> str:
    was = before["phase"] if before else "stopped"
    match now["phase"]:
        case "assigned" if not now["arrival"] and (was, before and before["node"]) != ("assigned", now["node"]):
            return f"is given to {now['node']} to be started"
        case "held" if was == "assigned" and before and not before["arrival"] and kind == "claimed":
            return f"is claimed by {now['node']} to be started"
        case "stopping" if was != "stopping":
            return "is asked to stop"
        case "migrating" if was != "migrating":
            return f"is asked to go to {now['target']}"
    return ""
