"""What is done from a page: never without log-in, word and confirmation; what the confirmation says, happens."""

from pathlib import Path

import httpx
import pytest

from tests.unit.operator.cluster import Cluster
from tests.unit.web.conftest import add, with_web
from tests.unit.web.operators import confirm, fields_of, operator, stranger, users_in
from tests.unit.web.test_pages import words
from vmha.model.holds import PauseMode
from vmha.model.ids import NodeName, VmName
from vmha.model.records import Verb
from vmha.model.vm import Desired
from vmha.operator import nodes, vms
from vmha.operator.holds import freeze, pause
from vmha.store.memory_store import MemoryStore
from vmha.web.verbs import DEEDS


@pytest.fixture
async def cluster() -> Cluster:
    return await with_web()


async def test_migration_is_confirmed_with_its_plan_and_asked_for_in_the_users_name(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with operator(cluster, users_in(tmp_path)) as browser:
        page = await browser.get("/do/migrate", params={"on": "web", "to": "h2"})
        said = words(page.text)
        assert "Move web to h2 without stopping its guest." in said
        assert "web would be migrated from h1 to h2" in said
        assert "No guest would be interrupted." in said
        before = cluster.contents()
        answer = await browser.post("/do/migrate", data=fields_of(page.text, "/do/migrate"))
        assert (answer.status_code, answer.headers["location"]) == (303, "/vm/web")
        (request,) = (await cluster.client.read()).requests.values()
        assert (request.verb, request.vm, request.node) == (Verb.MIGRATE, "web", "h2")
        assert request.author == "alice (web)"
        entry = (await cluster.client.journal())[0][-1]
        assert entry.text == "alice (web) asks for: migrate to h2"
        assert len(cluster.contents()) == len(before) + 2, "the request, and who asked for it"
        assert "asked for" in words((await browser.get("/vm/web")).text)
        assert "asked for. Here" not in words((await browser.get("/vm/web")).text), "it is said once"


async def test_confirmation_alone_changes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    await add(cluster, "off")
    before = cluster.contents()
    async with operator(cluster, users_in(tmp_path)) as browser:
        for verb, doing in DEEDS.items():
            on = {"vm": "web", "node": "h1"}.get(doing.about, "")
            answer = await browser.get(f"/do/{verb}", params={"on": on})
            assert answer.status_code == 200, f"{verb}: {words(answer.text)}"
            assert "What will happen" in answer.text
    assert cluster.contents() == before


async def test_each_verb_does_what_the_command_line_does(cluster: Cluster, tmp_path: Path) -> None:
    async def desired() -> tuple[Desired, str]:
        spec = (await cluster.client.read()).vms[VmName("web")].spec
        assert spec
        return spec.value.desired, spec.value.desired_why

    async with operator(cluster, users_in(tmp_path)) as browser:
        for verb, wanted, why in (
            ("stop", Desired.STOPPED, "stopped by alice (web)"),
            ("start", Desired.RUNNING, "started by alice (web)"),
            ("disable", Desired.DISABLED, "disabled by alice (web)"),
            ("enable", Desired.RUNNING, "enabled by alice (web)"),
        ):
            assert (await confirm(browser, verb, on="web")).status_code == 303
            assert await desired() == (wanted, why)
        await confirm(browser, "freeze", on="web", more={"reason": "being repaired"})
        hold = (await cluster.client.read()).vms[VmName("web")].freeze
        assert hold
        assert hold.value.in_words == "alice (web): being repaired"
        await confirm(browser, "unfreeze", on="web")
        assert (await cluster.client.read()).vms[VmName("web")].freeze is None
        await confirm(browser, "drain", on="h2", more={"reason": "new memory"})
        spec = (await cluster.client.read()).nodes[NodeName("h2")].spec
        assert spec
        assert spec.value.maintenance_why == "drained by alice (web): new memory"
        await confirm(browser, "undrain", on="h2")
        assert (await confirm(browser, "pause", mode="all")).status_code == 409, "why?"
        await confirm(browser, "pause", mode="all", more={"reason": "the switch is replaced"})
        paused = (await cluster.client.read()).pause
        assert paused
        assert (paused.value.mode, paused.value.author) == (PauseMode.ALL, "alice (web)")
        await confirm(browser, "resume")
        assert (await cluster.client.read()).pause is None
        await confirm(browser, "restart", on="web")
        assert [one.verb for one in (await cluster.client.read()).requests.values()] == [Verb.RESTART]


@pytest.mark.parametrize("verb", DEEDS)
async def test_no_verb_without_log_in_or_without_the_word_of_the_session(
    cluster: Cluster, tmp_path: Path, verb: str
) -> None:
    on = {"vm": "web", "node": "h2"}.get(DEEDS[verb].about, "")
    users = users_in(tmp_path)
    async with operator(cluster, users) as browser:
        page = (await browser.get(f"/do/{verb}", params={"on": on})).text
        fields = fields_of(page, f"/do/{verb}") | {"reason": "x"}
        before = cluster.contents()
        for wrong in ({"token": ""}, {"token": "x" * 43}, {"token": "\ud800".encode("utf-8", "replace").decode()}):
            assert (await browser.post(f"/do/{verb}", data=fields | wrong)).status_code == 403
        headers = {"sec-fetch-site": "cross-site"}
        assert (await browser.post(f"/do/{verb}", data=fields, headers=headers)).status_code == 403
        assert (await browser.post(f"/do/{verb}?on={on}", data={"on": on})).status_code == 403
        browser.cookies.clear()
        assert (await browser.post(f"/do/{verb}", data=fields)).status_code == 403
        asked = await browser.get(f"/do/{verb}", params={"on": on})
        assert asked.status_code == 303
        assert asked.headers["location"].startswith("/login?next=%2Fdo%2F")
        assert cluster.contents() == before


async def test_plan_that_is_no_longer_the_one_that_was_read_is_shown_anew(cluster: Cluster, tmp_path: Path) -> None:
    async with operator(cluster, users_in(tmp_path)) as browser:
        fields = fields_of((await browser.get("/do/drain", params={"on": "h1"})).text, "/do/drain")
        await add(cluster, "db", "h1")
        before = cluster.contents()
        answer = await browser.post("/do/drain", data=fields)
        assert answer.status_code == 409
        assert "Meanwhile the cluster has changed" in words(answer.text)
        assert "db would be migrated from h1 to h2" in words(answer.text)
        assert cluster.contents() == before
        again = await browser.post("/do/drain", data=fields_of(answer.text, "/do/drain"))
        assert again.status_code == 303


async def test_risks_of_a_drain_are_told_and_what_can_not_leave_wants_a_second_yes(
    cluster: Cluster, tmp_path: Path
) -> None:
    await freeze(cluster.client, "web", reason="by hand")
    async with operator(cluster, users_in(tmp_path)) as browser:
        page = await browser.get("/do/drain", params={"on": "h1"})
        assert "web can not leave: " in words(page.text)
        fields = fields_of(page.text, "/do/drain")
        before = cluster.contents()
        assert (await browser.post("/do/drain", data=fields)).status_code == 409
        assert cluster.contents() == before
        assert (await browser.post("/do/drain", data=fields | {"all-the-same": "yes"})).status_code == 303
        assert "would not survive the loss" not in words(page.text)


async def test_long_plan_is_all_there_and_does_not_push_its_end_out_of_sight(cluster: Cluster, tmp_path: Path) -> None:
    for number in range(30):
        await add(cluster, f"vm{number:02d}", "h1")
    async with operator(cluster, users_in(tmp_path)) as browser:
        page = (await browser.get("/do/drain", params={"on": "h1"})).text
    assert words(page).count("would be migrated from h1 to h2") == 31
    folded = page.partition("<details>")[2].partition("</details>")[0]
    assert "23 more like these" in words(folded)
    assert words(folded).count("would be migrated") == 23
    assert "No guest would be interrupted" in words(page.partition("</details>")[2])


async def test_cost_of_a_drain_is_told(cluster: Cluster, tmp_path: Path) -> None:
    async with operator(cluster, users_in(tmp_path)) as browser:
        said = words((await browser.get("/do/drain", params={"on": "h2"})).text)
    assert "with this the cluster would not survive the loss of h1: web would not come back" in said


async def test_what_is_refused_is_told_and_has_no_button(cluster: Cluster, tmp_path: Path) -> None:
    await nodes.drain(cluster.client, "h2", why="dust")
    async with operator(cluster, users_in(tmp_path)) as browser:

        async def refused(verb: str, **query: str) -> str:
            answer = await browser.get(f"/do/{verb}", params=query)
            assert answer.status_code == 409
            assert 'id="confirm"' not in answer.text
            return words(answer.text)

        assert "h2 can not take web" in await refused("migrate", on="web", to="h2")
        await pause(cluster.client, PauseMode.ALL, reason="quiet")
        assert "the cluster is paused by operator: quiet" in await refused("stop", on="web")
        await vms.set_desired(cluster.client, "web", Desired.RUNNING)
        assert (await browser.get("/do/stop", params={"on": "wbe"})).status_code == 404
        assert "did you mean web" in (await browser.get("/do/stop", params={"on": "wbe"})).text
        assert "there is no verb" in (await browser.get("/do/explode", params={"on": "web"})).text


async def test_proofs_that_only_a_human_can_give_are_left_to_the_command_line() -> None:
    assert not {Verb.CONFIRM_OFF.value, Verb.CONFIRM_GONE.value} & set(DEEDS)


async def test_pages_offer_what_makes_sense(cluster: Cluster, tmp_path: Path) -> None:
    def offered(page: httpx.Response) -> list[str]:
        return [verb for verb in DEEDS if f'id="do-{verb}"' in page.text]

    users = users_in(tmp_path)
    async with stranger(cluster, users) as browser:
        assert offered(await browser.get("/vm/web")) == ["migrate", "restart", "stop", "disable", "freeze"]
        assert offered(await browser.get("/node/h1")) == ["drain"]
        assert offered(await browser.get("/")) == ["pause"]
    await vms.set_desired(cluster.client, "web", Desired.DISABLED)
    await nodes.drain(cluster.client, "h1")
    await pause(cluster.client, PauseMode.STARTS, reason="x")
    async with stranger(cluster, users) as browser:
        assert offered(await browser.get("/vm/web")) == ["enable", "freeze"]
        assert offered(await browser.get("/node/h1")) == ["undrain"]
        assert offered(await browser.get("/")) == ["resume"]


async def test_store_that_does_not_answer_is_told(cluster: Cluster, tmp_path: Path) -> None:
    cluster.client.store = MemoryStore(cluster.etcd, "browser")
    async with operator(cluster, users_in(tmp_path)) as browser:
        fields = fields_of((await browser.get("/do/stop", params={"on": "web"})).text, "/do/stop")
        cluster.etcd.cut("browser")
        answer = await browser.post("/do/stop", data=fields)
        assert answer.status_code == 503
        assert "does not answer" in answer.text
