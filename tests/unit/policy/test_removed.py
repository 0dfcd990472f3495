"""What is remembered of where a removed vm may run, and what lets it be forgotten: tables over small clusters."""

from typing import Any

import pytest

from tests.support.clusters import KEYS, WALL, Book, cluster
from vmha.model.domain_xml import default_uuid
from vmha.model.ids import NodeName, Revision, SessionId, VmName
from vmha.model.records import Phase, Progress, RemovedVm, SeenState, Verb, Whereabouts
from vmha.model.settings import Proof
from vmha.model.vm import Desired
from vmha.policy.members.removed import find_unresolved
from vmha.policy.state.steps import Change, PlacementStep

UUID = default_uuid("t", "web")


def remove(book: Book, vm: str = "web", *, says_so: bool = True) -> Book:
    """As the operator's command, in its two halves; ``says_so``: not by a vmha of before."""
    if says_so:
        book.put(KEYS.removed("web.1"), RemovedVm(id="web.1", vm=VmName(vm), uuid=UUID, at=WALL))
    book.delete(KEYS.vm_spec(VmName(vm)))
    return book


def gone(book: Book, node: str, *, proof: Proof | None = None) -> Book:
    """Its session is over: by a proof, or it left in good order."""
    book.delete(KEYS.session(NodeName(node)))
    book.delete(KEYS.beat(NodeName(node)))
    return book.fenced(f"s-{node}", node, proof) if proof else book


def places(book: Book) -> list[str]:
    return [place.node for one in book.snapshot().removed.values() for place in one.value.places]


def is_forgotten(book: Book) -> bool:
    return not book.snapshot().removed


def started(book: Book, vm: str = "web") -> NodeName | None:
    """Where it is to be started, once everything that a plan asks for is written."""
    for _ in range(6):
        decided_on = book.snapshot()
        made = book.plan()
        for step in made.steps:
            if isinstance(step, PlacementStep) and step.vm == vm and step.change is Change.ASSIGN:
                assert step.placement
                return step.placement.node
        book.carry_out(made, decided_on)
    return None


def ran_when_removed(**node: Any) -> Book:
    """It ran on n2 when it was removed, and still does, unmanaged; the leader has drawn its conclusions."""
    book = cluster("n1", "n3").node("n2", **node).elect("n1").running("web", "n2")
    remove(book).lead()
    assert book.placement("web") is None
    assert places(book) == ["n2"]
    return book


@pytest.mark.parametrize("says_so", [True, False])
def test_where_it_runs_is_on_record_before_the_claim_is_forgotten(says_so: bool) -> None:
    book = remove(cluster("n1", "n2").elect("n1").running("web", "n2"), says_so=says_so)
    first = book.plan()
    assert not [step for step in first.steps if isinstance(step, PlacementStep)]
    book.carry_out(first, book.snapshot())
    assert book.placement("web")
    assert places(book) == ["n2"]
    book.lead()
    assert book.placement("web") is None
    assert places(book) == ["n2"]


def test_vm_that_ran_nowhere_leaves_nothing_to_remember() -> None:
    book = remove(cluster("n1").elect("n1").vm("web", desired=Desired.STOPPED))
    book.lead()
    assert is_forgotten(book)


def test_it_is_forgotten_once_its_node_does_not_show_it_any_more() -> None:
    book = ran_when_removed()
    book.delete(KEYS.observation(NodeName("n2"), VmName("web")))
    book.lead()
    assert is_forgotten(book)


def test_node_that_has_not_looked_since_says_nothing_by_not_showing_it() -> None:
    book = ran_when_removed(looked_for=Revision(1))
    book.delete(KEYS.observation(NodeName("n2"), VmName("web")))
    book.lead()
    assert places(book) == ["n2"]


@pytest.mark.parametrize("proof", [None, Proof.GUARD_ELAPSED, Proof.WATCHDOG_ELAPSED, Proof.RELEASED])
@pytest.mark.parametrize("name", ["web", "other"])
def test_node_lost_after_the_removal_keeps_it_from_being_started_by_name_and_by_uuid(
    name: str, proof: Proof | None
) -> None:
    """Nobody guards what is nobody's: a guard's time that has run out does not tell."""
    book = gone(ran_when_removed(), "n2", proof=proof)
    book.vm(name)
    if name != "web":
        book.put(KEYS.vm_spec(VmName(name)), book.spec(name).model_copy(update={"uuid": UUID.upper()}))
    assert started(book, name) is None
    assert "n2 ran it when it was removed" in book.claim(name).reason.text
    assert f"vmha vm confirm-gone {name}" in book.claim(name).reason.text


