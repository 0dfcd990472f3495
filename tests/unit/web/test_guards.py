"""What every answer carries, and what is refused before anything looks at it."""

import httpx
import pytest

from vmha.web.guards import MOST_BODY_BYTES, is_ours


@pytest.mark.parametrize("where", ["/", "/vm/none", "/what-if", "/static/page.js", "/nothing", "/static/none"])
async def test_every_answer_forbids_scripts_frames_and_sources_that_are_not_ours(
    browser: httpx.AsyncClient, where: str
) -> None:
    headers = (await browser.get(where)).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] in ("no-store", "no-cache")
    assert "server" not in headers


async def test_pages_hold_no_inline_script_style_or_foreign_address(browser: httpx.AsyncClient) -> None:
    for where in ("/", "/what-if?if=node+h1+lost", "/node/h1"):
        page = (await browser.get(where)).text
        assert page.count("<script") == 1
        assert " style=" not in page
        assert "<style" not in page
        assert " onclick" not in page
        assert "://" not in page


@pytest.mark.parametrize("host", ["evil.example", "vmha.example.evil.example", "127.0.0.1.evil.example", ""])
async def test_a_foreign_name_that_leads_here_is_not_answered(browser: httpx.AsyncClient, host: str) -> None:
    answer = await browser.get("/", headers={"host": host})
    assert answer.status_code == 421
    assert "h1" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1:9780", "[::1]:9780", "vmha.example", "VMHA.example.:80", "10.0.0.7"])
def test_addresses_and_names_of_ours_are_answered(host: str) -> None:
    assert is_ours(host, ["vmha.example"])


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_other_methods_are_refused(browser: httpx.AsyncClient, method: str) -> None:
    assert (await browser.request(method, "/")).status_code == 405


async def test_what_is_too_long_is_refused(browser: httpx.AsyncClient) -> None:
    assert (await browser.get("/vm/" + "x" * 2000)).status_code == 414
    assert (await browser.get("/", params={"q": "x" * 3000})).status_code == 414
    assert (await browser.post("/what-if", content=b"x" * (MOST_BODY_BYTES + 1))).status_code == 413
    for length in ("9" * 5000, "many", "-1"):
        assert (await browser.post("/what-if", headers={"content-length": length})).status_code == 413


async def test_nothing_beside_the_three_files_is_served(browser: httpx.AsyncClient) -> None:
    for name in ("..%2Fapp.py", "%2e%2e/app.py", "app.py", "", "page.js/", "../__init__.py"):
        assert (await browser.get(f"/static/{name}")).status_code in (404, 405)
