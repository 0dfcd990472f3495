"""The pages as Chromium lays them out and keeps them up to date."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.checks import axe_faults, faults
from tests.browser.scenes import NODES, bad_day, good_day, recorded, under_way
from tests.browser.served import Served, served
from tests.support.browsers import PATIENCE_MS, tab
from tests.unit.operator.cluster import Cluster

WIDE, PHONE = (1280, 800), (390, 844)
PAGES = {
    "cluster": "/",
    "vm": "/vm/web",
    "node": "/node/kvm2",
    "log-in": "/login",
    "what-if": "/what-if?if=node+kvm2+lost",
    "any-node": "/what-if?if=any+node+lost",
}
STILL = ("log-in", "what-if", "any-node")


async def a_day_with_everything(cluster: Cluster) -> None:
    """All tones at once: text of each colour is on the page."""
    await good_day(cluster)
    await recorded(cluster)
    await under_way(cluster)
    await bad_day(cluster)


@pytest.fixture(scope="module")
def busy(users: Path) -> Iterator[Served]:
    """For looking only."""
    with served(a_day_with_everything, users) as found:
        yield found


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_read_by_everybody(
    browser: Browser, busy: Served, scheme: str, size: tuple[int, int]
) -> None:
    """It fits, what is asked for has a label, text stands out, and pictures have words."""
    with tab(browser, busy.base, scheme=scheme, width=size[0], height=size[1]) as opened:
        found = {}
        for name, where in PAGES.items():
            opened.go(where, live=name not in STILL)
            found[name] = faults(opened.page) + axe_faults(opened.page)
        assert found == {name: [] for name in PAGES}


def test_checks_find_what_they_look_for(browser: Browser, busy: Served) -> None:
    with tab(browser, busy.base) as opened:
        opened.go("/login", live=False)
        opened.page.evaluate("""() => {
            const add = (html) => document.querySelector("main").insertAdjacentHTML("beforeend", html);
            add('<h1>another</h1><input><a href="/"></a><svg width="9" height="9"></svg><p id="main">twice</p>');
            const pale = document.querySelector("label");
            pale.style.color = "#aaa";
            document.querySelector("header").style.width = "3000px";
        }""")
        said = " ".join(faults(opened.page))
        for words in ("wider", "no label", "says nothing", "without words", "not one h1", "two are #main", "contrast"):
            assert words in said
        assert "link-name" in " ".join(axe_faults(opened.page))


def test_change_comes_by_itself_and_the_focus_stays(browser: Browser, dashboard: Served) -> None:
    with tab(browser, dashboard.base) as opened:
        page = opened.page
        opened.go("/")
        expect(page.locator("#headline")).to_contain_text("All is well")
        expect(page.locator("#vm-web .since")).to_have_text("7 h")
        page.focus("#vm-link-web")
        dashboard.do(under_way)
        expect(page.locator("#move-web .share")).to_have_text("62%")
        expect(page.locator("#vms tr").first).to_contain_text("web")
        expect(page.locator("#vm-link-web")).to_be_focused()
        dashboard.do(lambda cluster: under_way(cluster, 0.9))
        expect(page.locator("#move-web .share")).to_have_text("90%")
        dashboard.do(bad_day)
        expect(page.locator("#headline")).to_contain_text("kvm2 is suspected to be lost; db and ldap are out of sight")
        assert page.title().startswith("(!) ")


def test_page_whose_server_has_gone_says_that_it_is_old(browser: Browser, users: Path) -> None:
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    try:
        page = context.new_page()
        with served(good_day, users) as found:
            page.goto(found.base)
            page.wait_for_selector("#live[data-state=on]")
        expect(page.locator("#live")).to_have_text("no connection: what you see is old")
    finally:
        context.close()


def test_keys_are_enough(browser: Browser, dashboard: Served) -> None:
    with tab(browser, dashboard.base) as opened:
        page = opened.page
        opened.go("/")
        page.keyboard.press("/")
        page.keyboard.type("kvm3")
        expect(page.locator("#vms tr")).to_have_count(2)
        page.keyboard.press("Escape")
        for _ in NODES:
            page.keyboard.press("j")
        page.keyboard.press("j")
        expect(page.locator("#vm-link-build")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text("build")
        page.keyboard.press("w")
        expect(page.locator("h1")).to_have_text("What if")
        page.keyboard.press("g")
        expect(page.locator("#headline")).to_contain_text("All is well")


def test_words_from_the_cluster_are_words_to_the_browser_too(browser: Browser, dashboard: Served) -> None:
    bad = "</li><img src=x onerror=alert(1)><script>alert(2)</script>"

    async def told(cluster: Cluster) -> None:
        cluster.tell("9999", bad, vm="web")

    with tab(browser, dashboard.base) as opened:
        opened.go("/")
        dashboard.do(told)
        expect(opened.page.locator("#journal")).to_contain_text(bad)
        opened.go("/")
        expect(opened.page.locator("#journal")).to_contain_text(bad)


def test_nothing_moves_for_who_does_not_want_it(browser: Browser, busy: Served) -> None:
    with tab(browser, busy.base, reduced_motion="reduce") as opened:
        opened.go("/")
        assert opened.page.evaluate("document.getAnimations().length") == 0


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_page_without_a_script_fits_and_speaks_of_no_keys(
    browser: Browser, busy: Served, size: tuple[int, int]
) -> None:
    """Scripts of the page are held back, not those that look at it."""
    with tab(browser, busy.base, width=size[0], height=size[1]) as opened:
        opened.page.route("**/page.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
        for where in ("/", "/node/kvm2", "/vm/web"):
            opened.go(where, live=False)
            assert faults(opened.page) == []
            expect(opened.page.locator(".keys")).to_be_hidden()


def test_page_reads_without_a_script(browser: Browser, busy: Served) -> None:
    with tab(browser, busy.base, java_script_enabled=False) as opened:
        opened.go("/", live=False)
        expect(opened.page.locator("#vm-web")).to_contain_text("migrating")
        opened.page.fill("#find", "ldap")
        opened.page.click("text=Find >> visible=true")
        expect(opened.page.locator("#vms tr")).to_have_count(1)


def test_what_if_is_a_click_away_from_a_node(browser: Browser, dashboard: Served) -> None:
    with tab(browser, dashboard.base) as opened:
        opened.go("/node/kvm2")
        opened.page.click("text=What if it were lost?")
        expect(opened.page.locator("#answer")).to_contain_text("Every vm that is wanted running would run")
        expect(opened.page.locator("#would-db")).to_contain_text("kvm2 → kvm1")
