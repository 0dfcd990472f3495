"""A node that a fence agent has switched off: when it is switched on again, and when it stays off."""

from typing import Any

import pytest

from tests.support.clusters import KEYS, SUSPECT_S, Book, cluster
from vmha.model.holds import PauseMode
from vmha.model.ids import NodeName, SessionId
from vmha.model.records import FenceAttempt, FenceStage, HistoryRecord, Progress, Verb
from vmha.model.settings import Afterwards, ClusterConfig, Fencing, Profile, Proof
from vmha.model.vm import FenceDeviceSpec, FenceRole, NodeSpec
from vmha.policy.members.power_on import (
    LONGEST_RETRY_S,
    MOST_TIMES,
    WITHIN_S,
    retry_after_s,
    stage_after,
    why_not_on,
)
from vmha.policy.state.carried_out import carry_out
from vmha.policy.state.steps import EvictSession, FenceNode, PowerOn, SettlePower, Step

N1, S1 = NodeName("n1"), SessionId("s-n1")
POWER = FenceDeviceSpec(agent="fence_test")


def settings(afterwards: Afterwards = Afterwards.POWER_ON, **fencing: Any) -> ClusterConfig:
    return ClusterConfig(profile=Profile.TUNED, fencing=Fencing(afterwards=afterwards, **fencing))


def fenced(config: ClusterConfig | None = None, **spec: Any) -> Book:
    """n1 held web, fell silent and was switched off; n2 leads, and has web."""
    book = cluster("n2", "n3").node("n1", lease=False, spec={"fence": (POWER,), **spec}).running("web", "n1")
    book.configure(config or settings())
    decided_on = book.snapshot()
    (step,) = [step for step in book.plan(silence_s={"n1": SUSPECT_S}).steps if isinstance(step, FenceNode)]
    assert book.apply(step, decided_on)
    assert book.snapshot().nodes[N1].beat is None
    return book


def about_power(book: Book, **moment: Any) -> list[Step]:
    return [step for step in book.plan(**moment).steps if isinstance(step, PowerOn | SettlePower)]


def stage(book: Book) -> FenceStage | None:
    view = book.snapshot().nodes[N1]
    return view.fencing.value.stage if view.fencing else None


def note(book: Book, stage: FenceStage, **fields: Any) -> None:
    """As the leader that is at work on it writes it."""
    given = {"session": S1, "attempts": 1, "at": book.clock.wall(), "by": NodeName("n2"), **fields}
    book.put(KEYS.fence_attempt(N1), FenceAttempt(node=N1, stage=stage, **given))


def test_node_is_switched_on_by_what_switched_it_off_once_the_proof_is_on_record() -> None:
    book = fenced()
    view = book.snapshot().nodes[N1]
    assert (stage(book), book.snapshot().fenced[S1].proof) == (FenceStage.OFF, Proof.POWER_OFF_CONFIRMED)
    (step,) = about_power(book)
    assert isinstance(step, PowerOn)
    assert view.fencing
    assert view.spec
    assert (step.session, step.fencing, step.spec) == (S1, view.fencing.modified, view.spec.modified)
    assert (step.attempt, step.reason.cause) == (1, "lost-n1-s-n1")


def test_nobody_waits_for_it_and_its_vms_go_elsewhere_in_the_same_plan() -> None:
    book = fenced()
    book.carry_out(book.plan(), book.snapshot())
    assert book.claim("web").node == "n2"
    assert about_power(book)


def test_nothing_is_on_record_of_it_where_a_node_is_to_stay_off() -> None:
    book = fenced(settings(Afterwards.STAY_OFF))
    assert (stage(book), about_power(book)) == (None, [])
    book.configure(settings())  # made afterwards, it is for the next one
    assert about_power(book) == []


