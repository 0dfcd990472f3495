"""What vms are to each other, checked from outside: from the store's raw JSON, with no code of the policy.

Checked at every commit by which a leader gives a vm a place:

* an exclusive vm is given no node on which another vm has a place, and no vm is given a node on which an exclusive one
  has: what a hand has brought there is none of the leader's doing;
* a vm that needs another one hard is started only while that one is held;
* a vm of a service is started only where another one of it is (``invariants_of_services``);
* no vm is sent where a hard rule does not want it (``invariants_of_rules``);
* no vm is sent where there is no room for it (``of_room``).
"""

from collections.abc import Iterator, Sequence
from typing import Any

from vmha.sim.judge.invariants import Violation
from vmha.sim.judge.of_room import Rooms
from vmha.sim.judge.of_rules import Rules
from vmha.sim.judge.of_services import Together
from vmha.sim.world.record import CommitLine, Written

Json = dict[str, Any]

_PLACING = ("assign", "recover", "migrate")
_PLACED = ("assigned", "held", "stopping", "migrating")


def check_relations(record: Sequence[CommitLine]) -> list[Violation]:
    """Every breach, in order of time."""
    specs: dict[str, Json] = {}
    placements: dict[str, Json] = {}
    together, rules, rooms = Together(), Rules(), Rooms()
    found: list[Violation] = []
    for line in record:
        kinds: dict[str, str] = {}
        for written in line.written:
            if written.key.startswith("journal/") and written.value:
                entry = written.read()
                kinds[entry["vm"]] = entry["kind"]
        rules.note(line)
        rooms.note(line, kinds)
        for written in line.written:
            match written.key.split("/"):
                case ["vms", vm, "spec"]:
                    _keep(specs, vm, written)
                case ["vms", vm, "placement"]:
                    _keep(placements, vm, written)
                    if written.value and kinds.get(vm) in _PLACING:
                        found += _of_a_place(line.at_s, vm, specs, placements)
                        # A vm that was removed is under no rule, though its guest stays where it is.
                        defined = {one: placements[one] for one in placements if one in specs or one == vm}
                        found += rules.judge(line.at_s, vm, defined)
                        found += rooms.judge(line.at_s, vm, specs, placements)
                        if kinds[vm] != "migrate":
                            found += _of_a_start(line.at_s, vm, specs, placements)
                            found += together.judge_start(line.at_s, vm, placements[vm])
        together.note(line)
    return found


def _keep(book: dict[str, Json], vm: str, written: Written) -> None:
    if written.value is None:
        book.pop(vm, None)
    else:
        book[vm] = written.read()


def _of_a_place(at_s: float, vm: str, specs: dict[str, Json], placements: dict[str, Json]) -> Iterator[Violation]:
    node = placements[vm]["target"] or placements[vm]["node"]
    for other, place in placements.items():
        if other == vm or place["phase"] not in _PLACED or node not in (place["node"], place["target"]):
            continue
        for one in (vm, other):
            if specs.get(one, {}).get("exclusive", 0):
                text = f"{vm} is sent to {node}, where {other} has its place, and {one} is exclusive"
                yield Violation(at_s=at_s, law="exclusive-vms-are-placed-alone", text=text)


def _of_a_start(at_s: float, vm: str, specs: dict[str, Json], placements: dict[str, Json]) -> Iterator[Violation]:
    for need in specs.get(vm, {}).get("depends_on", ()):
        if need["mode"] != "hard" or need["vm"] not in specs:
            continue
        place = placements.get(need["vm"])
        if place is None or not (place["phase"] in ("held", "migrating") or place["arrival"]):
            text = f"{vm} is started while {need['vm']}, which it needs, is {place['phase'] if place else 'nowhere'}"
            yield Violation(at_s=at_s, law="what-is-needed-runs-first", text=text)
