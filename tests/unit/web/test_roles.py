"""What each role may and may not: a reader sees everything and changes nothing; reading may be for the known alone."""

from pathlib import Path

import httpx
import pytest

from tests.unit.operator.cluster import Cluster
from tests.unit.web.conftest import with_web
from tests.unit.web.operators import PASSWORD, fields_of, log_in, operator, stranger, users_in
from tests.unit.web.test_pages import words
from vmha.web.access import Role
from vmha.web.users import Users
from vmha.web.verbs import DEEDS

PAGES = ("/", "/vm/web", "/node/h1", "/what-if", "/vm/none", "/nothing")
STREAMS = ("/stream", "/stream/vm/web")


@pytest.fixture
async def cluster() -> Cluster:
    return await with_web()


def users_with(folder: Path, role: Role) -> Users:
    users = users_in(folder)
    users.set_role("alice", role)
    return users


async def test_reader_may_neither_see_a_confirmation_nor_send_one(cluster: Cluster, tmp_path: Path) -> None:
    users = users_in(tmp_path)
    asked = {verb: {"on": {"vm": "web", "node": "h2"}.get(doing.about, "")} for verb, doing in DEEDS.items()}
    forms = {}
    async with operator(cluster, users) as browser:
        for verb, query in asked.items():
            page = (await browser.get(f"/do/{verb}", params=query)).text
            forms[verb] = fields_of(page, f"/do/{verb}") | {"reason": "x"}
    users.set_role("alice", Role.READER)
    before = cluster.contents()
    async with operator(cluster, users) as browser:
        word = fields_of((await browser.get("/")).text, "/logout")["token"]
        for verb, query in asked.items():
            refused = await browser.get(f"/do/{verb}", params=query)
            sent = await browser.post(f"/do/{verb}", data={**forms[verb], "token": word})
            assert (refused.status_code, sent.status_code) == (403, 403), verb
            assert "alice is a reader" in words(refused.text)
            assert "alice is a reader" in words(sent.text)
    assert cluster.contents() == before


async def test_reader_is_shown_no_verbs_and_who_he_is(cluster: Cluster, tmp_path: Path) -> None:
    async with operator(cluster, users_with(tmp_path, Role.READER)) as browser:
        for where in ("/", "/vm/web", "/node/h1"):
            page = (await browser.get(where)).text
            assert "/do/" not in page
            assert "alice (reader) Log out" in words(page)


async def test_another_role_counts_from_the_next_request_on(cluster: Cluster, tmp_path: Path) -> None:
    users = users_in(tmp_path)
    async with operator(cluster, users) as browser:
        fields = fields_of((await browser.get("/do/stop", params={"on": "web"})).text, "/do/stop")
        before = cluster.contents()
        users.set_role("alice", Role.READER)
        assert (await browser.post("/do/stop", data=fields)).status_code == 403
        assert "Log out" not in (await browser.get("/")).text, "she logs in anew, as what she is now"
    assert cluster.contents() == before


async def test_where_reading_is_not_for_everybody_a_stranger_sees_the_log_in_and_nothing_of_the_cluster(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with stranger(cluster, users_in(tmp_path), public=False) as browser:
        for where in PAGES:
            answer = await browser.get(where)
            assert answer.status_code == 303
            assert answer.headers["location"].startswith("/login?next=%2F")
        for where in STREAMS:
            assert (await browser.get(where)).status_code == 403
        assert (await browser.post("/do/stop", data={"on": "web"})).status_code == 403
        page = await browser.get("/login")
        assert "To read, too." in words(page.text)
        assert cluster.keys.cluster not in words(page.text)
        assert (await browser.get("/static/style.css")).status_code == 200


async def test_where_reading_is_not_for_everybody_a_reader_reads(cluster: Cluster, tmp_path: Path) -> None:
    async with operator(cluster, users_with(tmp_path, Role.READER), public=False) as browser:
        assert "running" in words((await browser.get("/vm/web")).text)
        assert (await browser.get("/do/stop", params={"on": "web"})).status_code == 403


async def test_stream_ends_with_the_session_of_who_may_read(cluster: Cluster, tmp_path: Path) -> None:
    users = users_in(tmp_path)
    async with operator(cluster, users, public=False) as browser:
        page = (await browser.get("/")).text
        assert "web" in page
        users.remove("alice")
        assert (await browser.get("/stream")).status_code == 403
        assert (await browser.get("/")).status_code == 303


async def test_where_nobody_could_log_in_reading_is_for_nobody_and_says_why(cluster: Cluster) -> None:
    nobody = Users(Path("/nonexistent/users.json"))
    async with stranger(cluster, nobody, public=False) as browser:
        assert (await browser.get("/")).status_code == 303
        assert "nobody may log in yet" in words((await browser.get("/login")).text)


async def test_file_of_a_time_without_roles_lets_its_users_do_what_they_did(cluster: Cluster, tmp_path: Path) -> None:
    users = users_in(tmp_path)
    text = users.path.read_text()
    users.path.write_text(text.replace('"schema": 2', '"schema": 1').replace('"role": "operator",', ""))
    assert users.all()["alice"].role is Role.OPERATOR
    async with stranger(cluster, users) as browser:
        answer: httpx.Response = await log_in(browser, password=PASSWORD)
        assert answer.status_code == 303
