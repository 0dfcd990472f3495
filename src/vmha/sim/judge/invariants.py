"""The laws, checked from outside: from the hosts' own history and the store's raw JSON, with no code of the policy.

Checked at every instant, in the order in which things happened:

* never two: one vm's processors run on one host at most;
* a copy of a vm's memory does not go on after another copy of it has run;
* epochs only grow, in the placements and in the guests that run; a new holder has a new epoch;
* a guest that runs is not superseded: no placement names another node under a higher epoch (but for the holder's own
  guest that hands had sent off before it bore the mark of this claim: it is the only one, and is found where it is);
* an evicted session's guests do not run, at its eviction or later;
* a claim is held by the session that beats on its node, and leaves it by its own word or with a proof on record;
* what a leader writes is written by the holder of the leader key;
* nothing is begun with a vm that is frozen, or while the cluster is paused (``hands_off``);

and at the end: every vm that is wanted running runs, or the store says what it waits for.

Two lines of the same instant count in the order in which they were written: both histories are written by one thread.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vmha.hypervisor.twin.fabric_state import Deed, Fact
from vmha.sim.judge.hands_off import Holds
from vmha.sim.world.record import CommitLine, Written

LEADERS_KINDS = frozenset(
    {
        "assign",
        "recover",
        "adopt",
        "withdraw",
        "stop",
        "migrate",
        "cancel",
        "depart",
        "disown",
        "release",
        "note",
        "fencing",
        "fenced",
        "settled",
    }
)
HOLDS_END = ("unfrozen", "cluster-resumed")
"""The leader's, or an operator's."""
_CLAIMED = ("held", "stopping", "migrating")
_PLACED = ("assigned", *_CLAIMED)
WAITING_RULES = (
    "no-node-can-take-it",
    "enough-at-once",
    "its-whereabouts-are-unknown",
    "it-ends-again-and-again",
    "what-it-needs-is-not-ready",
    "frozen-until-its-host-is-back",
    "it-is-frozen",
    "the-cluster-is-paused",
)
PROMISE = "room-is-made-for-it"
"""Says that others leave for it: true only while somebody does."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """``at_s``: the loop's time."""

    at_s: float
    law: str
    text: str


@dataclass(slots=True)
class _Instance:
    """One QEMU of one vm on one host, from its first fact to its end."""

    epoch: int | None
    runs: bool = False
    sent_by_hand_over: tuple[str, ...] = ()
    session_is_over: str = ""  # the session that was evicted while it was here


@dataclass(slots=True)
class _State:
    instances: dict[tuple[str, str], _Instance] = field(default_factory=dict)  # (vm, host)
    placements: dict[str, Json] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)  # node -> the session that beats
    fenced: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)  # vms whose guests are nobody's, and guarded by nobody
    leader: str | None = None
    ran_under: dict[str, int] = field(default_factory=dict)  # the highest epoch a vm's guests have run under
    holds: Holds = field(default_factory=Holds)
    found: list[Violation] = field(default_factory=list)

    def report(self, at_s: float, law: str, text: str) -> None:
        self.found.append(Violation(at_s=at_s, law=law, text=text))


def check_safety(history: Sequence[Fact], record: Sequence[CommitLine]) -> list[Violation]:
    """Every breach of the laws above, in order of time."""
    state = _State()
    facts, lines = list(history), list(record)
    at_fact = at_line = 0
    while at_fact < len(facts) or at_line < len(lines):
        takes_fact = at_line >= len(lines) or (at_fact < len(facts) and facts[at_fact].time < lines[at_line].at_s)
        if takes_fact:
            _take_fact(state, facts[at_fact])
            at_fact += 1
        else:
            _take_commit(state, lines[at_line], _ends_at(facts, at_fact, lines[at_line].at_s))
            at_line += 1
    return state.found


def _ends_at(facts: list[Fact], begin: int, at_s: float) -> set[tuple[str, str]]:
    """Guests that end in this same instant: the two histories do not tell which came first."""
    found: set[tuple[str, str]] = set()
    while begin < len(facts) and facts[begin].time <= at_s:
        if facts[begin].deed is not Deed.RUNS:
            found.add((facts[begin].vm, facts[begin].host))
        begin += 1
    return found


# --- the hosts' history