@pytest.mark.parametrize("proof", [proof for proof in Proof if proof is not Proof.POWER_OFF_CONFIRMED])
def test_no_other_proof_than_a_fence_agents_has_a_node_switched_on(proof: Proof) -> None:
    book = cluster("n2").node("n1", lease=False, spec={"fence": (POWER,)}).configure(settings())
    decided_on = book.snapshot()
    beat = decided_on.nodes[N1].beat
    assert beat
    evict = EvictSession(
        node=N1,
        session=S1,
        beat_created=beat.created,
        beat_modified=beat.modified,
        proof=proof,
        how="so it is",
        reason=book.plan(silence_s={"n1": 99.0}).steps[0].reason,  # type: ignore[union-attr]
    )
    assert book.apply(evict, decided_on)
    assert about_power(book) == []


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"maintenance": True}, "it is in maintenance"),
        ({"fence": ()}, "it has no fence agent that switches power"),
        (
            {"fence": (FenceDeviceSpec(agent="a", role=FenceRole.STORAGE),)},
            "it has no fence agent that switches power",
        ),
        ({"fence": (FenceDeviceSpec(agent="a", role=FenceRole.VERIFY),)}, "it has no fence agent that switches power"),
    ],
)
def test_what_an_operator_says_of_a_node_leaves_it_off_for_as_long(spec: dict[str, Any], why: str) -> None:
    book = fenced()
    book.put(KEYS.node_spec(N1), NodeSpec(name="n1", **{"fence": (POWER,), **spec}))
    assert about_power(book) == []
    assert why_not_on(book.snapshot().nodes[N1], book.snapshot()) == why
    book.put(KEYS.node_spec(N1), NodeSpec(name="n1", fence=(POWER,)))
    assert about_power(book)


def test_setting_that_is_taken_back_leaves_it_off() -> None:
    book = fenced().configure(settings(Afterwards.STAY_OFF))
    assert about_power(book) == []
    assert why_not_on(book.snapshot().nodes[N1], book.snapshot()) == "fencing.afterwards is stay-off"


def test_paused_cluster_switches_nothing_on() -> None:
    book = fenced()
    book.pause(PauseMode.ALL)
    assert about_power(book) == []
    assert why_not_on(book.snapshot().nodes[N1], book.snapshot()) == "the cluster is paused"


def test_host_that_was_being_shut_down_is_left_off() -> None:
    book = cluster("n2", "n3").node("n1", lease=False, spec={"fence": (POWER,)}, leaving=True).running("web", "n1")
    book.configure(settings())
    decided_on = book.snapshot()
    for step in book.plan(silence_s={"n1": SUSPECT_S}).steps:
        assert book.apply(step, decided_on)
    assert (stage(book), about_power(book)) == (FenceStage.OFF, [])
    assert why_not_on(book.snapshot().nodes[N1], book.snapshot()) == "its host was being shut down in good order"


def test_store_that_was_restored_since_switches_nothing_on() -> None:
    book = fenced()
    record = HistoryRecord(id="h", by=N1, at=book.clock.wall() + 1.0, why="w", settle_s=1.0, settled=True)
    book.put(KEYS.history, record)
    assert about_power(book) == []


def test_node_whose_proof_is_not_on_record_is_not_switched_on() -> None:
    book = fenced()
    book.delete(KEYS.fencing(S1))
    assert about_power(book) == []


def test_one_that_is_being_switched_on_is_asked_once_by_one_leader_and_again_by_the_next() -> None:
    book = fenced()
    note(book, FenceStage.SWITCHING_ON)
    assert about_power(book, powering_on=frozenset({S1})) == []
    (step,) = about_power(book)
    assert isinstance(step, PowerOn)
    assert step.attempt == 2


def test_failure_is_tried_again_after_its_time_and_ever_more_seldom_but_for_ever() -> None:
    book = fenced()
    book.clock.at = 1000.0
    note(book, FenceStage.NOT_ON, attempts=3, message="no route")
    made = book.plan(power_on_failed_at={S1: 990.0})
    assert [step for step in made.steps if isinstance(step, PowerOn)] == []
    assert made.wake_in_s == 10.0  # 5 s, 10 s, and now 20 s
    assert about_power(book, power_on_failed_at={S1: 980.0})
    assert [retry_after_s(tries, 5.0) for tries in (1, 2, 3, 6, 7, 10**6)] == [5, 10, 20, 160, 300, LONGEST_RETRY_S]
    assert retry_after_s(9, 600.0) == 600.0  # never sooner than the operator says


