"""A frozen vm and a paused cluster: what is decided, what is not, what is said, and when it ends."""

from typing import Any

import pytest

from tests.support.clusters import KEYS, LOST_S, SUSPECT_S, Book, cluster
from vmha.model.holds import PauseMode
from vmha.model.ids import VmName
from vmha.model.records import Phase, Progress, RunEnd, SeenState, Verb
from vmha.model.vm import Desired
from vmha.policy.plan import judge_all
from vmha.policy.state.steps import EvictSession, FenceNode, PlacementStep, WriteHold
from vmha.policy.telling.explain import VmState, vm_state

WHY = "disk swap"


def three() -> Book:
    return cluster("n1", "n2", "n3")


def crashed(book: Book, vm: str = "a", node: str = "n2", ended: RunEnd = RunEnd.CRASHED) -> Book:
    return book.vm(vm).placed(vm, None, phase=Phase.STOPPED, last_node=node, ended=ended, ended_why="its QEMU died")


def begun(book: Book, **moment: Any) -> list[str]:
    """What is begun with vms until nothing more is proposed."""
    done: list[str] = []
    for _ in range(6):
        decided_on = book.snapshot()
        made = book.plan(**moment)
        done += [step.change for step in made.steps if isinstance(step, PlacementStep)]
        if not made.steps:
            break
        book.carry_out(made, decided_on)
    return [change for change in done if change not in ("note", "adopt")]


def hold(book: Book, kind: str) -> Book:
    return book.freeze("a", reason=WHY) if kind == "frozen" else book.pause(PauseMode(kind), reason=WHY)


def state(book: Book, vm: str = "a", **moment: Any) -> VmState:
    snapshot = book.snapshot()
    view = next(view for view in snapshot.vms.values() if view.name == vm)
    return vm_state(view, snapshot, judge_all(snapshot, book.moment(**moment)))


HELD_UP = ("frozen", "all")


@pytest.mark.parametrize("kind", [*HELD_UP, "starts"])
def test_vm_that_is_wanted_is_not_started_and_says_why(kind: str) -> None:
    book = hold(three().vm("a"), kind)
    assert begun(book) == []
    assert f"by ann: {WHY}" in book.claim("a").reason.text
    assert state(book) is VmState.WAITING


@pytest.mark.parametrize(("kind", "follows"), [("frozen", []), ("all", []), ("starts", ["assign"])])
def test_crashed_vm_is_restarted_where_it_ran_only_while_no_more_than_starts_are_paused(
    kind: str, follows: list[str]
) -> None:
    book = hold(crashed(three()), kind)
    assert begun(book) == follows
    assert (book.claim("a").node == "n2") is bool(follows)


def test_crashed_vm_whose_node_is_gone_is_not_started_elsewhere_while_starts_are_paused() -> None:
    book = hold(crashed(three(), node="n9"), "starts")
    assert begun(book) == []
    assert "starts are paused in the whole cluster by ann" in book.claim("a").reason.text


@pytest.mark.parametrize("kind", [*HELD_UP, "starts"])
def test_vm_of_a_lost_node_is_recovered_when_the_hold_is_lifted_and_not_before(kind: str) -> None:
    book = hold(three().running("a", "n3"), kind)
    book.fenced("s-n3", "n3").node("n3", session="s-later")
    assert begun(book) == []
    assert state(book) is VmState.RECOVERING
    if kind == "frozen":
        assert "n3 is fenced (guard_elapsed)" in book.claim("a").reason.text
    book.delete(f"/vmha/t/{'vms/a/freeze' if kind == 'frozen' else 'pause'}")
    assert begun(book) == ["recover"]
    assert book.claim("a").epoch == 2


@pytest.mark.parametrize("kind", [*HELD_UP, "starts"])
def test_start_that_is_not_claimed_yet_is_called_back(kind: str) -> None:
    book = three().vm("a").placed("a", "n2", phase=Phase.ASSIGNED)
    hold(book, kind)
    assert begun(book) == ["withdraw"]
    assert book.claim("a").phase is Phase.STOPPED


@pytest.mark.parametrize("kind", HELD_UP)
def test_what_arrives_is_let_go_on(kind: str) -> None:
    book = three().vm("a").placed("a", "n2", phase=Phase.ASSIGNED, arrival=True).seen("n2", "a", SeenState.ARRIVED)
    assert begun(hold(book, kind)) == []
    assert book.claim("a").phase is Phase.ASSIGNED


@pytest.mark.parametrize("kind", HELD_UP)
@pytest.mark.parametrize("wanted", [Desired.STOPPED, Desired.DISABLED])
def test_vm_that_is_not_wanted_is_stopped_afterwards(kind: str, wanted: Desired) -> None:
    book = hold(three().running("a", "n2", desired=wanted), kind)
    assert begun(book) == []
    assert any("afterwards" in waiting.text for waiting in book.plan().waiting)


def test_vm_is_stopped_while_only_starts_are_paused() -> None:
    assert begun(hold(three().running("a", "n2", desired=Desired.STOPPED), "starts")) == ["stop"]


