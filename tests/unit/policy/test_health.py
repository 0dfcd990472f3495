"""What answers to probes mean: tables, and properties of any history of answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vmha.model.health import Probe
from vmha.model.records import HealthState
from vmha.policy.at_node.health import Answer, Asked, Consequence, Judged, Record, judge, judge_probe

G, B, N = Answer.GOOD, Answer.BAD, Answer.NONE
FAILING, HEALTHY, STARTING, UNKNOWN = (
    HealthState.FAILING,
    HealthState.HEALTHY,
    HealthState.STARTING,
    HealthState.UNKNOWN,
)


def probe(**fields: object) -> Probe:
    return Probe.model_validate({"name": "db", "tcp": "g:1", "start_timeout_s": 60.0, **fields})


def record(*answers: Answer, every_s: float = 10.0) -> tuple[Record, float]:
    """Asked every ``every_s`` from the start on; and the instant of the last answer."""
    made, at = Record(since=0.0), 0.0
    for answer in answers:
        made, at = made.took(Asked(at=at, answer=answer, text="")), at + every_s
    return made, max(0.0, at - every_s)


@pytest.mark.parametrize(
    ("fields", "answers", "state"),
    [
        ({}, (), STARTING),
        ({}, (G,), HEALTHY),
        ({}, (B, B, B, B), STARTING),  # it boots
        ({}, (B,) * 8, FAILING),  # and has had its time
        ({}, (B, B, B, B, G), HEALTHY),
        ({}, (G, B, B), HEALTHY),
        ({}, (G, B, B, B), FAILING),
        ({}, (G, B, B, G, B, B), HEALTHY),
        ({}, (G, B, B, B, G), HEALTHY),
        ({"failures": 1}, (G, B), FAILING),
        ({}, (G, N, N, N, N, N), UNKNOWN),
        ({}, (N,) * 20, UNKNOWN),
        ({}, (G, B, B, N), UNKNOWN),
        ({}, (G, B, B, N, B), FAILING),  # not asked is no good answer
        ({"failures": 0, "max_failures": 2, "failure_window_s": 100.0}, (G, B, B), HEALTHY),
        ({"failures": 0, "max_failures": 2, "failure_window_s": 100.0}, (G, B, G, B, G, B, G), FAILING),
        ({"failures": 0, "max_failures": 2, "failure_window_s": 30.0}, (G, B, G, B, G, B, G), HEALTHY),
        ({"initial_delay_s": 60.0}, (B,) * 8, STARTING),
    ],
)
def test_state_follows_from_the_answers(fields: dict[str, object], answers: tuple[Answer, ...], state: object) -> None:
    made, now = record(*answers)
    assert judge_probe(probe(**fields), made, now) is state


def judged(fields: dict[str, object], answers: tuple[Answer, ...], **more: object) -> Judged:
    made, now = record(*answers)
    found = judge((probe(**fields),), {"db": made}, now=now, **{"is_starting": False, **more})  # type: ignore[arg-type]
    assert found
    return found


SICK = (G, B, B, B)
NEVER = (B,) * 8


@pytest.mark.parametrize(
    ("fields", "answers", "more", "consequence", "ready"),
    [
        ({}, (G,), {}, Consequence.NONE, True),
        ({}, SICK, {}, Consequence.RECOVER, False),
        ({"liveness": False}, SICK, {}, Consequence.NONE, False),
        ({"readiness": False}, SICK, {}, Consequence.RECOVER, True),
        ({}, SICK, {"no_kill": True}, Consequence.NONE, False),
        ({}, NEVER, {}, Consequence.RECOVER, False),
        ({"start_gate": True}, NEVER, {}, Consequence.RECOVER, False),
        ({"start_gate": True}, NEVER, {"is_starting": True}, Consequence.START_FAILED, False),
        ({"start_gate": True, "liveness": False}, NEVER, {"is_starting": True}, Consequence.START_FAILED, False),
        ({"start_gate": True}, NEVER, {"is_starting": True, "no_kill": True}, Consequence.NONE, False),
        ({"start_gate": True}, SICK, {"is_starting": True}, Consequence.RECOVER, False),
        ({"start_gate": True, "readiness": False, "liveness": False}, (B,), {"is_starting": True}, Consequence.NONE, 0),
        ({"start_gate": True}, (N,) * 50, {"is_starting": True}, Consequence.NONE, False),
        ({"start_gate": True}, (G,), {"is_starting": True}, Consequence.NONE, True),
        ({"agent": True, "tcp": None}, NEVER, {}, Consequence.NONE, False),
        ({"agent": True, "tcp": None}, SICK, {}, Consequence.RECOVER, False),
        ({"agent": True, "tcp": None, "start_gate": True}, NEVER, {"is_starting": True}, Consequence.START_FAILED, 0),
    ],
)
def test_what_follows_from_it(
    fields: dict[str, object],
    answers: tuple[Answer, ...],
    more: dict[str, object],
    consequence: Consequence,
    ready: bool,
) -> None:
    found = judged(fields, answers, **more)
    assert (found.consequence, found.health.ready) == (consequence, ready)
    assert (found.why != "") is (consequence is not Consequence.NONE)


def test_one_probe_of_several_is_enough_to_fail_and_all_are_needed_to_be_ready() -> None:
    well, now = record(G, G, G, G)
    sick, _ = record(*SICK)
    pair = (probe(name="a"), probe(name="b"))
    found = judge(pair, {"a": well, "b": sick}, now=now, is_starting=False)
    assert found
    assert (found.health.state, found.health.ready, found.consequence) == (FAILING, False, Consequence.RECOVER)
    assert "probe b failed 3 times in a row" in found.why
    assert "probe a" not in found.why


def test_vm_without_probes_has_no_health() -> None:
    assert judge((), {}, now=0.0, is_starting=True) is None


answers = st.lists(st.sampled_from(Answer), max_size=40)
probes = st.builds(
    probe,
    failures=st.integers(1, 5),
    initial_delay_s=st.sampled_from([0.0, 5.0]),
    start_gate=st.booleans(),
    readiness=st.booleans(),
    liveness=st.just(True),
)


@given(probes, answers, st.booleans())
def test_nobody_is_ended_before_a_probe_has_said_no_as_often_as_it_must(
    asked: Probe, said: list[Answer], is_starting: bool
) -> None:
    made, now = record(*said)
    found = judge((asked,), {"db": made}, now=now, is_starting=is_starting)
    assert found
    if found.consequence is Consequence.NONE:
        return
    assert said[-1] is B
    if G in said:
        since_good = said[len(said) - said[::-1].index(G) :]
        assert since_good.count(B) >= asked.failures
    else:
        assert now >= asked.initial_delay_s + asked.start_timeout_s


@given(probes, answers, st.booleans())
def test_good_answer_heals_whatever_was_before(asked: Probe, said: list[Answer], is_starting: bool) -> None:
    made, now = record(*said, G)
    found = judge((asked,), {"db": made}, now=now, is_starting=is_starting)
    assert found
    assert (found.health.state, found.health.gated, found.consequence) == (HEALTHY, False, Consequence.NONE)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "nothing to ask"),
        ({"tcp": "g:1", "agent": True}, "tcp and agent"),
        ({"command": ["check"]}, "whole path"),
        ({"command": ["/bin/check", "x"], "shell": True}, "2 words"),
        ({"tcp": "g"}, "host:port"),
        ({"tcp": "g:0"}, "host:port"),
        ({"tcp": "g:70000"}, "host:port"),
        ({"http": "ftp://g/"}, "http://host"),
        ({"http": "http://g:x/"}, "http://host"),
        ({"tcp": "g:1", "max_failures": 2}, "belong together"),
        ({"tcp": "g:1", "failures": 0}, "one of them above 0"),
        ({"tcp": "g:1", "readiness": False, "liveness": False}, "for nothing"),
        ({"tcp": "g:1", "interval_s": 0}, "interval_s"),
    ],
)
def test_probe_that_makes_no_sense_is_refused_in_words(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Probe.model_validate(fields)
