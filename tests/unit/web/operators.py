"""People in front of a browser: who logs in, reads a confirmation, and sends its form."""

import html
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.unit.operator.cluster import Cluster
from tests.unit.web.conftest import browsing
from vmha.model.web import WebSettings
from vmha.web.users import Users

PASSWORD = "correct horse battery"


def users_in(folder: Path, *names: str) -> Users:
    users = Users(folder / "users.json")
    for name in names or ("alice",):
        users.put(name, PASSWORD)
    return users


@asynccontextmanager
async def stranger(cluster: Cluster, users: Users, **settings: Any) -> AsyncGenerator[httpx.AsyncClient, None]:
    """Somebody who has not logged in, at a dashboard where he could."""
    async with browsing(cluster, WebSettings(users=users.path, **settings)) as browser:
        yield browser


@asynccontextmanager
async def operator(cluster: Cluster, users: Users, **settings: Any) -> AsyncGenerator[httpx.AsyncClient, None]:
    async with stranger(cluster, users, **settings) as browser:
        answer = await log_in(browser)
        assert answer.status_code == 303, answer.text
        yield browser


async def log_in(
    browser: httpx.AsyncClient, name: str = "alice", password: str = PASSWORD, to: str = "/"
) -> httpx.Response:
    fields = fields_of((await browser.get("/login", params={"next": to})).text, "/login")
    return await browser.post("/login", data={**fields, "user": name, "password": password})


def fields_of(page: str, action: str) -> dict[str, str]:
    """The hidden fields of the form that is sent to ``action``."""
    form = re.search(rf'<form method="post" action="{re.escape(action)}"[^>]*>.*?</form>', page)
    assert form, f"no form to {action} in {page}"
    found = [dict(re.findall(r'(\w+)="([^"]*)"', one)) for one in re.findall(r"<input[^>]*>", form.group())]
    return {one["name"]: html.unescape(one.get("value", "")) for one in found if one.get("type") == "hidden"}


async def confirm(
    browser: httpx.AsyncClient, verb: str, *, more: dict[str, str] | None = None, **query: str
) -> httpx.Response:
    """Reads the confirmation and sends it."""
    page = await browser.get(f"/do/{verb}", params=query)
    assert page.status_code == 200, page.text
    return await browser.post(f"/do/{verb}", data={**fields_of(page.text, f"/do/{verb}"), **(more or {})})
