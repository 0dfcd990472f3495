"""What the leader does about a vm that runs nowhere, runs where it should, or was lost: tables over small clusters."""

from typing import Any

import pytest

from tests.support.clusters import LOST_S, SUSPECT_S, TIMING, Book, cluster
from vmha.model.ids import Epoch, NodeName, Revision, SessionId
from vmha.model.records import ArmedLevel, Failure, Phase, RunEnd, SeenState
from vmha.model.settings import ClusterConfig, Limits, Profile, Proof
from vmha.model.vm import AfterShutdown, Desired, Recovery
from vmha.policy.state.steps import Change, PlacementStep

HOME = ("n1", "n2")


def steps_about(book: Book, vm: str, **moment: Any) -> list[PlacementStep]:
    return [step for step in book.plan(**moment).steps if isinstance(step, PlacementStep) and step.vm == vm]


def assigned_to(book: Book, vm: str = "web", **moment: Any) -> NodeName | None:
    """Where one plan wants the vm started; None when it does not."""
    steps = [s for s in steps_about(book, vm, **moment) if s.change in (Change.ASSIGN, Change.RECOVER)]
    return steps[0].placement.node if steps and steps[0].placement else None


def migrated_to(book: Book, vm: str = "web", **moment: Any) -> NodeName | None:
    steps = [step for step in steps_about(book, vm, **moment) if step.change is Change.MIGRATE]
    return steps[0].placement.target if steps and steps[0].placement else None


def waiting_text(book: Book, vm: str = "web", **moment: Any) -> str:
    return next((waiting.text for waiting in book.plan(**moment).waiting if waiting.vm == vm), "")


# --- the first start


def test_vm_without_a_failover_domain_goes_to_the_node_with_the_fewest_vms() -> None:
    book = cluster("n1", "n2").running("db", "n1").vm("web")
    assert assigned_to(book) == "n2"


def test_tie_goes_to_the_first_name() -> None:
    assert assigned_to(cluster("n3", "n2", "n1").vm("web")) == "n1"


@pytest.mark.parametrize(
    ("flags", "online", "expected"),
    [
        ({"ordered": True}, ("n1", "n2", "n3"), "n1"),
        ({"ordered": True}, ("n2", "n3"), "n2"),
        ({"ordered": True}, ("n3",), "n3"),
        ({"restricted": True}, ("n3",), None),
        ({"restricted": True, "ordered": True}, ("n2", "n3"), "n2"),
        ({}, ("n2", "n3"), "n2"),
    ],
)
def test_vm_starts_where_its_failover_domain_prefers(
    flags: dict[str, bool], online: tuple[str, ...], expected: str
) -> None:
    book = cluster(*online).domain("home", *HOME, **flags).vm("web", failover_domain="home")
    assert assigned_to(book) == expected


def test_vm_that_no_node_can_take_waits_and_each_node_says_why() -> None:
    book = cluster("n3").offline("n1").domain("home", *HOME, restricted=True).vm("web", failover_domain="home")
    book.ended("web", "n3", RunEnd.ASKED)
    (step,) = steps_about(book, "web")
    assert step.change is Change.NOTE
    refusals = {candidate.node: candidate.refusal for candidate in step.reason.candidates}
    assert refusals == {"n1": "is offline", "n3": "is not in the restricted failover domain home"}


def test_vm_that_is_too_big_for_one_node_goes_to_the_other() -> None:
    book = cluster("n1", memory_mib=2048).node("n2").vm("web", memory_mib=4096)
    assert assigned_to(book) == "n2"


def test_more_important_vm_takes_the_last_room() -> None:
    book = (
        cluster("n1", memory_mib=2048).vm("aaa", memory_mib=2000, priority=1).vm("web", memory_mib=2000, priority=900)
    )
    assert (assigned_to(book, "web"), assigned_to(book, "aaa")) == ("n1", None)


def test_no_more_vms_start_at_once_on_a_node_than_the_limit_says() -> None:
    book = cluster("n1").configure(ClusterConfig(profile=Profile.TUNED, limits=Limits(starts_per_node=2)))
    for name in ("a", "b", "c"):
        book.vm(name)
    assert [assigned_to(book, name) for name in ("a", "b", "c")] == ["n1", "n1", None]


@pytest.mark.parametrize("desired", [Desired.STOPPED, Desired.DISABLED])
def test_vm_that_is_not_wanted_running_is_not_started(desired: Desired) -> None:
    assert cluster("n1").vm("web", desired=desired).plan().steps == ()


# --- who may receive a vm


