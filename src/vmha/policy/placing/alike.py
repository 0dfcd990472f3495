"""Nodes that nothing tells apart for a vm but what they carry: most nodes, for most vms.

Where no rule, no service and no exclusive vm has a say, and nobody spoke of the node, it takes the vm if it has room
and as little in progress as it may. That is asked here of many nodes in a row, by what is the same for all vms of a
plan; a node of which more is to be said gets the closer look (placing/placement.py), and the answers are those of it.
"""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from vmha.model.ids import NodeName
from vmha.policy.members.membership import Verdict
from vmha.policy.placing.by_load import ByLoad
from vmha.policy.placing.failover_domain import Score
from vmha.policy.placing.load import Load
from vmha.policy.state.reservation import Room, Size

Rank = tuple[int, int, int, int, int, NodeName]
"""What the caller prefers, the negative score, priority, what goes against soft rules, number of vms, name: the
smallest takes the vm."""
Refused = tuple[NodeName, Score, str]


class Alike:
    """The nodes of one plan, for starts or for migrations.

    It does not know the field that keeps it: a plan is in no cycle, or what it was made of, the whole reading, would
    stay until Python searches for garbage, and for good where it does not any more (node/garbage.py).

    ``by_load``: in the order in which they take vms. ``most``: how much may be in progress at one.
    """

    __slots__ = ("by_load", "eligible", "loads", "most", "moving", "rooms", "verdicts")

    def __init__(
        self,
        verdicts: Mapping[NodeName, Verdict],
        eligible: frozenset[NodeName],
        loads: Mapping[NodeName, Load],
        rooms: Mapping[NodeName, Room],
        *,
        most: int,
        moving: bool,
    ) -> None:
        def is_open(node: NodeName) -> bool:
            load = loads[node]
            return node in eligible and (load.migrating if moving else load.starting) < most

        self.verdicts, self.eligible, self.loads, self.rooms = verdicts, eligible, loads, rooms
        self.most, self.moving = most, moving
        self.by_load = ByLoad(verdicts, count=lambda node: loads[node].vms, is_open=is_open)


@dataclass(slots=True, kw_only=True)
class Look:
    """One vm's look at them. What is found is added to ``able`` and ``refused``.

    ``is_plain``: nothing but room and limits has a say about this vm. ``others``: the score of a node that is no member
    of its failover domain. ``apart``: nodes that something else is to be said of, they are passed over here.
    ``closer``: the closer look, True when the node is able.
    """

    nodes: Alike
    need: Size
    is_plain: bool
    others: Score
    apart: Container[NodeName]
    able: list[Rank]
    refused: list[Refused]
    closer: Callable[[NodeName], bool]

    def at_member(self, name: NodeName, points: Score, priority: int) -> None:
        """Of the failover domain, and nothing else is to be said of it."""
        nodes = self.nodes
        load = nodes.loads[name]
        if (
            self.is_plain
            and points  # not illegal
            and name in nodes.eligible
            and (load.migrating if nodes.moving else load.starting) < nodes.most
            and not load.exclusive
            and nodes.rooms[name].takes(self.need, load.memory_mib, load.vcpus)
        ):
            self.able.append((1, -points, priority, 0, load.vms, name))
        else:
            self.closer(name)

    def at_open(self, order: Iterable[tuple[int, NodeName]], *, at_most: int) -> int:
        """Those of ``by_load.order`` in this order, until so many are able. Returns how many it has come past."""
        nodes, need, is_plain, apart, able = self.nodes, self.need, self.is_plain, self.apart, self.able
        loads, rooms, most, moving, points = nodes.loads, nodes.rooms, nodes.most, nodes.moving, -self.others
        met = found = 0
        for _, name in order:
            met += 1
            if name in apart:
                continue
            load = loads[name]
            if (
                is_plain
                and (load.migrating if moving else load.starting) < most
                and not load.exclusive
                and rooms[name].takes(need, load.memory_mib, load.vcpus)
            ):
                able.append((1, points, 0, 0, load.vms, name))
            elif not self.closer(name):
                continue
            found += 1
            if found == at_most:
                break
        return met

    def at_shut(self, names: Iterable[NodeName]) -> None:
        """Those that may take none, whoever asks."""
        nodes, need, is_plain, others, refused = self.nodes, self.need, self.is_plain, self.others, self.refused
        verdicts, loads, rooms, most, moving = nodes.verdicts, nodes.loads, nodes.rooms, nodes.most, nodes.moving
        for name in names:
            load = loads[name]
            at_work = load.migrating if moving else load.starting
            if refusal := verdicts[name].refusal:
                refused.append((name, Score.ILLEGAL, refusal))
            elif (
                is_plain
                and at_work >= most
                and not load.exclusive
                and rooms[name].takes(need, load.memory_mib, load.vcpus)
            ):
                refused.append((name, others, too_much_at_once(at_work, most, moving)))
            else:
                self.closer(name)


@lru_cache(maxsize=1000)
def too_much_at_once(in_progress: int, limit: int, moving: bool) -> str:
    """Where many vms are placed at once, most nodes say the same."""
    return f"has {in_progress} {'migrations' if moving else 'starts'} in progress (limit {limit})"