def test_it_is_waited_for_although_its_node_was_lost_before_the_leader_forgot_the_claim() -> None:
    book = remove(cluster("n1").node("n2").elect("n1").running("web", "n2"))
    gone(book, "n2", proof=Proof.GUARD_ELAPSED).lead()
    assert places(book) == ["n2"]
    assert started(book.vm("web")) is None


def test_guest_that_was_lost_under_guard_before_the_removal_is_not_waited_for() -> None:
    book = cluster("n1").node("n2").elect("n1").running("web", "n2")
    remove(gone(book, "n2", proof=Proof.GUARD_ELAPSED)).lead()
    assert is_forgotten(book)


@pytest.mark.parametrize("proof", [Proof.POWER_OFF_CONFIRMED, Proof.STORAGE_FENCED, Proof.OPERATOR_CONFIRMED])
def test_proof_about_the_host_settles_it(proof: Proof) -> None:
    book = gone(ran_when_removed(), "n2", proof=proof)
    assert started(book.vm("web")) in ("n1", "n3")
    assert is_forgotten(book)


def test_node_that_comes_back_and_does_not_show_it_settles_it() -> None:
    book = gone(ran_when_removed(), "n2", proof=Proof.GUARD_ELAPSED).vm("web")
    assert started(book) is None
    book.node("n2", session="s-n2-again")
    assert started(book) is not None
    assert is_forgotten(book)


def test_node_that_comes_back_and_shows_it_has_it_adopted() -> None:
    book = gone(ran_when_removed(), "n2", proof=Proof.GUARD_ELAPSED).vm("web")
    book.node("n2", session="s-n2-again").seen("n2", "web", session="s-n2-again")
    book.lead()
    assert (book.claim("web").phase, book.claim("web").node) == (Phase.HELD, "n2")
    assert is_forgotten(book)


def test_it_is_followed_where_a_hand_moves_it_and_into_the_nodes_next_sessions() -> None:
    book = ran_when_removed()
    book.seen("n3", "web", SeenState.RUNNING).delete(KEYS.observation(NodeName("n2"), VmName("web")))
    book.lead()
    assert places(book) == ["n3"]
    book.node("n3", session="s-n3-again").seen("n3", "web", session="s-n3-again").lead()
    (record,) = book.snapshot().removed.values()
    assert record.value.places == (Whereabouts(node=NodeName("n3"), session=SessionId("s-n3-again")),)


def test_vm_added_again_before_the_claim_was_forgotten_is_what_it_was() -> None:
    book = remove(cluster("n1").node("n2").elect("n1").running("web", "n2")).vm("web")
    book.lead()
    assert (book.claim("web").phase, book.claim("web").epoch) == (Phase.HELD, 1)
    assert is_forgotten(book)


def test_vm_that_had_departed_is_still_not_started_when_it_is_added_again_until_confirmed_gone() -> None:
    book = cluster("n1").elect("n1").vm("web").placed("web", "n1", phase=Phase.DEPARTED, ended_why="migrated away")
    remove(book).lead()
    assert started(book.vm("web")) is None
    assert "migrated away" in book.claim("web").reason.text
    book.request(Verb.CONFIRM_GONE, vm="web")
    assert started(book) == "n1"
    assert book.answered().progress is Progress.DONE


def test_operator_may_say_that_it_runs_nowhere_unless_a_node_shows_it() -> None:
    book = gone(ran_when_removed(), "n2", proof=Proof.GUARD_ELAPSED).vm("web")
    assert started(book) is None
    book.request(Verb.CONFIRM_GONE, vm="web")
    assert started(book) is not None
    assert book.answered().progress is Progress.DONE
    book.request(Verb.CONFIRM_GONE, name="r2", vm="web").carry_out(book.plan(), book.snapshot())
    assert book.answered("r2").progress is Progress.REJECTED


def test_confirming_the_node_off_is_proof_for_it_where_none_is_on_record_yet() -> None:
    book = gone(ran_when_removed(), "n2").vm("web")
    assert started(book) is None
    book.request(Verb.CONFIRM_OFF, node="n2")
    assert started(book) is not None


