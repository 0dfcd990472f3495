"""Two guests of one vm on one node: which is the vm's, and which of the others something is done about."""

from dataclasses import replace
from itertools import permutations

import pytest

from vmha.model.ids import Epoch, NodeName, SessionId, VmName
from vmha.model.records import Phase, Placement, Reason, SeenState
from vmha.policy.at_node.beside import in_order, too_many
from vmha.policy.at_node.known import Local

ME, MINE, OTHER = NodeName("n1"), SessionId("s-n1"), NodeName("n2")


def held(guest: str = "", **fields: object) -> Placement:
    claim = Placement(
        vm=VmName("web"),
        epoch=Epoch(5),
        phase=Phase.HELD,
        node=ME,
        session=MINE,
        reason=Reason(rule="r", text="t"),
        since=0.0,
        guest=guest,
    )
    return replace(claim, **fields)  # type: ignore[arg-type]


def guest(
    name: str = "", *, epoch: int | None = 5, state: SeenState = SeenState.RUNNING, second: bool = False
) -> Local:
    tag = None if epoch is None else Epoch(epoch)
    return Local(state=state, epoch=tag, tagged=epoch is not None, second=second, name=name)


@pytest.mark.parametrize(
    ("placement", "before", "first", "other"),
    [
        (held(), None, guest(), guest("old", epoch=None)),  # the epoch that is on record
        (held(), None, guest(), guest("old", epoch=4)),
        (held("old"), None, guest("old"), guest(epoch=None)),
        (held("old"), None, guest("old"), guest()),  # a copy with its metadata: the name that is on record
        (held("old"), "", guest("old", state=SeenState.PAUSED), guest()),  # a hand paused its own, and began another
        (held("old"), "old", guest(), guest("old", second=True)),  # what was paused as a second copy never is
        (None, None, guest(epoch=None), guest("old", epoch=None, state=SeenState.PAUSED)),
        (None, "old", guest("old", epoch=None, state=SeenState.PAUSED), guest(epoch=None)),  # no change without need
        (held(), "old", guest("old", epoch=None), guest(epoch=None, state=SeenState.PAUSED)),  # adopted, not marked yet
        (held(), None, guest("old", epoch=4), guest(epoch=None, state=SeenState.PAUSED)),
        (
            held("old"),
            None,
            guest("old", epoch=None, state=SeenState.PAUSED),
            guest(epoch=None),
        ),  # named, not marked yet
        (
            held(node=OTHER, guest="old"),
            "",
            guest(),
            guest("old"),
        ),  # what its holder's guest is called says nothing here
        (
            held(node=OTHER, phase=Phase.MIGRATING, target=ME),
            None,
            guest("old", epoch=6, state=SeenState.INCOMING),  # what is expected here
            guest(),
        ),
    ],
)
def test_which_of_two_is_the_vms(placement: Placement | None, before: str | None, first: Local, other: Local) -> None:
    for both in permutations((first, other)):
        assert in_order(both, placement, me=ME, before=before) == [first, other]


OTHERS = [
    guest("runs"),
    guest("stands", state=SeenState.PAUSED),
    guest("let-run", second=True),
    guest("done", state=SeenState.PAUSED, second=True),
    guest("comes-in", state=SeenState.INCOMING),
    guest("crashed", state=SeenState.CRASHED),
]


@pytest.mark.parametrize("phase", [Phase.HELD, Phase.MIGRATING])
def test_holder_treats_what_runs_beside_its_own_and_what_could_be_let_run(phase: Phase) -> None:
    due = too_many(held(phase=phase), OTHERS, me=ME, session=MINE)
    assert [one.name for one in due] == ["runs", "stands", "let-run"]


@pytest.mark.parametrize(
    "placement",
    [
        None,
        held(node=OTHER),
        held(session=SessionId("s-n1-before")),
        held(phase=Phase.ASSIGNED, session=None),
        held(phase=Phase.STOPPING),  # both are asked to shut down, one after the other
        held(phase=Phase.STOPPED, node=None, session=None),
    ],
)
def test_nobody_else_does(placement: Placement | None) -> None:
    assert too_many(placement, OTHERS, me=ME, session=MINE) == []
