"""What an agent does about one vm: every phase against everything that can be seen of the guest, none left open."""

import itertools
from dataclasses import fields, replace

import pytest

from vmha.model.ids import Epoch, NodeName, SessionId, VmName
from vmha.model.records import Observation, Phase, Placement, Reason, SeenState
from vmha.model.vm import OnDuplicate
from vmha.policy.at_node.known import Attempt, Local, Others
from vmha.policy.at_node.reconcile import NOT_LET_GO_ON, Action, needs_fresh_reading, reconcile, under_hold
from vmha.policy.state import transitions

ME, OTHER = NodeName("n1"), NodeName("n2")
MINE, OLD = SessionId("s-n1"), SessionId("s-n1-before")
EPOCH = Epoch(5)

STATES = (None, *SeenState)
TOUCHES_THE_GUEST = frozenset(set(Action) - {Action.NOTHING, Action.WAIT})
MAY_RUN_IT = {Action.START, Action.RESUME_ARRIVAL, Action.RESUME_AND_KEEP}


def placement(
    phase: Phase, node: NodeName | None = ME, session: SessionId | None = MINE, *, arrival: bool = False
) -> Placement:
    claimed = phase in (Phase.HELD, Phase.STOPPING, Phase.MIGRATING, Phase.DEPARTED)
    return Placement(
        vm=VmName("web"),
        epoch=EPOCH,
        phase=phase,
        node=None if phase is Phase.STOPPED else node,
        session=session if claimed else None,
        target=OTHER if phase is Phase.MIGRATING and node == ME else ME if phase is Phase.MIGRATING else None,
        reason=Reason(rule="r", text="t"),
        since=0.0,
        arrival=arrival,
    )


def local(state: SeenState | None, *, epoch: int | None = EPOCH, migrating: bool = False) -> Local | None:
    if state is None:
        return None
    return Local(
        state=state, epoch=None if epoch is None else Epoch(epoch), tagged=epoch is not None, migrating=migrating
    )


def at_target(state: SeenState | None) -> Observation | None:
    if state is None:
        return None
    return Observation(vm=VmName("web"), node=OTHER, session=SessionId("s-n2"), state=state)


def decide(placed: Placement | None, here: Local | None, **more: object) -> Action:
    """``more``: of what the others show, too."""
    shown = {field.name: more.pop(field.name) for field in fields(Others) if field.name in more}
    given: dict[str, object] = {"managed": True, "attempt": Attempt(), "others": Others(**shown)} | more  # type: ignore[arg-type]
    return reconcile(placed, here, me=ME, session=MINE, **given)  # type: ignore[arg-type]


S = SeenState
TABLE: dict[Phase, dict[SeenState | None, Action]] = {
    Phase.ASSIGNED: {
        None: Action.START,
        S.STARTING: Action.WAIT,
        S.RUNNING: Action.ADOPT,
        S.PAUSED: Action.ADOPT,
        S.INCOMING: Action.WAIT,
        S.ARRIVED: Action.CLEAR,  # it is to be started here, not to go on
        S.OUTGOING: Action.WAIT,
        S.STOPPING: Action.WAIT,
        S.CRASHED: Action.CLEAR,
    },
    Phase.HELD: {
        None: Action.RELEASE,
        S.STARTING: Action.NOTHING,
        S.RUNNING: Action.NOTHING,
        S.PAUSED: Action.NOTHING,
        S.INCOMING: Action.NOTHING,
        S.ARRIVED: Action.CLEAR,
        S.OUTGOING: Action.NOTHING,
        S.STOPPING: Action.NOTHING,
        S.CRASHED: Action.CLEAR,
    },
    Phase.STOPPING: {None: Action.RELEASE, **dict.fromkeys(SeenState, Action.STOP), S.OUTGOING: Action.WAIT},
    Phase.MIGRATING: {
        None: Action.RELEASE,
        S.STARTING: Action.MIGRATE,
        S.RUNNING: Action.MIGRATE,
        S.PAUSED: Action.MIGRATE,
        S.INCOMING: Action.MIGRATE,
        S.ARRIVED: Action.MIGRATE,
        S.OUTGOING: Action.RESUME_AND_KEEP,
        S.STOPPING: Action.MIGRATE,
        S.CRASHED: Action.CLEAR,
    },
    Phase.DEPARTED: dict.fromkeys(STATES, Action.NOTHING),
    Phase.STOPPED: {**dict.fromkeys(STATES, Action.NOTHING), S.ARRIVED: Action.CLEAR},
}


