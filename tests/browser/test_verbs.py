"""Log-in and a verb, as a person does them: what is clicked, what is read before, and what is on record afterwards."""

from collections.abc import Sequence

from playwright.sync_api import Browser, Page, expect

from tests.browser.checks import axe_faults, faults
from tests.browser.scenes import freeze_ldap
from tests.browser.served import Served
from tests.support.browsers import tab
from tests.unit.operator.cluster import Cluster
from tests.unit.web.operators import PASSWORD
from vmha.model.records import Request


def log_in(page: Page, password: str = PASSWORD) -> None:
    page.fill("[name=user]", "alice")
    page.fill("[name=password]", password)
    page.press("[name=password]", "Enter")


async def requests(cluster: Cluster) -> Sequence[Request]:
    return list((await cluster.client.read()).requests.values())


def test_migration_by_the_page_is_read_confirmed_and_on_record(browser: Browser, dashboard: Served) -> None:
    with tab(browser, dashboard.base) as opened:
        page = opened.page
        opened.go("/vm/web")
        page.click("#do-migrate")
        expect(page.locator("h1")).to_have_text("Log in")
        log_in(page)
        expect(page.locator("h1")).to_have_text("Migrate web?")
        page.select_option("[name=to]", "kvm4")
        expect(page.locator("#plan")).to_contain_text("web would be migrated from kvm1 to kvm4")
        assert faults(page) + axe_faults(page) == []
        assert dashboard.do(requests) == []
        page.click("#confirm")
        expect(page.locator("main")).to_contain_text("asked for. Here is what becomes of it.")
        (asked,) = dashboard.do(requests)
        assert (asked.vm, asked.node, asked.author) == ("web", "kvm4", "alice (web)")
        page.click("text=Log out")
        expect(page.locator(".who")).to_have_text("Log in")
        opened.go("/do/migrate?on=web", live=False)
        expect(page.locator("h1")).to_have_text("Log in")


def test_wrong_password_is_told_and_lets_nobody_in(browser: Browser, dashboard: Served) -> None:
    with tab(browser, dashboard.base) as opened:
        opened.go("/login", live=False)
        log_in(opened.page, "not the password")
        expect(opened.page.locator("[role=alert]")).to_be_visible()
        assert faults(opened.page) == []
        expect(opened.page.locator(".who")).to_have_text("Log in")
        assert ["403" in one for one in opened.complaints] == [True], "the browser notes the answer's code"
        opened.complaints.clear()


def test_drain_that_can_not_empty_its_node_wants_to_be_confirmed_twice(browser: Browser, dashboard: Served) -> None:
    dashboard.do(freeze_ldap)
    with tab(browser, dashboard.base, scheme="dark", width=390, height=844) as opened:
        page = opened.page
        opened.go("/login?next=/do/drain%3Fon%3Dkvm2", live=False)
        log_in(page)
        expect(page.locator("#risks")).to_contain_text("ldap can not leave")
        assert faults(page) + axe_faults(page) == []
        page.fill("[name=reason]", "new memory")
        page.click("#confirm")
        expect(page.locator("h1")).to_have_text("Drain kvm2?")
        page.check("[name=all-the-same]")
        page.click("#confirm")
        expect(page.locator("h1")).to_have_text("kvm2")
        expect(page.locator("#why")).to_contain_text("new memory")
