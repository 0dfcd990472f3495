"""A guest that a hand is migrating away: on record while it leaves, and started by nobody when its node is lost."""

from dataclasses import replace

import pytest

from tests.support.clusters import KEYS, Book, cluster
from vmha.model.ids import Epoch, NodeName, Revision, SessionId, VmName
from vmha.model.node_findings import EndedArrival
from vmha.model.records import Phase, Placement, Reason, SeenState, Stored
from vmha.model.vm import Desired
from vmha.policy.at_node.known import Attempt, Local, Others
from vmha.policy.at_node.reconcile import SAYS_WHAT_IS, Action, reconcile
from vmha.policy.at_node.tracking import find_rightful
from vmha.policy.deciding.leaving import Went, has_come, where_it_went, why_departed
from vmha.policy.state import transitions
from vmha.policy.state.snapshot import VmView
from vmha.policy.state.steps import Change, PlacementStep

ME = NodeName("n1")


def held(*, leaving: bool, to: str | None = None) -> Placement:
    return Placement(
        vm=VmName("web"),
        epoch=Epoch(1),
        phase=Phase.HELD,
        node=ME,
        session=SessionId("s-n1"),
        reason=Reason(rule="r", text="t"),
        since=0.0,
        leaving=leaving,
        leaving_to=NodeName(to) if to else None,
    )


def decide(
    placement: Placement, *, state: SeenState = SeenState.RUNNING, migrating: bool, comes_in: str | None = None
) -> Action:
    here = Local(state=state, epoch=Epoch(1), tagged=True, migrating=migrating)
    to = NodeName(comes_in) if comes_in else None
    others = Others(comes_in=to)
    return reconcile(placement, here, me=ME, session=SessionId("s-n1"), managed=True, attempt=Attempt(), others=others)


@pytest.mark.parametrize("state", [SeenState.RUNNING, SeenState.PAUSED, SeenState.OUTGOING])
def test_its_holder_puts_on_record_that_it_is_leaving_and_that_it_has_stayed(state: SeenState) -> None:
    assert decide(held(leaving=False), state=state, migrating=True) is Action.NOTE_LEAVING
    assert decide(held(leaving=True), state=state, migrating=True) is Action.NOTHING
    assert decide(held(leaving=True), migrating=False) is Action.NOTE_LEAVING
    assert decide(held(leaving=False), migrating=False) is Action.NOTHING
    assert Action.NOTE_LEAVING in SAYS_WHAT_IS


def test_member_that_shows_it_coming_in_is_put_on_record_as_where_it_goes() -> None:
    assert decide(held(leaving=True), migrating=True, comes_in="n2") is Action.NOTE_LEAVING
    assert decide(held(leaving=True, to="n2"), migrating=True, comes_in="n2") is Action.NOTHING
    assert decide(held(leaving=True, to="n2"), migrating=True) is Action.NOTE_LEAVING  # it is not there any more
    assert decide(held(leaving=True, to="n2"), migrating=False, comes_in="n2") is Action.NOTE_LEAVING
    assert decide(held(leaving=False), migrating=False, comes_in="n2") is Action.NOTHING


def test_it_goes_on_leaving_while_libvirt_can_not_tell_how_its_migration_ended() -> None:
    assert decide(held(leaving=True), state=SeenState.OUTGOING, migrating=False) is Action.NOTHING


def leaving(*, desired: Desired = Desired.RUNNING) -> Book:
    """``n1`` held it, a hand was migrating it, and ``n1`` is gone, with proof."""
    book = cluster("n2", "n1", "n3").vm("web", desired=desired).placed("web", "n1", leaving=True)
    return book.node("n1", session="s-later").fenced("s-n1", "n1")


@pytest.mark.parametrize("desired", [Desired.RUNNING, Desired.STOPPED])
def test_vm_that_was_leaving_when_its_node_was_lost_has_departed_and_says_so(desired: Desired) -> None:
    book = leaving(desired=desired)
    book.lead()
    found = book.claim("web")
    assert (found.phase, found.leaving) == (Phase.DEPARTED, False)
    assert "somebody was migrating it away from n1" in found.ended_why
    assert "confirmed gone" in found.reason.text


def test_it_does_not_depart_before_its_node_is_known_to_be_gone() -> None:
    book = cluster("n2", "n3").vm("web").placed("web", "n1", leaving=True).offline("n1")
    book.lead()
    assert book.claim("web").phase is Phase.HELD


def test_vm_that_was_on_its_way_to_a_member_is_recovered_when_its_node_is_lost() -> None:
    for_n2 = leaving().seen("n2", "web", SeenState.ARRIVED)
    for_n2.lead()
    assert (for_n2.claim("web").phase, for_n2.claim("web").node) == (Phase.ASSIGNED, "n2")
    on_n2 = leaving().seen("n2", "web", SeenState.RUNNING)
    on_n2.lead()
    assert (on_n2.claim("web").phase, on_n2.claim("web").node) == (Phase.HELD, "n2")


def test_member_that_it_was_on_its_way_to_is_asked_before_anybody_starts_it() -> None:
    """Silent, or without a word yet of what runs there: it may run it."""
    book = cluster("n2", "n1", "n3").vm("web").placed("web", "n1", leaving=True, leaving_to=NodeName("n2"))
    book.node("n1", session="s-later").fenced("s-n1", "n1")
    book.node("n2", session="s-n2", status=False)
    book.delete(KEYS.node_status(NodeName("n2")))
    book.lead()
    assert book.claim("web").phase is Phase.HELD
    assert "n1 is fenced, and n2" in book.plan().waiting[0].text
    book.node("n2")
    book.lead()
    assert book.claim("web").phase is Phase.ASSIGNED


