"""The API as a table: each address, what it answers, and who may ask. Routes and description both follow from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vmha.model.records import JournalEntry, Outcome, Request
from vmha.operator.node_why import NodeWhy
from vmha.operator.overview import LeaderLine, NodeLine
from vmha.policy.telling.explain import VmState, VmSummary
from vmha.policy.telling.story import Chapter
from vmha.web import api_reads, api_shapes
from vmha.web.api_shapes import NUMBER, TEXT, WHOLE, YES_OR_NO, Schema, list_of, or_null, record, thing
from vmha.web.feed import JOURNAL_KEPT, Scene
from vmha.web.what_if import LONGEST, MOST_SUPPOSED

PREFIX = "/api/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """``tell`` gets the scene, the name in the address ('' : none), and what stands behind the question mark."""

    where: str
    id: str
    what: str
    tell: Callable[[Scene, str, dict[str, list[str]]], Any]
    answers: Schema
    asks: Mapping[str, Schema] = field(default_factory=dict)
    is_slow: bool = False

    @property
    def is_named(self) -> bool:
        return "{name}" in self.where


def _of_reading(**properties: Schema) -> Schema:
    return thing(at=NUMBER, revision=WHOLE, **properties)


_LOSSES = {"type": ["object", "null"], "description": "Whether the loss of any one node would be survived."}
_VERBS = list_of(TEXT)

READINGS = (
    Reading(
        where="/status",
        id="status",
        what="The whole cluster, as vmha status --json; verbs: what can be done with all of it now.",
        tell=api_reads.status,
        answers=_of_reading(
            cluster=TEXT,
            leader=or_null(record(LeaderLine)),
            pause={"type": ["object", "null"]},
            schema={"type": ["object", "null"]},
            loss_of_any_one_node=_LOSSES,
            nodes=list_of(record(NodeLine)),
            vms=list_of(record(VmSummary)),
            warnings=list_of(TEXT),
            verbs=_VERBS,
        ),
    ),
    Reading(
        where="/nodes",
        id="nodes",
        what="All nodes.",
        tell=api_reads.nodes,
        answers=_of_reading(nodes=list_of(record(NodeLine))),
    ),
    Reading(
        where="/nodes/{name}",
        id="node",
        what="One node, and what can be done with it now.",
        tell=api_reads.node,
        answers=thing(record(NodeLine), verbs=_VERBS),
    ),
    Reading(
        where="/nodes/{name}/why",
        id="node-why",
        what="Why a node is what it is, as vmha node why --json.",
        tell=api_reads.node_told,
        answers=thing(record(NodeWhy), sentences=list_of(TEXT)),
    ),
    Reading(
        where="/vms",
        id="vms",
        what="All vms, or those in a state, or on a node.",
        tell=api_reads.vms,
        answers=_of_reading(vms=list_of(record(VmSummary))),
        asks={"state": {"type": "string", "enum": [state.value for state in VmState]}, "node": TEXT},
    ),
    Reading(
        where="/vms/{name}",
        id="vm",
        what="One vm, and what can be done with it now.",
        tell=api_reads.vm,
        answers=thing(record(VmSummary), verbs=_VERBS),
    ),
    Reading(
        where="/vms/{name}/why",
        id="vm-why",
        what="Why a vm is where it is, as vmha vm why --json.",
        tell=api_reads.vm_told,
        answers=api_shapes.WHY_VM,
    ),
    Reading(
        where="/vms/{name}/story",
        id="vm-story",
        what=f"What happened to a vm, and what came of it, as far as the newest {JOURNAL_KEPT} entries know.",
        tell=api_reads.vm_story,
        answers=_of_reading(chapters=list_of(record(Chapter))),
    ),
    Reading(
        where="/journal",
        id="journal",
        what=f"What happened, the newest first, of the newest {JOURNAL_KEPT} entries.",
        tell=api_reads.journal,
        answers=_of_reading(entries=list_of(record(JournalEntry))),
        asks={
            "limit": {"type": "integer", "minimum": 1, "maximum": JOURNAL_KEPT, "default": 100},
            "vm": TEXT,
            "node": TEXT,
        },
    ),
    Reading(
        where="/plan",
        id="plan",
        what="What the leader would do now, or if something else were so, as vmha plan --if WHAT --json.",
        tell=api_reads.plan,
        is_slow=True,
        answers=thing(
            api_shapes.FORECAST,
            at=NUMBER,
            revision=WHOLE,
            well=YES_OR_NO,
            supposed=list_of(TEXT),
            sentences=list_of(TEXT),
        ),
        asks={
            "if": {
                "type": "array",
                "items": {"type": "string", "minLength": 1, "maxLength": LONGEST},
                "maxItems": MOST_SUPPOSED,
                "description": "Such as: node NAME lost, node NAME drained, vm NAME stopped, any node lost.",
            }
        },
    ),
    Reading(
        where="/requests",
        id="requests",
        what="Operations asked for, the newest last, and what became of them, as vmha requests --json.",
        tell=api_reads.requests,
        answers=_of_reading(requests=list_of(thing(record(Request), outcome=or_null(record(Outcome))))),
    ),
    Reading(
        where="/verbs",
        id="verbs",
        what="What can be done at all, and what it takes.",
        tell=api_reads.verbs,
        answers=thing(verbs=list_of(thing(verb=TEXT, about=TEXT, takes=list_of(TEXT), what=TEXT, risk=TEXT))),
    ),
)
