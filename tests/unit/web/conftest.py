"""The dashboard over a cluster in memory, asked as a browser asks."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.unit.operator.cluster import Cluster, xml_of
from vmha.model.web import WebSettings
from vmha.operator import vms
from vmha.web.app import application

NO_USERS = Path("/nonexistent/users.json")
BASE = "http://127.0.0.1:9780"


@pytest.fixture
async def cluster() -> Cluster:
    """Two nodes and a leader; asynchronous because its server keeps the event loop's time."""
    found = Cluster()
    found.elect()
    found.join("h1", "h2")
    return found


async def add(cluster: Cluster, name: str, node: str | None = None) -> None:
    await vms.add_vm(cluster.client, name, xml_of(name), start=node is not None)
    if node:
        cluster.run(name, node)


async def with_web() -> Cluster:
    """Two nodes and a leader; ``web`` runs on h1, and the journal says so."""
    found = Cluster()
    found.elect()
    found.join("h1", "h2")
    await add(found, "web", "h1")
    found.tell("1", "web was started", vm="web")
    return found


@pytest.fixture
async def browser(cluster: Cluster) -> AsyncGenerator[httpx.AsyncClient, None]:
    async with browsing(cluster) as client:
        yield client


@asynccontextmanager
async def browsing(
    cluster: Cluster, settings: WebSettings | None = None, **given: Any
) -> AsyncGenerator[httpx.AsyncClient, None]:
    """A browser of a dashboard of its own; ``given`` goes to the application."""
    app = application(cluster.client, settings or WebSettings(names=("vmha.example",), users=NO_USERS), **given)
    transport = httpx.ASGITransport(app=app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url=BASE) as client:
        yield client