@pytest.mark.parametrize(("kind", "moves"), [("frozen", []), ("all", []), ("starts", ["migrate"])])
def test_node_that_is_drained_keeps_what_is_held_up(kind: str, moves: list[str]) -> None:
    book = three().node("n2", spec={"maintenance": True}).running("a", "n2")
    assert begun(hold(book, kind)) == moves


@pytest.mark.parametrize(("kind", "moves"), [("frozen", []), ("all", []), ("starts", ["migrate"])])
def test_vm_stays_away_from_its_preferred_node_while_it_is_held_up(kind: str, moves: list[str]) -> None:
    book = cluster("n1", "n2").domain("d", "n3", "n2", ordered=True).running("a", "n2", failover_domain="d")
    book.node("n3")
    assert begun(hold(book, kind)) == moves


@pytest.mark.parametrize("kind", [*HELD_UP, "starts"])
def test_vm_is_adopted_where_a_hand_has_moved_it(kind: str) -> None:
    book = hold(three().vm("a").placed("a", "n1", phase=Phase.DEPARTED).seen("n2", "a"), kind)
    book.lead()
    assert (book.claim("a").node, book.claim("a").epoch) == ("n2", 2)


@pytest.mark.parametrize("kind", HELD_UP)
@pytest.mark.parametrize("verb", [Verb.RESTART, Verb.RELOCATE, Verb.MIGRATE])
def test_operation_asked_for_is_refused_with_the_way_out(kind: str, verb: Verb) -> None:
    book = hold(three().running("a", "n2"), kind).request(verb, vm="a", node="n3")
    assert begun(book) == []
    outcome = book.answered()
    remedy = "vmha vm unfreeze a" if kind == "frozen" else "vmha resume"
    assert (outcome.progress, remedy in outcome.text, WHY in outcome.text) == (Progress.REJECTED, True, True)


@pytest.mark.parametrize(
    ("verb", "progress"),
    [(Verb.RESTART, Progress.RUNNING), (Verb.MIGRATE, Progress.RUNNING), (Verb.RELOCATE, Progress.REJECTED)],
)
def test_only_what_needs_a_start_elsewhere_is_refused_while_starts_are_paused(verb: Verb, progress: Progress) -> None:
    book = hold(three().running("a", "n2"), "starts").request(verb, vm="a", node="n3")
    begun(book)
    assert book.answered().progress is progress


@pytest.mark.parametrize("kind", HELD_UP)
def test_restart_that_was_under_way_goes_on_when_the_hold_is_lifted(kind: str) -> None:
    book = three().vm("a").placed("a", None, phase=Phase.STOPPED, operation="r1", last_node="n2", ended=RunEnd.ASKED)
    hold(book.request(Verb.RESTART, vm="a"), kind)
    assert begun(book) == []
    assert book.outcome() is None
    book.delete(f"/vmha/t/{'vms/a/freeze' if kind == 'frozen' else 'pause'}")
    assert begun(book) == ["assign"]
    assert (book.claim("a").node, book.claim("a").operation) == ("n2", "r1")


def test_node_with_nothing_but_frozen_vms_is_not_powered_off_and_is_empty_by_its_guard() -> None:
    book = three().node("n3", fence=True, lease=False, session="s-late").running("a", "n3")
    book.delete("/vmha/t/nodes/n3/session")
    fences = [s for s in book.plan(silence_s={"n3": SUSPECT_S}).steps if isinstance(s, FenceNode)]
    assert [step.node for step in fences] == ["n3"]
    book.freeze("a")
    assert not [s for s in book.plan(silence_s={"n3": SUSPECT_S}).steps if isinstance(s, FenceNode)]
    assert [s.node for s in book.plan(silence_s={"n3": LOST_S}).steps if isinstance(s, EvictSession)] == ["n3"]


@pytest.mark.parametrize(("mode", "is_left"), [(PauseMode.ALL, True), (PauseMode.STARTS, False)])
def test_silent_node_is_left_alone_while_everything_is_paused(mode: PauseMode, is_left: bool) -> None:
    book = three().running("a", "n3").pause(mode)
    made = book.plan(silence_s={"n3": LOST_S})
    assert any(isinstance(step, EvictSession) for step in made.steps) is not is_left
    assert any("paused" in waiting.text for waiting in made.waiting)


def test_person_may_still_say_that_a_node_is_off_while_everything_is_paused() -> None:
    book = three().running("a", "n3").pause(PauseMode.ALL).request(Verb.CONFIRM_OFF, node="n3")
    made = book.plan(silence_s={"n3": LOST_S})
    assert [step.node for step in made.steps if isinstance(step, EvictSession)] == ["n3"]


def test_vm_that_was_removed_leaves_no_freeze_behind() -> None:
    book = three().running("a", "n2").freeze("a")
    book.delete("/vmha/t/vms/a/spec")
    book.lead()
    assert book.snapshot().vms["a"].freeze is None  # type: ignore[index]
    assert book.placement("a") is None