@pytest.mark.parametrize(
    ("node", "refusal"),
    [
        ({"status": False}, "has not published its inventory yet"),
        ({"armed": ArmedLevel.NONE}, "has no guard armed"),
        ({"eligible": False, "why_not": "has no working hypervisor"}, "has no working hypervisor"),
        ({"leaving": True}, "is shutting down"),
        ({"spec": {"maintenance": True}}, "is in maintenance"),
    ],
)
def test_node_that_may_not_receive_vms_gets_none(node: dict[str, Any], refusal: str) -> None:
    book = cluster("n1").node("n2", **node).ended("web", "n2", RunEnd.ASKED).vm("web")
    book.domain("home", "n2", restricted=True).vm("web", failover_domain="home")
    assert assigned_to(book) is None
    assert f"n2 {refusal}" in waiting_text(book)


def test_vm_never_placed_is_started_only_when_every_node_has_looked_for_it() -> None:
    book = cluster("n1").node("n2", looked_for=Revision(1)).vm("web")
    assert assigned_to(book) is None
    assert "n2 has not looked for it yet" in waiting_text(book)


def test_vm_that_waits_for_one_node_after_the_other_to_look_is_noted_once() -> None:
    book = cluster("n1").node("n2", looked_for=Revision(1)).node("n3", looked_for=Revision(1)).vm("web")
    assert [step.change for step in steps_about(book, "web")] == [Change.NOTE]
    book.elect()
    book.carry_out(book.plan(), book.snapshot())
    assert book.claim("web").reason.text.startswith("not every node has looked for it yet")
    book.node("n2")
    assert "n3 has not looked for it yet" in waiting_text(book)
    assert book.plan().steps == ()
    book.node("n3")
    assert assigned_to(book) is not None


def test_vm_never_placed_waits_while_a_node_is_silent_that_might_run_it() -> None:
    book = cluster("n1").node("n2", lease=False).vm("web")
    assert assigned_to(book, silence_s={"n2": SUSPECT_S}) is None


def test_vm_that_ran_before_does_not_wait_for_other_nodes() -> None:
    book = cluster("n1").node("n2", looked_for=Revision(1)).vm("web").ended("web", "n1", RunEnd.ASKED)
    assert assigned_to(book) == "n1"


# --- found as it is


def test_vm_added_as_found_and_running_nowhere_is_stopped_not_started() -> None:
    book = cluster("n1").vm("web", desired=Desired.AS_FOUND)
    book.lead()
    assert book.spec("web").desired is Desired.STOPPED
    assert book.placement("web") is None


@pytest.mark.parametrize("desired", [Desired.AS_FOUND, Desired.STOPPED, Desired.RUNNING])
def test_vm_that_is_found_running_is_adopted_with_a_new_epoch_and_wanted_running(desired: Desired) -> None:
    book = cluster("n1", "n2").vm("web", desired=desired).seen("n2", "web")
    book.lead()
    held = book.claim("web")
    assert (held.phase, held.node, held.session, held.epoch) == (Phase.HELD, "n2", "s-n2", 1)
    assert book.spec("web").desired is Desired.RUNNING


def test_disabled_vm_that_is_found_running_is_left_to_its_operator() -> None:
    assert cluster("n1").vm("web", desired=Desired.DISABLED).seen("n1", "web").plan().steps == ()


def test_observation_of_a_session_that_is_over_counts_for_nothing() -> None:
    book = cluster("n1", "n2").vm("web").seen("n2", "web", session="s-older")
    assert steps_about(book, "web")[0].change is Change.ASSIGN


# --- lost nodes


def lost_cluster(**spec: Any) -> Book:
    """n1 held web and is gone; n2 and n3 live."""
    book = cluster("n2", "n3").node("n1", lease=False).vm("web", **spec).placed("web", "n1", epoch=4)
    return book.seen("n1", "web", epoch=Epoch(4))


def test_vm_of_a_silent_node_stays_its_until_there_is_proof() -> None:
    book = lost_cluster()
    assert steps_about(book, "web", silence_s={"n1": SUSPECT_S}) == []


def test_silence_for_the_whole_time_evicts_the_session_and_then_the_vm_is_recovered() -> None:
    book = lost_cluster()
    book.lead(silence_s={"n1": LOST_S})
    held = book.claim("web")
    assert (held.phase, held.node, held.epoch, held.last_node) == (Phase.ASSIGNED, "n2", 5, "n1")
    assert book.snapshot().fenced[SessionId("s-n1")].proof is Proof.GUARD_ELAPSED
    assert book.snapshot().nodes[NodeName("n1")].beat is None


