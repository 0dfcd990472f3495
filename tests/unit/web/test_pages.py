"""What the pages show, without a script running: it is all in the text that is sent first."""

import re
from html import unescape

import pytest

from tests.unit.operator.cluster import Cluster, xml_of
from tests.unit.test_names import REFUSED
from tests.unit.web.conftest import add, browsing
from vmha.model.ids import NodeName, VmName
from vmha.model.migration import MIB, MigrationProgress
from vmha.model.records import Hand, JournalEntry, Phase, SeenState
from vmha.operator import holds, nodes, vms
from vmha.store.memory_store import MemoryStore
from vmha.web.app import Limits
from vmha.web.dashboard import MOST_ROWS
from vmha.web.html import text as text_as_html
from vmha.web.parts import with_links


async def page(cluster: Cluster, where: str = "/") -> str:
    """As a dashboard shows it that begins now."""
    async with browsing(cluster) as browser:
        answer = await browser.get(where)
    assert answer.status_code == 200, answer.text
    return answer.text


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def row(html: str, id: str) -> str:
    found = re.search(rf'<tr id="{re.escape(id)}".*?</tr>', html)
    assert found, f"no row {id}"
    return words(found.group())


async def test_nodes_are_shown_with_fencing_level_session_and_load(cluster: Cluster) -> None:
    await add(cluster, "web", "h1")
    said = row(await page(cluster), "node-h1")
    assert "online , leads" in said
    assert "guard" in said
    assert "since 1970-01-01 00:00 UTC" in said
    assert "no beat for" not in said, "the newest has just come"
    assert "64 of 8000 MiB" in said


async def test_whether_the_loss_of_a_node_would_be_survived_is_said(
    cluster: Cluster,
) -> None:
    await add(cluster, "web", "h1")
    said = words(await page(cluster))
    assert "survives the loss of any one node" in said
    cluster.lose_lease("h2")
    assert "would not survive the loss of h1: web would not come back" in words(await page(cluster))


async def test_vms_are_shown_with_state_place_and_why(cluster: Cluster) -> None:
    await add(cluster, "web", "h1")
    said = row(await page(cluster), "vm-web")
    assert "running h1" in said
    assert "it is wanted running; h1 is the only node that can take it" in said


async def test_what_is_wrong_stands_above_everything_else(cluster: Cluster) -> None:
    await add(cluster, "web", "h2")
    await add(cluster, "aaa", "h1")
    cluster.lose_lease("h2")
    html = await page(cluster)
    assert words(html).index("h2 is suspected to be lost; web is out of sight") < words(html).index("Nodes")
    assert html.index('id="vm-web"') < html.index('id="vm-aaa"'), "the worst stands first"


async def test_what_many_vms_wait_for_is_said_once(cluster: Cluster) -> None:
    for number in range(20):
        await add(cluster, f"vm{number:02d}", "h2")
    cluster.lose_lease("h2")
    html = await page(cluster)
    (listed,) = re.findall(r'<ul id="attention".*?</ul>', html)
    assert listed.count("<li>") == 2, "the node, and its vms"
    assert "20 vms, vm00 , vm01 , vm02 , vm03 , vm04 , vm05 and 14 more are unknown: " in words(listed)


async def test_migration_has_a_bar(cluster: Cluster) -> None:
    await add(cluster, "web", "h1")
    cluster.place("web", "h1", target=NodeName("h2"), phase=Phase.MIGRATING)
    far = MigrationProgress(elapsed_s=3.0, remaining_bytes=256 * MIB, total_bytes=1024 * MIB)
    cluster.see("web", "h1", migration=far)
    html = await page(cluster)
    assert 'aria-label="web: 75%"' in html
    assert '<rect width="75.0"' in html
    assert "256 of 1024 MiB to go" in html


async def test_journal_is_shown_newest_first(cluster: Cluster) -> None:
    cluster.tell("1", "the first", at=1.0, vm="web")
    cluster.tell("2", "the second", at=2.0, vm="web")
    said = words(await page(cluster))
    assert said.index("the second") < said.index("the first")


async def test_journal_says_who_did_it_why_and_until_when(cluster: Cluster) -> None:
    await add(cluster, "web")
    await holds.freeze(cluster.client, "web", reason="disk swap", for_s=7200.0)
    assert "frozen by operator for 2h: disk swap (until " in words(await page(cluster))


