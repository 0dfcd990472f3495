"""What a vm takes, what a node has, and that no start or move fills a node beyond it."""

from typing import Any

import pytest
from pydantic import ValidationError

from tests.support.clusters import WALL, Book, cluster
from vmha.model.ids import NodeName
from vmha.model.records import Failure, Phase, RunEnd
from vmha.model.settings import Capacity, ClusterConfig, MakeRoom, Profile
from vmha.model.vm import NodeSpec
from vmha.policy.state.reservation import Room, Size
from vmha.policy.state.steps import Change, PlacementStep


def config(**capacity: Any) -> ClusterConfig:
    return ClusterConfig(profile=Profile.TUNED, capacity=Capacity(**capacity))


def assigned_to(book: Book, vm: str = "web") -> str | None:
    steps = [step for step in book.plan().steps if isinstance(step, PlacementStep) and step.vm == vm]
    return next((step.placement.node for step in steps if step.placement and step.change is Change.ASSIGN), None)


def refusal(book: Book, node: str = "n1", vm: str = "web") -> str:
    """What the node says of the vm that waits."""
    waiting = next(one for one in book.plan().waiting if one.vm == vm)
    return next(one.refusal for one in waiting.candidates if one.node == node)


@pytest.mark.parametrize(
    ("capacity", "fits"),
    [
        ({}, 4096),
        ({"reserve_mib": 1024}, 3072),
        ({"memory_overcommit": 1.5}, 6144),
        ({"reserve_mib": 1024, "memory_overcommit": 2.0}, 6144),
        ({"memory_overcommit": 0.5}, 2048),
    ],
)
def test_memory_for_vms_is_what_the_host_has_less_the_reserve_times_the_ratio(capacity: Any, fits: int) -> None:
    for memory, node in ((fits, "n1"), (fits + 1, None)):
        book = cluster("n1", memory_mib=4096).configure(config(**capacity)).vm("web", memory_mib=memory)
        assert assigned_to(book) == node
    assert refusal(book) == f"has {fits} MiB free of {fits}, the vm needs {fits + 1}"


def test_wait_is_told_anew_when_others_have_filled_the_node_that_only_failed_to_start_the_vm_before() -> None:
    failure = Failure(node=NodeName("n1"), at=WALL, error="no such disk")
    book = cluster("n1", memory_mib=4096).vm("web", memory_mib=4096)
    book.ended("web", "n1", RunEnd.START_FAILED, failures=(failure,)).lead(rounds=2)
    waiting = book.placement("web")
    assert waiting
    assert "failed to start it" in waiting.reason.text
    book.running("db", "n1").lead(rounds=2)
    waiting = book.placement("web")
    assert waiting
    assert "n1 has 4095 MiB free of 4096" in waiting.reason.text


@pytest.mark.parametrize(("ratio", "fits"), [(1.0, 8), (0.5, 4), (4.0, 32)])
def test_vcpus_are_limited_once_a_ratio_is_given(ratio: float, fits: int) -> None:
    for vcpus, node in ((fits, "n1"), (fits + 1, None)):
        book = cluster("n1", vcpus=8).configure(config(vcpu_overcommit=ratio)).vm("web", vcpus=vcpus)
        assert assigned_to(book) == node
    assert refusal(book) == f"has {fits} vcpus free of {fits}, the vm needs {fits + 1}"


def test_vcpus_are_not_limited_by_default_nor_where_they_are_not_known() -> None:
    assert assigned_to(cluster("n1", vcpus=2).vm("web", vcpus=64)) == "n1"
    assert assigned_to(cluster("n1", vcpus=2).configure(config(vcpu_overcommit=1.0)).vm("web", vcpus=0)) == "n1"
    assert assigned_to(cluster("n1", vcpus=0).configure(config(vcpu_overcommit=1.0)).vm("web", vcpus=64)) == "n1"


@pytest.mark.parametrize(
    ("spec", "fits"),
    [
        ({"capacity": {"reserve_mib": 0}}, 4096),
        ({"capacity": {"memory_overcommit": 2.0}}, 6144),
        ({"memory_mib": 8192}, 7168),
        ({"memory_mib": 512}, 1),
    ],
)
def test_node_overrides_the_cluster_field_by_field(spec: dict[str, Any], fits: int) -> None:
    for memory, node in ((fits, "n1"), (fits + 1, None)):
        book = cluster("n1").node("n1", memory_mib=4096, spec=spec).configure(config(reserve_mib=1024))
        assert assigned_to(book.vm("web", memory_mib=memory)) == node


def test_vm_on_its_way_takes_its_vcpus_at_both_ends() -> None:
    stays = config(vcpu_overcommit=1.0).model_copy(update={"make_room": MakeRoom.OFF})
    book = cluster("n1", "n2", vcpus=4).configure(stays).vm("db", vcpus=3)
    book.placed("db", "n1", phase=Phase.MIGRATING, target="n2").vm("web", vcpus=2)
    assert assigned_to(book) is None
    for node in ("n1", "n2"):
        assert refusal(book, node) == "has 1 vcpus free of 4, the vm needs 2"


def test_what_a_plan_has_placed_counts_for_the_next_vm_of_it() -> None:
    book = cluster("n1", vcpus=4).configure(config(vcpu_overcommit=1.0))
    book.vm("aaa", vcpus=3, priority=900).vm("web", vcpus=2)
    assert (assigned_to(book, "aaa"), assigned_to(book)) == ("n1", None)


def test_vcpus_of_a_definition_that_nodes_read_are_known_from_its_last_start() -> None:
    book = cluster("n1", vcpus=4).configure(config(vcpu_overcommit=1.0))
    book.vm("web", xml="", definition={"path": ["/defs"]}, vcpus=0)
    assert assigned_to(book) == "n1"
    book.ended("web", "n1", RunEnd.ASKED, vcpus=5)
    assert refusal(book) == "has 4 vcpus free of 4, the vm needs 5"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reserve_mib", -1),
        ("memory_overcommit", 0),
        ("memory_overcommit", -1.0),
        ("memory_overcommit", float("nan")),
        ("vcpu_overcommit", -0.1),
        ("vcpu_overcommit", float("inf")),
    ],
)
def test_capacity_that_makes_no_sense_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValidationError, match=field):
        Capacity(**{field: value})  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match=field):
        NodeSpec(name="n1", capacity={field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["memory_mib", "vcpus"])
@pytest.mark.parametrize("value", [0, -1])
def test_node_of_no_size_is_refused(field: str, value: int) -> None:
    with pytest.raises(ValidationError, match=field):
        NodeSpec(name="n1", **{field: value})  # type: ignore[arg-type]


def test_host_that_is_reserved_whole_takes_nothing() -> None:
    assert "1 MiB free of 1" in refusal(
        cluster("n1", memory_mib=1024).configure(config(reserve_mib=2048)).vm("web", memory_mib=2)
    )


def test_nothing_is_refused_by_what_is_not_known() -> None:
    assert Room(0, 0).refusal(Size(10**6, 10**4), Size(10**6, 10**4)) == ""
