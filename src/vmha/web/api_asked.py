"""What a program may send: the fields of a verb, and the questions behind an address."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError
from starlette.requests import Request

from vmha.model.document import Document
from vmha.model.holds import PauseMode
from vmha.operator.reasons import LONGEST_REASON
from vmha.web.api_shapes import Schema
from vmha.web.problems import Problem, of_fields, of_model, wrong
from vmha.web.verbs import Deed, Wish

LONGEST_NAME = 253
_Name = Annotated[str, Field(max_length=LONGEST_NAME)]


class Asked(Document):
    """What a verb is to be done with."""

    on: _Name = Field(default="", description="The vm or the node it is about; left out where it is the cluster.")
    to: _Name = Field(default="", description="Where to migrate to; left out: the best other node.")
    reason: str = Field(default="", max_length=LONGEST_REASON, description="Why, for those who wonder later.")
    mode: PauseMode = Field(default=PauseMode.STARTS, description="How much is paused.")


class Confirmed(Asked):
    """As it was planned, with the word of that plan."""

    seen: str = Field(min_length=32, max_length=32, pattern="^[0-9a-f]+$", description="seen of the plan.")
    all_the_same: bool = Field(default=False, strict=True, description="Also if some vms can not leave.")


ACCEPTS = {
    "on": f"the name of a vm or a node, at most {LONGEST_NAME} characters",
    "to": f"the name of a node, at most {LONGEST_NAME} characters",
    "reason": f"text of at most {LONGEST_REASON} characters",
    "mode": " or ".join(PauseMode),
    "seen": "the seen of a plan: POST the same to .../plan first",
    "all_the_same": "true or false",
}


async def body_of(request: Request, kind: type[Asked]) -> Asked:
    """Raises: Problem."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        said = request.headers.get("content-type", "")
        raise Problem(415, f"content-type: {said!r}", fields=[wrong("content-type", said, "application/json")])
    try:
        given = json.loads((await request.body()).decode())
        if not isinstance(given, dict):
            raise ValueError("no object")
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"the body: {error}", fields=[wrong("the body", None, "an object in JSON")]) from error
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise of_model(error, {name: ACCEPTS[name] for name in kind.model_fields}) from error


def wish_for(verb: str, doing: Deed, asked: Asked) -> Wish:
    """Raises: Problem: something is given that the verb has no use for, or not given that it needs."""
    found = []
    if doing.about == "cluster" and asked.on:
        found.append(wrong("on", asked.on, f"nothing: {verb} is about the whole cluster"))
    if doing.about != "cluster" and not asked.on:
        found.append(wrong("on", asked.on, f"the name of a {doing.about}"))
    for field in ("to", "reason", "mode"):
        if field in asked.model_fields_set and field not in doing.takes:
            takes = ", ".join(("on", *doing.takes) if doing.about != "cluster" else doing.takes) or "nothing"
            found.append(wrong(field, getattr(asked, field), f"not with {verb}, which takes: {takes}"))
    reason = " ".join(asked.reason.split())
    if doing.about == "cluster" and "reason" in doing.takes and not reason:
        found.append(wrong("reason", asked.reason, "why: everybody who is held up by it will ask"))
    if found:
        raise of_fields(found)
    return Wish(verb=verb, on=asked.on, to=asked.to, reason=reason, mode=asked.mode.value)


def query_of(request: Request, known: Mapping[str, Schema]) -> dict[str, list[str]]:
    """What stands behind the question mark. Raises: Problem: a name or a word that is none, or one of them twice."""
    found, bad = dict[str, list[str]](), []
    for name, value in request.query_params.multi_items():
        schema = known.get(name)
        if schema is None:
            bad.append(wrong(name, value, f"one of {', '.join(known)}" if known else "nothing is asked with here"))
        elif value not in schema.get("enum", [value]):
            bad.append(wrong(name, value, ", ".join(schema["enum"])))
        found.setdefault(name, []).append(value)
    once = [name for name in found if name in known and known[name].get("type") != "array"]
    bad += [wrong(name, f"{len(found[name])} times", "once") for name in once if len(found[name]) > 1]
    if bad:
        raise of_fields(bad)
    return found


def number_of(query: dict[str, list[str]], name: str, *, default: int, most: int) -> int:
    """Raises: Problem."""
    said: Any = query.get(name, [str(default)])[0]
    if not (said.isascii() and said.isdecimal() and len(said) < 10 and 1 <= int(said) <= most):
        raise of_fields([wrong(name, said, f"1 to {most}")])
    return int(said)