def test_guest_that_has_come_where_a_hand_was_sending_it_is_no_second_copy() -> None:
    def is_second(to: NodeName | None) -> bool:
        there = cluster("n1", "n2").vm("web").placed("web", "n1", leaving=True, leaving_to=to)
        snapshot = there.seen("n1", "web").seen("n2", "web").snapshot()
        return find_rightful(snapshot.vms[VmName("web")], NodeName("n2"), snapshot) is not None

    assert is_second(None)
    assert is_second(NodeName("n3"))
    assert not is_second(NodeName("n2"))


def test_vm_that_a_member_is_still_receiving_is_waited_for() -> None:
    book = leaving().seen("n2", "web", SeenState.INCOMING)
    book.lead()
    assert book.claim("web").phase is Phase.HELD
    assert "n2 is still receiving it" in book.plan().waiting[0].text


def test_vm_that_a_hand_is_migrating_is_not_sent_elsewhere_as_well() -> None:
    def book(*, leaving: bool) -> Book:
        there = cluster("n1", "n2").domain("pref", "n2", "n1", ordered=True)
        return there.vm("web", failover_domain="pref").placed("web", "n1", leaving=leaving).seen("n1", "web")

    def changes(of: Book) -> list[Change]:
        return [step.change for step in of.plan().steps if isinstance(step, PlacementStep)]

    assert changes(book(leaving=False)) == [Change.MIGRATE]
    assert changes(book(leaving=True)) == []


def test_record_of_leaving_ends_with_the_claim() -> None:
    before = held(leaving=True)
    assert not transitions.depart(before, "gone", 0.0).leaving
    assert not transitions.forget_holder(before, "lost", 0.0).leaving
    assert not transitions.assign(before.vm, before, NodeName("n2"), before.reason, 0.0).leaving


@pytest.mark.parametrize("since", [0.0, 4e9])
def test_departure_that_is_remembered_is_of_this_run_unless_it_was_so_when_it_was_claimed(since: float) -> None:
    """Whatever the dates say: the one of the record may be from a clock that was set since."""
    assigned = replace(held(leaving=False), phase=Phase.ASSIGNED, session=None)
    anew = transitions.claim(assigned, SessionId("s-n1"), since)
    again = transitions.claim(assigned, SessionId("s-n1"), since, left_before="2026-03-01 10:00:00.000+0000")
    for placement, mark, is_its in (
        (anew, None, False),
        (anew, "2026-03-01 10:00:00.000+0000", True),
        (again, "2026-03-01 10:00:00.000+0000", False),
        (again, "2026-02-28 10:00:00.000+0000", True),
    ):
        assert transitions.is_its_departure(placement, mark) is is_its


@pytest.mark.parametrize(
    ("phase", "went", "is_unshown", "is_unsaid", "where"),
    [
        (Phase.MIGRATING, True, False, False, Went.AS_ASKED),
        (Phase.MIGRATING, True, True, True, Went.AS_ASKED),  # what is known does not wait to be known for longer
        (Phase.MIGRATING, False, False, False, Went.NOT_SAID),  # its target may show it in a moment
        (Phase.MIGRATING, False, True, False, Went.BY_HAND),
        (Phase.MIGRATING, False, False, True, Went.BY_HAND),  # its target spoke and was silent by turns, for long
        (Phase.MIGRATING, None, False, False, Went.NOT_SAID),
        (Phase.MIGRATING, None, False, True, Went.UNSURE),
        (Phase.MIGRATING, None, True, False, Went.UNSURE),
        (Phase.HELD, False, False, False, Went.BY_HAND),  # it was to go nowhere: nobody has to be asked
        (Phase.STOPPING, False, False, False, Went.BY_HAND),
    ],
)
def test_where_a_guest_went_that_left_while_no_agent_was_there(
    phase: Phase, went: bool | None, is_unshown: bool, is_unsaid: bool, where: Went
) -> None:
    target = NodeName("n2") if phase is Phase.MIGRATING else None
    claim = replace(held(leaving=False), phase=phase, target=target)
    assert where_it_went(claim, went, is_unshown=is_unshown, is_unsaid=is_unsaid) is where


def test_what_departed_says_whether_somebody_is_known_to_have_sent_it_away() -> None:
    claim = replace(held(leaving=False), phase=Phase.MIGRATING, target=NodeName("n2"))
    assert why_departed(claim, Went.BY_HAND).startswith("somebody migrated it away from n1")
    assert why_departed(claim, Went.UNSURE).startswith("it left n1 while no agent was there, n2, where it was to go,")


@pytest.mark.parametrize(
    ("of", "epoch", "last_beat", "is_known"),
    [
        ("web", 2, 11, True),
        ("web", 2, 10, False),  # not known to have come in since it was asked for
        ("web", 2, 0, False),
        ("web", 1, 11, False),  # of an earlier claim
        ("db", 2, 11, False),
    ],
)
@pytest.mark.parametrize("knows", ["its node", "who took the session for over"])
def test_what_its_target_says_was_ended_there_came_by_the_migration_that_was_asked_for(
    of: str, epoch: int, last_beat: int, is_known: bool, knows: str
) -> None:
    asked = Stored(
        replace(held(leaving=False), phase=Phase.MIGRATING, target=NodeName("n2")), Revision(5), Revision(10)
    )
    told = last_beat if knows == "its node" else 0
    ended = EndedArrival(vm=VmName(of), epoch=Epoch(epoch), session=SessionId("before-n2"), last_beat=Revision(told))
    book = cluster("n1").node("n2", ended_arrivals=(ended,)).fenced("before-n2", "n2", last_beat=last_beat - told)
    assert has_come(VmView(name=VmName("web")), asked, book.snapshot()) is is_known