def _take_fact(state: _State, fact: Fact) -> None:
    key = (fact.vm, fact.host)
    if fact.deed is Deed.ENDS:
        state.instances.pop(key, None)
        return
    instance = state.instances.setdefault(key, _Instance(epoch=fact.epoch))
    instance.epoch, instance.runs = fact.epoch, fact.deed is Deed.RUNS
    instance.sent_by_hand_over = fact.sent_by_hand_over
    if not instance.runs:
        return
    others = [
        host for (vm, host), other in state.instances.items() if vm == fact.vm and host != fact.host and other.runs
    ]
    for other in others:
        state.report(fact.time, "never-two", f"{fact.vm} runs on {other} and on {fact.host}")
    if fact.stale:
        text = f"{fact.vm} goes on from {fact.host}'s memory, which is older than its disk"
        state.report(fact.time, "memory-is-as-new-as-the-disk", text)
    if instance.session_is_over:
        text = f"{fact.vm} runs on {fact.host} again, after session {instance.session_is_over} was evicted"
        state.report(fact.time, "evicted-guests-do-not-run", text)
    if fact.epoch is not None:
        if fact.epoch < state.ran_under.get(fact.vm, 0):
            text = f"{fact.vm} runs on {fact.host} under epoch {fact.epoch} after {state.ran_under[fact.vm]}"
            state.report(fact.time, "epochs-only-grow", text)
        state.ran_under[fact.vm] = fact.epoch
        _check_superseded(state, fact.time, fact.vm, state.placements.get(fact.vm), set())


def _check_superseded(state: _State, at_s: float, vm: str, placement: Json | None, ended: set[tuple[str, str]]) -> None:
    if placement is None or placement["phase"] not in _PLACED:
        return
    for (name, host), instance in state.instances.items():
        if name != vm or not instance.runs or instance.epoch is None or (name, host) in ended:
            continue
        if host == placement["node"] or _is_the_holders_own(instance, placement):
            continue
        if instance.epoch < placement["epoch"]:
            text = (
                f"{vm} runs on {host} under epoch {instance.epoch} while {placement['node']} has it "
                f"under epoch {placement['epoch']} ({placement['phase']})"
            )
            state.report(at_s, "superseded-guests-do-not-run", text)


def _is_the_holders_own(instance: _Instance, placement: Json) -> bool:
    """A hand sent it off its holder between the claim (an adoption) and the holder's marking its guest with it.

    Perhaps over other hosts, which have not marked it either: it has borne one epoch all the way.
    """
    is_from_holder = placement["node"] in instance.sent_by_hand_over and placement["phase"] in _CLAIMED
    return is_from_holder and instance.epoch == placement["epoch"] - 1


# --- the store's commits


def _take_commit(state: _State, line: CommitLine, ended: set[tuple[str, str]]) -> None:
    entries = [written.read() for written in line.written if written.key.startswith("journal/") and written.value]
    for entry in entries:
        leads = entry["kind"] in LEADERS_KINDS or entry["kind"].startswith("request-")
        leads |= entry["kind"] in HOLDS_END and entry["by"] != "operator"
        if leads and entry["by"] != state.leader:
            text = f"{entry['by']} wrote '{entry['kind']}' of {entry['vm']} while {state.leader} held the leader key"
            state.report(line.at_s, "only-the-leader-leads", text)
    writer = entries[0]["by"] if entries else None
    for text in state.holds.take(line.written, {entry["vm"]: entry["kind"] for entry in entries if entry["vm"]}):
        state.report(line.at_s, "hands-off", text)
    for written in line.written:
        if written.key == "leader":
            state.leader = written.read().get("node")
        elif written.key.startswith("fencing/") and written.value:
            _take_fencing(state, line.at_s, written.read(), ended)
    for written in line.written:
        match written.key.split("/"):
            case ["nodes", node, "beat"]:
                _take_beat(state, node, written)
            case ["vms", vm, "spec"]:
                (state.removed.add if written.value is None else state.removed.discard)(vm)
            case ["vms", vm, "placement"]:
                _take_placement(state, line.at_s, vm, written, writer, ended)


def _take_beat(state: _State, node: str, written: Written) -> None:
    if written.value is None:
        state.sessions.pop(node, None)
    else:
        state.sessions[node] = written.read()["session"]


def _take_fencing(state: _State, at_s: float, proof: Json, ended: set[tuple[str, str]]) -> None:
    state.fenced.add(proof["session"])
    if proof["proof"] == "released":
        return  # the node's own word: what its guests do is in its inventory
    for (vm, host), instance in state.instances.items():
        if host != proof["node"] or instance.epoch is None or vm in state.removed or (vm, host) in ended:
            continue
        instance.session_is_over = proof["session"]
        if instance.runs:
            text = f"{vm} runs on {host} while session {proof['session']} is evicted ({proof['proof']})"
            state.report(at_s, "evicted-guests-do-not-run", text)