def test_source_of_a_post_copy_migration_is_never_resumed() -> None:
    """A hand's, where ours was under way: its memory goes on at the target, or did."""
    here = Local(state=S.OUTGOING, epoch=EPOCH, tagged=True, has_switched=True)
    assert decide(placement(Phase.MIGRATING), here) is Action.CLEAR
    assert decide(placement(Phase.MIGRATING), here, at_target=at_target(S.RUNNING)) is Action.CLEAR
    assert decide(placement(Phase.MIGRATING), here, target_answers=False) is Action.WAIT


LEFT_STANDING = Attempt(left_standing=True)


@pytest.mark.parametrize(
    ("placed", "action"),
    [
        (placement(Phase.HELD), Action.DEPART_UNSURE),
        (placement(Phase.STOPPING), Action.DEPART_UNSURE),  # stopped, it could be started while it runs elsewhere
        (placement(Phase.DEPARTED), Action.CLEAR),
        (placement(Phase.STOPPED), Action.CLEAR),
        (placement(Phase.HELD, OTHER, SessionId("s-n2")), Action.CLEAR),
        (placement(Phase.ASSIGNED, OTHER), Action.CLEAR),
        (placement(Phase.HELD, ME, OLD), Action.NOTHING),  # who held it then has to be given up first
    ],
)
def test_what_a_broken_migration_by_hand_left_standing_is_never_resumed(placed: Placement, action: Action) -> None:
    assert decide(placed, local(S.OUTGOING), attempt=LEFT_STANDING) is action
    under_way = decide(placed, local(S.OUTGOING, migrating=True), attempt=LEFT_STANDING)
    is_told = placed.phase in (Phase.HELD, Phase.STOPPING) and placed.session == MINE
    assert under_way is (Action.NOTE_LEAVING if is_told else decide(placed, local(S.OUTGOING), attempt=Attempt()))
    assert action is Action.NOTHING or needs_fresh_reading(action)


LEFT_INCOMING = Attempt(left_incoming=True)


@pytest.mark.parametrize("phase", [Phase.HELD, Phase.STOPPING, Phase.STOPPED, Phase.DEPARTED])
def test_what_a_migration_of_ours_left_coming_in_is_ended_where_nobody_expects_it(phase: Phase) -> None:
    """The QEMU that receives it stands still, so that libvirt can not end it. A hand's has the epoch of its source."""
    placed = placement(phase, OTHER, SessionId("s-n2"))
    assert decide(placed, local(S.INCOMING, epoch=EPOCH + 1), attempt=LEFT_INCOMING) is Action.CLEAR
    assert decide(placed, local(S.INCOMING, epoch=EPOCH + 1)) is Action.NOTHING
    for epoch in (None, EPOCH, EPOCH + 2):
        assert decide(placed, local(S.INCOMING, epoch=epoch), attempt=LEFT_INCOMING) is Action.NOTHING
    assert needs_fresh_reading(Action.CLEAR)


def test_table_covers_every_phase_and_every_state() -> None:
    assert {(phase, state) for phase, row in TABLE.items() for state in row} == set(itertools.product(Phase, STATES))


@pytest.mark.parametrize(("phase", "state"), list(itertools.product(Phase, STATES)))
def test_what_is_done_about_a_vm_of_this_node(phase: Phase, state: SeenState | None) -> None:
    assert decide(placement(phase), local(state)) is TABLE[phase][state]


EVERYTHING = [
    (phase, node, session, state, epoch, migrating, tried, left, target, at_once, duplicate)
    for phase, node, session, state, epoch, migrating, tried, left, target, at_once, duplicate in itertools.product(
        Phase,
        (ME, OTHER),
        (MINE, OLD),
        STATES,
        (None, 4, 5, 6, 9),
        (False, True),
        (False, True),
        (False, True),
        (None, S.INCOMING, S.ARRIVED, S.RUNNING),
        (False, True),
        (None, *OnDuplicate),
    )
]


