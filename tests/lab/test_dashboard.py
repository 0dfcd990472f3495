"""The dashboard over real hosts, in a real browser: what is done on a page is done, and what happens is on it at once.

``vmha web`` is a process of its own, on the machine of whoever looks. When something was on the page, the page itself
notes by the machine's clock; when etcd knew it, a watch beside it does. With ``VMHA_PICTURES=docs/images`` the pictures
of the documentation are taken here.
"""

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, Page, expect

from tests.lab.cluster import VMHA, Cluster, running_cluster
from tests.lab.conftest import wait_until
from tests.lab.known import Known, watched
from tests.lab.moving import with_payload
from tests.support.browsers import PATIENCE_MS, Tab, chromium, tab
from tests.support.etcd import free_ports
from tests.unit.web.operators import PASSWORD, users_in
from vmha.lab.guests import add_witness
from vmha.lab.layout import LabDir
from vmha.model.clock import SystemClock

pytestmark = pytest.mark.lab

CLOCK = SystemClock()
AT_ONCE_S = 2.0
PATIENCE_S = PATIENCE_MS / 1000
PHONE = {"width": 390, "height": 844}
WIDE = {"width": 1280, "height": 800}
LOOKED_AT = {
    "headline": "#headline h1",
    "state": "#vm-web .state",
    "where": "#vm-web .where",
    "share": "#move-web .share",
    "node": "#node-h2 .state",
    "beats": "#node-h2 .since",
}
NOTE_ARRIVALS = """
window.arrived = {};  // lines of the journal: id -> when it came; those that were there already: 0
window.shown = [];  // [what, text, when] of each text that has stood there
const last = {};
const note = () => {
  const now = Date.now() / 1000;
  for (const one of document.querySelectorAll("#journal > li")) window.arrived[one.id] ??= now;
  for (const [what, where] of Object.entries(LOOKED_AT)) {
    const text = document.querySelector(where)?.textContent ?? "";
    if (last[what] !== text) window.shown.push([what, (last[what] = text), now]);
  }
};
document.addEventListener("DOMContentLoaded", () => {
  note();
  window.arrived = Object.fromEntries(Object.keys(window.arrived).map((id) => [id, 0]));
  new MutationObserver(note).observe(document.body, { childList: true, subtree: true, characterData: true });
});
""".replace("LOOKED_AT", str(LOOKED_AT))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """``web`` at home on h1; it takes some seconds to migrate. One guest more on each of the others."""
    for found in running_cluster():
        vms: list[dict[str, Any]] = []
        for name, domain in (("web", "pref"), ("db", "second"), ("mail", "third")):
            xml = add_witness(LabDir(found.lab.path), name).xml
            vms.append({"name": name, "desired": "running", "failover_domain": domain, "xml": xml})
        vms[0] |= {"xml": with_payload(vms[0]["xml"]), "migration": {"bandwidth_mib_s": 1, "timeout_s": 60}}
        domains = [
            {"name": name, "members": [{"node": node, "priority": at} for at, node in enumerate(nodes, 1)]}
            for name, nodes in {"second": ["h2", "h3", "h1"], "third": ["h3", "h1", "h2"]}.items()
        ]
        given = {"failover_domains": [one | {"ordered": True} for one in domains], "vms": vms}
        found.vmha("apply", str(found.file("vms.yaml", yaml.safe_dump(given))), "--yes")
        for name, home in (("web", "h1"), ("db", "h2"), ("mail", "h3")):
            found.await_running(name, on=home)
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


def shown_at(page: Page, what: str, words: str, *, since: float) -> float:
    """When it was first there. ``words``: a pattern."""
    noted: list[tuple[str, str, float]] = page.evaluate("window.shown")
    found = [at for place, text, at in noted if place == what and re.search(words, text) and at >= since]
    assert found, (what, words, noted)
    return found[0]


def has_shown(page: Page, what: str, words: str, *, since: float) -> bool:
    """However shortly."""
    noted: list[tuple[str, str, float]] = page.evaluate("window.shown")
    return any(place == what and re.search(words, text) and at >= since for place, text, at in noted)


def rows(page: Page) -> dict[str, tuple[str, ...]]:
    """Of each node, its condition; of each vm, its state and place. As the page has them."""
    found: dict[str, list[str]] = page.evaluate("""() => Object.fromEntries(
      [...document.querySelectorAll("#nodes tr, #vms tr")].map((row) => [row.id,
        [row.querySelector(".state b").textContent, row.querySelector(".where")?.textContent ?? ""]]))""")
    return {id: tuple(said) for id, said in found.items()}


def rows_by_the_command_line(cluster: Cluster) -> dict[str, tuple[str, ...]]:
    status = cluster.status()
    nodes = {f"node-{one['name']}": (one["condition"], "") for one in status["nodes"]}
    return nodes | {f"vm-{one['name']}": (one["state"], one["node"] or "–") for one in status["vms"]}


