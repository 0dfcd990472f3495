"""Placement rules: which nodes hard ones refuse, which soft ones prefer, and what is told and left alone."""

from typing import Any

import pytest

from tests.support.clusters import LOST_S, Book, cluster
from tests.unit.policy.test_plan import assigned_to, migrated_to, steps_about, waiting_text
from vmha.model.ids import NodeName, VmName
from vmha.model.records import Phase, RunEnd, SeenState, Verb
from vmha.model.vm import Desired
from vmha.policy.placing.placement import choose, survey, take
from vmha.policy.plan import judge_all
from vmha.policy.state.steps import Change
from vmha.policy.telling.explain_rules import broken, tell_rules
from vmha.sim.judge.of_relations import check_relations

LEAVES: dict[str, Any] = {"spec": {"maintenance": True}}


def apart(*nodes: str, hard: bool = True, vms: tuple[str, ...] = ("web", "web2")) -> Book:
    return cluster(*(nodes or ("n1", "n2"))).rule("web-apart", apart=vms, hard=hard)


def on_disk(book: Book, hard: bool = True, **labels: str) -> Book:
    """``labels``: what disk each node has."""
    for node, disk in labels.items():
        book.node(node, spec={"labels": {"disk": disk, "rack": "a"}})
    return book.rule("ssd-only", vms=("web",), on={"disk": "ssd"}, hard=hard)


def told(book: Book) -> list[str]:
    return [one.text for one in broken(book.snapshot())]


# --- hard: vms apart


def test_vm_is_not_placed_where_another_one_is_that_a_rule_keeps_apart_from_it() -> None:
    assert assigned_to(apart().running("web2", "n1").running("x", "n2").running("y", "n2").vm("web")) == "n2"


def test_node_that_refuses_names_the_rule_and_both_vms() -> None:
    book = apart("n1").running("web2", "n1").vm("web")
    assert assigned_to(book) is None
    assert "n1 runs web2, which rule web-apart keeps apart from web" in waiting_text(book)


def test_vms_of_one_plan_count_and_whoever_finds_no_node_waits() -> None:
    book = apart("n1", "n2", vms=("a", "b", "c")).vm("a").vm("b").vm("c")
    assert [assigned_to(book, vm) for vm in "abc"] == ["n1", "n2", None]
    book.lead(rounds=3)
    assert check_relations(book.record) == []
    assert book.plan().steps == ()


@pytest.mark.parametrize(("source", "target"), [("n1", "n2"), ("n2", "n1")])
def test_vm_on_its_way_counts_at_both_ends(source: str, target: str) -> None:
    book = apart("n1", "n2").vm("web2").placed("web2", source, phase=Phase.MIGRATING, target=NodeName(target)).vm("web")
    assert assigned_to(book) is None


@pytest.mark.parametrize("state", [SeenState.RUNNING, SeenState.PAUSED])
def test_vm_that_a_hand_has_brought_somewhere_counts_there_before_it_is_adopted(state: SeenState) -> None:
    book = apart("n1", "n2").vm("web2").seen("n1", "web2", state).vm("web")
    assert assigned_to(book) == "n2"


def test_vm_of_a_lost_node_is_recovered_apart_from_the_other() -> None:
    book = apart("n1", "n2", "n3").running("web", "n3").running("web2", "n1").running("x", "n2").running("y", "n2")
    book.delete("/vmha/t/nodes/n3/session")
    silence = {"n3": LOST_S}
    book.lead(silence_s=silence)
    assert book.claim("web").node == "n2"
    assert check_relations(book.record) == []


def test_drain_leaves_a_vm_where_it_is_rather_than_break_a_rule_and_says_so() -> None:
    book = apart("n1").running("web2", "n1").node("n2", **LEAVES).running("web", "n2")
    assert migrated_to(book) is None
    assert "which rule web-apart keeps apart from web" in waiting_text(book)
    assert migrated_to(book.node("n3")) == "n3"


def test_failback_does_not_bring_a_vm_home_to_the_one_it_is_to_be_apart_from() -> None:
    book = apart("n2").domain("home", "n1", "n2", ordered=True).running("web", "n2", failover_domain="home")
    book.node("n1").running("web2", "n1")
    assert migrated_to(book) is None
    book.delete("/vmha/t/rules/web-apart")
    assert migrated_to(book) == "n1"


