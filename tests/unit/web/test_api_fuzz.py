"""The API held against its own description: what schemathesis makes of the document is asked, and each answer checked.

Drawn first, then asked on the loop of the test: as the document says it (and with names that there are), and in ways
that it forbids. Whether all of these are refused is not asked here: a list of one number is that number in an address.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from tests.unit.operator.cluster import Cluster
from tests.unit.web.conftest import BASE, with_web
from tests.unit.web.programs import program
from tests.unit.web.test_fuzz import guarded
from vmha.web.access import Role
from vmha.web.openapi import description
from vmha.web.verbs import DEEDS

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
FEW = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
OURS = ("user-agent", "authorization")
"""Who asks is an operator: what is wrong with a token is asked in test_api."""
MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]


@pytest.fixture
async def cluster() -> Cluster:
    return await with_web()


@pytest.mark.parametrize("mode", MODES, ids=["as it is described", "as it is forbidden"])
async def test_every_answer_is_one_that_the_description_tells_of(
    cluster: Cluster, tmp_path: Path, mode: GenerationMode
) -> None:
    before, codes = cluster.contents(), dict[str, set[int]]()
    async with program(cluster, tmp_path, Role.OPERATOR) as client:
        for case in _drawn(mode):
            answer = await _ask(client, case)
            if answer is not None:
                guarded(answer)
                case.validate_response(answer, checks=CHECKS)
                codes.setdefault(case.operation.label, set()).add(answer.status_code)
    assert cluster.contents() == before, "without the word of a plan nothing is done"
    if mode is GenerationMode.POSITIVE:
        assert len(codes) == len(description()["paths"])
        readings = {label: found for label, found in codes.items() if label.startswith("GET")}
        assert all(200 in found for found in readings.values()), readings
        assert 200 in codes["POST /api/v1/verbs/{verb}/plan"]
    else:
        assert 400 in set().union(*codes.values()), codes


async def _ask(client: httpx.AsyncClient, case: Case) -> httpx.Response | None:
    """None: no client can send that."""
    kwargs = case.as_transport_kwargs(base_url=BASE)
    given: dict[str, Any] = {key: kwargs[key] for key in ("params", "json", "data", "cookies") if kwargs.get(key)}
    if isinstance(given.get("data"), str | bytes):
        given["content"] = given.pop("data")
    headers = {name: value for name, value in kwargs["headers"].items() if name.lower() not in OURS}
    try:
        return await client.request(kwargs["method"], kwargs["url"], headers=headers, **given)
    except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeError, ValueError, TypeError):
        return None


def _drawn(mode: GenerationMode) -> list[Case]:
    schema = schemathesis.openapi.from_dict(description())
    found: list[Case] = []
    for result in schema.get_all_operations():
        operation = result.ok()
        takes_something = operation.query or operation.body  # what would be wrong with a name?
        if mode is GenerationMode.POSITIVE or takes_something:
            found += _drawn_of(operation, mode)
        if mode is GenerationMode.POSITIVE:
            found += _of_those_that_there_are(found[-1])
    return found


def _drawn_of(operation: Any, mode: GenerationMode) -> list[Case]:
    found: list[Case] = []

    @FEW
    @given(case=operation.as_strategy(generation_mode=mode))
    def draw(case: Case) -> None:
        found.append(case)

    draw()
    return found


def _of_those_that_there_are(case: Case) -> Iterator[Case]:
    """The same with names that the cluster knows: what is drawn at random hardly hits one."""
    label = case.operation.label
    if "{name}" in label:
        case.path_parameters = {"name": "h1" if "/nodes/" in label else "web"}
        yield case
    if label == "GET /api/v1/plan":
        case.query = {"if": ["node h1 lost", "vm web stopped"]}
        yield case
    if "{verb}" in label:
        for verb, doing in DEEDS.items():
            on = {"vm": {"on": "web"}, "node": {"on": "h1"}}.get(doing.about, {"reason": "x"} if doing.takes else {})
            yield case.operation.Case(
                method="POST",
                path_parameters={"verb": verb},
                body={**on, **_word(label)},
                media_type="application/json",
            )


def _word(label: str) -> dict[str, str]:
    return {} if label.endswith("/plan") else {"seen": "0" * 32}