def test_nothing_raises_and_nothing_of_another_node_is_started_or_resumed_here() -> None:
    for phase, node, session, state, epoch, migrating, tried, left, target, at_once, duplicate in EVERYTHING:
        placed = placement(phase, node, session)
        action = decide(
            placed,
            local(state, epoch=epoch, migrating=migrating),
            attempt=Attempt(migration_tried=tried, left_by_migration=left),
            at_target=at_target(target),
            runs_at_once=at_once,
            duplicate=duplicate,
        )
        if placed.node != ME:
            assert action not in MAY_RUN_IT, (placed, state)
        if placed.session not in (None, MINE):
            assert action not in MAY_RUN_IT | {Action.RELEASE, Action.HAND_OVER, Action.DEPART}, (placed, state)
        if state is None:
            assert action not in {Action.STOP, Action.CLEAR, Action.TAG, Action.MIGRATE, Action.ADOPT}, (placed, state)
        if migrating and phase is Phase.MIGRATING and placed.node == ME and session == MINE and state is not None:
            assert action is Action.WAIT, (placed, state)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("phase", [Phase.HELD, Phase.STOPPING, Phase.MIGRATING])
def test_claim_of_an_earlier_session_of_this_node_is_not_acted_on(phase: Phase, state: SeenState | None) -> None:
    """Its proof comes first; what arrived and was never resumed is the one thing that may be cleared away."""
    expected = Action.CLEAR if state is S.ARRIVED else Action.NOTHING
    assert decide(placement(phase, session=OLD), local(state)) is expected


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("phase", [Phase.ASSIGNED, Phase.HELD, Phase.STOPPING])
def test_running_guest_of_another_node_is_never_silently_ended(phase: Phase, state: SeenState | None) -> None:
    action = decide(placement(phase, node=OTHER), local(state))
    assert action is (Action.CLEAR if state is S.ARRIVED else Action.NOTHING)


def test_guest_that_is_expected_here_by_migration_is_left_standing() -> None:
    assert decide(placement(Phase.MIGRATING, node=OTHER), local(S.ARRIVED, epoch=6)) is Action.NOTHING


def test_guest_from_a_later_agreement_than_the_one_read_is_left_standing() -> None:
    assert decide(placement(Phase.HELD, node=OTHER), local(S.ARRIVED, epoch=7)) is Action.NOTHING


@pytest.mark.parametrize("phase", [Phase.ASSIGNED, Phase.HELD])
def test_guest_that_arrived_goes_on_only_where_it_was_handed_over_to(phase: Phase) -> None:
    assert decide(placement(phase, arrival=True), local(S.ARRIVED)) is Action.RESUME_ARRIVAL
    assert decide(placement(phase, arrival=False), local(S.ARRIVED)) is Action.CLEAR


@pytest.mark.parametrize("in_vain", [False, True])
def test_guest_that_arrived_and_is_not_let_go_for_long_is_ended_unless_the_vm_is_frozen(in_vain: bool) -> None:
    held = placement(Phase.HELD, arrival=True)
    action = decide(held, local(S.ARRIVED), attempt=Attempt(let_go_in_vain=in_vain))
    assert action is (Action.CLEAR if in_vain else Action.RESUME_ARRIVAL)
    assert under_hold(action, held, local(S.ARRIVED)) is (Action.NOTHING if in_vain else Action.RESUME_ARRIVAL)


def test_arrival_of_another_epoch_than_assigned_is_cleared_away() -> None:
    assert decide(placement(Phase.ASSIGNED, arrival=True), local(S.ARRIVED, epoch=4)) is Action.CLEAR


@pytest.mark.parametrize(
    ("tried", "ours", "lacks_it", "elsewhere", "expected"),
    [
        (False, True, False, False, Action.HAND_OVER),  # its target is lost: who recovers it waits for a proof
        (False, True, None, False, Action.HAND_OVER),
        (True, False, None, False, Action.WAIT),  # libvirt refused ours while a hand's was under way
        (True, False, True, False, Action.DEPART),
        (True, False, False, False, Action.DEPART),  # a target that is lost says nothing of where a hand has sent it
        (False, False, False, False, Action.DEPART),
        (False, True, True, True, Action.DEPART),
    ],
)
def test_guest_that_left_is_handed_over_to_a_target_that_does_not_show_it_only_if_ours_took_it_away(
    tried: bool, ours: bool, lacks_it: bool | None, elsewhere: bool, expected: Action
) -> None:
    attempt = Attempt(migration_tried=tried, left_by_migration=True, migration_is_ours=ours)
    action = decide(
        placement(Phase.MIGRATING), None, attempt=attempt, target_lacks_it=lacks_it, seen_elsewhere=elsewhere
    )
    assert action is expected


