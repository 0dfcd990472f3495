"""Vms that want their node for themselves: where they go, who gives way, and what is told and left alone."""

from tests.support.clusters import WALL, Book, cluster
from tests.unit.policy.test_plan import assigned_to, migrated_to, steps_about, waiting_text
from vmha.model.ids import NodeName
from vmha.model.records import Failure, Phase, RunEnd, Verb
from vmha.policy.placing.exclusive import company
from vmha.policy.state.steps import Change
from vmha.sim.judge.of_relations import check_relations


def changes_of(book: Book, vm: str) -> list[Change]:
    return [step.change for step in steps_about(book, vm)]


def test_exclusive_vm_goes_where_nothing_else_runs() -> None:
    book = cluster("n1", "n2").running("web", "n1").vm("gpu", exclusive=1)
    assert assigned_to(book, "gpu") == "n2"


def test_no_vm_is_placed_beside_an_exclusive_one() -> None:
    book = cluster("n1", "n2").running("gpu", "n1", exclusive=1).running("db", "n2").vm("web")
    assert assigned_to(book) == "n2"


def test_exclusive_vm_that_finds_no_empty_node_waits_and_each_node_says_who_is_there() -> None:
    book = cluster("n1", "n2").running("web", "n1").running("gpu", "n2", exclusive=1).vm("gpu2", exclusive=1)
    assert assigned_to(book, "gpu2") is None
    text = waiting_text(book, "gpu2")
    assert "n1 has 1 other vm on it, and gpu2 is exclusive" in text
    assert "n2 runs gpu, which is exclusive" in text


def test_exclusive_vms_are_placed_before_others_fill_every_node() -> None:
    book = cluster("n1", "n2").vm("aaa", priority=900).vm("bbb", priority=900).vm("gpu", exclusive=1)
    assert {assigned_to(book, "aaa"), assigned_to(book, "bbb")} == {"n2"}
    assert assigned_to(book, "gpu") == "n1"
    book.lead(rounds=3)
    assert check_relations(book.record) == []


def test_vm_found_running_where_nobody_held_it_keeps_an_exclusive_one_away() -> None:
    book = cluster("n1", "n2").vm("web").seen("n1", "web").vm("gpu", exclusive=1)
    assert assigned_to(book, "gpu") == "n2"


def test_failback_does_not_bring_a_vm_home_to_a_node_that_an_exclusive_one_has() -> None:
    book = cluster("n2").domain("home", "n1", "n2", ordered=True).running("web", "n2", failover_domain="home")
    book.node("n1").running("gpu", "n1", exclusive=1)
    assert migrated_to(book) is None


def test_drain_passes_by_the_node_of_an_exclusive_vm_and_an_exclusive_one_needs_an_empty_node() -> None:
    leaves = {"spec": {"maintenance": True}}
    book = cluster("n2", "n3").node("n1", **leaves).running("gpu", "n2", exclusive=1).running("web", "n1")
    assert migrated_to(book) == "n3"
    book = cluster("n2").node("n1", **leaves).running("gpu", "n1", exclusive=1).running("web", "n2")
    assert migrated_to(book, "gpu") is None
    assert "n2 has 1 other vm on it, and gpu is exclusive" in waiting_text(book, "gpu")


def test_operator_can_not_migrate_a_vm_onto_the_node_of_an_exclusive_one() -> None:
    book = cluster("n1", "n2").running("web", "n1").running("gpu", "n2", exclusive=1)
    book.request(Verb.MIGRATE, vm="web", node="n2").lead()
    assert "n2 runs gpu, which is exclusive" in book.answered().text
    book.request(Verb.RELOCATE, name="r2", vm="gpu", node="n1").lead()
    assert "it was not stopped" in book.answered("r2").text


def test_company_that_a_hand_has_brought_is_told_and_left_alone() -> None:
    book = cluster("n1", "n2").running("gpu", "n1", exclusive=1).running("web", "n1")
    assert book.plan().steps == ()
    assert list(company(book.snapshot())) == ["vm gpu is exclusive, and shares n1 with web"]


def test_less_important_exclusive_vm_is_stopped_where_no_node_is_left_and_waits() -> None:
    book = cluster("n1").running("slave", "n1", exclusive=2).vm("master", exclusive=1)
    assert changes_of(book, "slave") == [Change.STOP]
    book.lead()
    assert book.claim("slave").phase is Phase.STOPPING
    stopping = book.claim("slave")
    book.placed("slave", None, phase=Phase.STOPPED, epoch=stopping.epoch, last_node=NodeName("n1"), ended=RunEnd.ASKED)
    book.delete("/vmha/t/nodes/n1/vms/slave")
    book.lead()
    assert (book.claim("master").node, book.claim("slave").phase) == ("n1", Phase.STOPPED)
    assert "n1 runs master, which is exclusive" in waiting_text(book, "slave")


def test_it_gives_way_by_migration_where_another_node_can_take_it() -> None:
    book = cluster("n1", "n2").domain("only-n1", "n1", restricted=True).running("slave", "n1", exclusive=2)
    book.vm("master", exclusive=1, failover_domain="only-n1")
    assert migrated_to(book, "slave") == "n2"
    assert changes_of(book, "slave") == [Change.MIGRATE]


def test_nobody_gives_way_to_an_equal_or_to_a_vm_that_is_not_exclusive_or_for_one_that_is_not() -> None:
    assert changes_of(cluster("n1").running("slave", "n1", exclusive=1).vm("master", exclusive=1), "slave") == []
    assert changes_of(cluster("n1").running("slave", "n1").vm("master", exclusive=1), "slave") == []
    assert changes_of(cluster("n1").running("slave", "n1", exclusive=2).vm("web"), "slave") == []


def test_wait_is_told_anew_when_others_have_taken_the_node_that_only_failed_to_start_the_vm_before() -> None:
    failure = Failure(node=NodeName("n1"), at=WALL, error="no such disk")
    book = cluster("n1").vm("gpu", exclusive=1).ended("gpu", "n1", RunEnd.START_FAILED, failures=(failure,))
    book.lead(rounds=2)
    waiting = book.placement("gpu")
    assert waiting
    assert "failed to start it" in waiting.reason.text
    assert changes_of(book, "gpu") == []
    book.running("web", "n1").lead(rounds=2)
    waiting = book.placement("gpu")
    assert waiting
    assert "n1 has 1 other vm on it, and gpu is exclusive" in waiting.reason.text


def test_nobody_gives_way_to_a_vm_that_failed_to_start_there() -> None:
    book = cluster("n1").running("slave", "n1", exclusive=2).vm("master", exclusive=1)
    failure = Failure(node=NodeName("n1"), at=0.0, error="no such disk")
    book.ended("master", "n1", RunEnd.START_FAILED, failures=(failure,))
    assert changes_of(book, "slave") == []