def _take_placement(
    state: _State, at_s: float, vm: str, written: Written, writer: str | None, ended: set[tuple[str, str]]
) -> None:
    before = state.placements.get(vm)
    if written.value is None:
        state.placements.pop(vm, None)
        state.ran_under.pop(vm, None)  # removed from the cluster: a vm added under this name is another one
        return
    now = written.read()
    state.placements[vm] = now
    if before is not None:
        _check_epoch(state, at_s, vm, before, now)
        _check_leaving(state, at_s, vm, before, now, writer)
    if now["phase"] in _CLAIMED and state.sessions.get(now["node"]) != now["session"]:
        is_new = before is None or before["session"] != now["session"]
        if is_new:
            text = f"{vm} is claimed on {now['node']} by session {now['session']}, which does not beat there"
            state.report(at_s, "claims-are-of-living-sessions", text)
    _check_superseded(state, at_s, vm, now, ended)


def _check_epoch(state: _State, at_s: float, vm: str, before: Json, now: Json) -> None:
    grows = now["epoch"] - before["epoch"]
    # From the switch of a post-copy on, the guest at the target has the next one: whoever starts it anew gets another.
    at_most = 2 if before.get("switched") else 1
    if not 0 <= grows <= at_most:
        text = f"the epoch of {vm} went from {before['epoch']} to {now['epoch']}"
        state.report(at_s, "epochs-only-grow", text)
    moved = now["node"] is not None and now["node"] != before["node"]
    if moved and not 1 <= grows <= at_most:
        text = f"{vm} went from {before['node']} to {now['node']} under the same epoch {now['epoch']}"
        state.report(at_s, "a-new-holder-has-a-new-epoch", text)


def _check_leaving(state: _State, at_s: float, vm: str, before: Json, now: Json, writer: str | None) -> None:
    if before["phase"] not in _CLAIMED or (now["node"], now["session"]) == (before["node"], before["session"]):
        return
    if writer != before["node"] and before["session"] not in state.fenced:
        text = f"{vm} left {before['node']} by the hand of {writer}, without proof for session {before['session']}"
        state.report(at_s, "a-claim-leaves-only-by-proof", text)


# --- the end


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """A vm that is wanted running and does not run. ``reason`` empty: the store does not say why, or says that room is
    made for it while nobody is on his way (a breach).
    """

    vm: str
    reason: str


def check_liveness(history: Sequence[Fact], record: Sequence[CommitLine]) -> list[Blocked]:
    """Vms that are wanted running at the end and do not run, each with what the store says about it."""
    raw: dict[str, bytes] = {}
    for line in record:
        for written in line.written:
            if written.value is None:
                raw.pop(written.key, None)
            elif not written.key.startswith("journal/"):
                raw[written.key] = written.value
    keys: dict[str, Json] = {key: json.loads(value) for key, value in raw.items()}
    running: dict[tuple[str, str], bool] = {}
    for fact in history:
        running[fact.vm, fact.host] = fact.deed is Deed.RUNS
    run = {vm for (vm, _), runs in running.items() if runs}
    wanted = sorted(
        parts[1]
        for key, value in keys.items()
        if (parts := key.split("/"))[0] == "vms" and parts[2] == "spec" and value["desired"] == "running"
    )
    return [Blocked(vm=vm, reason=_why_not(vm, keys)) for vm in wanted if vm not in run]


def _why_not(vm: str, keys: dict[str, Json]) -> str:
    placement = keys.get(f"vms/{vm}/placement")
    if placement is None:
        return ""
    node, session = placement["node"], placement["session"]
    seen = keys.get(f"nodes/{node}/vms/{vm}")
    if placement["reason"]["rule"] in WAITING_RULES:
        return str(placement["reason"]["text"])
    if placement["reason"]["rule"] == PROMISE and placement["phase"] not in _CLAIMED:
        return str(placement["reason"]["text"]) if _is_anybody_leaving(keys) else ""
    match placement["phase"]:
        case "departed":
            return str(placement["ended_why"])
        case "held" | "stopping" | "migrating" if f"fencing/{session}" not in keys:
            beat = keys.get(f"nodes/{node}/beat")
            if f"nodes/{node}/session" not in keys or beat is None or beat["session"] != session:
                return f"held by session {session} of {node}, which is gone without proof that nothing of it runs"
            if seen is not None and seen["state"] == "paused":
                return f"paused on {node}: {seen['reason']}"
    return ""


def _is_anybody_leaving(keys: dict[str, Json]) -> bool:
    places = [value for key, value in keys.items() if key.startswith("vms/") and key.endswith("/placement")]
    return any(place["phase"] in ("migrating", "stopping") or place.get("arrival") for place in places)