@pytest.mark.parametrize("state", [S.RUNNING, S.PAUSED])
@pytest.mark.parametrize("epoch", [None, 4])
def test_held_guest_whose_tag_is_not_its_epoch_is_tagged(state: SeenState, epoch: int | None) -> None:
    assert decide(placement(Phase.HELD), local(state, epoch=epoch)) is Action.TAG


def test_guest_that_is_called_otherwise_than_the_record_says_is_marked_until_it_does_not() -> None:
    renamed = Local(state=SeenState.RUNNING, epoch=EPOCH, tagged=True, name="before")
    assert decide(placement(Phase.HELD), renamed) is Action.TAG
    on_record = transitions.call(placement(Phase.HELD), "before")
    assert decide(on_record, renamed) is Action.NOTHING
    assert decide(on_record, local(SeenState.RUNNING)) is Action.TAG


def test_guest_on_its_way_out_by_hand_is_not_tagged() -> None:
    here = local(S.RUNNING, epoch=4, migrating=True)
    assert decide(placement(Phase.HELD), here) is Action.NOTE_LEAVING
    assert decide(replace(placement(Phase.HELD), leaving=True), here) is Action.NOTHING


def test_held_guest_that_left_by_migration_has_departed() -> None:
    assert decide(placement(Phase.HELD), None, attempt=Attempt(left_by_migration=True)) is Action.DEPART


@pytest.mark.parametrize(
    ("left", "target", "expected"),
    [
        (True, S.ARRIVED, Action.HAND_OVER),
        (False, S.ARRIVED, Action.RELEASE),  # it may have run on here after that, and ended: what stands there is old
        (False, S.RUNNING, Action.HAND_OVER),
        (False, S.INCOMING, Action.WAIT),
        (False, None, Action.RELEASE),
    ],
)
def test_guest_that_is_gone_during_its_migration(left: bool, target: SeenState | None, expected: Action) -> None:
    attempt = Attempt(left_by_migration=left)
    assert decide(placement(Phase.MIGRATING), None, attempt=attempt, at_target=at_target(target)) is expected


@pytest.mark.parametrize("state", [S.RUNNING, S.PAUSED])
def test_migration_is_tried_once_and_then_the_guest_stays(state: SeenState) -> None:
    assert decide(placement(Phase.MIGRATING), local(state)) is Action.MIGRATE
    assert decide(placement(Phase.MIGRATING), local(state), attempt=Attempt(migration_tried=True)) is Action.KEEP


@pytest.mark.parametrize(
    ("is_tried", "at_once", "target", "expected"),
    [
        (True, False, None, Action.RESUME_AND_KEEP),
        (True, False, S.ARRIVED, Action.RESUME_AND_KEEP),
        (True, True, S.RUNNING, Action.CLEAR),
        (True, True, S.ARRIVED, Action.WAIT),
        (False, False, None, Action.MIGRATE),
        (False, True, None, Action.MIGRATE),
    ],
)
def test_guest_that_libvirt_could_not_let_go_on_after_a_migration_is_one_that_it_left_standing(
    is_tried: bool, at_once: bool, target: SeenState | None, expected: Action
) -> None:
    """As libvirt shows it since 9.2: it stood for ever before. What stood so already is no business of a migration."""
    stands = local(S.PAUSED)
    assert stands
    here = replace(stands, reason=NOT_LET_GO_ON)
    attempt = Attempt(migration_tried=is_tried)
    decided = decide(
        placement(Phase.MIGRATING), here, attempt=attempt, at_target=at_target(target), runs_at_once=at_once
    )
    assert decided is expected


@pytest.mark.parametrize(
    ("at_once", "target", "expected"),
    [
        (False, None, Action.RESUME_AND_KEEP),
        (False, S.ARRIVED, Action.RESUME_AND_KEEP),
        (True, S.RUNNING, Action.CLEAR),
        (True, S.ARRIVED, Action.WAIT),
        (True, S.PAUSED, Action.CLEAR),
        (True, None, Action.CLEAR),  # it may have run there: what stands here is older than the disk
    ],
)
def test_guest_left_standing_at_the_source_by_a_migration_of_unknown_end(
    at_once: bool, target: SeenState | None, expected: Action
) -> None:
    placed, here = placement(Phase.MIGRATING), local(S.OUTGOING)
    assert decide(placed, here, runs_at_once=at_once, at_target=at_target(target)) is expected


