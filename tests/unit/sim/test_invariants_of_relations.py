"""The judge of relations sees what is wrong: it would be worth nothing otherwise."""

import json
from typing import Any

from vmha.model.rules import Rule
from vmha.sim.drawing.draw_relations import owed
from vmha.sim.faults.schedule import NodeDrawn, Schedule, VmDrawn
from vmha.sim.judge.invariants import Blocked
from vmha.sim.judge.of_relations import check_relations
from vmha.sim.world.record import CommitLine, Written


def spec(vm: str, **fields: Any) -> CommitLine:
    return line({f"vms/{vm}/spec": {"exclusive": 0, "depends_on": [], **fields}})


def placed(vm: str, node: str, *, kind: str = "assign", phase: str = "assigned", **fields: Any) -> CommitLine:
    placement = {
        "phase": phase,
        "node": node,
        "target": None,
        "arrival": False,
        "operation": None,
        "session": None,
        **fields,
    }
    return line({f"vms/{vm}/placement": placement, "journal/1": {"vm": vm, "kind": kind}})


def line(values: dict[str, Any]) -> CommitLine:
    written = tuple(Written(key=key, value=json.dumps(value).encode()) for key, value in values.items())
    return CommitLine(at_s=1.0, revision=1, written=written)


def laws(*record: CommitLine) -> list[str]:
    return [violation.law for violation in check_relations(record)]


def test_exclusive_vm_is_not_placed_beside_others_nor_others_beside_it() -> None:
    gpu, web = spec("gpu", exclusive=1), spec("web")
    assert laws(gpu, web, placed("web", "n1"), placed("gpu", "n1")) == ["exclusive-vms-are-placed-alone"]
    assert laws(gpu, web, placed("gpu", "n1"), placed("web", "n1")) == ["exclusive-vms-are-placed-alone"]
    on_its_way = placed("web", "n2", kind="migrate", phase="migrating", target="n1")
    assert laws(gpu, web, placed("gpu", "n1"), on_its_way) == ["exclusive-vms-are-placed-alone"]
    assert laws(gpu, web, placed("gpu", "n1"), placed("web", "n2")) == []
    assert laws(gpu, web, placed("gpu", "n1"), placed("web", "n1", kind="adopt", phase="held")) == []


def test_what_is_needed_hard_is_held_before_what_needs_it_is_started() -> None:
    db, app = spec("db"), spec("app", depends_on=[{"vm": "db", "mode": "hard"}])
    assert laws(db, app, placed("app", "n1")) == ["what-is-needed-runs-first"]
    assert laws(db, app, placed("db", "n1"), placed("app", "n1")) == ["what-is-needed-runs-first"]
    held = placed("db", "n1", kind="claim", phase="held")
    assert laws(db, app, held, placed("app", "n1")) == []
    soft = spec("app", depends_on=[{"vm": "db", "mode": "soft"}])
    assert laws(db, soft, placed("app", "n1")) == []


def test_no_vm_is_sent_where_a_hard_rule_does_not_want_it() -> None:
    nodes = line({"nodes/n1/spec": {"labels": {"disk": "ssd", "rack": "a"}}, "nodes/n2/spec": {}})
    nothing: dict[str, Any] = {"apart": [], "vms": [], "on": {}, "off": {}, "hard": True}
    defined = [spec(vm) for vm in "abc"]
    apart = line({"rules/far": {**nothing, "apart": ["a", "b"]}})
    assert laws(*defined, apart, placed("a", "n1"), placed("b", "n1")) == ["hard-rules-keep-vms-apart"]
    assert laws(spec("b"), apart, placed("a", "n1"), placed("b", "n1")) == [], "a was removed: its guest is nobody's"
    leaves = placed("a", "n1", kind="migrate", phase="migrating", target="n2")
    assert laws(*defined, apart, leaves, placed("b", "n2")) == ["hard-rules-keep-vms-apart"]
    assert laws(*defined, apart, leaves, placed("b", "n1")) == ["hard-rules-keep-vms-apart"]
    assert (
        laws(*defined, apart, placed("a", "n2"), placed("b", "n1", kind="migrate", phase="migrating", target="n2"))
        != []
    )
    assert laws(*defined, apart, placed("a", "n1"), placed("b", "n2"), placed("c", "n1")) == []
    assert laws(*defined, apart, placed("a", "n1"), placed("b", "n1", kind="adopt", phase="held")) == []
    assert (
        laws(
            *defined, apart, placed("a", "n1"), line({"rules/far": {**nothing, "apart": ["a", "c"]}}), placed("b", "n1")
        )
        == []
    )
    soft = line({"rules/far": {**nothing, "apart": ["a", "b"], "hard": False}})
    assert laws(*defined, soft, placed("a", "n1"), placed("b", "n1")) == []
    on, off = ({**nothing, "vms": ["a"], side: {"disk": "ssd"}} for side in ("on", "off"))
    assert laws(nodes, line({"rules/ssd": on}), placed("a", "n2")) == ["hard-rules-choose-nodes"]
    assert laws(nodes, line({"rules/ssd": on}), placed("a", "n1"), placed("b", "n2")) == []
    assert laws(nodes, line({"rules/ssd": off}), placed("a", "n1")) == ["hard-rules-choose-nodes"]
    assert laws(nodes, line({"rules/ssd": off}), placed("a", "n2")) == []


def test_vm_that_is_down_is_excused_only_by_what_is_true() -> None:
    plain = Schedule(nodes=(NodeDrawn(name="n1"),), vms=(VmDrawn(name="v1"), VmDrawn(name="v2")))
    exclusive = plain.model_copy(update={"vms": (VmDrawn(name="v1", exclusive=1),)})
    no_room = Blocked(vm="v2", reason="no node can take it: n1 runs v1, which is exclusive")
    not_ready = Blocked(vm="v2", reason="v1, which it needs, is not ready")
    assert owed([no_room], exclusive) == ()
    assert owed([no_room], plain) == (no_room,)
    assert owed([not_ready], plain) == (not_ready,)
    ruled = Blocked(vm="v2", reason="no node can take it: n1 runs v1, which rule far keeps apart from v2")
    rule = Rule(name="far", apart=("v1", "v2"), hard=True)
    assert owed([ruled], plain.model_copy(update={"rules": (rule,)})) == ()
    assert owed([ruled], plain) == (ruled,)
    down = Blocked(vm="v1", reason="")
    assert owed([down, not_ready], plain) == (down,)
    assert owed([Blocked(vm="v2", reason="v1, which it needs, is stopped")], plain) == ()
