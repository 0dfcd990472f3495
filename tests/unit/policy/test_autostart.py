"""After an outage of the whole cluster: what waits for the nodes, what does not, and what stays down."""

from dataclasses import replace

import pytest

from tests.support.clusters import LOST_S, SETTINGS, Book, cluster
from tests.unit.policy.test_plan import assigned_to, steps_about, waiting_text
from vmha.model.ids import NodeName, Revision, SessionId
from vmha.model.keys import Keys
from vmha.model.records import RunEnd
from vmha.model.settings import Startup
from vmha.model.vm import Desired
from vmha.policy.deciding.autostart import LOOK_AGAIN_S, settling
from vmha.policy.plan import judge_all
from vmha.policy.state.steps import Change

KEYS = Keys("t")


def just_up(*nodes: str, missing: tuple[str, ...] = ("n3",)) -> Book:
    """A cluster whose sessions have all just begun; ``missing`` are known, and not here."""
    book = cluster(*nodes, age_s=0.0)
    for node in missing:
        book.offline(node)
    return book


def how_long(book: Book) -> float:
    snapshot, moment = book.snapshot(), book.moment()
    found = settling(snapshot, judge_all(snapshot, moment), moment.wall)
    return found.left_s if found else 0.0


def test_first_starts_wait_for_a_node_that_may_still_come_and_say_so() -> None:
    book = just_up("n1").vm("web")
    assert book.plan().steps == ()
    assert "n3 may still join" in waiting_text(book)
    assert book.plan().wake_in_s == pytest.approx(LOOK_AGAIN_S), "nobody tells of the beat that ends it"
    book.clock.at = 11.0
    assert assigned_to(book) == "n1"


def test_nothing_waits_when_all_known_nodes_are_here() -> None:
    book = just_up("n1", "n2", missing=()).vm("web")
    assert assigned_to(book) == "n1"


def test_each_node_that_comes_begins_the_wait_anew_but_not_for_ever() -> None:
    book = just_up("n1", missing=("n2", "n3")).vm("web")
    book.clock.at = 8.0
    book.node("n2", age_s=-8.0)
    assert how_long(book) == pytest.approx(10.0)
    book.configure(SETTINGS.model_copy(update={"startup": Startup(settle_at_most_s=12.0)}))
    assert how_long(book) == pytest.approx(4.0)


def test_no_wait_where_it_is_switched_off_or_the_node_is_in_maintenance() -> None:
    off = just_up("n1").configure(SETTINGS.model_copy(update={"startup": Startup(settle_s=0.0)})).vm("web")
    assert assigned_to(off) == "n1"
    away = just_up("n1", missing=()).node("n3", lease=False, status=False, spec={"maintenance": True})
    away.delete(KEYS.beat(NodeName("n3")))
    assert assigned_to(away.vm("web")) == "n1"


def test_cluster_that_has_been_up_waits_for_nobody_who_comes_or_is_away() -> None:
    book = cluster("n1").node("n2", age_s=0.0).offline("n3").vm("web")
    assert assigned_to(book) == "n1"


def test_node_that_an_outage_left_in_the_store_is_not_taken_for_one_that_is_here() -> None:
    """Its beat is of before the leader's session; nobody has counted its silence for long enough to suspect it."""
    book = Book().configure().node("n2", age_s=0.0).node("n1", age_s=0.0).elect("n1").vm("web")
    assert assigned_to(book) is None
    assert "n2 may still join" in waiting_text(book)


def test_recovery_with_proof_and_the_restart_of_a_crashed_vm_wait_for_nobody() -> None:
    book = just_up("n1").running("web", "n3").fenced("s-n3", "n3")
    assert assigned_to(book) == "n1"
    assert assigned_to(just_up("n1").vm("web").ended("web", "n1", RunEnd.CRASHED)) == "n1"


# --- autostart: false


def after_an_outage(**fields: object) -> Book:
    """web ran on n2; both nodes went down; n1 is back, in a new session, and n2's is proven over."""
    book = Book().configure().offline("n1").node("n2").running("web", "n2", **fields)
    last_beat = book.snapshot().nodes[NodeName("n2")].beat
    assert last_beat
    book.delete(KEYS.beat(NodeName("n2")))
    book.fenced("s-n2", "n2")
    (proof,) = book.snapshot().fenced.values()
    book.put(KEYS.fencing(SessionId("s-n2")), replace(proof, last_beat=last_beat.modified))
    return book.node("n1").elect("n1")


def test_vm_without_autostart_stays_down_after_the_whole_cluster_was_down_and_says_how_to_start_it() -> None:
    book = after_an_outage(autostart=False)
    assert [step.change for step in steps_about(book, "web")] == [Change.RELEASE]
    book.lead()
    assert book.spec("web").desired is Desired.STOPPED
    assert "vmha vm start web" in book.spec("web").desired_why
    assert book.plan().steps == ()


def test_vm_with_autostart_comes_back() -> None:
    assert assigned_to(after_an_outage()) == "n1"


def test_vm_without_autostart_that_nobody_held_stays_down_too() -> None:
    book = Book().configure().vm("web", autostart=False).ended("web", "n1", RunEnd.NODE_LOST)
    book.node("n1").elect("n1").lead()
    assert book.spec("web").desired is Desired.STOPPED


def test_loss_of_one_node_is_no_outage_of_the_cluster() -> None:
    book = cluster("n1").node("n2").running("web", "n2", autostart=False)
    beat = book.snapshot().nodes[NodeName("n2")].beat
    assert beat
    book.plan(silence_s={"n2": LOST_S})
    book.delete(KEYS.beat(NodeName("n2")))
    book.fenced("s-n2", "n2")
    (proof,) = book.snapshot().fenced.values()
    book.put(KEYS.fencing(SessionId("s-n2")), replace(proof, last_beat=beat.modified))
    assert assigned_to(book) == "n1"


def test_holder_of_whom_it_is_not_known_when_it_was_last_here_is_recovered() -> None:
    book = after_an_outage(autostart=False)
    (proof,) = book.snapshot().fenced.values()
    book.put(KEYS.fencing(SessionId("s-n2")), replace(proof, last_beat=Revision(0)))
    assert assigned_to(book) == "n1"


def test_vm_without_autostart_that_is_asked_for_is_started() -> None:
    book = cluster("n1").vm("web", autostart=False)
    assert assigned_to(book) == "n1"


def test_it_is_not_decided_while_a_node_may_have_been_here_all_the_time() -> None:
    book = Book().configure().node("n3").vm("web", autostart=False).ended("web", "n2", RunEnd.NODE_LOST)
    book.node("n1").elect("n1")
    assert book.plan().steps == ()
    assert "not known before n3 has committed a beat" in waiting_text(book)
    beat = book.snapshot().nodes[NodeName("n3")].beat
    assert beat
    book.put(KEYS.beat(NodeName("n3")), replace(beat.value, count=2))
    assert assigned_to(book) is not None
