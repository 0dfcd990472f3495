"""The judge of law 4 sees a node that is not fit and is given a vm: it would be worth nothing otherwise."""

import json
from typing import Any

from vmha.hypervisor.twin.fabric_state import Deed, Fact
from vmha.sim.judge.of_fitness import LAW, READING_S, check_fitness
from vmha.sim.world.record import CommitLine, Written
from vmha.sim.world.witness import Act, Sight, machine_of

DEAD_AFTER_S = 6.0
LONG_S = DEAD_AFTER_S + READING_S + 1.0


def line(at_s: float, values: dict[str, Any]) -> CommitLine:
    written = tuple(Written(key=key, value=json.dumps(value).encode()) for key, value in values.items())
    return CommitLine(at_s=at_s, revision=1, written=written)


def gone(at_s: float, key: str) -> CommitLine:
    return CommitLine(at_s=at_s, revision=1, written=(Written(key=key, value=None),))


def beat(at_s: float, session: str = "s1", *, armed: str = "guard", **fields: Any) -> CommitLine:
    known = {"session": session, "host": machine_of("n1"), "armed": armed, "sent_at": at_s, "promisers": []}
    return line(at_s, {"nodes/n1/beat": {**known, "hold_s": 4.0, "dead_after_s": DEAD_AFTER_S, **fields}})


def leads(from_s: float, until_s: float) -> list[CommitLine]:
    """n2's beats."""
    said = {"session": "l1", "host": machine_of("n2"), "armed": "guard", "sent_at": 0.0, "promisers": [], "hold_s": 4.0}
    return [line(float(second), {"nodes/n2/beat": said}) for second in range(int(from_s), int(until_s) + 1)]


def by_time(*lines: CommitLine) -> list[CommitLine]:
    return sorted(lines, key=lambda one: one.at_s)


def status(at_s: float, session: str = "s1", *, eligible: bool = True) -> CommitLine:
    return line(at_s, {"nodes/n1/status": {"session": session, "eligible": eligible}})


def given(at_s: float, kind: str = "assign", **fields: Any) -> CommitLine:
    placement = {"vm": "web", "node": "n1", "target": None, **fields}
    return line(at_s, {"vms/web/placement": placement, "journal/1": {"vm": "web", "kind": kind, "by": "n2"}})


def sight(at_s: float, act: Act, session: str = "", host: str = "n1") -> Sight:
    return Sight(at_s, at_s, host, act, session)


ARMED, LOOKED = sight(1.0, Act.ARMED, "s1"), sight(1.0, Act.LOOKED)
FIT = (beat(1.0, armed="none"), beat(1.1), status(1.2))
LEADS = sight(0.0, Act.AGENT_BEGAN, host="n2")


def breaches(
    *lines: CommitLine, sights: tuple[Sight, ...] = (ARMED, LOOKED), facts: tuple[Fact, ...] = ()
) -> list[str]:
    found = check_fitness(sorted((LEADS, *sights)), facts, lines)
    assert {violation.law for violation in found} <= {LAW}
    return [violation.text.partition("which ")[2] for violation in found]


def test_fit_node_is_given_a_vm() -> None:
    assert breaches(*FIT, given(2.0)) == []
    assert breaches(*FIT, given(2.0, "recover")) == []
    assert breaches(*FIT, given(2.0, "migrate", node="n3", target="n1")) == []


def test_node_without_a_session_is_given_none() -> None:
    assert breaches(given(2.0)) == ["has no session"]
    assert breaches(*FIT, gone(1.5, "nodes/n1/beat"), given(2.0)) == ["has no session"]
    assert breaches(*FIT, gone(1.5, "nodes/n1/beat"), given(2.0, "adopt")) == [], "it was found there"
    assert breaches(*FIT, given(2.0, "migrate", target="n3")) == ["has no session"], "the target is meant"


def test_node_is_given_none_before_it_has_said_in_this_session_that_it_may_receive_some() -> None:
    said = ["has not said in session s2 that it may receive vms"]
    again = (ARMED, LOOKED, sight(3.0, Act.ARMED, "s2"), sight(3.0, Act.LOOKED))
    assert breaches(*FIT, beat(3.0, "s2"), given(3.1), sights=again) == said
    assert breaches(*FIT, beat(3.0, "s2"), status(3.1, "s2", eligible=False), given(3.2), sights=again) == said
    assert breaches(*FIT, beat(3.0, "s2"), status(3.1, "s2"), given(3.2), sights=again) == []


def test_what_it_says_must_be_true() -> None:
    said = "has said in session s1 that it may receive vms, though "
    assert breaches(*FIT, given(2.0), sights=(LOOKED,)) == [f"{said}its guard did not count for it"]
    former = (sight(0.5, Act.ARMED, "s0"), LOOKED)
    assert breaches(*FIT, given(2.0), sights=former) == [f"{said}its guard did not count for it"]
    early = (ARMED, sight(0.9, Act.LOOKED), sight(1.3, Act.LOOKED))
    assert breaches(*FIT, given(2.0), sights=early) == [f"{said}libvirt had not been asked what runs there"]