def test_recovery_names_the_proof_it_rests_on() -> None:
    book = lost_cluster().fenced("s-n1", "n1")
    book.delete("/vmha/t/nodes/n1/beat")
    (step,) = steps_about(book, "web")
    assert (step.change, step.fenced) == (Change.RECOVER, "s-n1")
    assert "n1 is fenced (guard_elapsed)" in step.reason.text


def test_beat_that_comes_in_the_last_moment_makes_the_eviction_lose() -> None:
    book = lost_cluster()
    decided_on = book.snapshot()
    made = book.plan(silence_s={"n1": LOST_S})
    beat = decided_on.nodes[NodeName("n1")].beat
    assert beat
    book.put("/vmha/t/nodes/n1/beat", beat.value)
    assert book.carry_out(made, decided_on) == 0


def test_node_with_a_new_session_does_not_free_the_claims_of_the_old_one() -> None:
    book = cluster("n2").node("n1", session="s-new").vm("web").placed("web", "n1", session=SessionId("s-old"))
    assert assigned_to(book) is None
    assert "waiting for proof" in waiting_text(book)


def test_lost_vm_that_is_not_wanted_running_is_released_not_started() -> None:
    book = lost_cluster(desired=Desired.STOPPED).fenced("s-n1", "n1")
    book.delete("/vmha/t/nodes/n1/beat")
    book.lead()
    held = book.claim("web")
    assert (held.phase, held.ended) == (Phase.STOPPED, RunEnd.NODE_LOST)


def test_lost_vm_that_somebody_runs_already_is_adopted_not_started_again() -> None:
    book = lost_cluster().fenced("s-n1", "n1").seen("n3", "web")
    book.delete("/vmha/t/nodes/n1/beat")
    assert [step.change for step in steps_about(book, "web")] == [Change.ADOPT]


def test_assignment_that_was_never_claimed_moves_on_without_proof() -> None:
    book = cluster("n2").offline("n1").vm("web").placed("web", "n1", phase=Phase.ASSIGNED)
    (step,) = steps_about(book, "web")
    assert step.placement
    assert (step.change, step.placement.node, step.placement.epoch) == (Change.ASSIGN, "n2", 2)


@pytest.mark.parametrize("phase", [Phase.MIGRATING, Phase.STOPPING])
def test_change_under_way_on_a_living_node_is_left_to_it(phase: Phase) -> None:
    book = cluster("n1", "n2").vm("web").placed("web", "n1", phase=phase, target=NodeName("n2"))
    assert book.plan().steps == ()


@pytest.mark.parametrize("phase", [Phase.MIGRATING, Phase.STOPPING])
def test_change_under_way_on_a_lost_node_ends_in_recovery(phase: Phase) -> None:
    book = cluster("n2", "n3").offline("n1").vm("web").placed("web", "n1", phase=phase, target=NodeName("n2"))
    book.fenced("s-n1", "n1").lead()
    held = book.claim("web")
    assert (held.phase, held.epoch) == (Phase.ASSIGNED, 2)


# --- endings and recovery policies


@pytest.mark.parametrize(
    ("spec", "ended", "restarts", "expected"),
    [
        ({}, RunEnd.CRASHED, (), "n2"),
        ({"recovery": Recovery.RELOCATE}, RunEnd.CRASHED, (), "n1"),
        ({"recovery": Recovery.DISABLE}, RunEnd.CRASHED, (), Desired.DISABLED),
        ({"recovery": Recovery.RESTART_DISABLE, "max_restarts": 2}, RunEnd.CRASHED, (1.0,), "n2"),
        ({"recovery": Recovery.RESTART_DISABLE, "max_restarts": 2}, RunEnd.CRASHED, (1.0, 2.0), Desired.DISABLED),
        ({"max_restarts": 1}, RunEnd.CRASHED, (1.0,), "n1"),
        ({}, RunEnd.GUEST_SHUTDOWN, (), "n2"),
        ({"on_guest_shutdown": AfterShutdown.STOP}, RunEnd.GUEST_SHUTDOWN, (), Desired.STOPPED),
        ({}, RunEnd.DESTROYED, (), "n2"),
        ({"on_outside_stop": AfterShutdown.STOP}, RunEnd.DESTROYED, (), Desired.STOPPED),
        ({}, RunEnd.SAVED, (), Desired.STOPPED),
        ({}, RunEnd.ASKED, (), "n1"),
        ({}, RunEnd.NODE_LOST, (), "n1"),
        ({}, RunEnd.WITHDRAWN, (), "n1"),
    ],
)
def test_how_a_vm_ended_on_n2_decides_what_follows(
    spec: dict[str, Any], ended: RunEnd, restarts: tuple[float, ...], expected: object
) -> None:
    book = cluster("n1", "n2").vm("web", **spec).ended("web", "n2", ended, restarts=restarts)
    book.lead()
    held = book.claim("web")
    if isinstance(expected, Desired):
        assert (held.phase, book.spec("web").desired) == (Phase.STOPPED, expected)
    else:
        assert (held.phase, held.node, held.epoch) == (Phase.ASSIGNED, expected, 2)


