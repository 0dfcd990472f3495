"""Vms that need others: who is started when, who ends with whom, and what is said while it waits."""

import pytest

from tests.support.clusters import LOST_S, WALL, Book, cluster
from tests.unit.policy.test_plan import assigned_to, steps_about, waiting_text
from vmha.model.ids import NodeName, VmName
from vmha.model.records import Phase, RunEnd, SeenState, Verb
from vmha.model.relations import Dependency, Need, find_cycle
from vmha.model.vm import Desired
from vmha.policy.deciding.dependencies import waits_for
from vmha.policy.placing.field import Field
from vmha.policy.placing.placement import survey
from vmha.policy.plan import judge_all
from vmha.policy.state.snapshot import VmView
from vmha.policy.state.steps import Change, PlacementStep

HARD = (Dependency(vm="db"),)
SOFT = (Dependency(vm="db", mode=Need.SOFT),)


def looked_at(book: Book, vm: str) -> tuple[VmView, Field]:
    snapshot, moment = book.snapshot(), book.moment()
    return snapshot.vms[VmName(vm)], survey(snapshot, judge_all(snapshot, moment), moment.wall)


def changes_of(book: Book, vm: str) -> list[Change]:
    return [step.change for step in steps_about(book, vm)]


@pytest.mark.parametrize("needs", [HARD, SOFT])
def test_vm_is_started_only_when_what_it_needs_is_ready(needs: tuple[Dependency, ...]) -> None:
    book = cluster("n1", "n2").vm("app", depends_on=needs, priority=900).vm("db")
    assert (assigned_to(book, "db"), assigned_to(book, "app")) == ("n1", None)
    assert "db" in waiting_text(book, "app")
    assert "is not ready" in waiting_text(book, "app")
    book.placed("db", "n1").seen("n1", "db", SeenState.STARTING)
    assert assigned_to(book, "app") is None
    book.seen("n1", "db")
    assert assigned_to(book, "app") == "n2"


def test_start_is_written_only_while_what_it_needs_is_still_held() -> None:
    book = cluster("n1", "n2").running("db", "n1").vm("app", depends_on=HARD)
    decided_on = book.snapshot()
    (step,) = book.plan().steps
    book.ended("db", "n1", RunEnd.CRASHED)
    assert not book.apply(step, decided_on)


def test_start_waits_for_as_long_as_it_was_asked_to_after_the_other_is_ready() -> None:
    book = cluster("n1").running("db", "n1").vm("app", depends_on=(Dependency(vm="db", start_delay_s=30.0),))
    book.seen("n1", "db", since=WALL)
    book.clock.at = 10.0
    assert assigned_to(book, "app") is None
    (retry_in_s,) = [waits_for(vm, ground)[1] for vm, ground in [looked_at(book, "app")]]
    assert retry_in_s == pytest.approx(20.0)
    assert "started 30 s after that" in waiting_text(book, "app")
    book.clock.at = 31.0
    assert assigned_to(book, "app") == "n1"


def test_vm_that_needs_one_that_is_gone_is_stopped_and_started_again_when_that_is_back() -> None:
    book = cluster("n1", "n2").ended("db", "n1", RunEnd.CRASHED).vm("db").running("app", "n2", depends_on=HARD)
    assert changes_of(book, "app") == [Change.STOP]
    book.lead()
    assert book.claim("app").reason.text == "it needs db, which does not run"
    book.ended("app", "n2", RunEnd.ASKED).delete("/vmha/t/nodes/n2/vms/app")
    assert assigned_to(book, "app") is None
    book.placed("db", "n1", epoch=2).seen("n1", "db")
    assert assigned_to(book, "app") in ("n1", "n2")


def test_soft_need_ends_nobody_and_one_that_is_not_wanted_or_stuck_is_not_waited_for() -> None:
    book = cluster("n1", "n2").ended("db", "n1", RunEnd.CRASHED).vm("db").running("app", "n2", depends_on=SOFT)
    assert changes_of(book, "app") == []
    stopped = cluster("n1").vm("db", desired=Desired.STOPPED).vm("app", depends_on=SOFT)
    assert assigned_to(stopped, "app") == "n1"
    too_big = cluster("n1", memory_mib=1024).vm("db", memory_mib=4096).vm("app", depends_on=SOFT)
    assert assigned_to(too_big, "app") == "n1"