@pytest.mark.parametrize(
    ("target", "answers", "gone", "standing"),
    [
        (None, False, Action.WAIT, Action.WAIT),  # unknown is never absent
        (None, True, Action.RELEASE, Action.CLEAR),
        (S.RUNNING, False, Action.HAND_OVER, Action.CLEAR),
        (S.PAUSED, False, Action.HAND_OVER, Action.CLEAR),
        (S.INCOMING, True, Action.WAIT, Action.WAIT),
    ],
)
def test_where_libvirt_switches_by_itself_a_silent_target_is_waited_for(
    target: SeenState | None, answers: bool, gone: Action, standing: Action
) -> None:
    asked = {"runs_at_once": True, "at_target": at_target(target), "target_answers": answers}
    assert decide(placement(Phase.MIGRATING), None, **asked) is gone
    assert decide(placement(Phase.MIGRATING), local(S.OUTGOING), **asked) is standing


@pytest.mark.parametrize("state", STATES)
def test_removed_vm_loses_our_mark_and_nothing_else(state: SeenState | None) -> None:
    expected = Action.NOTHING if state is None else Action.UNTAG
    assert decide(placement(Phase.HELD), local(state), managed=False) is expected
    assert decide(None, local(state), managed=False) is expected


@pytest.mark.parametrize("state", STATES)
def test_managed_vm_without_a_placement_is_left_as_it_is(state: SeenState | None) -> None:
    assert decide(None, local(state)) is Action.NOTHING


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (OnDuplicate.PAUSE, Action.PAUSE_DUPLICATE),
        (OnDuplicate.DESTROY, Action.CLEAR),
        (OnDuplicate.ALARM, Action.ALARM_DUPLICATE),
    ],
)
def test_second_copy_is_treated_as_its_policy_says(policy: OnDuplicate, expected: Action) -> None:
    assert decide(placement(Phase.HELD, node=OTHER), local(S.RUNNING), duplicate=policy) is expected
    assert decide(placement(Phase.HELD), local(S.RUNNING), duplicate=policy) is Action.NOTHING


def test_second_copy_that_was_paused_as_such_is_never_adopted_resumed_moved_or_started_from() -> None:
    for phase, node, session, state, arrival in itertools.product(
        Phase, (ME, OTHER), (MINE, OLD), SeenState, (False, True)
    ):
        here = Local(state=state, epoch=EPOCH, tagged=True, second=True)
        action = decide(placement(phase, node, session, arrival=arrival), here)
        assert action not in MAY_RUN_IT | {Action.ADOPT, Action.TAG}, (phase, node, state)


@pytest.mark.parametrize(
    ("placed", "action"),
    [
        (placement(Phase.STOPPED), Action.CLEAR),  # its holder stopped, was released, or was given up
        (placement(Phase.ASSIGNED), Action.CLEAR),  # the vm boots anew here ...
        (placement(Phase.ASSIGNED, OTHER), Action.CLEAR),  # ... or elsewhere
        (placement(Phase.ASSIGNED, OTHER, arrival=True), Action.NOTHING),  # the rightful one moves on
        (placement(Phase.HELD), Action.CLEAR),  # adopted by an earlier version
        (placement(Phase.HELD, ME, OLD), Action.NOTHING),  # that claim has to be given up first
        (placement(Phase.HELD, OTHER, SessionId("s-n2")), Action.NOTHING),  # as on_duplicate says: it stands
        (placement(Phase.STOPPING), Action.CLEAR),  # all that is left here, and it hears no shutdown
        (placement(Phase.STOPPING, OTHER, SessionId("s-n2")), Action.NOTHING),
        (placement(Phase.MIGRATING, OTHER, SessionId("s-n2")), Action.NOTHING),
        (placement(Phase.DEPARTED, OTHER), Action.NOTHING),  # the rightful one may run outside
        (None, Action.NOTHING),
    ],
)
def test_second_copy_stands_while_the_vm_runs_elsewhere_and_is_ended_when_it_does_not(
    placed: Placement | None, action: Action
) -> None:
    assert decide(placed, Local(state=S.PAUSED, epoch=EPOCH, tagged=True, second=True)) is action
    assert action is Action.NOTHING or needs_fresh_reading(action)