def test_restarts_outside_their_window_are_forgotten() -> None:
    spec = {"recovery": Recovery.RESTART_DISABLE, "max_restarts": 1, "restart_window_s": 60}
    book = cluster("n2").vm("web", **spec).ended("web", "n2", RunEnd.CRASHED, restarts=(1.0,))
    assert assigned_to(book) == "n2"


def test_vm_that_keeps_ending_rests_longer_and_longer_and_says_so() -> None:
    book = cluster("n1").vm("web")
    now = book.clock.wall()
    for endings, rests in (((), False), ((now,), False), ((now, now), True), ((now,) * 9, True)):
        book.ended("web", "n1", RunEnd.CRASHED, endings=endings)
        assert (assigned_to(book) is None) is rests
    assert "in a short while" in waiting_text(book)
    book.clock.at += 61.0
    assert assigned_to(book) == "n1"


def test_node_on_which_a_start_failed_rests_and_another_is_tried() -> None:
    book = cluster("n1", "n2").vm("web")
    failures: tuple[Failure, ...] = (Failure(node=NodeName("n1"), at=book.clock.wall(), error="no disk"),)
    book.ended("web", "n1", RunEnd.START_FAILED, failures=failures)
    assert assigned_to(book) == "n2"


def test_only_node_rests_after_each_failed_start_twice_as_long() -> None:
    book = cluster("n1").vm("web")
    begin = book.clock.wall()
    for count, rest_s in ((1, 5.0), (2, 10.0), (3, 20.0)):
        failures = tuple(Failure(node=NodeName("n1"), at=begin, error="no disk") for _ in range(count))
        book.ended("web", "n1", RunEnd.START_FAILED, failures=failures)
        book.clock.at = rest_s - 0.1
        assert assigned_to(book) is None
        assert book.plan().wake_in_s == pytest.approx(0.1, abs=0.01)
        book.clock.at = rest_s
        assert assigned_to(book) == "n1"


@pytest.mark.parametrize("ended", [RunEnd.CRASHED, RunEnd.START_FAILED])
def test_rest_is_taken_although_the_clock_of_the_host_that_wrote_its_beginning_is_a_day_ahead(ended: RunEnd) -> None:
    book = cluster("n1").elect("n1").vm("web")
    then = book.clock.wall() + 86400.0
    failures = (Failure(node=NodeName("n1"), at=then, error="no disk"),) if ended is RunEnd.START_FAILED else ()
    book.ended("web", "n1", ended, endings=(then, then), failures=failures, since=then)
    book.lead()
    assert book.claim("web").phase is Phase.STOPPED
    assert book.claim("web").since == book.clock.wall()
    book.clock.at += 4.5
    assert (assigned_to(book) is None) is (ended is RunEnd.START_FAILED)
    book.clock.at += 1.0
    assert assigned_to(book) == "n1"


# --- running, and to be moved or stopped


@pytest.mark.parametrize("desired", [Desired.STOPPED, Desired.DISABLED])
def test_running_vm_that_is_not_wanted_is_asked_to_stop(desired: Desired) -> None:
    (step,) = steps_about(cluster("n1").running("web", "n1", desired=desired), "web")
    assert step.change is Change.STOP


@pytest.mark.parametrize("why", [{"spec": {"maintenance": True}}, {"leaving": True}])
def test_node_that_is_drained_or_leaves_sends_its_vms_away_by_migration(why: dict[str, Any]) -> None:
    book = cluster("n2", "n3").node("n1", **why).running("web", "n1")
    assert migrated_to(book) == "n2"


def test_drain_respects_the_limit_of_migrations_of_a_node() -> None:
    book = cluster("n2").configure(ClusterConfig(profile=Profile.TUNED, limits=Limits(migrations_per_node=2)))
    book.node("n1", spec={"maintenance": True})
    for name in ("a", "b", "c"):
        book.running(name, "n1")
    moving = [name for name in ("a", "b", "c") if migrated_to(book, name)]
    assert moving == ["a", "b"]
    assert "migrations in progress" in waiting_text(book, "c")


