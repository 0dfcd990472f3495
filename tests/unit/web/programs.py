"""Programs that ask the API, with a token or without."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.unit.operator.cluster import Cluster
from tests.unit.web.conftest import browsing
from vmha.model.web import WebSettings
from vmha.web.access import Role
from vmha.web.tokens import Tokens

YEAR_S = 366 * 86400.0
V1 = "/api/v1"


def token_in(folder: Path, role: Role, name: str = "ci", *, for_s: float = YEAR_S, wall: float | None = None) -> str:
    from vmha.model.clock import SystemClock

    return Tokens(folder / "users.json").make(
        name, role=role, for_s=for_s, wall=SystemClock().wall() if wall is None else wall
    )


@asynccontextmanager
async def program(
    cluster: Cluster, folder: Path, role: Role | None, **settings: Any
) -> AsyncGenerator[httpx.AsyncClient, None]:
    """Of that role; None: it has no token."""
    headers = {"authorization": f"Bearer {token_in(folder, role)}"} if role else {}
    async with browsing(cluster, WebSettings(users=folder / "users.json", **settings)) as client:
        client.headers.update(headers)
        yield client


def problem_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    said: dict[str, Any] = answer.json()
    assert said["status"] == answer.status_code
    assert said["title"]
    assert said["detail"]
    return said


async def plan_of(client: httpx.AsyncClient, verb: str, **asked: Any) -> dict[str, Any]:
    answer = await client.post(f"{V1}/verbs/{verb}/plan", json=asked)
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


async def do(client: httpx.AsyncClient, verb: str, **asked: Any) -> httpx.Response:
    """Reads the plan and confirms it."""
    seen = (await plan_of(client, verb, **asked))["seen"]
    return await client.post(f"{V1}/verbs/{verb}", json={**asked, "seen": seen})
