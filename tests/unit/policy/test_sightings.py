"""A guest that a hand or a failed disk let stand is told of once, and nothing is said of what becomes of it."""

from dataclasses import replace

import pytest

from vmha.model.ids import Epoch, NodeName, SessionId, VmName
from vmha.model.records import Observation, Phase, Placement, Reason, SeenState
from vmha.policy.at_node.sightings import began, sighting

N1, N2, WEB = NodeName("n1"), NodeName("n2"), VmName("web")


def seen(state: SeenState, reason: str = "") -> Observation:
    return Observation(vm=WEB, node=N1, session=SessionId("s"), state=state, reason=reason, since=0.0)


def held(node: NodeName = N1) -> Placement:
    return Placement(vm=WEB, epoch=Epoch(1), phase=Phase.HELD, node=node, reason=Reason(rule="", text=""), since=0.0)


@pytest.mark.parametrize(
    ("before", "now", "kind", "words"),
    [
        (seen(SeenState.RUNNING), seen(SeenState.PAUSED, "user"), "guest-paused", "somebody paused it on n1"),
        (seen(SeenState.RUNNING), seen(SeenState.PAUSED, "ioerror"), "guest-paused", "its disk failed on n1"),
        (seen(SeenState.RUNNING), seen(SeenState.PAUSED, "watchdog"), "guest-paused", "its watchdog"),
        (seen(SeenState.RUNNING), seen(SeenState.PAUSED, "pmsuspended"), "guest-paused", "it suspended itself on n1"),
        (seen(SeenState.RUNNING), seen(SeenState.PAUSED, "api_error"), "guest-paused", "could not let it go on at n1"),
        (seen(SeenState.PAUSED, "user"), seen(SeenState.RUNNING), "guest-resumed", "it goes on at n1"),
    ],
)
def test_what_is_told(before: Observation, now: Observation, kind: str, words: str) -> None:
    told = sighting(before, now, held())
    assert told is not None
    assert told[0] == kind
    assert words in told[1]


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (seen(SeenState.RUNNING), seen(SeenState.PAUSED, "save")),
        (seen(SeenState.RUNNING), seen(SeenState.OUTGOING, "migration")),
        (seen(SeenState.PAUSED, "user"), seen(SeenState.PAUSED, "ioerror")),
        (seen(SeenState.ARRIVED, "user"), seen(SeenState.RUNNING)),
        (seen(SeenState.RUNNING), seen(SeenState.RUNNING)),
    ],
)
def test_what_is_on_its_way_to_something_else_is_not_told(before: Observation, now: Observation) -> None:
    assert sighting(before, now, held()) is None


@pytest.mark.parametrize("placement", [None, held(N2)])
def test_copy_that_another_node_holds_is_not_told_of_here(placement: Placement | None) -> None:
    assert sighting(seen(SeenState.RUNNING), seen(SeenState.PAUSED, "user"), placement) is None


def test_first_sight_of_a_start_that_its_node_claimed_is_told_and_of_what_arrived_or_is_not_its_own_is_not() -> None:
    now = replace(seen(SeenState.RUNNING), epoch=Epoch(1))
    assert began(now, held()) == ("runs", "its guest runs on n1")
    others = [None, held(N2), replace(held(), epoch=Epoch(2)), replace(held(), arrival=True)]
    assert [began(now, one) for one in others] == [None] * 4
    assert began(replace(now, state=SeenState.PAUSED), held()) is None
