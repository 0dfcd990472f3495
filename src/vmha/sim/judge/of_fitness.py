"""Is a vm given only to a node that is fit for it (law 4)? From outside: from what the store held at each revision, and
from what the hosts really did; with no code of the policy.

Checked at every commit by which a leader starts or recovers a vm, or asks for its migration. The node that it names

* beats: the commit compares the session that was judged, so it is on record at that very revision;
* has said in this session that it may receive vms, and it was true: by then its guard counted for this session, libvirt
  had answered what runs there since the session's first beat, and what had been there since before was on record;
* has a guard, if its beats say so: an agent whose guard is gone may send one beat before it knows, and not two;
* has not been saying for longer than ``READING_S`` that it may not receive vms;
* has beaten lately: its silence is no longer than ``dead_after_s``, and ``READING_S``, counted from when the process
  of the leader began, whose count it is. Where its beat names promisers, a promise counts as a beat and is not on
  record: this one is not judged there.

What is no breach: a leader acts on what it has read, and that may be as old as ``READING_S``, or older where its own
beats did not come through. So a node may be named that has said a moment ago that it is not fit, that was struck a
moment ago, or that has booted and whose old session's beat is still there. It claims nothing then
(``claims-are-of-living-sessions``).
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from vmha.hypervisor.twin.fabric_state import Deed, Fact
from vmha.sim.judge.invariants import Violation
from vmha.sim.world.record import CommitLine, Written
from vmha.sim.world.witness import Act, Sight, machine_of

Json = dict[str, Any]

LAW = "only-a-fit-node-is-given-a-vm"
READING_S = 5.0
"""A watch lags by 2 s at most, and each of the two calls that a step takes is late by 1.5 s at most."""
_GIVING = ("assign", "recover", "migrate")


@dataclass(slots=True)
class _Machine:
    """What was really done on one."""

    host: str
    agent_began_s: float = 0.0
    looked_s: float = -1.0
    armed_for: set[str] = field(default_factory=set)  # sessions
    gone: list[tuple[float, float]] = field(default_factory=list)  # its guard, from when to when by its own clock
    guests: dict[str, float] = field(default_factory=dict)  # here, and since when

    @property
    def is_guard_gone(self) -> bool:
        return bool(self.gone) and self.gone[-1][1] == math.inf


@dataclass(slots=True)
class _Node:
    """What one says of itself, as it is on record."""

    session: str = ""
    machine: str = ""
    began_s: float = 0.0
    beat_s: float = 0.0
    steady_s: float = 0.0  # since when its beats have come without a gap
    beats: tuple[Json, ...] = ()  # the last two of the session
    said: str | None = None  # what was not true when it said first that it may receive vms; None: it has not
    unfit_since_s: float | None = None


class _Fitness:
    def __init__(self) -> None:
        self._nodes: defaultdict[str, _Node] = defaultdict(_Node)
        self._machines: dict[str, _Machine] = {}
        self._known: dict[str, float] = {}  # vms that are defined, and since when
        self._seen: dict[tuple[str, str], str] = {}  # node and vm: by which session

    # --- what happened on the hosts

    def take_sight(self, sight: Sight) -> None:
        here = self._machine(sight.host)
        match sight.act:
            case Act.AGENT_BEGAN:
                here.agent_began_s = sight.at_s
            case Act.LOOKED:
                here.looked_s = sight.at_s
            case Act.GUARD_GONE:
                if not here.is_guard_gone:  # else its host's power follows it
                    here.gone.append((sight.clock_s, math.inf))
            case Act.ARMED | Act.GUARD_BACK:
                if here.is_guard_gone:
                    here.gone[-1] = (here.gone[-1][0], sight.clock_s)
                if sight.session:
                    here.armed_for.add(sight.session)

    def take_fact(self, fact: Fact) -> None:
        guests = self._machine(fact.host).guests
        if fact.deed is Deed.ENDS:
            guests.pop(fact.vm, None)
        else:
            guests.setdefault(fact.vm, fact.time)

    def _machine(self, host: str) -> _Machine:
        name = machine_of(host)
        if name not in self._machines:
            self._machines[name] = _Machine(host)
        return self._machines[name]

    # --- what was put on record

    def take_commit(self, line: CommitLine) -> Iterator[Violation]:
        given: list[Json] = []
        entries: dict[str, Json] = {}
        for written in line.written:
            match written.key.split("/"):
                case ["nodes", node, "beat"]:
                    self._take_beat(line.at_s, node, written)
                case ["nodes", node, "status"] if written.value:
                    self._take_status(line.at_s, node, written.read())
                case ["nodes", node, "vms", vm]:
                    self._seen[node, vm] = written.read()["session"] if written.value else ""
                case ["vms", vm, "spec"] if written.value:
                    self._known.setdefault(vm, line.at_s)
                case ["vms", vm, "spec"]:
                    self._known.pop(vm, None)
                case ["vms", _, "placement"] if written.value:
                    given.append(written.read())
                case ["journal", _] if written.value:
                    entries[written.read()["vm"]] = written.read()
        for placement in given:
            entry = entries.get(placement["vm"])
            if entry and entry["kind"] in _GIVING:
                yield from self._judge(line.at_s, entry, placement)

    def _take_beat(self, at_s: float, node: str, written: Written) -> None:
        if written.value is None:
            self._nodes.pop(node, None)
            return
        beat = written.read()
        here = self._nodes[node]
        if here.session != beat["session"]:
            here = self._nodes[node] = _Node(session=beat["session"], machine=beat.get("host", ""), began_s=at_s)
        if at_s - here.beat_s > beat["hold_s"] / 2:
            here.steady_s = at_s
        here.beat_s, here.beats = at_s, (*here.beats[-1:], beat)

    def _take_status(self, at_s: float, node: str, status: Json) -> None:
        here = self._nodes[node]
        if status["session"] != here.session:
            return
        if not status["eligible"]:
            here.unfit_since_s = at_s if here.unfit_since_s is None else here.unfit_since_s
            return
        here.unfit_since_s = None
        if here.said is None:
            here.said = self._what_is_not_true(node, here)

    def _what_is_not_true(self, name: str, node: _Node) -> str:
        """Of a node that says that it may receive vms; '' for all of it."""
        machine = self._machines.get(node.machine)
        if machine is None:
            return ""  # a record that a test has written by hand
        if node.session not in machine.armed_for:
            return "though its guard did not count for it"
        if machine.looked_s < node.began_s:
            return "though libvirt had not been asked what runs there"
        for vm, since_s in machine.guests.items():
            is_old = since_s < node.began_s and self._known.get(vm, node.began_s) < node.began_s - READING_S
            if is_old and self._seen.get((name, vm)) != node.session:
                return f"though it had not put on record that {vm} is there"
        return ""

    # --- the law

    def _judge(self, at_s: float, entry: Json, placement: Json) -> Iterator[Violation]:
        name = placement["target"] or placement["node"]
        if why := self._why_unfit(at_s, name, entry["by"]):
            text = f"{placement['vm']} is given to {name} ({entry['kind']}), which {why}"
            yield Violation(at_s=at_s, law=LAW, text=text)

    def _why_unfit(self, at_s: float, name: str, leader: str) -> str:
        node = self._nodes.get(name)
        if node is None or not node.session:
            return "has no session"
        if node.said is None:
            return f"has not said in session {node.session} that it may receive vms"
        if node.said:
            return f"has said in session {node.session} that it may receive vms, {node.said}"
        reads_since_s = self._reads_since_s(leader, at_s)
        if node.unfit_since_s is not None and at_s - max(node.unfit_since_s, reads_since_s) > READING_S:
            return f"has been saying for {at_s - node.unfit_since_s:.1f} s that it may not"
        machine, last = self._machines.get(node.machine), node.beats[-1]
        if machine and len(node.beats) == 2 and all(_is_false(beat, machine) for beat in node.beats):
            return "has no guard, and its beats say that it has"
        silent_s = at_s - max(node.beat_s, reads_since_s)
        if not last["promisers"] and silent_s > last["dead_after_s"] + READING_S:
            return f"has not beaten for {at_s - node.beat_s:.1f} s"
        return ""

    def _reads_since_s(self, leader: str, at_s: float) -> float:
        """Since when it must have heard what was committed: its process runs, and its own beats come through."""
        node = self._nodes.get(leader)
        if node is None or not node.beats or at_s - node.beat_s > node.beats[-1]["hold_s"] / 2:
            return at_s
        machine = self._machines.get(node.machine)
        return max(node.steady_s, machine.agent_began_s if machine else at_s)


def _is_false(beat: Json, machine: _Machine) -> bool:
    """It says that there is a guard, and was sent when there was none."""
    return beat["armed"] != "none" and any(begin < beat["sent_at"] < end for begin, end in machine.gone)


def check_fitness(sights: Sequence[Sight], history: Sequence[Fact], record: Sequence[CommitLine]) -> list[Violation]:
    """Every breach, in order of time. What hosts did at the instant of a commit counts as done before it."""
    fitness = _Fitness()
    found: list[Violation] = []
    at_sight = at_fact = 0
    for line in record:
        while at_sight < len(sights) and sights[at_sight].at_s <= line.at_s:
            fitness.take_sight(sights[at_sight])
            at_sight += 1
        while at_fact < len(history) and history[at_fact].time <= line.at_s:
            fitness.take_fact(history[at_fact])
            at_fact += 1
        found += fitness.take_commit(line)
    return found
