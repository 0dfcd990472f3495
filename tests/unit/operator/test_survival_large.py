"""What a change costs of surviving the loss of a node, in a cluster too large to look at everything."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, count

from bench.world import NODE_MIB, VM_MIB, WALL, node_name, snapshot_of

from vmha.model.ids import VmName
from vmha.model.settings import Capacity, ClusterConfig, MakeRoom
from vmha.model.vm import Desired
from vmha.operator.overview import overview
from vmha.operator.survival import cost
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.state.supposing import VmWanted, suppose

VMS, NODES = 2066, 60
"""Of which 59 nodes with room for 35 each hold all but one."""
STARTED = VmName("vm-02065")
"""On node 25."""


@dataclass(slots=True)
class Passing:
    """A second passes whenever somebody looks at it."""

    seconds: Iterator[int] = field(default_factory=count)

    def now(self) -> float:
        return float(next(self.seconds))

    def wall(self) -> float:
        return WALL


def started(*, room: int) -> tuple[Snapshot, Snapshot]:
    """Before and after the last one is started. ``room``: for so many on each node."""
    capacity = Capacity(reserve_mib=NODE_MIB - room * VM_MIB)
    config = ClusterConfig(capacity=capacity, make_room=MakeRoom.OFF)
    snapshot = replace(snapshot_of(VMS, NODES), config=config)
    before, after = (VmWanted(vm=STARTED, desired=desired) for desired in (Desired.STOPPED, Desired.RUNNING))
    return suppose(snapshot, before), suppose(snapshot, after)


def test_where_there_is_room_nothing_has_to_be_looked_at() -> None:
    assert cost(*started(room=64), Passing(), patience_s=0.0) == []


def test_what_a_start_costs_is_told_for_as_many_nodes_as_there_is_time_for_that_of_the_vm_first() -> None:
    costs, rest = cost(*started(room=35), Passing(), patience_s=8.0)  # three nodes
    assert costs.startswith("with this the cluster would not survive the loss of node-0000: ")
    assert [name for number in range(NODES) if (name := node_name(number)) in costs] == [
        "node-0000",
        "node-0001",
        "node-0025",
    ]
    assert rest == (
        "what this costs of surviving the loss of 57 more nodes was not looked at; "
        "once it is done: vmha plan --if 'any node lost'"
    )


def test_status_looks_for_as_long_and_says_of_how_many_nodes_nothing_is_known() -> None:
    snapshot = started(room=35)[1]
    clock = Passing(chain((0, 0, 1), count(1000)))  # time for two nodes
    found = overview(snapshot, cluster="t", wall=WALL, asks_survival=clock).survival
    assert found is not None
    assert [loss.node for loss in found.losses] == ["node-0000", "node-0001"]
    assert len(found.unknown) == NODES - 2
    assert overview(snapshot, cluster="t", wall=WALL).survival is None


def test_a_loss_is_not_laid_to_the_change_where_there_was_no_time_to_see_whether_it_was_survived_before() -> None:
    clock = Passing(chain(range(6), count(1000)))
    (rest,) = cost(*started(room=35), clock, patience_s=8.0)
    assert rest.startswith("what this costs of surviving the loss of 60 more nodes was not looked at")