def test_second_copy_of_a_removed_vm_keeps_its_mark_unless_somebody_has_let_it_run() -> None:
    """Or it would be adopted when the vm is added again."""
    standing, running = (Local(state=state, epoch=EPOCH, tagged=True, second=True) for state in (S.PAUSED, S.RUNNING))
    assert decide(None, standing, managed=False) is Action.NOTHING
    assert decide(None, running, managed=False) is Action.UNTAG


def test_what_ends_or_resumes_a_guest_is_decided_on_a_fresh_reading() -> None:
    ends_or_resumes = {
        Action.CLEAR,
        Action.RESUME_ARRIVAL,
        Action.RESUME_AND_KEEP,
        Action.RELEASE,
        Action.DEPART,
        Action.PAUSE_DUPLICATE,
        Action.ALARM_DUPLICATE,
    }
    assert all(needs_fresh_reading(action) for action in ends_or_resumes)


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("migrating", [False, True])
def test_only_a_guest_that_runs_here_under_our_claim_is_ended_for_its_health(
    phase: Phase, state: SeenState | None, migrating: bool
) -> None:
    decided = decide(placement(phase), local(state, migrating=migrating), attempt=Attempt(is_unwell=True))
    runs_under_our_claim = phase is Phase.HELD and state is SeenState.RUNNING and not migrating
    assert (decided is Action.END_UNWELL) is runs_under_our_claim


def test_guest_of_another_run_is_not_ended_for_the_health_of_this_one() -> None:
    unwell = Attempt(is_unwell=True)
    assert decide(placement(Phase.HELD), local(SeenState.RUNNING, epoch=4), attempt=unwell) is Action.TAG
    theirs = placement(Phase.HELD, session=OLD)
    assert decide(theirs, local(SeenState.RUNNING), attempt=unwell) is Action.NOTHING


def test_guest_is_ended_for_its_health_on_a_fresh_reading_only() -> None:
    assert needs_fresh_reading(Action.END_UNWELL)


@pytest.mark.parametrize(
    ("seen", "has_run", "epoch", "is_libvirts", "action"),
    [
        (S.RUNNING, False, EPOCH + 1, True, Action.CLEAR),
        (S.RUNNING, False, EPOCH + 1, False, Action.KEEP),  # ours lets nothing run there before it has left here
        (S.RUNNING, False, EPOCH, True, Action.KEEP),  # not what this migration has brought
        (S.PAUSED, True, EPOCH + 1, True, Action.CLEAR),  # a hand suspended it right after the switch
        (S.PAUSED, True, EPOCH + 1, False, Action.KEEP),
        (S.PAUSED, True, EPOCH, True, Action.KEEP),
        (S.PAUSED, False, EPOCH + 1, True, Action.KEEP),  # it has not run there, as far as is known
        (S.INCOMING, False, EPOCH + 1, True, Action.KEEP),
    ],
)
def test_what_runs_on_at_its_source_is_ended_where_the_target_has_gone_on(
    seen: SeenState, has_run: bool, epoch: int, is_libvirts: bool, action: Action
) -> None:
    there = replace(at_target(seen), epoch=Epoch(epoch), has_run=has_run)  # type: ignore[type-var]
    tried = Attempt(migration_tried=True)
    placed = placement(Phase.MIGRATING)
    assert decide(placed, local(S.RUNNING), attempt=tried, at_target=there, runs_at_once=is_libvirts) is action
    assert (
        decide(placed, local(S.RUNNING, migrating=True), attempt=tried, at_target=there, runs_at_once=is_libvirts)
        is Action.WAIT
    )


def test_vm_that_was_removed_on_its_way_here_and_has_not_come_is_not_started() -> None:
    """There is nothing left to start it by."""
    assert decide(placement(Phase.ASSIGNED, arrival=True), None, managed=False) is Action.NOTHING
    assert decide(placement(Phase.ASSIGNED, arrival=True), local(S.ARRIVED), managed=False) is Action.RESUME_ARRIVAL