@pytest.mark.parametrize("known", [FenceStage.ON, FenceStage.LEFT_OFF])
def test_one_that_has_power_again_or_was_left_off_is_asked_no_more(known: FenceStage) -> None:
    book = fenced()
    note(book, known)
    assert about_power(book) == []


@pytest.mark.parametrize("known", [FenceStage.OFF, FenceStage.NOT_ON, FenceStage.ON, FenceStage.LEFT_OFF])
def test_once_it_beats_it_is_a_node_like_any_other(known: FenceStage) -> None:
    """And when it is shut down later, nobody remembers that it was to be switched on."""
    book = fenced()
    note(book, known)
    book.node("n1", session="s-new", status=False)
    assert "n1" not in {step.node for step in book.plan().steps if isinstance(step, PowerOn)}
    book.lead()
    assert stage(book) is None
    verdict = book.snapshot().nodes[N1]
    assert verdict.current_status is None  # so it may receive nothing yet
    book.delete(KEYS.beat(N1))
    assert about_power(book) == []


def times_fenced(book: Book, *ago_s: float) -> Book:
    for number, ago in enumerate(ago_s):
        book.clock.at -= ago
        for session in (f"s-old-{number}", f"s-former-{number}"):  # of one eviction, at one instant
            proof = book.snapshot().fenced[S1]
            value = proof.__class__(
                session=SessionId(session), node=N1, proof=proof.proof, how="", at=book.clock.wall(), by=proof.by
            )
            book.put(KEYS.fencing(SessionId(session)), value)
        book.clock.at += ago
    return book


@pytest.mark.parametrize(
    ("ago_s", "is_left_off"),
    [
        ((600.0, 1200.0), False),
        ((600.0, 1200.0, 1800.0), True),
        ((600.0, 1200.0, WITHIN_S + 1.0), False),
        ((60.0, 120.0, 180.0, 240.0), True),
    ],
)
def test_node_that_is_fenced_again_and_again_stays_off_and_it_is_said(
    ago_s: tuple[float, ...], is_left_off: bool
) -> None:
    assert MOST_TIMES == 3
    book = times_fenced(fenced(), *ago_s)
    (step,) = about_power(book)
    assert isinstance(step, SettlePower) is is_left_off
    if isinstance(step, SettlePower):
        assert step.text.startswith(f"n1 stays off: it was fenced {len(ago_s) + 1} times within 60 minutes")
        assert book.apply(step, book.snapshot())
        assert stage(book) is FenceStage.LEFT_OFF
        book.clock.at += 10 * WITHIN_S
        assert about_power(book) == []  # until a hand switches it on


def test_node_that_a_person_confirms_to_be_off_is_left_off() -> None:
    book = fenced()
    note(book, FenceStage.NOT_ON)
    book.request(Verb.CONFIRM_OFF, node="n1")
    steps = [step for step in about_power(book) if isinstance(step, SettlePower)]
    assert [step.text for step in steps] == ["n1 stays off: ann confirmed that it is powered off"]
    assert book.apply(steps[0], book.snapshot())
    book.lead()
    assert (stage(book), about_power(book)) == (FenceStage.LEFT_OFF, [])
    assert book.answered().progress is Progress.DONE


def test_plan_on_its_own_result_proposes_nothing_more() -> None:
    book = fenced()
    (step,) = about_power(book)
    after = carry_out(book.snapshot(), step, wall=book.clock.wall())
    fencing = after.nodes[N1].fencing
    assert fencing
    assert fencing.value.stage is FenceStage.ON


@pytest.mark.parametrize("afterwards", Afterwards)
@pytest.mark.parametrize("proof", Proof)
def test_only_a_power_cut_and_a_cut_off_disk_leave_something_to_do(proof: Proof, afterwards: Afterwards) -> None:
    left = {
        (Proof.STORAGE_FENCED, Afterwards.STAY_OFF): FenceStage.STORAGE_CUT,
        (Proof.STORAGE_FENCED, Afterwards.POWER_ON): FenceStage.STORAGE_CUT,
        (Proof.POWER_OFF_CONFIRMED, Afterwards.POWER_ON): FenceStage.OFF,
    }
    assert stage_after(proof, afterwards) is left.get((proof, afterwards))