def is_lost(node: str, one: Known) -> bool:
    """Its lease has ended, or the leader has begun to fence it: whichever is first makes it suspect to everybody."""
    is_session = one.key == f"nodes/{node}/session" and one.record is None
    return is_session or (one.key.startswith(f"nodes/{node}/") and "fenc" in one.key and one.record is not None)


def is_placed(phase: str, node: str, one: Known) -> bool:
    record = one.record or {}
    return one.key == "vms/web/placement" and (record.get("phase"), record.get("node")) == (phase, node)


def is_seen_running(node: str, one: Known) -> bool:
    return one.key == f"nodes/{node}/vms/web" and (one.record or {}).get("state") == "running"


def pictures(watching: Tab, *names: str) -> None:
    """In light, and in the dark."""
    for name, scheme in zip(names, ("light", "dark"), strict=False):
        watching.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        watching.picture(name)
    watching.page.emulate_media(color_scheme="light")


def migrate_by_the_page(doing: Tab) -> None:
    page = doing.page
    doing.go("/vm/web")
    page.click("#do-migrate")
    page.fill("[name=user]", "alice")
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.select_option("[name=to]", "h2")
    expect(page.locator("#plan")).to_contain_text("web would be migrated from h1 to h2")
    doing.picture("dashboard-confirmation", whole=False)
    page.click("#confirm")


def test_migration_asked_for_on_the_page_and_a_power_cut_are_on_it_at_once(
    cluster: Cluster, browser: Browser, dashboard: str
) -> None:
    with watched(cluster) as etcd, tab(browser, dashboard) as watching, tab(browser, dashboard) as doing:
        page = watching.page
        page.add_init_script(NOTE_ARRIVALS)
        watching.go("/")
        expect(page.locator("#headline")).to_contain_text("All is well")
        wait_until("rows are as the status says", lambda: rows(page) == rows_by_the_command_line(cluster))

        began = CLOCK.wall()
        migrate_by_the_page(doing)
        wait_until("its share is shown", lambda: has_shown(page, "share", "^[1-9][0-9]?%$", since=began), PATIENCE_S)
        pictures(watching, "dashboard-light", "dashboard-dark")
        cluster.await_running("web", on="h2")
        expect(page.locator("#vm-web .where")).to_have_text("h2")
        expect(page.locator("#vm-web .why")).to_contain_text("asked for by alice (web)")
        assert cluster.lab.verdict("web")["boots"] == 1, "it moved live"
        wait_until("rows are as the status says", lambda: rows(page) == rows_by_the_command_line(cluster))
        lateness = {
            "it is under way": shown_at(page, "headline", "web is on the way", since=began)
            - etcd.first(lambda one: is_placed("migrating", "h1", one), since=began),
            "its row says whither": shown_at(page, "where", "^h1 → h2$", since=began)
            - etcd.first(lambda one: is_placed("migrating", "h1", one), since=began),
            "it has come": shown_at(page, "where", "^h2$", since=began)
            - etcd.first(lambda one: is_placed("held", "h2", one), since=began),
        }

        if_lost(doing)
        cut = CLOCK.wall()
        cluster.lab.run("kill", "h2")
        suspected = "h2 is suspected to be lost"
        wait_until("it is suspected", lambda: has_shown(page, "headline", suspected, since=cut), PATIENCE_S)
        page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        watching.picture("dashboard-phone", whole=False)
        page.set_viewport_size(WIDE)  # type: ignore[arg-type]
        where = cluster.await_running("web", not_on="h2")
        expect(page.locator("#vm-web .where")).to_have_text(where)
        cluster.await_running("db", not_on="h2")
        wait_until("what happened is on the page", lambda: "fenced" in page.inner_text("#journal"))
        wait_until("rows are as the status says", lambda: rows(page) == rows_by_the_command_line(cluster))
        lost = etcd.first(lambda one: is_lost("h2", one), since=cut)
        gone = shown_at(page, "state", "^(?!running)", since=cut)
        lateness |= {
            "the headline names the node": shown_at(page, "headline", "h2", since=cut) - lost,
            "so does its row": shown_at(page, "node", "suspect", since=cut) - lost,
            "since when it is silent": shown_at(page, "beats", "no beat for", since=cut) - lost,
            "another is to have it": shown_at(page, "where", f"^{where}$", since=cut)
            - etcd.first(lambda one: is_placed("assigned", where, one), since=cut),
            "it runs again": shown_at(page, "state", "^running", since=gone)
            - etcd.first(lambda one: is_seen_running(where, one), since=cut),
        }
        assert {what: late_s for what, late_s in lateness.items() if late_s > AT_ONCE_S} == {}, lateness
        assert late(page, cluster) == {}
        doing.go("/vm/web")
        expect(doing.page.locator("#story")).to_contain_text("is recovered on")
    assert cluster.lab.verdict("web")["ran_twice"] is False


def if_lost(doing: Tab) -> None:
    """What the leader would do is asked before it happens."""
    doing.page.set_viewport_size({"width": 1024, "height": 560})
    doing.go("/what-if?if=node+h2+lost", live=False)
    expect(doing.page.locator("#answer")).to_contain_text("Every vm that is wanted running would run")
    doing.picture("dashboard-what-if")
