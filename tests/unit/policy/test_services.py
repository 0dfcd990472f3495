"""Vms that stay together: where they start, in which order, who moves first, and what becomes of one that fails."""

import pytest

from tests.support.clusters import KEYS, LOST_S, SUSPECT_S, Book, cluster
from tests.unit.policy.test_plan import assigned_to, steps_about, waiting_text
from vmha.model.ids import NodeName, Revision, VmName
from vmha.model.records import Failure, Phase, Progress, RunEnd, SeenState, Verb
from vmha.model.vm import Desired, Recovery
from vmha.policy.state.steps import Change


def service(*nodes: str, members: tuple[str, ...] = ("db", "app"), **fields: object) -> Book:
    return cluster(*(nodes or ("n1", "n2"))).service("shop", *members, **fields)


def moves(book: Book, vm: str) -> list[tuple[Change, str | None]]:
    return [
        (step.change, step.placement.target or step.placement.node if step.placement else None)
        for step in steps_about(book, vm)
    ]


def both_run(node: str = "n1", **fields: object) -> Book:
    return service(**fields).running("db", node).running("app", node)


# --- starts


def test_first_one_says_where_and_the_others_start_there_when_it_is_ready() -> None:
    book = service("n1", "n2").running("other", "n1").vm("db").vm("app")
    assert moves(book, "db") == [(Change.ASSIGN, "n2")]
    assert moves(book, "app") == [(Change.NOTE, None)]
    assert "db, after which it is started, is not ready" in waiting_text(book, "app")
    book.running("db", "n1").running("more", "n1").running("most", "n1")
    assert assigned_to(book, "app") == "n1"  # though n2 has fewer vms


def test_one_that_is_stopped_by_its_operator_holds_up_nobody() -> None:
    assert assigned_to(service().vm("db", desired=Desired.STOPPED).vm("app"), "app") == "n1"


def test_what_a_vm_needs_by_its_own_word_counts_where_the_order_contradicts_it() -> None:
    book = service(members=("app", "db")).vm("db").vm("app", depends_on=("db",))
    assert assigned_to(book, "app") is None
    assert assigned_to(book, "db") == "n1"


def test_node_without_room_for_all_gets_none_of_them() -> None:
    book = cluster("n2").node("n1", memory_mib=6000).service("shop", "db", "app")
    assert moves(book.vm("db", memory_mib=4096).vm("app", memory_mib=4096), "db") == [(Change.ASSIGN, "n2")]


def test_room_for_those_still_to_come_is_kept_from_others() -> None:
    book = cluster("n1", memory_mib=10000).service("shop", "db", "app")
    book.running("db", "n1", memory_mib=4096).vm("app", memory_mib=4096, depends_on=("gone",))
    book.vm("other", memory_mib=4096)
    assert assigned_to(book, "other") is None
    assert "n1 has" in waiting_text(book, "other")


def test_two_services_that_start_at_once_do_not_count_on_the_same_room() -> None:
    """desk's first vm fits beside db and what is kept for app; desk as a whole does not."""
    book = cluster("n1", memory_mib=6000).service("shop", "db", "app").service("desk", "x", "y")
    book.vm("db", memory_mib=1000).vm("app", memory_mib=2000).vm("x", memory_mib=1000).vm("y", memory_mib=3000)
    assert assigned_to(book, "db") == "n1"
    assert assigned_to(book, "x") is None
    assert "the vms of service desk need 4000" in waiting_text(book, "x")


def test_failover_domain_of_the_service_counts_for_all_whatever_their_own_is() -> None:
    book = service(failover_domain="home").domain("home", "n2", restricted=True).domain("away", "n1", restricted=True)
    assert moves(book.vm("db", failover_domain="away").vm("app"), "db") == [(Change.ASSIGN, "n2")]


# --- ends


def test_last_one_ends_first() -> None:
    book = service(members=("db", "app", "web"))
    for vm in ("db", "app", "web"):
        book.running(vm, "n1", desired=Desired.STOPPED)
    assert [vm for vm in ("db", "app", "web") if moves(book, vm)] == ["web"]
    assert "web of its service ends first" in waiting_text(book, "app")