async def test_names_in_the_journal_lead_to_their_pages_and_are_said_once(cluster: Cluster) -> None:
    cluster.tell("1", "web runs on h2; web-2 does not", vm="web")
    cluster.tell("2", "it is <b>bold</b>", vm="web")
    html = await page(cluster)
    said = words(html)
    assert "web runs on h2; web-2 does not" in said
    assert "web web runs" not in said
    assert html.count('href="/vm/web"') == 2
    assert "web it is &lt;b&gt;bold&lt;/b&gt;" in said, "a name that is not in the words stands before them"


ALICE = Hand(author="alice (web)", why="web moves to h2, and frozen it stays")


@pytest.mark.parametrize(
    ("vm", "text", "hand", "said"),
    [
        ("web", "migration to h2 asked for by alice (web)", None, "[web] migration to [h2] asked for by alice (web)"),
        ("web", "alice (web) asks for: migrate to h2", ALICE, "[web] alice (web) asks for: migrate to [h2]"),
        ("web", "alice (web) asks for: restart", ALICE, "[web] [h2] alice (web) asks for: restart"),
        ("alice", "alice (web) confirmed that h2 is off", None, "[alice] alice (web) confirmed that [h2] is off"),
        ("web", f"drained by alice (web): {ALICE.why}", ALICE, f"[web] [h2] drained by alice (web): {ALICE.why}"),
        ("frozen", "frozen by ann for 2h", Hand(author="ann"), "[frozen] [h2] frozen by ann for 2h"),
        ("vm", "vm vm is added by ann", Hand(author="ann"), "[h2] vm [vm] is added by ann"),
        ("running", "found running on h2; adopted", None, "[running] found running on [h2]; adopted"),
        ("web", "relocation asked for by root@h2", None, "[web] [h2] relocation asked for by root@h2"),
        ("web", "h2's guest web.old ended, web-2 did not", None, "[web] [h2]'s guest web.old ended, web-2 did not"),
        ("h2", "h2 runs on h2", None, "[h2] runs on [h2]"),
        ("web", "h1 gave way; h2 is preferred for web", None, "h1 gave way; [h2] is preferred for [web]"),
    ],
)
def test_word_of_the_journal_leads_to_a_page_only_where_it_is_the_name(
    vm: str, text: str, hand: Hand | None, said: str
) -> None:
    entry = JournalEntry(
        id="1", at=1.0, by=NodeName("h1"), kind="k", text=text, vm=VmName(vm), node=NodeName("h2"), hand=hand
    )
    shown = re.sub(r"<a [^>]*><bdi>([^<]*)</bdi></a>", r"[\1]", text_as_html(with_links(entry)))
    assert unescape(shown) == said


async def test_memory_of_a_large_node_is_told_in_gib_and_shared_vcpus_are_no_fault(cluster: Cluster) -> None:
    cluster.join("h3", memory_mib=65536)
    for number in range(5):
        xml = xml_of(f"vm{number}", memory_mib=1024).replace("</memory>", "</memory><vcpu>2</vcpu>")
        await vms.add_vm(cluster.client, f"vm{number}", xml, start=True)
        cluster.run(f"vm{number}", "h3")
    html = await page(cluster)
    assert "5 of 64 GiB" in row(html, "node-h3")
    assert "10 of 4" in row(html, "node-h3")
    assert 'class="bar bad"' not in html


async def test_empty_cluster_says_what_to_do(cluster: Cluster) -> None:
    assert "No vm yet: vmha vm add NAME --xml FILE" in words(await page(cluster))


async def test_page_of_a_vm_tells_why_and_its_story(cluster: Cluster) -> None:
    await add(cluster, "web", "h1")
    cluster.tell("1", "web was started", vm="web")
    cluster.tell("2", "db was started", vm="db")
    said = words(await page(cluster, "/vm/web"))
    assert "It is wanted running (started by operator)." in said
    assert "Now h2 could take it, with score" in said
    assert "web was started" in said
    assert "db was started" not in said


async def test_page_of_a_node_tells_why_and_what_runs_there(cluster: Cluster) -> None:
    await add(cluster, "web", "h1")
    await nodes.drain(cluster.client, "h1", why="new memory")
    html = await page(cluster, "/node/h1")
    assert "new memory" in words(html)
    assert "its guard ends its guests" in words(html)
    assert "running h1" in row(html, "vm-web")


