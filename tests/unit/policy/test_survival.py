"""Whether the loss of any one node would be survived: the cheap answer against the forecast of each loss."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.clusters import SETTINGS, Book, cluster
from vmha.model.holds import PauseMode
from vmha.model.ids import NodeName, VmName
from vmha.model.relations import Dependency, Need
from vmha.model.settings import Capacity, MakeRoom
from vmha.model.vm import Desired
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.telling.forecast import foresee, losses
from vmha.policy.telling.survival import Survival, survival

STAYS = SETTINGS.model_copy(update={"make_room": MakeRoom.OFF})
N1, N2, N3 = NodeName("n1"), NodeName("n2"), NodeName("n3")


def asked(book: Book, **limits: Any) -> Survival:
    return survival(book.snapshot(), book.moment(), **limits)


def costs(found: Survival) -> dict[str, list[str]]:
    return {loss.node: [one.vm for one in loss.vms] for loss in found.losses}


def test_a_cluster_with_room_for_each_nodes_vms_survives_the_loss_of_any() -> None:
    book = cluster("n1", "n2", "n3", memory_mib=1000)
    for number, node in enumerate(("n1", "n2", "n3")):
        book.running(f"vm{number}", node, memory_mib=500)
    found = asked(book)
    assert (found.survives, found.losses, found.unsure, found.unknown, found.running) == (True, (), (), (), 3)


def test_it_says_which_vms_would_not_come_back_after_which_loss_and_why() -> None:
    book = cluster("n1", "n2", "n3", memory_mib=1000)
    book.running("big", "n1", memory_mib=900, priority=50)  # nobody is moved for a less important one
    book.running("db", "n2", memory_mib=150).running("web", "n3", memory_mib=200)
    found = asked(book)
    assert (found.survives, costs(found)) == (False, {"n1": ["big"]})
    (loss,) = found.losses
    assert loss.is_certain
    assert "n2 has 850 MiB free of 1000, the vm needs 900" in loss.vms[0].text


@pytest.mark.parametrize("foresee_at_most", [300, 0])
def test_a_vm_that_room_would_be_made_for_comes_back_where_the_cluster_moves_vms_for_it(foresee_at_most: int) -> None:
    book = cluster("n1", "n2", "n3", memory_mib=1000)
    book.running("big", "n1", memory_mib=900).running("db", "n2", memory_mib=150).running("web", "n3", memory_mib=200)
    found = asked(book, foresee_at_most=foresee_at_most)
    assert (found.survives, found.unsure) == (True, () if foresee_at_most else ("n1",))
    assert costs(asked(book.configure(STAYS))) == {"n1": ["big"]}


def test_vcpus_count_where_they_are_limited() -> None:
    book = cluster("n1", "n2", vcpus=8).running("a", "n1", vcpus=3).running("b", "n2", vcpus=3)
    book.configure(SETTINGS.model_copy(update={"capacity": Capacity(vcpu_overcommit=1)}))
    assert asked(book).survives
    book.running("c", "n2", vcpus=3)
    assert costs(asked(book)) == {"n1": ["a"], "n2": ["c"]}


def test_a_restricted_failover_domain_leaves_its_vms_fewer_nodes() -> None:
    book = cluster("n1", "n2", "n3", memory_mib=1000).domain("two", "n1", "n2", restricted=True)
    book.running("a", "n1", memory_mib=600, failover_domain="two").running("b", "n2", memory_mib=600)
    assert costs(asked(book.running("c", "n3", memory_mib=600))) == {"n1": ["a"], "n2": ["b"], "n3": ["c"]}


def test_a_hard_rule_keeps_vms_down_that_have_room() -> None:
    book = cluster("n1", "n2").running("a", "n1").running("b", "n2").rule("apart", apart=("a", "b"), hard=True)
    found = asked(book)
    assert costs(found) == {"n1": ["a"], "n2": ["b"]}
    assert all(loss.is_certain for loss in found.losses)


def test_a_frozen_vm_would_not_come_back_and_says_so() -> None:
    book = cluster("n1", "n2").running("a", "n1").freeze("a")
    (loss,) = asked(book).losses
    assert "it is frozen by ann" in loss.vms[0].text


def test_what_waits_already_is_not_lost_once_more_and_takes_its_room_first() -> None:
    book = cluster("n1", "n2", memory_mib=1000)
    book.running("a", "n1", memory_mib=300).running("b", "n2", memory_mib=500).vm("huge", memory_mib=2000)
    assert asked(book).survives
    book.vm("next", memory_mib=400, priority=500)
    assert costs(asked(book)) == {"n1": ["a"], "n2": ["b"]}


def test_a_pause_is_supposed_to_be_over_by_then() -> None:
    assert asked(cluster("n1", "n2").running("a", "n1").pause(PauseMode.ALL)).survives


def test_the_only_node_takes_all_with_it() -> None:
    assert costs(asked(cluster("n1").running("a", "n1"))) == {"n1": ["a"]}


def test_a_node_that_is_drained_takes_nothing() -> None:
    book = cluster("n1", "n2").running("a", "n1").node("n2", spec={"maintenance": True})
    assert costs(asked(book)) == {"n1": ["a"]}


def test_what_leaves_a_drained_node_takes_its_room_first_if_it_is_more_important() -> None:
    book = cluster("n1", "n2", "n3", memory_mib=1000).node("n3", spec={"maintenance": True}, memory_mib=1000)
    book.running("a", "n1", memory_mib=400).running("b", "n3", memory_mib=700)
    assert asked(book).survives  # b stays where it is
    book.running("b", "n3", memory_mib=700, priority=500)
    assert costs(asked(book)) == {"n1": ["a"]}


def test_vms_that_need_a_lost_one_are_foreseen_in_a_small_cluster_and_not_certain_in_a_large_one() -> None:
    book = cluster("n1", "n2", memory_mib=1000)
    book.running("db", "n1", memory_mib=600)
    book.running("web", "n2", memory_mib=600, depends_on=(Dependency(vm="db", mode=Need.HARD),))
    assert costs(asked(book)) == {"n1": ["web"], "n2": ["web"]}  # db takes the room of web, which needs it
    assert not any(loss.is_certain for loss in asked(book, foresee_at_most=0).losses)


def test_too_much_on_its_way_and_too_much_to_look_at_is_said_not_guessed() -> None:
    book = cluster("n1", "n2", memory_mib=1000)
    book.running("a", "n1", memory_mib=900).running("b", "n2", memory_mib=900)
    found = asked(book, look_at_most=1)
    assert (found.survives, costs(found), found.unknown) == (False, {"n1": ["a"]}, (N2,))
    assert asked(book, look_at_most=0).survives is None
    for number in range(201):
        book.vm(f"new{number}")
    found = asked(book)
    assert (found.survives, found.on_their_way) == (None, 201)


def test_it_is_asked_of_some_nodes_alone_and_of_some_before_the_others_as_long_as_the_asker_has_time() -> None:
    book = cluster("n1", "n2", "n3", memory_mib=1000)
    for number, node in enumerate(("n1", "n2", "n3")):
        book.running(f"vm{number}", node, memory_mib=900)
    assert costs(asked(book, only=[N2])) == {"n2": ["vm1"]}
    one_look = iter([True, False])  # whoever has no time is not asked again
    found = asked(book, first=[N3], goes_on=lambda: next(one_look))
    assert (costs(found), found.unknown) == ({"n3": ["vm2"]}, (N1, N2))


def test_the_same_is_said_whatever_is_asked_for_meanwhile() -> None:
    """Limits of starts at once make it take longer, and cost nothing."""
    limits = SETTINGS.limits.model_copy(update={"starts_per_node": 1, "starts": 1})
    book = cluster("n1", "n2", "n3").configure(SETTINGS.model_copy(update={"limits": limits}))
    for number in range(5):
        book.running(f"vm{number}", "n1").rule(f"r{number}", vms=(f"vm{number}",), off={"x": "y"}, hard=True)
    assert asked(book).survives


# --- against the forecast of each loss

quick = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def drawn(data: st.DataObject) -> Book:
    draw = data.draw
    nodes = ("n1", "n2", "n3", "n4")[: draw(st.integers(2, 4))]
    book = cluster(*nodes)
    is_limited = draw(st.booleans())
    book.configure(SETTINGS.model_copy(update={"capacity": Capacity(vcpu_overcommit=1.0 if is_limited else 0.0)}))
    for node in nodes:
        spec = {"maintenance": draw(st.integers(0, 7)) == 0, "labels": {"disk": draw(st.sampled_from(["ssd", "hdd"]))}}
        book.node(node, memory_mib=draw(st.sampled_from([600, 1000, 1500])), vcpus=4, spec=spec)
    book.elect("n1")
    for name in ("d1", "d2"):
        members = draw(st.permutations(nodes))[: draw(st.integers(1, len(nodes)))]
        book.domain(name, *members, **{flag: draw(st.booleans()) for flag in ("ordered", "restricted", "nofailback")})
    vms = [f"v{number}" for number in range(draw(st.integers(1, 7)))]
    special = draw(st.sampled_from(["", "", "", "exclusive", "depends_on", "service"]))
    for at, vm in enumerate(vms):
        fields: dict[str, Any] = {}
        if special == "exclusive" and draw(st.booleans()):
            fields["exclusive"] = draw(st.integers(1, 2))
        if special == "depends_on" and at and draw(st.booleans()):
            fields["depends_on"] = (Dependency(vm=vms[at - 1], mode=draw(st.sampled_from(list(Need)))),)
        book.vm(
            vm,
            desired=draw(st.sampled_from([Desired.RUNNING] * 6 + [Desired.STOPPED])),
            memory_mib=draw(st.sampled_from([100, 250, 400, 700])),
            vcpus=draw(st.integers(0, 3)),
            priority=draw(st.sampled_from([100, 200])),
            failover_domain=draw(st.sampled_from([None, None, "d1", "d2"])),
            **fields,
        )
    if special == "service" and len(vms) > 1:
        book.service("s", *vms[:2])
    elif len(vms) > 1 and draw(st.booleans()):
        book.rule("apart", apart=tuple(vms[:2]), hard=draw(st.booleans()))
    if draw(st.booleans()):
        book.rule("labels", vms=(vms[0],), on={"disk": "ssd"}, hard=draw(st.booleans()))
    return book


def at_rest(book: Book) -> Snapshot:
    return foresee(book.snapshot(), book.moment()).then


def by_forecast(book: Book, snapshot: Snapshot) -> dict[str, list[VmName]]:
    before = {one.vm for one in foresee(snapshot, book.moment()).down}
    found = losses(snapshot, book.moment())
    lost = {node: [one.vm for one in each.down if one.vm not in before] for node, each in found.items()}
    return {str(node): vms for node, vms in lost.items() if vms}


@given(data=st.data())
@settings(quick, max_examples=50)
def test_the_cheap_answer_is_what_the_forecast_of_each_loss_comes_to(data: st.DataObject) -> None:
    book = drawn(data)
    snapshot = at_rest(book)
    found = survival(snapshot, book.moment())
    assert {node: sorted(vms) for node, vms in costs(found).items()} == by_forecast(book, snapshot)
    assert found.unknown == found.unsure == ()


@given(data=st.data())
@settings(quick, max_examples=50)
def test_what_is_called_certain_is_so_without_any_forecast(data: st.DataObject) -> None:
    book = drawn(data)
    snapshot = at_rest(book)
    found = survival(snapshot, book.moment(), foresee_at_most=0)
    truth = by_forecast(book, snapshot)
    open_ = {*found.unsure, *(loss.node for loss in found.losses if not loss.is_certain)}
    certain = {loss.node: sorted(one.vm for one in loss.vms) for loss in found.losses if loss.is_certain}
    assert certain == {node: vms for node, vms in truth.items() if node not in open_}


@pytest.mark.parametrize("seed", range(3))
def test_the_answer_does_not_depend_on_the_order_of_what_is_read(seed: int) -> None:
    book = cluster("n1", "n2", "n3", memory_mib=1000)
    for number in range(6):
        book.running(f"vm{number}", f"n{1 + number % 3}", memory_mib=300 + 50 * ((number + seed) % 3))
    snapshot = book.snapshot()
    turned = dict(reversed(list(snapshot.vms.items())))
    from dataclasses import replace

    assert survival(replace(snapshot, vms=turned), book.moment()) == survival(snapshot, book.moment())