def test_soft_need_is_not_waited_for_while_that_waits_itself_for_one_that_no_node_can_take() -> None:
    book = cluster("n1", memory_mib=1024).vm("big", memory_mib=4096).vm("db", depends_on=(Dependency(vm="big"),))
    assert assigned_to(book.vm("app", depends_on=SOFT), "app") == "n1"


def test_silence_of_a_node_ends_nobody_elsewhere_before_there_is_proof() -> None:
    book = cluster("n2").node("n1", lease=False).running("db", "n1").running("app", "n2", depends_on=HARD)
    book.running("other", "n2")
    silent = [step for step in book.plan(silence_s={"n1": LOST_S}).steps if isinstance(step, PlacementStep)]
    assert silent == []
    book.delete("/vmha/t/nodes/n1/beat")
    book.fenced("s-n1", "n1")
    assert changes_of(book, "db") == [Change.RECOVER]
    assert changes_of(book, "app") == [Change.STOP]


def test_lost_with_what_it_needs_it_is_recovered_after_it() -> None:
    book = cluster("n2").running("db", "n1").running("app", "n1", depends_on=HARD).fenced("s-n1", "n1").offline("n1")
    assert (assigned_to(book, "db"), assigned_to(book, "app")) == ("n2", None)
    book.lead()
    assert (book.claim("app").phase, book.claim("app").session) == (Phase.HELD, "s-n1")
    book.placed("db", "n2", epoch=2).seen("n2", "db")
    assert assigned_to(book, "app") == "n2"


def test_migration_of_what_it_needs_is_no_end_of_it() -> None:
    book = cluster("n1", "n2").running("app", "n2", depends_on=HARD).running("db", "n1")
    book.placed("db", "n1", phase=Phase.MIGRATING, target=NodeName("n2"))
    assert changes_of(book, "app") == []
    book.placed("db", "n2", phase=Phase.ASSIGNED, arrival=True, epoch=2)
    assert changes_of(book, "app") == []


def test_chain_is_stopped_from_its_end() -> None:
    book = cluster("n1").running("db", "n1", desired=Desired.STOPPED).running("app", "n1", depends_on=HARD)
    book.running("front", "n1", depends_on=(Dependency(vm="app"),))
    assert [changes_of(book, vm) for vm in ("db", "app", "front")] == [[], [], [Change.STOP]]
    assert "front needs it and ends first" in waiting_text(book, "app")
    book.ended("front", "n1", RunEnd.ASKED).delete("/vmha/t/nodes/n1/vms/front")
    assert [changes_of(book, vm) for vm in ("db", "app")] == [[], [Change.STOP]]
    book.ended("app", "n1", RunEnd.ASKED).delete("/vmha/t/nodes/n1/vms/app")
    assert changes_of(book, "db") == [Change.STOP]


def test_stop_does_not_wait_for_one_on_a_node_that_is_silent() -> None:
    book = cluster("n1").node("n2", lease=False).running("db", "n1", desired=Desired.STOPPED)
    book.running("app", "n2", depends_on=HARD)
    steps = book.plan(silence_s={"n2": LOST_S / 2}).steps
    assert Change.STOP in [step.change for step in steps if isinstance(step, PlacementStep) and step.vm == "db"]


def test_vm_is_not_started_on_what_still_runs_and_is_to_end_however_long_that_takes() -> None:
    """``db`` waits for ``log`` of its service to end; ``app`` needs ``db``, and ``web`` needs ``app``."""
    book = cluster("n1").service("s", "db", "app", "log")
    book.running("db", "n1", desired=Desired.STOPPED).running("log", "n1", desired=Desired.STOPPED)
    book.vm("app", depends_on=HARD).vm("web", depends_on=(Dependency(vm="app"),))
    book.lead(rounds=3)
    assert waiting_text(book, "db") == "log of its service ends first"
    assert waiting_text(book, "app") == "it needs db, which is to be stopped"
    assert book.plan().steps == ()