def test_one_that_is_stopped_alone_waits_for_nobody() -> None:
    book = service().running("db", "n1", desired=Desired.STOPPED).running("app", "n1")
    assert moves(book, "db") == [(Change.STOP, "n1")]
    assert moves(book, "app") == []


# --- moves


def test_migration_of_one_that_is_asked_for_is_followed_by_the_others() -> None:
    book = both_run().request(Verb.MIGRATE, vm="app", node="n2")
    assert moves(book, "app") == [(Change.MIGRATE, "n2")]
    assert moves(book, "db") == []
    book.lead()
    assert moves(book, "db") == [], "one after another"
    book.placed("app", "n2", epoch=2, failback_after=book.claim("app").failback_after).seen("n2", "app", epoch=2)
    assert moves(book, "db") == [(Change.MIGRATE, "n2")]
    assert "stay together" in steps_about(book, "db")[0].reason.text


def test_no_member_is_sent_where_there_is_no_room_for_all() -> None:
    book = cluster("n1").node("n2", memory_mib=6000).service("shop", "db", "app")
    book.running("db", "n1", memory_mib=4096).running("app", "n1", memory_mib=4096)
    book.request(Verb.MIGRATE, vm="db", node="n2").lead()
    assert book.answered().progress is Progress.REJECTED
    assert "the vms of service shop need 8192" in book.answered().text


def test_drained_node_is_left_by_the_leading_one_and_then_by_the_others_one_at_a_time() -> None:
    book = service(members=("db", "app", "web"))
    for vm in ("db", "app", "web"):
        book.running(vm, "n1")
    book.node("n1", spec={"maintenance": True})
    assert [vm for vm in ("db", "app", "web") if moves(book, vm)] == ["db"]
    book.placed("db", "n2", epoch=2).seen("n2", "db", epoch=2)
    book.placed("app", "n1").placed("web", "n1")
    assert [vm for vm in ("db", "app", "web") if moves(book, vm)] == ["app"]


def test_start_does_not_count_on_a_move_that_is_not_on_record_yet() -> None:
    book = service().running("db", "n1").vm("app").node("n1", spec={"maintenance": True})
    assert moves(book, "db") == [(Change.MIGRATE, "n2")]
    assert moves(book, "app") == [], "written alone, it would start apart from db"
    assert "db, which its service follows, is only being sent to n2" in waiting_text(book, "app")
    book.lead()
    assert (book.claim("db").target, book.claim("app").node) == ("n2", "n2")


def test_one_that_does_not_run_there_yet_is_not_followed() -> None:
    later = Revision(9)
    book = service().running("app", "n1").vm("db").placed("db", "n2", failback_after=later)
    assert moves(book, "app") == []
    assert "that does not run there yet" in waiting_text(book, "app")
    book.seen("n2", "db")
    assert moves(book, "app") == [(Change.MIGRATE, "n2")]


def test_one_that_a_hand_has_moved_is_followed() -> None:
    book = both_run()
    book.delete(KEYS.observation(NodeName("n1"), VmName("app")))
    book.seen("n2", "app")
    book.placed("app", "n1", phase=Phase.DEPARTED).lead()
    assert (book.claim("app").node, book.claim("db").target) == ("n2", "n2")


def failed_to_follow(times: int, *, drained: bool = False) -> Book:
    """app leads on n2, by request; db has failed so often to come there."""
    book = service().vm("app").placed("app", "n2", failback_after=Revision(9), last_node=NodeName("n1"))
    book.seen("n2", "app").running("db", "n1")
    failed = Failure(node=NodeName("n2"), at=book.clock.wall() + 1.0, error="no", moving=True)
    book.clock.at += 1000.0
    book.placed("db", "n1", failures=(failed,) * times)
    return book.node("n1", spec={"maintenance": True}) if drained else book


def test_one_that_can_not_follow_is_tried_again_and_in_the_end_the_others_come_back_to_it() -> None:
    assert moves(failed_to_follow(2), "db") == [(Change.MIGRATE, "n2")]
    book = failed_to_follow(3)
    assert moves(book, "db") == []
    assert moves(book, "app") == [(Change.MIGRATE, "n1")]
    assert book.claim("app").failback_after < book.snapshot().revision
    book.lead()
    assert book.claim("app").failback_after > Revision(9), "or it would go home to where db can not follow it"


