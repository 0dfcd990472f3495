"""Who may be asked to promise, who promises, and who may conclude from silence: the rules of failsafe as tables."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.clusters import KEYS, LOST_S, SETTINGS, SUSPECT_S, TIMING, Book, cluster
from vmha.model.ids import NodeName, SessionId
from vmha.model.keys import encode
from vmha.model.settings import Proof
from vmha.policy.members.failsafe import (
    LATE_BEATS,
    Promiser,
    Terms,
    elapsed_after_s,
    longest_s,
    refuse_promise,
    terms_of,
    who_should_lead,
    whom_to_ask,
)
from vmha.policy.members.membership import Condition
from vmha.policy.plan import judge_all
from vmha.policy.state.snapshot import Moment, PeersSay
from vmha.policy.state.steps import EvictSession, FenceNode
from vmha.store.port import Put

N1, N2, N3, N4 = (NodeName(f"n{number}") for number in range(1, 5))
DAY_S = 86400.0
UNKNOWN_AFTER_S = LOST_S + DAY_S * 1.01
BLINK_S = 0.01


def beat_again(book: Book, node: str, **fields: Any) -> Book:
    """The node's next beat, with these fields."""
    view = book.snapshot().nodes[NodeName(node)]
    assert view.beat
    book.put(KEYS.beat(NodeName(node)), replace(view.beat.value, **fields))
    return book


def with_channels(*nodes: str) -> Book:
    book = cluster(*nodes)
    for node in nodes:
        beat_again(book, node, peers_address=f"{node}:7700")
    return book


def promised(book: Book, node: str, *names: NodeName) -> Book:
    return beat_again(book, node, promisers=names, failsafe_s=DAY_S)


# --- what a beat says


def terms_in(book: Book, me: NodeName, *, has_channel: bool = True) -> Terms:
    snapshot = book.snapshot()
    addresses = {name: view.beat.value.peers_address for name, view in snapshot.nodes.items() if view.beat}
    is_one_unread = any(key.endswith("/beat") for key in snapshot.problems)
    return terms_of(snapshot.config, addresses, me, has_channel=has_channel, is_one_unread=is_one_unread)


def test_beat_names_every_other_node_that_has_a_session() -> None:
    book = with_channels("n1", "n2", "n3").offline("n4")
    assert terms_in(book, N1) == Terms(promisers=(N2, N3), at_most_s=DAY_S)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda book: book.configure(SETTINGS.model_copy(update={"failsafe": False})), "switched off"),
        (lambda book: book.node("n4"), "n4 has no channel"),
        (lambda book: book.txn([], [Put(KEYS.beat(N4), b"no beat at all")]), "can not be read"),
        (lambda book: [book.delete(KEYS.beat(node)) for node in (N2, N3)], "no other node"),
    ],
)
def test_beat_names_nobody_when_not_everybody_can_be_asked(spoil: Any, why: str) -> None:
    book = with_channels("n1", "n2", "n3")
    spoil(book)
    terms = terms_in(book, N1)
    assert terms.promisers == ()
    assert why in terms.why_none


def test_node_without_a_channel_names_nobody() -> None:
    terms = terms_in(with_channels("n1", "n2"), N1, has_channel=False)
    assert terms.promisers == ()
    assert "peers_secret_file" in terms.why_none


def test_everybody_is_asked_whom_any_beat_names_that_may_be_on_record() -> None:
    said = [Terms(promisers=(N2,), at_most_s=60.0), Terms(promisers=(N3,), at_most_s=30.0)]
    assert whom_to_ask(said) == (N2, N3)
    assert longest_s(said) == 30.0
    assert whom_to_ask([*said, Terms()]) == ()
    assert whom_to_ask([]) == ()


# --- who promises


def refusal(book: Book, *, session: str = "s-n1", **about: Any) -> str:
    given = {"has_session": True, "store_answers": False, "has_read": True} | about
    return refuse_promise(N1, SessionId(session), book.snapshot(), Promiser(node=N2, **given))


def test_peer_without_the_store_promises_to_the_session_it_knows() -> None:
    assert refusal(with_channels("n1", "n2")) == ""


@pytest.mark.parametrize(
    ("about", "why"),
    [
        ({"has_session": False}, "no session"),
        ({"store_answers": True}, "cut off alone"),
        ({"has_read": False}, "began without the store"),
        ({"session": "s-other"}, "does not know this session"),
        ({"fencing": frozenset({SessionId("s-n1")})}, "powered off"),
    ],
)
def test_peer_does_not_promise_what_it_could_not_keep(about: dict[str, Any], why: str) -> None:
    assert why in refusal(with_channels("n1", "n2"), **about)


def test_fenced_session_and_evicted_session_are_promised_nothing() -> None:
    assert "fenced" in refusal(with_channels("n1", "n2").fenced("s-n1", "n1"))
    book = with_channels("n1", "n2")
    book.delete(KEYS.beat(N1))
    assert "does not know this session" in refusal(book)


# --- who may conclude from silence


@pytest.mark.parametrize(
    ("names", "observer", "after_s"),
    [
        ((), N4, LOST_S),
        ((), None, LOST_S),
        ((N2, N3), N2, LOST_S),
        ((N2, N3), N4, UNKNOWN_AFTER_S),
        ((N2, N3), None, UNKNOWN_AFTER_S),
    ],
)
def test_silence_is_a_proof_for_those_who_were_asked(
    names: tuple[NodeName, ...], observer: NodeName | None, after_s: float
) -> None:
    beat = promised(with_channels("n1"), "n1", *names).snapshot().nodes[N1].beat
    assert beat
    assert elapsed_after_s(beat.value, observer) == pytest.approx(after_s)