async def test_page_of_a_node_says_what_there_is_not(cluster: Cluster) -> None:
    cluster.lose_lease("h2")
    said = words(await page(cluster, "/node/h2"))
    assert "suspect · fencing: guard · no session" in said
    assert "say nothing of it" in said


async def test_unknown_name_is_told_with_the_near_ones(cluster: Cluster) -> None:
    await add(cluster, "web")
    async with browsing(cluster) as browser:
        answer = await browser.get("/vm/wbe")
        assert answer.status_code == 404
        assert "did you mean web?" in words(answer.text)
        assert (await browser.get("/node/h7")).status_code == 404
        assert (await browser.get("/stream/lease/web")).status_code == 404


async def test_what_if_tells_the_leaders_plan_and_changes_nothing(cluster: Cluster) -> None:
    await add(cluster, "web", "h1")
    before = cluster.contents()
    said = words(await page(cluster, "/what-if?if=node+h1+lost"))
    assert "Every vm that is wanted running would run" in said
    assert "web recovered, booting anew h1 → h2" in said
    said = words(await page(cluster, "/what-if?if=any+node+lost"))
    assert "h1 survived Booted anew elsewhere: web" in said
    assert "h2 survived No vm would be touched." in said
    said = words(await page(cluster, "/what-if?if=node+h1+lost&if=node+h2+drained"))
    assert "Not every vm would run" in said
    assert cluster.contents() == before


async def test_what_can_not_be_supposed_is_told_with_what_can(cluster: Cluster) -> None:
    assert "can not be supposed" in words(await page(cluster, "/what-if?if=the+moon+fell"))
    assert "did you mean h1" in words(await page(cluster, "/what-if?if=node+h11+lost"))
    assert "at most 8" in words(await page(cluster, "/what-if?" + "if=any+node+lost&" * 9))


async def test_vms_are_found_by_name_state_and_node(cluster: Cluster) -> None:
    await add(cluster, "web", "h1")
    await add(cluster, "db", "h2")
    html = await page(cluster, "/?q=h2+running")
    assert 'id="vm-db"' in html
    assert 'id="vm-web"' not in html
    assert "No vm matches" in words(await page(cluster, "/?q=nobody"))


async def test_of_very_many_vms_the_worst_are_listed(cluster: Cluster) -> None:
    for number in range(MOST_ROWS + 20):
        cluster.see(f"stray-{number}", "h1")
    html = await page(cluster)
    assert html.count('<tr id="vm-') == MOST_ROWS
    assert f"These are {MOST_ROWS} of {MOST_ROWS + 20}, the worst first" in words(html)


HOSTILE = {**REFUSED, "script": "<script>alert(1)</script>", "attribute": '" onmouseover="alert(1)', "entity": "&lt;b"}


@pytest.mark.parametrize("name", [one for one in HOSTILE.values() if one and len(one) < 1000], ids=repr)
async def test_hostile_names_and_words_from_the_store_are_text(cluster: Cluster, name: str) -> None:
    """libvirt's own names of guests, texts of the journal, reasons: nobody has checked them."""
    cluster.see(name, "h1", SeenState.RUNNING, reason=name)
    cluster.tell("1", name, vm=name)
    await add(cluster, "web")
    cluster.place("web", "h1", ended_why=name)
    await nodes.drain(cluster.client, "h1", why=name)
    async with browsing(cluster) as browser:
        for where, query in (
            ("/", {}),
            ("/node/h1", {}),
            ("/vm/web", {}),
            ("/", {"q": name}),
            ("/what-if", {"if": name}),
        ):
            html = (await browser.get(where, params=query)).text
            assert html.count("<script") == 1
            assert not re.search(r"<[^>\"]*(\"[^\"]*\"[^>\"]*)*\sonmouseover=", html)
            assert "<b>&c" not in html
            assert not re.search("[\x00-\x08\x0b-\x1f\u200b\u202e]", html)


async def test_page_asked_before_the_cluster_answers_says_so(cluster: Cluster) -> None:
    cluster.client.store = MemoryStore(cluster.etcd, "web", watch_give_up_s=0.1)
    cluster.etcd.cut("web")
    async with browsing(cluster, limits=Limits(first_s=0.1)) as browser:
        answer = await browser.get("/")
        assert answer.status_code == 503
        assert "The cluster does not answer" in answer.text