def test_node_that_an_operator_has_removed_as_gone_for_good_is_not_waited_for() -> None:
    book = gone(ran_when_removed(), "n2")
    for key in (KEYS.node_spec(NodeName("n2")), KEYS.node_status(NodeName("n2"))):
        book.delete(key)
    book.delete(KEYS.observation(NodeName("n2"), VmName("web")))
    assert started(book.vm("web")) is not None


def test_proof_that_is_waited_for_is_not_forgotten_however_old() -> None:
    book = gone(ran_when_removed(looked_for=Revision(1)), "n2", proof=Proof.GUARD_ELAPSED)
    book.clock.at += 30 * 86400.0
    book.lead()
    assert "s-n2" in book.snapshot().fenced


def test_another_vm_is_not_kept_waiting() -> None:
    book = gone(ran_when_removed(), "n2").vm("db")
    assert find_unresolved(book.spec("db"), book.snapshot()) == ""
    assert started(book, "db") is not None


# --- a vm that nobody ever held, and nodes that can not be asked


def first_start(**n2: Any) -> Book:
    """n2 has left; web is new to the cluster."""
    return gone(cluster("n1").node("n2", **n2).elect("n1"), "n2").vm("web")


@pytest.mark.parametrize("proof", [None, Proof.GUARD_ELAPSED, Proof.WATCHDOG_ELAPSED])
def test_new_vm_waits_for_a_node_that_is_offline_and_may_run_it_by_hand(proof: Proof | None) -> None:
    book = first_start(looked_for=Revision(1))
    if proof:
        book.fenced("s-n2", "n2", proof)
    assert started(book) is None
    assert "n2 is offline and has not looked for it" in book.claim("web").reason.text
    assert "vmha vm confirm-gone web" in book.claim("web").reason.text


def test_new_vm_does_not_wait_for_a_node_that_was_named_and_never_joined() -> None:
    assert started(cluster("n1").elect("n1").offline("n2").vm("web")) == "n1"


def test_new_vm_waits_for_a_node_that_was_running_it_when_it_was_last_heard_of() -> None:
    book = gone(cluster("n1").node("n2").elect("n1").vm("web").seen("n2", "web"), "n2", proof=Proof.GUARD_ELAPSED)
    assert started(book) is None
    assert "n2 is offline and was running it" in book.claim("web").reason.text


def test_new_vm_does_not_wait_for_a_node_that_looked_for_it_and_left() -> None:
    assert started(gone(cluster("n1").node("n2").elect("n1").vm("web"), "n2")) == "n1"


@pytest.mark.parametrize("proof", [Proof.POWER_OFF_CONFIRMED, Proof.STORAGE_FENCED, Proof.OPERATOR_CONFIRMED])
def test_new_vm_does_not_wait_for_a_host_that_is_proven_off(proof: Proof) -> None:
    assert started(first_start(looked_for=Revision(1)).fenced("s-n2", "n2", proof)) == "n1"


def test_proof_of_a_node_that_is_offline_is_kept_for_the_next_new_vm() -> None:
    book = first_start(looked_for=Revision(1)).fenced("s-n2", "n2", Proof.POWER_OFF_CONFIRMED)
    book.fenced("s-n1-former", "n1", Proof.POWER_OFF_CONFIRMED)
    book.clock.at += 30 * 86400.0
    book.lead()
    assert list(book.snapshot().fenced) == ["s-n2"]


def test_operator_may_say_that_a_new_vm_runs_nowhere_and_all_is_on_record_from_then_on() -> None:
    book = first_start(looked_for=Revision(1))
    book.request(Verb.CONFIRM_GONE, vm="web")
    assert started(book) == "n1"
    assert book.answered().progress is Progress.DONE


def test_operators_word_does_not_count_against_a_node_that_shows_it_or_is_only_silent() -> None:
    shown = (
        gone(cluster("n1").node("n2").node("n3").elect("n1"), "n3").vm("web", desired=Desired.STOPPED).seen("n2", "web")
    )
    shown.seen("n1", "web", SeenState.PAUSED)
    for book in (shown, cluster("n1").node("n2", looked_for=Revision(1)).elect("n1").vm("web")):
        book.request(Verb.CONFIRM_GONE, vm="web")
        book.carry_out(book.plan(), book.snapshot())
        assert book.answered().progress is Progress.REJECTED