def lost_stranger(*, fence: bool = False) -> Book:
    """n1 holds web and its last beat names n2; n4 joined after that and leads."""
    book = cluster("n4", "n2").node("n1", lease=False, fence=fence).running("web", "n1")
    return promised(book, "n1", N2)


def against_n1(book: Book, **moment: Any) -> list[Any]:
    steps = book.plan(**moment).steps
    return [step for step in steps if isinstance(step, FenceNode | EvictSession) and step.node == N1]


def test_leader_that_a_beat_does_not_name_does_not_evict_by_silence() -> None:
    book = lost_stranger()
    assert against_n1(book, silence_s={"n1": LOST_S}, observer=N4) == []
    (evict,) = against_n1(book, silence_s={"n1": LOST_S}, observer=N2)
    assert evict.proof is Proof.GUARD_ELAPSED


def test_it_says_what_it_waits_for_and_does_not_wait_for_ever() -> None:
    book = lost_stranger()
    moment = book.moment(silence_s={"n1": LOST_S}, observer=N4)
    verdict = judge_all(book.snapshot(), moment)[N1]
    assert verdict.condition is Condition.SUSPECT
    assert "by the promise of n2" in verdict.refusal
    assert "confirm-off" in verdict.refusal
    (evict,) = against_n1(book, silence_s={"n1": UNKNOWN_AFTER_S}, observer=N4)
    assert isinstance(evict, EvictSession)


def test_it_may_have_the_power_cut_all_the_same() -> None:
    (step,) = against_n1(lost_stranger(fence=True), silence_s={"n1": LOST_S}, observer=N4)
    assert isinstance(step, FenceNode)


@pytest.mark.parametrize(
    ("silence_s", "observer", "better"),
    [
        ({"n1": LOST_S}, N4, N2),
        ({"n1": LOST_S - BLINK_S}, N4, None),
        ({"n1": LOST_S}, N2, None),
        ({"n1": LOST_S, "n2": SUSPECT_S}, N4, None),
        ({"n1": UNKNOWN_AFTER_S}, N4, None),
    ],
)
def test_stranger_leaves_the_lead_to_one_who_may_conclude_and_is_there(
    silence_s: dict[Any, float], observer: NodeName, better: NodeName | None
) -> None:
    book = lost_stranger()
    assert who_should_lead(book.snapshot(), book.moment(silence_s=silence_s, observer=observer)) == better


# --- fast suspicion


LATE_S = TIMING.beat_s * LATE_BEATS
GONE = TIMING.suspect_by_peers_s


def condition_of_n1(book: Book, *, silence_s: float, peers: PeersSay, store_live_s: float = 60.0) -> Condition:
    moment = Moment(now=0.0, wall=0.0, silence_s={N1: silence_s}, store_live_s=store_live_s, observer=N2, peers=peers)
    return judge_all(book.snapshot(), moment)[N1].condition


def seen_gone(unheard_s: float = GONE, *witnesses: NodeName) -> PeersSay:
    return PeersSay(unheard_s={N1: unheard_s}, witnesses={name: frozenset({N1}) for name in witnesses})


@pytest.mark.parametrize(
    ("silence_s", "peers", "expected"),
    [
        (LATE_S, seen_gone(GONE, N3), Condition.SUSPECT),
        (LATE_S - BLINK_S, seen_gone(GONE, N3), Condition.ONLINE),  # its beats go on: only the LAN between us is cut
        (LATE_S, seen_gone(GONE - BLINK_S, N3), Condition.ONLINE),
        (LATE_S, seen_gone(GONE), Condition.ONLINE),  # nobody else says so: we may be cut off ourselves
        (LATE_S, PeersSay(), Condition.ONLINE),
    ],
)
def test_host_that_vanished_is_suspected_once_a_beat_is_late(
    silence_s: float, peers: PeersSay, expected: Condition
) -> None:
    book = cluster("n2", "n3").node("n1")
    assert condition_of_n1(book, silence_s=silence_s, peers=peers) is expected


def test_of_two_nodes_the_other_is_suspected_by_one_word() -> None:
    assert condition_of_n1(cluster("n2").node("n1"), silence_s=LATE_S, peers=seen_gone()) is Condition.SUSPECT


def test_vanished_host_is_not_suspected_while_the_store_may_be_what_is_silent() -> None:
    book = cluster("n2").node("n1")
    assert condition_of_n1(book, silence_s=3.0, peers=seen_gone(), store_live_s=LATE_S - BLINK_S) is Condition.ONLINE


@pytest.mark.parametrize(
    ("silence_s", "expected"),
    [(SUSPECT_S, Condition.ONLINE), (TIMING.hold_s, Condition.SUSPECT), (LOST_S, Condition.LOST)],
)
def test_host_that_gives_a_sign_of_life_is_not_powered_off_before_its_hold_is_over(
    silence_s: float, expected: Condition
) -> None:
    book = cluster("n2", "n3").node("n1", lease=False)
    assert condition_of_n1(book, silence_s=silence_s, peers=PeersSay(unheard_s={N1: 0.0})) is expected


def test_plan_looks_again_when_the_beat_of_a_vanished_host_gets_late() -> None:
    book = cluster("n2", "n3").node("n1")
    made = book.plan(silence_s={"n1": 0.5, "n2": 0.0, "n3": 0.0}, observer=N2, peers=seen_gone(GONE, N3))
    assert made.late_in_s == pytest.approx(LATE_S - 0.5)


def test_records_of_an_older_agent_name_nobody() -> None:
    beat = cluster("n1").snapshot().nodes[N1].beat
    assert beat
    assert (beat.value.promisers, beat.value.peers_address) == ((), "")
    assert b"promisers" in encode(beat.value)
