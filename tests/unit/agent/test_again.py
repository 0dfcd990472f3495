"""How soon a vm is decided about again after a refusal."""

from vmha.agent.again import LONGEST_S, Again
from vmha.agent.claims import Lost
from vmha.model.errors import Refused
from vmha.model.ids import Revision, VmName
from vmha.policy.at_node.reconcile import Action

WEB, THEN, LATER = VmName("web"), Revision(7), Revision(8)
LOCKED = Refused("its disk is locked")


def test_first_try_comes_at_once_and_the_next_ones_ever_more_seldom() -> None:
    again = Again()
    pauses = [again.refused(WEB, Action.RESUME_AND_KEEP, THEN, LOCKED).pause_s for _ in range(7)]
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, LONGEST_S, LONGEST_S]


def test_another_record_or_another_deed_begins_anew() -> None:
    again = Again()
    for _ in range(9):
        again.refused(WEB, Action.RESUME_AND_KEEP, THEN, LOCKED)
    assert again.refused(WEB, Action.RESUME_AND_KEEP, LATER, LOCKED).pause_s == 0.05
    again.refused(WEB, Action.RESUME_AND_KEEP, LATER, LOCKED)
    assert again.refused(WEB, Action.KEEP, LATER, LOCKED).pause_s == 0.05


def test_write_that_was_lost_to_another_is_decided_anew_at_once_as_often_as_it_takes() -> None:
    again = Again()
    pauses = {again.refused(WEB, Action.RELEASE, THEN, Lost("the record changed")).pause_s for _ in range(9)}
    assert pauses == {0.05}


def test_what_is_refused_again_and_again_is_told_until_it_is_done() -> None:
    again = Again()
    told = [again.refused(WEB, Action.RESUME_AND_KEEP, THEN, LOCKED).is_told for _ in range(6)]
    assert told == [False] * 4 + [True] * 2
    assert again.ends(WEB)
    assert not again.ends(WEB)
    assert not again.refused(WEB, Action.RESUME_AND_KEEP, THEN, LOCKED).is_told
