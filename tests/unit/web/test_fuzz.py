"""Whatever is asked, however it is asked: an answer that is no crash, guarded, and nothing written."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.operator.cluster import Cluster
from tests.unit.web.conftest import add
from tests.unit.web.operators import operator, stranger, users_in
from vmha.web.guards import HEADERS
from vmha.web.users import Users
from vmha.web.verbs import DEEDS

WORDS = [
    "",
    "web",
    "h1",
    "vm",
    "node",
    "any node lost",
    "node h1 lost",
    "..",
    "%00",
    "\x00",
    "\u202e",
    "<b>",
    "é",
    "'",
    '"',
]
PAGES = ["/", "/vm/", "/node/", "/what-if", "/static/", "/login", "/logout", *(f"/do/{verb}" for verb in DEEDS), "/do/"]
word = st.one_of(st.sampled_from(WORDS), st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
paths = st.tuples(st.sampled_from(PAGES), st.one_of(st.just(""), word)).map(
    lambda two: two[0] + quote(two[1], safe="/%")
)
keys = st.one_of(
    st.sampled_from(["q", "if", "on", "to", "mode", "reason", "next", "token", "seen", "user", "password"]), word
)
pairs = st.lists(st.tuples(keys, word), max_size=6)
latin = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)
headers = st.dictionaries(
    st.sampled_from(
        ["cookie", "origin", "sec-fetch-site", "content-type", "accept", "x-forwarded-for", "referer", "range"]
    ),
    st.one_of(latin, st.sampled_from(["vmha=x", "vmha=; vmha-form=x", "null", "same-origin", "application/json"])),
    max_size=4,
)
bodies = st.one_of(
    st.binary(max_size=300),
    pairs.map(lambda given: urlencode(given).encode()),
    st.integers(8000, 9000).map(lambda size: b"a" * size),
)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get", "X"])
FORM = {"content-type": "application/x-www-form-urlencoded"}
HUNDREDS = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def users(tmp_path: Path) -> Users:
    return users_in(tmp_path)


def guarded(answer: httpx.Response) -> None:
    assert answer.status_code < 500, answer.text
    for name in HEADERS:
        assert answer.headers[name], f"{answer.request.method} {answer.request.url} without {name}"
    assert answer.headers["content-security-policy"] == HEADERS["content-security-policy"]


async def test_nothing_that_a_stranger_asks_is_a_crash_or_writes(cluster: Cluster, users: Users) -> None:
    await add(cluster, "web", "h1")
    before = cluster.contents()
    async with stranger(cluster, users) as browser:
        await_all = [one async for one in _answers(browser, seed=_drawn(method=METHODS))]
    assert len(await_all) > 100
    assert cluster.contents() == before


async def test_nothing_that_is_sent_with_a_session_but_without_its_word_writes(cluster: Cluster, users: Users) -> None:
    await add(cluster, "web", "h1")
    before = cluster.contents()
    async with operator(cluster, users) as browser:
        session = browser.cookies["vmha"]
        drawn = _drawn(method=st.sampled_from(["GET", "POST"]), more={**FORM, "cookie": f"vmha={session}"})
        async for answer in _answers(browser, seed=drawn):
            verb = answer.request.url.path.startswith("/do/")
            assert not (verb and answer.request.method == "POST" and answer.status_code == 303)
        assert "Log out" in (await browser.get("/")).text, "the session is still there"
    assert cluster.contents() == before


async def test_nothing_that_a_form_of_ours_may_hold_is_a_crash(cluster: Cluster, users: Users) -> None:
    """With the right word: hostile names, targets, modes and reasons."""
    await add(cluster, "web", "h1")
    async with operator(cluster, users) as browser:
        page = (await browser.get("/do/stop?on=web")).text
        token = page.partition('name="token" value="')[2].partition('"')[0]
        drawn = _drawn(method=st.just("POST"), more=FORM, token=token, only="/do/")
        found = [answer async for answer in _answers(browser, seed=drawn)]
    assert {answer.status_code for answer in found} >= {404, 409}


def _drawn(
    *, method: st.SearchStrategy[str], more: dict[str, str] | None = None, token: str = "", only: str = ""
) -> list[dict[str, Any]]:
    """The requests of one run: hypothesis draws them, the event loop of the test sends them."""
    found: list[dict[str, Any]] = []

    @HUNDREDS
    @given(method, paths.filter(lambda path: path.startswith(only)), pairs, headers, bodies, pairs)
    def draw(
        method: str,
        path: str,
        query: list[tuple[str, str]],
        headers: dict[str, str],
        body: bytes,
        form: list[tuple[str, str]],
    ) -> None:
        if token:
            headers, body = {}, urlencode([*form, ("token", token)]).encode()
        url = path + (f"?{urlencode(query)}" if query else "")
        found.append({"method": method, "url": url, "headers": {**headers, **(more or {})}, "content": body})

    draw()
    return found


async def _answers(browser: httpx.AsyncClient, *, seed: list[dict[str, Any]]) -> AsyncGenerator[httpx.Response, None]:
    for request in seed:
        if len(request["url"]) > 2000 or not request["url"].isascii():
            continue
        try:
            answer = await browser.request(**request)
        except (httpx.InvalidURL, httpx.LocalProtocolError):
            continue  # no browser can send that
        guarded(answer)
        yield answer
