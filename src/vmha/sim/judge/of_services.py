"""Do the vms of a service start and run together? From outside: the hosts' history and the store's raw JSON alone.

* One is started where another one of it is, if any of them has been held for a while by a session that lives: unless
  an operator relocates it, or it has failed where it was (then the others follow), or that one is outside the service's
  restricted failover domain. Where another one was a moment ago counts, too: the leader may have read that.
* At the end of a life, when all is at rest, all that run are on one node.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from vmha.hypervisor.twin.fabric_state import Deed, Fact
from vmha.sim.judge.invariants import Violation
from vmha.sim.world.record import CommitLine, Written

LAW = "services-are-together-at-rest"
EXCUSES = ("which is exclusive", "which rule", "MiB free of", "still shows it", "something of it")
"""What a hand has brought to a node may be in the way there, or leave no room; a rule may forbid the node. The store
has to say so."""


A_WHILE_S, A_MOMENT_S = 1.0, 5.0


def _plain(written: Written) -> Any:
    return written.read() if written.value else None


class Together:
    """Follows the record, commit by commit; a commit is judged before it is noted."""

    def __init__(self) -> None:
        self._services: dict[str, Any] = {}
        self._domains: dict[str, Any] = {}
        self._beats: dict[str, Any] = {}
        self._placements: dict[str, Any] = {}
        self._places: dict[str, list[tuple[float, str, str]]] = defaultdict(list)  # since when, node, session

    def note(self, line: CommitLine) -> None:
        for written in line.written:
            match written.key.split("/"):
                case ["services", name]:
                    self._services[name] = _plain(written)
                case ["domains", name]:
                    self._domains[name] = _plain(written)
                case ["nodes", node, "beat"]:
                    self._beats[node] = _plain(written)
                case ["vms", vm, "placement"]:
                    value = _plain(written)
                    self._placements[vm] = value
                    place = ("", "")
                    if value is not None and value["node"] and value["phase"] != "departed":
                        place = (value["target"] or value["node"], value["session"] or "")
                    if not self._places[vm] or self._places[vm][-1][1:] != place:
                        self._places[vm].append((line.at_s, *place))

    def judge_start(self, at_s: float, vm: str, placement: Any) -> Iterator[Violation]:
        before = self._placements.get(vm)
        if placement["operation"] is not None or (before and before["ended"] in ("crashed", "start_failed")):
            return
        for name, service in self._services.items():
            if not service or vm not in service["members"]:
                continue
            others = [other for other in service["members"] if other != vm and self._places[other]]
            if not any(self._is_there(other, at_s, service) for other in others):
                continue
            nodes = {node for other in others for node in self._lately(other, at_s)}
            if placement["node"] not in nodes:
                text = f"{vm} of service {name} is started on {placement['node']}, the others are on {sorted(nodes)}"
                yield Violation(at_s=at_s, law="services-stay-together", text=text)

    def _is_there(self, vm: str, at_s: float, service: Any) -> bool:
        since, node, session = self._places[vm][-1]
        held = self._placements[vm]
        if not node or at_s - since < A_WHILE_S or held is None:
            return False
        beat = self._beats.get(held["node"])
        domain = self._domains.get(service["failover_domain"] or "")
        is_legal = not domain or not domain["restricted"] or node in [member["node"] for member in domain["members"]]
        return is_legal and session != "" and beat is not None and beat["session"] == session

    def _lately(self, vm: str, at_s: float) -> Iterator[str]:
        places = self._places[vm]
        for (_, node, _), (until_s, _, _) in zip(places, [*places[1:], (at_s, "", "")], strict=True):
            if node and at_s - until_s <= A_MOMENT_S:
                yield node


def check_together(history: Sequence[Fact], record: Sequence[CommitLine]) -> list[Violation]:
    """At the end of a life that has come to rest."""
    keys: dict[str, Any] = {}
    for line in record:
        for written in line.written:
            if written.key.startswith(("services/", "vms/")):
                keys[written.key] = _plain(written)
    where: dict[str, set[str]] = {}
    for fact in history:
        hosts = where.setdefault(fact.vm, set())
        hosts.add(fact.host) if fact.deed is Deed.RUNS else hosts.discard(fact.host)
    at_s = record[-1].at_s if record else 0.0
    return [
        Violation(at_s=at_s, law=LAW, text=f"service {service['name']} is apart: {apart}")
        for key, service in sorted(keys.items())
        if key.startswith("services/") and service and (apart := _apart(service["members"], where, keys))
    ]


def _apart(members: Sequence[str], where: dict[str, set[str]], keys: dict[str, Any]) -> str:
    defined = [vm for vm in members if keys.get(f"vms/{vm}/spec") is not None]
    held = {vm: place for vm in defined if (place := keys.get(f"vms/{vm}/placement"))}
    running = {
        vm: place["node"] for vm, place in held.items() if place["phase"] == "held" and where.get(vm) == {place["node"]}
    }
    if len(set(running.values())) < 2:
        return ""
    said = [held[vm]["reason"]["text"] for vm in running]
    if any(excuse in text for text in said for excuse in EXCUSES):
        return ""
    return ", ".join(f"{vm} on {node} ({held[vm]['reason']['text']})" for vm, node in running.items())