# --- how long


@pytest.mark.parametrize("vm", ["a", None])
def test_hold_ends_by_the_leaders_own_count_whatever_its_date_says(vm: str | None) -> None:
    book = three().running("a", "n2")
    fields: dict[str, Any] = {"for_s": 100.0, "at": 5e9}  # its author's clock is decades ahead
    book.freeze(vm, **fields) if vm else book.pause(PauseMode.ALL, **fields)
    for _ in range(9):
        book.clock.at += 10.0
        book.lead()
        assert held(book, vm) is not None
    book.clock.at += 10.5
    book.lead()
    assert held(book, vm) is None


def held(book: Book, vm: str | None) -> Any:
    snapshot = book.snapshot()
    return snapshot.vms[vm].freeze if vm else snapshot.pause  # type: ignore[index]


def test_leader_that_has_just_come_counts_on_where_the_last_one_wrote_it_down() -> None:
    book = three().running("a", "n2").freeze("a", for_s=1000.0)
    book.clock.at += 120.0
    book.lead()
    assert held(book, "a").value.spent_s == 120.0
    made = book.plan(known_s={})  # a new process: it has known nothing for any time
    assert not made.steps
    counted = next(iter(_holds_aged(book)))
    assert [type(step) for step in book.plan(known_s={counted: 880.0}).steps] == [WriteHold]


def _holds_aged(book: Book) -> list[str]:
    return [name for name in book.moment().known_s if name.startswith("holds/a@")]


def test_what_a_plan_begins_is_written_before_the_hold_that_it_counts_on() -> None:
    """A start compares the holds as they were read: the pause for starts lets a vm start again where it ran."""
    book = crashed(three()).pause(PauseMode.STARTS, for_s=1000.0)
    book.clock.at += 120.0
    decided_on, made = book.snapshot(), book.plan()
    assert {type(step) for step in made.steps} == {PlacementStep, WriteHold}
    assert book.carry_out(made, decided_on) == len(made.steps) == 2


def test_hold_without_a_time_lasts_until_it_is_lifted() -> None:
    book = three().running("a", "n2").freeze("a")
    book.clock.at += 1e7
    assert not book.plan().steps


@pytest.mark.parametrize("kind", ["frozen", "all"])
def test_step_that_was_decided_on_before_a_hold_is_not_written_after_it(kind: str) -> None:
    book = three().vm("a")
    decided_on, made = book.snapshot(), book.plan()
    assert len(made.steps) == 1
    hold(book, kind)
    assert book.carry_out(made, decided_on) == 0
    assert book.placement("a") is None


@pytest.mark.parametrize("kind", HELD_UP)
def test_what_waits_and_had_no_cause_has_that_of_the_hold_and_so_has_what_follows(kind: str) -> None:
    book = hold(three().vm("a"), kind)
    book.lead()
    cause = book.claim("a").reason.cause
    assert cause == ("freeze-a-0" if kind == "frozen" else "pause-0")
    lifted(book, kind).lead()
    assert (book.claim("a").phase, book.claim("a").reason.cause) == (Phase.ASSIGNED, cause)


def lifted(book: Book, kind: str) -> Book:
    book.delete(KEYS.freeze(VmName("a")) if kind == "frozen" else KEYS.pause)
    return book


@pytest.mark.parametrize("kind", HELD_UP)
def test_what_had_a_cause_keeps_it_while_it_waits(kind: str) -> None:
    book = hold(crashed(three()), kind)
    book.lead()
    assert book.claim("a").reason.cause == "crashed-a-1"
    lifted(book, kind).lead()
    assert (book.claim("a").phase, book.claim("a").reason.cause) == (Phase.ASSIGNED, "crashed-a-1")


@pytest.mark.parametrize("kind", [*HELD_UP, "starts"])
def test_lost_vm_waits_by_the_cause_of_its_loss(kind: str) -> None:
    book = hold(three().running("a", "n2").fenced("s-n2", "n2").node("n2", session="s-later"), kind)
    book.lead()
    assert book.claim("a").reason.cause == "lost-n2-s-n2"
    assert "by ann" in book.claim("a").reason.text


def test_end_of_a_freeze_has_the_cause_of_what_has_waited_for_it() -> None:
    book = crashed(three()).freeze("a", for_s=100.0, reason=WHY)
    book.lead()
    book.clock.at += 100.5
    (step,) = book.plan().steps
    assert isinstance(step, WriteHold)
    assert (step.text, step.cause) == (f"the time that ann gave it is over (1m40s): {WHY}", "crashed-a-1")


def test_end_of_a_freeze_that_nothing_has_waited_for_has_the_cause_of_its_beginning() -> None:
    book = three().running("a", "n2").freeze("a", for_s=100.0, at=7.0)
    book.clock.at += 100.5
    (step,) = book.plan().steps
    assert isinstance(step, WriteHold)
    assert (step.text, step.cause) == ("the time that ann gave it is over (1m40s)", "freeze-a-7")