def test_assignment_is_taken_back_when_what_it_needs_is_gone_before_it_was_claimed() -> None:
    book = cluster("n1", "n2").ended("db", "n1", RunEnd.CRASHED).vm("db").vm("app", depends_on=HARD)
    book.placed("app", "n2", phase=Phase.ASSIGNED)
    assert changes_of(book, "app") == [Change.WITHDRAW]


def test_assignment_that_nobody_claims_moves_on_only_while_what_it_needs_is_ready() -> None:
    book = cluster("n1", "n3").running("db", "n3").vm("app", depends_on=HARD).offline("n2")
    book.placed("app", "n2", phase=Phase.ASSIGNED)
    assert assigned_to(book, "app") == "n1"
    book.placed("db", "n3", phase=Phase.STOPPING)
    assert changes_of(book, "app") == [Change.WITHDRAW]


def test_vm_whose_need_was_removed_waits_and_says_so_and_a_running_one_is_left_alone() -> None:
    book = cluster("n1").vm("app", depends_on=HARD)
    assert "db, which it needs, is not defined" in waiting_text(book, "app")
    assert cluster("n1").running("app", "n1", depends_on=HARD).plan().steps == ()


def test_operators_restart_of_a_stopped_vm_waits_for_what_it_needs() -> None:
    book = cluster("n1").running("db", "n1").running("app", "n1", depends_on=HARD)
    book.request(Verb.RESTART, vm="app").lead()
    book.ended("app", "n1", RunEnd.ASKED, operation="r1").delete("/vmha/t/nodes/n1/vms/app")
    book.seen("n1", "db", SeenState.STARTING)
    assert assigned_to(book, "app") is None
    book.seen("n1", "db")
    assert assigned_to(book, "app") == "n1"


def test_circle_that_was_written_past_the_command_line_does_not_keep_its_vms_down() -> None:
    book = cluster("n1").vm("a", depends_on=(Dependency(vm="b"),)).vm("b", depends_on=(Dependency(vm="a"),))
    assert (assigned_to(book, "a"), assigned_to(book, "b")) == (None, "n1")
    book.placed("b", "n1").seen("n1", "b")
    assert assigned_to(book, "a") == "n1"
    assert changes_of(book, "b") == []


def test_chain_as_long_as_a_large_cluster_is_decided() -> None:
    book = cluster("n1").vm("v0")
    for number in range(1, 1500):
        book.vm(f"v{number}", depends_on=(Dependency(vm=f"v{number - 1}"),))
    assert assigned_to(book, "v0") == "n1"
    for number in range(1, 1500):
        book.placed(f"v{number}", "n1")
    assert changes_of(book, "v1499") == [Change.STOP]


def test_shortest_circle_is_found_and_named() -> None:
    needs = {"a": ["b", "c"], "b": ["d"], "c": ["a"], "d": ["a"]}
    assert find_cycle(needs, "a") == ("a", "c", "a")
    assert find_cycle(needs, "b") == ("b", "d", "a", "b")
    assert find_cycle({"a": ["a"]}, "a") == ("a", "a")
    assert find_cycle({"a": ["b"], "b": []}, "a") == ()


@pytest.mark.parametrize("is_claimable", [True, False])
def test_guest_that_arrived_where_nobody_is_there_to_let_it_go_is_no_start_while_what_it_needs_ends(
    is_claimable: bool,
) -> None:
    """It would boot anew elsewhere. Where somebody can let it go it goes on first, and ends with the other then."""
    book = cluster("n1", "n2", "n3").running("db", "n1", desired=Desired.STOPPED).vm("app", depends_on=HARD)
    book.placed("db", "n1", phase=Phase.STOPPING)
    book.placed("app", "n2", phase=Phase.ASSIGNED, arrival=True, session=None)
    made = book.plan(unclaimed_s={VmName("app"): 0.0 if is_claimable else 1e6})
    about = [step.change for step in made.steps if isinstance(step, PlacementStep) and step.vm == "app"]
    assert about == ([] if is_claimable else [Change.WITHDRAW])