def test_others_do_not_come_back_to_a_node_that_is_to_be_left() -> None:
    book = failed_to_follow(3, drained=True)
    assert moves(book, "app") == []
    assert moves(book, "db") == [(Change.MIGRATE, "n2")]


# --- failures


def test_lost_node_loses_all_and_all_are_recovered_on_one_node() -> None:
    book = cluster("n1", "n2").node("n3").service("shop", "db", "app").running("db", "n3").running("app", "n3")
    book.running("other", "n1")
    book.lead(silence_s={"n3": LOST_S})
    assert book.claim("db").node == "n2"
    book.placed("db", "n2", epoch=2).seen("n2", "db", epoch=2)
    book.lead()
    assert book.claim("app").node == "n2"


@pytest.mark.parametrize(("recovery", "node"), [(Recovery.RESTART, "n1"), (Recovery.RELOCATE, "n2")])
def test_recovery_of_the_service_says_whether_a_crashed_one_takes_the_others_elsewhere(
    recovery: Recovery, node: str
) -> None:
    book = service(recovery=recovery).running("db", "n1").vm("app", recovery=Recovery.RELOCATE)
    book.ended("app", "n1", RunEnd.CRASHED)
    assert assigned_to(book, "app") == node
    book.lead()
    book.placed("app", node, epoch=2, failback_after=book.claim("app").failback_after).seen(node, "app", epoch=2)
    assert moves(book, "db") == ([] if node == "n1" else [(Change.MIGRATE, "n2")])


def test_member_that_is_to_be_disabled_after_a_crash_is_disabled() -> None:
    book = service(recovery=Recovery.RELOCATE).running("db", "n1").vm("app", recovery=Recovery.DISABLE)
    book.ended("app", "n1", RunEnd.CRASHED).lead()
    assert book.spec("app").desired is Desired.DISABLED


def test_start_that_fails_where_the_others_are_is_tried_there_again_and_drags_nobody_along() -> None:
    failure = Failure(node=NodeName("n1"), at=cluster("n1").clock.wall(), error="no disk")
    book = service().running("db", "n1").vm("app").ended("app", "n1", RunEnd.START_FAILED, failures=(failure,))
    assert assigned_to(book, "app") is None
    assert "n2 is not where the other vms of service shop are (n1)" in waiting_text(book, "app")
    book.clock.at += 600.0
    assert assigned_to(book, "app") == "n1"


def test_frozen_one_stays_and_the_others_follow_it_when_it_leads() -> None:
    book = both_run()
    book.freeze("db")
    book.node("n1", spec={"maintenance": True})
    assert moves(book, "db") == []
    assert moves(book, "app") == []
    assert "service shop moves with db" in waiting_text(book, "app")


def test_suspected_node_is_followed_by_nobody() -> None:
    book = both_run().request(Verb.MIGRATE, vm="app", node="n2")
    book.lead()
    book.placed("app", "n2", epoch=2, failback_after=book.claim("app").failback_after)
    book.seen("n2", "app", SeenState.RUNNING, epoch=2)
    book.delete(KEYS.session(NodeName("n2")))
    steps = steps_about(book, "db", silence_s={"n2": SUSPECT_S})
    assert [step.change for step in steps if step.change is not Change.NOTE] == []


def test_room_that_is_too_small_for_a_member_that_is_to_follow_keeps_nobody_down() -> None:
    """It runs where it is, and can not come."""
    book = cluster("n1", "n2", memory_mib=1000)
    book.running("a", "n2", memory_mib=700).running("b", "n1", memory_mib=500).service("s", "a", "b")
    book.running("full", "n1", memory_mib=500).vm("web", memory_mib=200)
    book.lead()
    assert (book.claim("web").phase, book.claim("web").node) == (Phase.ASSIGNED, "n2")


def test_room_that_a_member_fits_in_is_kept_until_it_has_followed() -> None:
    book = cluster("n1", "n2", memory_mib=1000)
    book.running("a", "n2", memory_mib=400).running("b", "n1", memory_mib=500).service("s", "a", "b")
    book.running("full", "n1", memory_mib=500).vm("web", memory_mib=200)
    book.lead()
    assert (book.claim("b").phase, book.claim("b").target) == (Phase.MIGRATING, "n2")
    assert book.claim("web").phase is Phase.STOPPED
