"""The judge of room sees a node that is given more than it has: it would be worth nothing otherwise."""

import json
from typing import Any

from vmha.sim.judge.of_relations import check_relations
from vmha.sim.judge.of_room import LAW
from vmha.sim.world.record import CommitLine, Written


def line(values: dict[str, Any]) -> CommitLine:
    written = tuple(Written(key=key, value=json.dumps(value).encode()) for key, value in values.items())
    return CommitLine(at_s=1.0, revision=1, written=written)


def vm(name: str, memory_mib: int, vcpus: int = 1, **fields: Any) -> CommitLine:
    return line({f"vms/{name}/spec": {"memory_mib": memory_mib, "vcpus": vcpus, "definition": None, **fields}})


def placed(vm: str, node: str, *, kind: str = "assign", phase: str = "assigned", **fields: Any) -> CommitLine:
    known = {"phase": phase, "node": node, "target": None, "arrival": False, "operation": None, "session": None}
    return line({f"vms/{vm}/placement": {**known, **fields}, "journal/1": {"vm": vm, "kind": kind}})


def leaves(vm: str, node: str, target: str) -> CommitLine:
    return placed(vm, node, kind="migrate", phase="migrating", target=target)


NODES = line({f"nodes/{name}/status": {"memory_mib": 1000, "vcpus": 4} for name in ("n1", "n2")})
SIZED = [NODES, vm("a", 600), vm("b", 600), vm("c", 400)]


def laws(*record: CommitLine) -> list[str]:
    return [violation.law for violation in check_relations([*SIZED, *record])]


def test_node_is_not_given_more_memory_than_it_has() -> None:
    assert laws(placed("a", "n1"), placed("b", "n1")) == [LAW]
    assert laws(placed("a", "n1"), placed("c", "n1")) == []
    assert laws(placed("a", "n1", phase="stopping", kind="stop"), placed("b", "n1")) == [LAW], "it still stops"
    assert laws(placed("a", "n1"), placed("a", "n1", phase="stopped", kind="stopped"), placed("b", "n1")) == []
    assert laws(placed("a", "n1"), placed("b", "n1", kind="recover")) == [LAW]
    assert laws(placed("a", "n3"), placed("b", "n3")) == [], "nobody knows what n3 has"


def test_vm_on_its_way_counts_at_both_ends_until_it_is_handed_over() -> None:
    way = leaves("a", "n1", "n2")
    assert laws(way, placed("b", "n1")) == [LAW]
    assert laws(way, placed("b", "n2")) == [LAW]
    assert laws(placed("b", "n2"), way) == [LAW]
    assert laws(way, placed("c", "n1"), leaves("b", "n3", "n1")) == [LAW]
    assert laws(way, placed("c", "n1"), placed("c", "n1", phase="held", kind="claimed")) == []
    over = placed("a", "n2", kind="handed-over", arrival=True)
    assert laws(way, over, placed("b", "n1")) == []
    assert laws(way, over, placed("b", "n2")) == [LAW]


def test_reserve_overcommit_and_what_an_operator_says_of_a_node_count() -> None:
    def ruled(**capacity: Any) -> CommitLine:
        return line({"config": {"capacity": capacity}})

    both = (placed("a", "n1"), placed("c", "n1"))
    assert laws(ruled(reserve_mib=1), *both) == [LAW]
    assert laws(ruled(memory_overcommit=1.2), placed("a", "n1"), placed("b", "n1")) == []
    assert laws(ruled(vcpu_overcommit=0.25), *both) == [LAW]
    assert laws(ruled(vcpu_overcommit=0.5), *both) == []
    assert laws(ruled(reserve_mib=1), line({"nodes/n1/spec": {"capacity": {"reserve_mib": 0}}}), *both) == []
    own = line({"nodes/n1/spec": {"memory_mib": 999, "capacity": {"reserve_mib": None}}})
    assert laws(own, *both) == [LAW]


def test_what_a_hand_brought_is_not_held_against_the_leader_until_it_places_it_itself() -> None:
    brought = placed("a", "n1", kind="adopt", phase="held")
    assert laws(placed("b", "n1"), brought) == []
    assert laws(brought, placed("b", "n1")) == []
    assert laws(brought, leaves("a", "n1", "n2"), placed("b", "n1")) == [LAW]


def test_definition_that_is_a_file_counts_as_its_last_start_has_read_it() -> None:
    from_file = vm("d", 1, definition={"path": ["/d"]})
    assert laws(from_file, placed("d", "n1", memory_mib=700), placed("a", "n1")) == [LAW]
    assert laws(from_file, placed("d", "n1"), placed("a", "n1")) == []


def test_removed_vm_takes_nothing_that_anybody_knows() -> None:
    gone = CommitLine(at_s=1.0, revision=1, written=(Written(key="vms/a/spec", value=None),))
    assert laws(placed("a", "n1"), gone, placed("b", "n1")) == []
