"""What has arrived and is not let go: for how long it is tried, and why it is given up."""

from dataclasses import replace

import pytest

from tests.unit.policy.test_reconcile import placement
from vmha.model.ids import Epoch
from vmha.model.records import Phase
from vmha.model.vm import VmSpec
from vmha.policy.at_node.not_let_go import LET_GO_S, Refusal, refused, why_given_up

HELD = placement(Phase.HELD, arrival=True)
SPEC = VmSpec(name="web", uuid="00000000-0000-4000-8000-000000000001", xml="<domain/>")
NOT_TO_BE_KILLED = SPEC.model_copy(update={"no_kill": True})
FIRST = refused(None, HELD.epoch, "its disk is locked", 100.0)


def test_it_is_counted_from_the_first_refusal_and_told_by_the_last_one() -> None:
    again = refused(FIRST, HELD.epoch, "its disk is still locked", 110.0)
    assert (again.since, again.why) == (100.0, "its disk is still locked")


def test_what_arrives_under_another_epoch_is_counted_anew() -> None:
    assert refused(FIRST, Epoch(HELD.epoch + 1), "it is locked again", 110.0).since == 110.0


def test_it_is_given_up_only_after_a_while_and_says_why() -> None:
    assert why_given_up(FIRST, HELD, SPEC, 100.0 + LET_GO_S - 0.1) == ""
    said = why_given_up(FIRST, HELD, SPEC, 100.0 + LET_GO_S)
    assert said == "it had arrived, and could not be let go: its disk is locked"


@pytest.mark.parametrize(
    ("refusal", "spec"),
    [
        (None, SPEC),
        (replace(FIRST, epoch=Epoch(HELD.epoch - 1)), SPEC),
        (FIRST, NOT_TO_BE_KILLED),
    ],
    ids=["nothing was refused", "an earlier arrival was", "it must not be killed"],
)
def test_it_is_not_given_up(refusal: Refusal | None, spec: VmSpec) -> None:
    assert why_given_up(refusal, HELD, spec, 1000.0) == ""
