"""A copy is a duplicate only while the holder's own, living session sees it running as well."""

from dataclasses import replace

import pytest

from vmha.model.ids import Epoch, NodeName, Revision, SessionId, VmName
from vmha.model.records import (
    ArmedLevel,
    BeatRecord,
    NodeStatus,
    Observation,
    Phase,
    Placement,
    Reason,
    SeenState,
    SessionRecord,
    Stored,
)
from vmha.model.vm import OnDuplicate, VmSpec
from vmha.policy.at_node.known import Attempt, Local, Others
from vmha.policy.at_node.reconcile import Action, reconcile
from vmha.policy.at_node.tracking import find_rightful, on_duplicate, stands_beside
from vmha.policy.state.snapshot import NodeView, Snapshot, VmView

H1, H2, VM = NodeName("h1"), NodeName("h2"), VmName("web")
HELD = Placement(
    vm=VM,
    epoch=Epoch(4),
    phase=Phase.HELD,
    node=H1,
    session=SessionId("s-h1"),
    reason=Reason(rule="r", text="t"),
    since=0.0,
)


def _node(name: NodeName, session: str) -> NodeView:
    beat = BeatRecord(
        session=SessionId(session), boot_id="b", count=1, armed=ArmedLevel.GUARD, hold_s=4.0, dead_after_s=6.0
    )
    return NodeView(name=name, beat=Stored(beat, Revision(1), Revision(2)))


def _seen(node: NodeName, state: SeenState, session: str) -> Observation:
    return Observation(vm=VM, node=node, session=SessionId(session), state=state)


def _view(*seen: Observation, placement: Placement = HELD) -> VmView:
    return VmView(name=VM, placement=Stored(placement, Revision(1), Revision(3)), seen={o.node: o for o in seen})


SNAPSHOT = Snapshot(revision=Revision(9), nodes={H1: _node(H1, "s-h1"), H2: _node(H2, "s-h2")})
THERE, HERE = _seen(H1, SeenState.RUNNING, "s-h1"), _seen(H2, SeenState.RUNNING, "s-h2")


def test_both_run_and_the_other_holds_it():
    assert find_rightful(_view(THERE, HERE), H2, SNAPSHOT) == THERE


@pytest.mark.parametrize(
    ("view", "why"),
    [
        (_view(HERE), "the holder does not see it: it is adopted here, not ended"),
        (_view(_seen(H1, SeenState.OUTGOING, "s-h1"), HERE), "it is just leaving the holder"),
        (_view(_seen(H1, SeenState.PAUSED, "s-h1"), HERE), "the holder's stands still"),
        (_view(_seen(H1, SeenState.RUNNING, "an older session"), HERE), "a report of the past"),
        (_view(THERE, _seen(H2, SeenState.INCOMING, "s-h2")), "it is still coming in"),
        (_view(THERE, HERE, placement=replace(HELD, phase=Phase.MIGRATING, target=H2)), "it is being migrated"),
        (_view(THERE, HERE, placement=replace(HELD, session=SessionId("fenced"))), "its holder is gone"),
        (_view(THERE, replace(HERE, reason="postcopy")), "what it pulls from by post-copy does not run"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_duplicate(view: VmView, why: str):
    assert find_rightful(view, H2, SNAPSHOT) is None, why


def test_the_holder_itself_is_never_the_copy():
    assert find_rightful(_view(THERE, HERE), H1, SNAPSHOT) is None


@pytest.mark.parametrize(
    ("policy", "action"),
    [
        (OnDuplicate.PAUSE, Action.PAUSE_DUPLICATE),
        (OnDuplicate.DESTROY, Action.CLEAR),
        (OnDuplicate.ALARM, Action.ALARM_DUPLICATE),
        (None, Action.NOTHING),
    ],
)
def test_what_is_done_about_it_is_the_vms_policy(policy: OnDuplicate | None, action: Action):
    local = Local(state=SeenState.RUNNING)
    decided = reconcile(
        HELD,
        local,
        me=H2,
        session=SessionId("s-h2"),
        managed=True,
        attempt=Attempt(),
        others=Others(duplicate=policy),
    )
    assert decided is action


def _answering(name: NodeName, session: str, *, eligible: bool = True, has_lease: bool = True) -> NodeView:
    id_ = SessionId(session)
    status = NodeStatus(node=name, session=id_, eligible=eligible)
    lease = SessionRecord(node=name, session=id_, since=0.0, version="", address="")
    return replace(
        _node(name, session),
        status=Stored(status, Revision(1), Revision(2)),
        session=Stored(lease, Revision(1), Revision(2)) if has_lease else None,
    )


STANDS = _seen(H2, SeenState.PAUSED, "s-h2")
ANSWERED = replace(SNAPSHOT, nodes={H1: _answering(H1, "s-h1"), H2: _node(H2, "s-h2")})


def test_what_stands_here_while_the_holder_answers_and_runs_it_is_one_too_many():
    assert stands_beside(_view(THERE, STANDS), H2, ANSWERED)


@pytest.mark.parametrize(
    ("view", "snapshot"),
    [
        (_view(THERE, HERE), ANSWERED),
        (_view(THERE), ANSWERED),
        (_view(STANDS), ANSWERED),
        (_view(_seen(H1, SeenState.PAUSED, "s-h1"), STANDS), ANSWERED),
        (_view(_seen(H1, SeenState.RUNNING, "old"), STANDS), ANSWERED),
        (_view(THERE, replace(STANDS, second=True)), ANSWERED),
        (_view(THERE, STANDS, placement=replace(HELD, phase=Phase.STOPPING)), ANSWERED),
        (_view(THERE, STANDS, placement=replace(HELD, node=H2, session=SessionId("s-h2"))), ANSWERED),
        (_view(THERE, STANDS), SNAPSHOT),
        (_view(THERE, STANDS), replace(ANSWERED, nodes=ANSWERED.nodes | {H1: _answering(H1, "s-h1", eligible=False)})),
        (_view(THERE, STANDS), replace(ANSWERED, nodes=ANSWERED.nodes | {H1: _answering(H1, "s-h1", has_lease=False)})),
        (_view(THERE, STANDS), replace(ANSWERED, nodes=ANSWERED.nodes | {H1: _answering(H1, "s-h1-new")})),
    ],
)
def test_else_what_stands_here_may_be_the_vm(view: VmView, snapshot: Snapshot):
    assert not stands_beside(view, H2, snapshot)


def test_what_is_certainly_one_too_many_is_marked_and_what_runs_is_treated_first():
    stands, runs = (Local(state=state, epoch=Epoch(3), tagged=True) for state in (SeenState.PAUSED, SeenState.RUNNING))

    def decide(local: Local | None, duplicate: OnDuplicate | None = None) -> Action:
        return reconcile(
            HELD,
            local,
            me=H2,
            session=SessionId("s-h2"),
            managed=True,
            attempt=Attempt(),
            others=Others(stands_beside=True, duplicate=duplicate),
        )

    assert decide(stands) is Action.MARK_SECOND
    assert decide(replace(stands, second=True)) is Action.NOTHING
    assert decide(runs, duplicate=OnDuplicate.PAUSE) is Action.PAUSE_DUPLICATE
    assert decide(None) is Action.NOTHING


def test_second_copy_of_a_vm_that_must_not_be_killed_is_made_to_stand_still_instead() -> None:
    spec = VmSpec(name="web", xml="<domain/>", uuid="u", on_duplicate=OnDuplicate.DESTROY)
    assert on_duplicate(spec) is OnDuplicate.DESTROY
    assert on_duplicate(spec.model_copy(update={"no_kill": True})) is OnDuplicate.PAUSE