def test_operator_can_not_go_against_a_hard_rule_and_is_told_which() -> None:
    book = apart("n1", "n2").running("web", "n1").running("web2", "n2")
    book.request(Verb.MIGRATE, vm="web", node="n2").lead()
    assert "n2 runs web2, which rule web-apart keeps apart from web" in book.answered().text
    book.request(Verb.RELOCATE, name="r2", vm="web", node="n2").lead()
    assert "it was not stopped" in book.answered("r2").text


def test_more_important_exclusive_vm_takes_the_place_of_one_it_is_to_be_apart_from() -> None:
    book = apart("n1", vms=("slave", "master")).running("slave", "n1", exclusive=2).vm("master", exclusive=1)
    assert [step.change for step in steps_about(book, "slave")] == [Change.STOP]


# --- hard: labels of nodes


def test_vm_goes_only_to_nodes_with_the_labels_and_the_others_say_what_they_lack() -> None:
    book = on_disk(cluster("n1", "n2"), n1="hdd", n2="ssd").running("x", "n2").vm("web")
    assert assigned_to(book) == "n2"
    book = on_disk(cluster("n1"), n1="hdd").vm("web")
    assert "n1 is not labelled disk=ssd, which rule ssd-only asks for web" in waiting_text(book)


def test_node_without_any_label_has_none_of_them() -> None:
    assert assigned_to(cluster("n1").rule("r", vms=("web",), on={"disk": "ssd"}, hard=True).vm("web")) is None
    assert assigned_to(cluster("n1").rule("r", vms=("web",), off={"disk": "ssd"}, hard=True).vm("web")) == "n1"


def test_all_of_on_must_match_and_none_of_off() -> None:
    book = on_disk(cluster("n1", "n2"), n1="ssd", n2="ssd").vm("web")
    book.rule("ssd-only", vms=("web",), on={"disk": "ssd", "rack": "b"}, hard=True)
    assert assigned_to(book) is None
    assert "is not labelled rack=b" in waiting_text(book)
    book.rule("ssd-only", vms=("web",), off={"disk": "hdd", "rack": "a"}, hard=True)
    assert "is labelled rack=a, which rule ssd-only asks for web" in waiting_text(book)


# --- soft


def test_soft_rule_comes_before_the_number_of_vms() -> None:
    book = apart(hard=False).running("web2", "n1").running("x", "n2").running("y", "n2").vm("web")
    assert assigned_to(book) == "n2"
    (step,) = steps_about(book, "web")
    assert "n2 is preferred by rule web-apart" in step.reason.text


def test_soft_rule_is_no_reason_not_to_run() -> None:
    assert assigned_to(apart("n1", hard=False).running("web2", "n1").vm("web")) == "n1"
    assert assigned_to(on_disk(cluster("n1"), hard=False, n1="hdd").vm("web")) == "n1"


def test_soft_rule_comes_behind_the_failover_domain() -> None:
    book = apart(hard=False).domain("home", "n1", "n2", ordered=True).running("web2", "n1")
    assert assigned_to(book.vm("web", failover_domain="home")) == "n1"


def test_many_vms_that_like_to_be_apart_spread_evenly() -> None:
    names = tuple("abcdef")
    book = cluster("n1", "n2", "n3").rule("spread", apart=names)
    for name in ("x", "y", "z"):
        book.running(name, "n1")
    for name in names:
        book.vm(name)
    places = [assigned_to(book, name) for name in names]
    assert sorted(places, key=str) == ["n1", "n1", "n2", "n2", "n3", "n3"]


def test_vms_that_like_to_be_together_start_together_and_leave_a_drained_node_for_one_node() -> None:
    near = cluster("n1", "n2").rule("near-cache", together=("app", "cache"))
    book = near.running("cache", "n2").running("x", "n2").vm("app")
    assert assigned_to(book, "app") == "n2"
    book = cluster("n1", "n2").rule("near-cache", together=("app", "cache")).node("n3", **LEAVES)
    book.running("app", "n3").running("cache", "n2").running("x", "n2")
    assert migrated_to(book, "app") == "n2"


