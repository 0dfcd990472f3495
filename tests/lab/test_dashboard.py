"""The dashboard over real hosts, in a real browser: what is done on a page is done, and what happens is on it at once.

``vmha web`` is a process of its own, on the machine of whoever looks. When something was on the page, the page itself
notes by the machine's clock; when etcd knew it is the time of the journal's line.
"""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.lab.cluster import VMHA, Cluster, running_cluster
from tests.lab.conftest import wait_until
from tests.support.browsers import chromium, tab
from tests.support.etcd import free_ports
from tests.unit.web.operators import PASSWORD, users_in

pytestmark = [pytest.mark.lab, pytest.mark.beside]

AT_ONCE_S = 2.0
NOTE_ARRIVALS = """
window.arrived = {};
const note = () => {
  for (const one of document.querySelectorAll("#journal > li")) window.arrived[one.id] ??= Date.now() / 1000;
};
document.addEventListener("DOMContentLoaded", () => {
  note();
  window.arrived = Object.fromEntries(Object.keys(window.arrived).map((id) => [id, 0]));
  new MutationObserver(note).observe(document.getElementById("journal"), { childList: true });
});
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    for found in running_cluster():
        found.add("web", "--failover-domain", "pref")
        yield found


@pytest.fixture
def dashboard(cluster: Cluster, tmp_path: Path) -> Iterator[str]:
    """Its address."""
    (port,) = free_ports(1)
    settings = tmp_path / "vmha.toml"
    settings.write_text(f'[web]\nlisten = "127.0.0.1:{port}"\nusers = "{users_in(tmp_path).path}"\n')
    environment = cluster.lab.environment | {"VMHA_LAB": str(cluster.lab.path), "VMHA_CONFIG": str(settings)}
    with subprocess.Popen([*VMHA, "web"], env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline().startswith(f"http://127.0.0.1:{port}/")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            assert process.wait(20) == -signal.SIGTERM, "it ended as it was told to"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def late(page: Page, cluster: Cluster) -> dict[str, float]:
    """The journal's lines that came while the page was open and were on it later than at once, in seconds."""
    arrived: dict[str, float] = page.evaluate("window.arrived")
    known = {f"j-{entry['id']}": entry for entry in cluster.journal()}
    came = {id: at for id, at in arrived.items() if at and id in known}
    assert came, "nothing has come"
    after = {known[id]["text"]: at - known[id]["at"] for id, at in came.items()}
    return {text: round(late_s, 2) for text, late_s in after.items() if late_s > AT_ONCE_S}


def test_migration_asked_for_on_the_page_and_a_power_cut_are_on_it_at_once(
    cluster: Cluster, browser: Browser, dashboard: str
) -> None:
    with tab(browser, dashboard) as watching, tab(browser, dashboard) as doing:
        watching.page.add_init_script(NOTE_ARRIVALS)
        watching.go("/")
        expect(watching.page.locator("#headline")).to_contain_text("All is well")
        expect(watching.page.locator("#vm-web .where")).to_have_text("h1")

        page = doing.page
        doing.go("/vm/web")
        page.click("#do-migrate")
        page.fill("[name=user]", "alice")
        page.fill("[name=password]", PASSWORD)
        page.press("[name=password]", "Enter")
        page.select_option("[name=to]", "h2")
        expect(page.locator("#plan")).to_contain_text("web would be migrated from h1 to h2")
        page.click("#confirm")
        cluster.await_running("web", on="h2")
        expect(watching.page.locator("#vm-web .where")).to_have_text("h2")
        expect(watching.page.locator("#vm-web .why")).to_contain_text("asked for by alice (web)")
        assert cluster.lab.verdict("web")["boots"] == 1, "it moved live"

        cluster.lab.run("kill", "h2")
        expect(watching.page.locator("#headline")).to_contain_text("h2")
        where = cluster.await_running("web", not_on="h2")
        expect(watching.page.locator("#vm-web .where")).to_have_text(where)
        wait_until("what happened is on the page", lambda: "fenced" in watching.page.inner_text("#journal"))
        assert late(watching.page, cluster) == {}
        doing.go("/vm/web")
        expect(page.locator("#story")).to_contain_text("is recovered on")
    assert cluster.lab.verdict("web")["ran_twice"] is False
