"""The judge of services is judged: what it must find, and what it must let pass."""

import json
from typing import Any

from vmha.hypervisor.twin.fabric_state import Deed, Fact
from vmha.sim.judge.of_relations import check_relations
from vmha.sim.judge.of_services import check_together
from vmha.sim.world.record import CommitLine, Written


def line(at_s: float, **values: Any) -> CommitLine:
    written = tuple(
        Written(key=key.replace("__", "/"), value=json.dumps(value).encode()) for key, value in values.items()
    )
    return CommitLine(at_s=at_s, revision=int(at_s), written=written)


def placed(at_s: float, vm: str, node: str, *, kind: str = "assign", **fields: Any) -> CommitLine:
    nothing = dict.fromkeys(("target", "operation", "session", "ended"))
    place = {"phase": "assigned", "node": node, "arrival": False, "reason": {"text": "why"}, **nothing, **fields}
    return line(at_s, **{f"vms__{vm}__placement": place, "journal__1": {"vm": vm, "kind": kind}})


def held(at_s: float, vm: str, node: str, **fields: Any) -> CommitLine:
    return placed(at_s, vm, node, phase="held", session=f"s-{node}", **fields)


BEGIN = line(
    0.0,
    services__shop={"name": "shop", "members": ["db", "app"], "failover_domain": "home"},
    domains__home={"restricted": True, "members": [{"node": "n1"}, {"node": "n2"}]},
    vms__db__spec={},
    vms__app__spec={},
    **{f"nodes__{node}__beat": {"session": f"s-{node}"} for node in ("n1", "n2", "n9")},
)


def laws(*lines: CommitLine) -> list[str]:
    return [violation.law for violation in check_relations([BEGIN, *lines])]


APART = ["services-stay-together"]


def test_one_that_is_started_where_none_of_the_others_is_is_found() -> None:
    assert laws(held(1.0, "db", "n1"), placed(10.0, "app", "n2")) == APART
    assert laws(held(1.0, "db", "n1"), placed(10.0, "app", "n1")) == []


def test_what_the_leader_could_not_know_yet_or_may_do_is_let_pass() -> None:
    assert laws(held(9.9, "db", "n1"), placed(10.0, "app", "n2")) == []
    assert laws(held(1.0, "db", "n2"), held(8.0, "db", "n1"), placed(10.0, "app", "n2")) == []
    assert laws(held(1.0, "db", "n1"), placed(10.0, "app", "n2", operation="r1")) == []
    assert laws(held(1.0, "db", "n9"), placed(10.0, "app", "n2")) == [], "a hand took it out of its domain"
    lost = line(5.0, nodes__n1__beat={"session": "a later one"})
    assert laws(held(1.0, "db", "n1"), lost, placed(10.0, "app", "n2")) == []


def test_one_that_has_failed_may_lead_the_others_away() -> None:
    failed = placed(9.0, "app", "", kind="stopped", phase="stopped", ended="crashed")
    assert laws(held(1.0, "db", "n1"), failed, placed(10.0, "app", "n2")) == []


def runs(vm: str, host: str) -> Fact:
    return Fact(time=1.0, host=host, vm=vm, deed=Deed.RUNS, epoch=1, stale=False, sent_by_hand_over=())


def test_vms_that_rest_apart_are_found_unless_the_store_says_what_is_in_the_way() -> None:
    facts = [runs("db", "n1"), runs("app", "n2")]
    assert [v.law for v in check_together(facts, [BEGIN, held(1.0, "db", "n1"), held(2.0, "app", "n2")])] == [
        "services-are-together-at-rest"
    ]
    assert check_together(facts[:1], [BEGIN, held(1.0, "db", "n1")]) == []
    full = held(2.0, "app", "n2", reason={"text": "n1 has 3 MiB free of 9"})
    assert check_together(facts, [BEGIN, held(1.0, "db", "n1"), full]) == []