def test_soft_label_prefers_the_node_that_has_it() -> None:
    book = on_disk(cluster("n1", "n2"), hard=False, n1="hdd", n2="ssd").running("x", "n2").vm("web")
    assert assigned_to(book) == "n2"


def test_rule_never_moves_a_vm_that_runs() -> None:
    for hard in (False, True):
        book = apart("n1", "n2", hard=hard).running("web", "n1").running("web2", "n1")
        assert book.plan().steps == ()
    assert cluster("n1", "n2").rule("r", together=("a", "b")).running("a", "n1").running("b", "n2").plan().steps == ()


# --- services


def test_service_goes_where_hard_rules_allow_all_its_vms() -> None:
    book = cluster("n1", "n2").service("shop", "db", "app").rule("r", apart=("app", "other"), hard=True)
    book.running("other", "n1").running("x", "n2").running("y", "n2").vm("db").vm("app")
    assert assigned_to(book, "db") == "n2"


def test_service_that_no_node_can_take_says_which_of_its_vms_a_rule_keeps_away() -> None:
    book = cluster("n1").service("shop", "db", "app").rule("r", apart=("app", "other"), hard=True)
    book.running("other", "n1").vm("db").vm("app")
    words = "n1 runs other, which rule r keeps apart from app, and that is to follow db"
    assert words in waiting_text(book, "db")


# --- what is told


def test_rule_that_a_hand_has_broken_is_told_and_left_alone() -> None:
    book = apart("n1", "n2").running("web", "n1").running("web2", "n1")
    assert book.plan().steps == ()
    words = "rule web-apart keeps web and web2 apart, and they are on n1 together; part them with: vmha vm migrate web2"
    assert told(book) == [words]
    book = on_disk(cluster("n1", "n2"), n1="hdd", n2="ssd").running("web", "n1")
    assert book.plan().steps == ()
    (line,) = told(book)
    assert "keeps web on nodes labelled disk=ssd, and it is on n1, which is not labelled disk=ssd" in line


def test_rule_that_can_not_be_met_now_is_told() -> None:
    assert told(apart("n1").vm("web").vm("web2")) == [
        "rule web-apart keeps 2 vms apart, and there is 1 node: not all of them can run at once"
    ]
    (line,) = told(on_disk(cluster("n1"), n1="hdd").vm("web"))
    assert "keeps web on nodes labelled disk=ssd, and there is no such node" in line


def test_nothing_is_told_of_rules_that_hold_and_of_soft_ones() -> None:
    assert told(apart().running("web", "n1").running("web2", "n2")) == []
    assert told(apart(hard=False).running("web", "n1").running("web2", "n1")) == []


def test_what_rules_mean_for_a_vm_in_sentences() -> None:
    book = on_disk(apart("n1", "n2"), n1="ssd", n2="hdd").running("web2", "n2").vm("web")
    book.rule("near", together=("web", "gone"))
    assert list(tell_rules(VmName("web"), book.snapshot())) == [
        "Rule near would like it together with gone (not defined).",
        "Rule ssd-only keeps it on nodes labelled disk=ssd.",
        "Rule web-apart keeps it apart from web2 (on n2).",
    ]
    assert list(tell_rules(VmName("other"), book.snapshot())) == []


def test_vm_that_is_not_defined_any_more_is_passed_over() -> None:
    book = apart("n1").placed("web2", "n1").seen("n1", "web2").vm("web")
    assert assigned_to(book) == "n1"


def test_stopped_vm_takes_no_node() -> None:
    book = apart("n1").vm("web2", desired=Desired.STOPPED).ended("web2", "n1", RunEnd.ASKED).vm("web")
    assert assigned_to(book) == "n1"


def test_cluster_without_rules_reads_none() -> None:
    book = cluster("n1", "n2").vm("web").running("x", "n1")
    snapshot = book.snapshot()
    ground = survey(snapshot, judge_all(snapshot, book.moment()), 0.0)
    assert choose(book.spec("web"), ground).node == "n2"
    take(NodeName("n2"), book.spec("web"), ground, starting=True)
    assert ground.ties.affinity is None
