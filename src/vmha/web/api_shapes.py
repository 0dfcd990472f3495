"""What the API answers, as JSON schemas: made from the records themselves, so that they can not say something else."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from vmha.model.records import Candidate, JournalEntry, Outcome, Request
from vmha.operator.node_why import NodeWhy
from vmha.operator.overview import LeaderLine, NodeLine
from vmha.policy.telling.explain import VmSummary
from vmha.policy.telling.story import Chapter

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer"}
YES_OR_NO: Schema = {"type": "boolean"}
_RECORDS = (NodeLine, VmSummary, LeaderLine, NodeWhy, Candidate, JournalEntry, Chapter, Request, Outcome)
_WHERE = "#/components/schemas/{model}"


def record(kind: type) -> Schema:
    assert kind in _RECORDS
    return {"$ref": _WHERE.format(model=kind.__name__)}


def list_of(one: Schema) -> Schema:
    return {"type": "array", "items": one}


def or_null(one: Schema) -> Schema:
    return {"anyOf": [one, {"type": "null"}]}


def thing(*bases: Schema, **properties: Schema) -> Schema:
    """An object with these properties, all of them there; ``bases``: with all of theirs as well."""
    own: Schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"allOf": [*bases, own]} if bases else own


@cache
def components() -> dict[str, Any]:
    """The records, and what they are made of."""
    kinds = [(kind, "serialization", TypeAdapter(kind)) for kind in _RECORDS]
    _, whole = TypeAdapter.json_schemas(kinds, ref_template=_WHERE)  # type: ignore[arg-type]
    found: dict[str, Any] = dict(whole["$defs"])
    del found["VmSummary"]["properties"]["candidates"]  # of a listing: without, see plain_vm
    found["Problem"] = PROBLEM
    return found


A_FIELD = {
    "type": "object",
    "properties": {"field": TEXT, "value": {"type": ["string", "number", "boolean", "null"]}, "accepted": TEXT},
    "required": ["field", "value", "accepted"],
}
PROBLEM = {
    "type": "object",
    "description": "RFC 9457. errors: which fields are wrong, each with its value and what would be accepted.",
    "properties": {"type": TEXT, "title": TEXT, "status": WHOLE, "detail": TEXT, "errors": list_of(A_FIELD)},
    "required": ["type", "title", "status", "detail"],
}
MOVE = thing(vm=TEXT, change=TEXT, to=or_null(TEXT), live=YES_OR_NO, rule=TEXT, reason=TEXT, **{"from": or_null(TEXT)})
FORECAST = thing(
    moves=list_of(MOVE),
    interrupted=list_of(TEXT),
    down=list_of(thing(vm=TEXT, waits_for=TEXT)),
    ends=YES_OR_NO,
)
WHY_VM = thing(
    record(VmSummary),
    candidates=list_of(record(Candidate)),
    candidates_now=list_of(record(Candidate)),
    waiting=TEXT,
    last_end=TEXT,
    last_migration=TEXT,
    failures=list_of(TEXT),
    desired_why=TEXT,
    relations=list_of(TEXT),
    remarks=list_of(TEXT),
    why_not_there={"type": "object", "additionalProperties": TEXT},
    ends_when=list_of(TEXT),
    sentences=list_of(TEXT),
)
PLAN_OF_A_VERB = thing(
    verb=TEXT,
    on=TEXT,
    what=TEXT,
    plan=list_of(TEXT),
    risks=list_of(TEXT),
    left=list_of(thing(vm=TEXT, waits_for=TEXT)),
    well=YES_OR_NO,
    seen=TEXT,
)