def test_guest_that_was_there_before_the_session_is_on_record_before_the_node_receives_vms() -> None:
    there = (Fact(time=9.0, host="n1", vm="db", deed=Deed.RUNS, epoch=None),)
    sights = (sight(10.0, Act.ARMED, "s1"), sight(10.0, Act.LOOKED))
    begin, fit = line(0.0, {"vms/db/spec": {}}), (beat(10.0), status(10.2), given(11.0))
    why = ["has said in session s1 that it may receive vms, though it had not put on record that db is there"]
    assert breaches(begin, *fit, sights=sights, facts=there) == why
    seen = line(10.1, {"nodes/n1/vms/db": {"session": "s1"}})
    assert breaches(begin, fit[0], seen, *fit[1:], sights=sights, facts=there) == []
    of_another = line(0.1, {"nodes/n1/vms/db": {"session": "s0"}})
    assert breaches(begin, of_another, *fit, sights=sights, facts=there) == why
    assert breaches(*fit, sights=sights, facts=there) == [], "no vm of the cluster is called so"
    late = (Fact(time=10.1, host="n1", vm="db", deed=Deed.RUNS, epoch=None),)
    assert breaches(begin, *fit, sights=sights, facts=late) == [], "it may have come after the look"


def test_node_whose_guard_is_gone_is_given_none_while_its_beats_say_otherwise() -> None:
    away = (ARMED, LOOKED, sight(2.0, Act.GUARD_GONE))
    assert breaches(*FIT, beat(2.5), given(2.6), sights=away) == [], "it did not know yet"
    lies = (beat(2.5), beat(3.0))
    assert breaches(*FIT, *lies, given(3.1), sights=away) == ["has no guard, and its beats say that it has"]
    assert breaches(*FIT, beat(2.5), beat(3.0, armed="none"), given(3.1), sights=away) == [], "who has read that?"
    assert breaches(*FIT, *lies, given(3.1), sights=(*away, sight(2.2, Act.GUARD_BACK))) == []
    by_its_own_clock = (ARMED, LOOKED, Sight(2.0, 500.0, "n1", Act.GUARD_GONE))
    assert breaches(*FIT, *lies, given(3.1), sights=by_its_own_clock) == [], "sent before, by the clock that they say"


def test_node_that_has_long_said_that_it_is_not_fit_is_given_none() -> None:
    refuses = (*FIT, status(2.0, eligible=False), status(3.0, eligible=False))
    beats = [beat(2.0 + second) for second in range(12)]
    late_s = 2.1 + READING_S
    why = [f"has been saying for {READING_S + 0.1:.1f} s that it may not"]
    assert breaches(*by_time(*refuses, *beats, *leads(0, 20), given(late_s))) == why
    assert breaches(*by_time(*refuses, *beats, *leads(0, 20), given(late_s - 0.2))) == [], "who has read that?"
    assert breaches(*by_time(*refuses, status(4.0), *beats, *leads(0, 20), given(late_s))) == []
    assert breaches(*by_time(*refuses, *beats, *leads(0, 2), *leads(6, 20), given(late_s))) == [], "it stood still"
    assert breaches(*by_time(*refuses, *beats, *leads(0, 4), given(late_s))) == [], "it has not heard anything since"


def test_node_that_has_long_been_silent_is_given_none() -> None:
    late_s, why = LONG_S + 2.0, [f"has not beaten for {LONG_S + 0.9:.1f} s"]
    assert breaches(*by_time(*FIT, *leads(0, 20), given(late_s))) == why
    assert breaches(*by_time(*FIT, *leads(0, 20), given(LONG_S - 0.1))) == []
    assert breaches(*by_time(*FIT, *leads(0, 20), beat(4.0), given(late_s))) == []
    begins_anew = sight(4.0, Act.AGENT_BEGAN, host="n2")
    sights = (ARMED, LOOKED, begins_anew)
    assert breaches(*by_time(*FIT, *leads(0, 20), given(late_s)), sights=sights) == [], "it counts for itself"
    promised = beat(1.3, promisers=["n2"])
    assert breaches(*by_time(*FIT, promised, *leads(0, 20), given(late_s))) == [], "it may have been promised to"


def test_machine_that_nobody_has_watched_is_believed() -> None:
    """A test has written its records by hand."""
    assert breaches(beat(1.0, host="elsewhere"), status(1.1), given(1.2), sights=()) == []
    assert breaches(beat(1.0, host=machine_of("n9")), status(1.1), given(1.2)) == []