def test_drain_without_another_node_leaves_the_vm_running_and_says_why() -> None:
    book = cluster("n1", spec={"maintenance": True}).running("web", "n1")
    (step,) = steps_about(book, "web")
    assert step.change is Change.NOTE
    assert step.placement
    assert (step.placement.phase, step.placement.node) == (Phase.HELD, "n1")


def preferring_n1(**flags: bool) -> Book:
    return cluster("n1", "n2").domain("home", *HOME, ordered=True, **flags).running("web", "n2", failover_domain="home")


def test_more_preferred_node_gets_its_vm_back_by_migration() -> None:
    assert migrated_to(preferring_n1()) == "n1"


def test_nofailback_leaves_the_vm_where_it_runs() -> None:
    assert migrated_to(preferring_n1(nofailback=True)) is None


def test_vm_that_an_operator_moved_comes_home_only_to_a_node_that_joins_later() -> None:
    book = preferring_n1()
    book.placed("web", "n2", failback_after=Revision(book.revision))
    assert migrated_to(book) is None
    book.delete("/vmha/t/nodes/n1/beat")
    book.node("n1")
    assert migrated_to(book) == "n1"


def test_paused_vm_is_not_migrated() -> None:
    book = preferring_n1().seen("n2", "web", SeenState.PAUSED)
    assert migrated_to(book) is None


def test_vm_of_a_suspected_node_is_not_migrated() -> None:
    book = cluster("n1").node("n2", lease=False).domain("home", *HOME, ordered=True)
    book.running("web", "n2", failover_domain="home")
    assert migrated_to(book, silence_s={"n2": SUSPECT_S}) is None


# --- departed, removed


def test_departed_vm_is_never_started_by_the_cluster() -> None:
    book = cluster("n1").vm("web").placed("web", "n2", phase=Phase.DEPARTED, ended_why="somebody migrated it away")
    assert steps_about(book, "web") == []
    assert waiting_text(book) == "somebody migrated it away"


def test_departed_vm_is_adopted_where_it_is_seen() -> None:
    book = cluster("n1", "n3").vm("web").placed("web", "n1", phase=Phase.DEPARTED, epoch=3).seen("n3", "web")
    book.lead()
    held = book.claim("web")
    assert (held.phase, held.node, held.epoch) == (Phase.HELD, "n3", 4)


@pytest.mark.parametrize("phase", [Phase.HELD, Phase.STOPPED, Phase.DEPARTED, Phase.ASSIGNED])
def test_removed_vm_is_disowned_and_its_guest_left_alone(phase: Phase) -> None:
    book = cluster("n1").placed("web", "n1" if phase is not Phase.STOPPED else None, phase=phase).seen("n1", "web")
    if phase in (Phase.HELD, Phase.DEPARTED):
        first = book.elect().plan()  # what is known of it comes first (test_removed.py)
        assert steps_about(book, "web") == []
        book.carry_out(first, book.snapshot())
    (step,) = steps_about(book, "web")
    assert (step.change, step.placement) == (Change.DISOWN, None)


def test_removed_vm_on_its_way_arrives_first() -> None:
    book = cluster("n1", "n2").placed("web", "n1", phase=Phase.MIGRATING, target=NodeName("n2"))
    assert book.plan().steps == ()


# --- conditions that steps carry


def test_step_that_gives_a_vm_to_a_node_requires_the_session_that_was_judged() -> None:
    book = cluster("n1").vm("web")
    decided_on = book.snapshot()
    made = book.plan()
    book.delete("/vmha/t/nodes/n1/beat")
    book.node("n1", session="s-next")
    assert book.carry_out(made, decided_on) == 0


def test_deposed_leader_writes_nothing() -> None:
    book = cluster("n1", "n2").vm("web")
    decided_on, made, old_term = book.snapshot(), book.plan(), book.term
    book.elect("n2")
    assert [book.apply(step, decided_on, term=old_term) for step in made.steps] == [False]


def test_plan_wakes_when_silence_alone_will_change_a_verdict() -> None:
    book = cluster("n2").node("n1", lease=False).running("web", "n1")
    made = book.plan(silence_s={"n1": 0.5, "n2": 0.0})
    assert made.look_in_s == made.late_in_s == pytest.approx(TIMING.suspect_s - 0.5)


def test_where_all_is_well_only_silence_brings_another_plan() -> None:
    assert cluster("n1", "n2").running("web", "n1").plan(silence_s={"n1": 0.5, "n2": 0.0}).wake_in_s is None
