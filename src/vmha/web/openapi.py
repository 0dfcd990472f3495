"""The API described for programs and their makers: an OpenAPI document, made from the table and the records."""

import re
from functools import cache
from typing import Any

from vmha import __version__
from vmha.web.api_asked import Asked, Confirmed
from vmha.web.api_operations import PREFIX, READINGS, Reading
from vmha.web.api_shapes import PLAN_OF_A_VERB, TEXT, Schema, components, thing
from vmha.web.problems import MEDIA_TYPE
from vmha.web.verbs import DEEDS

_TOKEN = [{"token": list[str]()}]
_MAYBE = [{"token": list[str]()}, {}]
_SAID = {
    400: "Something that is asked with is wrong: see errors.",
    401: "A token is needed, or this one is not good (any more).",
    403: "The token's role may not do that, or tokens would cross the network in clear text here.",
    404: "Nothing has that name; errors has the near ones.",
    409: "Not done: refused by the cluster, or the plan is another one by now (then it is in now).",
    413: "More is sent than anything here could mean.",
    414: "The address is too long.",
    415: "The body is not JSON.",
    421: "This server does not answer to that name.",
    503: "The cluster does not answer; Retry-After says when to ask again.",
}


@cache
def description() -> dict[str, Any]:
    paths: dict[str, Any] = {f"{PREFIX}{one.where}": {"get": _reading(one)} for one in READINGS}
    paths[f"{PREFIX}/verbs/{{verb}}/plan"] = {
        "post": {
            "operationId": "verb-plan",
            "summary": "What would happen if this were done. Writes nothing.",
            "security": _TOKEN,
            "parameters": [_VERB],
            "requestBody": _body(Asked.__name__),
            "responses": _answers(200, PLAN_OF_A_VERB, 400, 401, 403, 404, 409, 413, 415, 503),
        }
    }
    done = thing(PLAN_OF_A_VERB, asked_by=TEXT, follow=TEXT)
    paths[f"{PREFIX}/verbs/{{verb}}"] = {
        "post": {
            "operationId": "verb-do",
            "summary": "Do it, if the plan is still the one that was seen. follow: where to see what becomes of it.",
            "security": _TOKEN,
            "parameters": [_VERB],
            "requestBody": _body(Confirmed.__name__),
            "responses": _answers(202, done, 400, 401, 403, 404, 409, 413, 415, 503),
        }
    }
    bodies = {kind.__name__: kind.model_json_schema(ref_template=_WHERE) for kind in (Asked, Confirmed)}
    more = {name: one for body in bodies.values() for name, one in body.pop("$defs", {}).items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "vmha",
            "version": __version__,
            "summary": "High availability for libvirt/QEMU vms: the cluster for programs.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {**components(), **bodies, **more},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "Made by: vmha web token add NAME"}
            },
        },
    }


_WHERE = "#/components/schemas/{model}"
_VERB = {
    "name": "verb",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "enum": list(DEEDS)},
}


def _reading(one: Reading) -> dict[str, Any]:
    named = [{"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}]
    asked = [
        {"name": name, "in": "query", "required": False, "schema": schema, "explode": True}
        for name, schema in one.asks.items()
    ]
    codes = [*([400] if one.asks else []), 401, 403, *([404] if one.is_named or one.id == "plan" else []), 503]
    return {
        "operationId": one.id,
        "summary": one.what,
        "security": _MAYBE,
        "parameters": [*(named if re.search(r"{name}", one.where) else []), *asked],
        "responses": _answers(200, one.answers, *codes),
    }


def _answers(code: int, schema: Schema, *problems: int) -> dict[str, Any]:
    problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        str(code): {
            "description": "Done." if code == 202 else "As asked.",
            "content": {"application/json": {"schema": schema}},
        },
        **{str(one): {"description": _SAID[one], "content": problem} for one in sorted({*problems, 400, 414, 421})},
    }


def _body(name: str) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": {"$ref": _WHERE.format(model=name)}}}}
