"""Who is let in, for how long, and how often somebody may try."""

import json
import os
from pathlib import Path

import pytest

from tests.unit.operator.cluster import Cluster
from tests.unit.web.conftest import add
from tests.unit.web.operators import PASSWORD, fields_of, log_in, operator, stranger, users_in
from tests.unit.web.test_pages import words
from vmha.model.clock import SystemClock
from vmha.model.errors import Rejected
from vmha.model.web import WebSettings
from vmha.operator.errors import UnknownName
from vmha.web.logins import safe_next
from vmha.web.sessions import IDLE_S, Sessions
from vmha.web.sessions import LONGEST_S as LONGEST_SESSION_S
from vmha.web.throttle import FREE, LONGEST_S, Throttle
from vmha.web.users import Users


async def test_user_with_his_password_is_logged_in_by_a_cookie_that_no_script_and_no_other_site_gets(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with stranger(cluster, users_in(tmp_path)) as browser:
        assert "Log in" in words((await browser.get("/")).text)
        answer = await log_in(browser, to="/node/h1")
        assert (answer.status_code, answer.headers["location"]) == (303, "/node/h1")
        cookie = next(one for one in answer.headers.get_list("set-cookie") if one.startswith("vmha="))
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert "Secure" not in cookie
        page = words((await browser.get("/")).text)
        assert "alice Log out" in page


async def test_over_tls_the_cookie_goes_over_tls_only(cluster: Cluster, tmp_path: Path) -> None:
    async with stranger(cluster, users_in(tmp_path), https_in_front=True) as browser:
        browser.base_url = "https://127.0.0.1:9780"
        answer = await log_in(browser)
        cookie = next(one for one in answer.headers.get_list("set-cookie") if one.startswith("__Host-vmha="))
        assert "Secure" in cookie
        assert "Path=/" in cookie
        assert "alice" in (await browser.get("/")).text
        assert (await browser.get("/")).headers["strict-transport-security"]


@pytest.mark.parametrize(
    ("name", "password"), [("alice", "wrong password"), ("bob", PASSWORD), ("", ""), ("alice", "")]
)
async def test_wrong_name_and_wrong_password_get_the_same_answer(
    cluster: Cluster, tmp_path: Path, name: str, password: str
) -> None:
    async with stranger(cluster, users_in(tmp_path)) as browser:
        answer = await log_in(browser, name, password)
        assert answer.status_code == 403
        assert "There is no such user, or the password is another one." in words(answer.text)
        assert "Log out" not in (await browser.get("/")).text


async def test_log_in_needs_the_word_that_only_our_page_knows(cluster: Cluster, tmp_path: Path) -> None:
    async with stranger(cluster, users_in(tmp_path)) as browser:
        fields = fields_of((await browser.get("/login")).text, "/login") | {"user": "alice", "password": PASSWORD}
        assert (await browser.post("/login", data=fields | {"token": "x" * 43})).status_code == 403
        assert (await browser.post("/login", data=fields, headers={"sec-fetch-site": "cross-site"})).status_code == 403
        assert (await browser.post("/login", data=fields, headers={"origin": "http://evil.example"})).status_code == 403
        assert (await browser.post("/login", json=fields)).status_code == 403
        assert (await browser.post("/login", data=fields)).status_code == 303


class StandingClock(SystemClock):
    """However long a password takes to check."""

    def now(self) -> float:
        return 1000.0


async def test_who_fails_too_often_has_to_wait_and_is_told_how_long(cluster: Cluster, tmp_path: Path) -> None:
    cluster.client.clock = StandingClock()
    async with stranger(cluster, users_in(tmp_path)) as browser:
        for _ in range(FREE):
            assert (await log_in(browser, password="wrong password")).status_code == 403
        answer = await log_in(browser)
        assert answer.status_code == 429, "also with the right password"
        assert int(answer.headers["retry-after"]) >= 1
        assert "Too many attempts" in answer.text


def test_wait_grows_to_a_minute_and_is_not_prolonged_by_trying() -> None:
    throttle = Throttle()
    now = 0.0
    for count in range(1, 40):
        throttle.tried("10.0.0.1", "alice", now)
        wait = throttle.wait_s("10.0.0.1", "alice", now)
        assert (wait > 0) == (count >= FREE)
        assert wait <= LONGEST_S == 60.0
        now += wait
        assert throttle.wait_s("10.0.0.1", "alice", now) == 0.0
    assert throttle.wait_s("10.0.0.2", "alice", now - 30) > 0, "another address tries the same name"
    assert throttle.wait_s("10.0.0.2", "bob", now - 30) == 0


def test_strangers_who_fail_under_a_name_do_not_keep_its_owner_out() -> None:
    throttle = Throttle()
    throttle.tried("10.0.0.7", "alice", 0.0)
    throttle.succeeded("10.0.0.7", "alice", 0.0)
    for number in range(100):
        throttle.tried(f"10.1.0.{number}", "alice", 1.0)
    assert throttle.wait_s("10.9.9.9", "alice", 1.0) > 0
    assert throttle.wait_s("10.0.0.7", "alice", 1.0) == 0, "she has logged in from there before"
    assert throttle.wait_s("127.0.0.1", "alice", 1.0) == 0, "nor does it hold on the machine itself"


def test_attempts_are_forgotten_and_never_fill_the_memory() -> None:
    throttle = Throttle()
    for number in range(30_000):
        throttle.tried(f"a{number}", f"n{number}", 0.0)
    assert len(throttle._failures) <= 10_000
    for _ in range(20):
        throttle.tried("a", "n", 0.0)
    assert throttle.wait_s("a", "n", 0.0) > 0
    assert throttle.wait_s("a", "n", 1000.0) == 0


def test_session_ends_when_nobody_uses_it_when_it_is_old_and_with_its_user(tmp_path: Path) -> None:
    users = users_in(tmp_path, "alice", "bob")
    sessions = Sessions(users)
    alice, bob = (sessions.begin(name, users.all()[name], 0.0) for name in ("alice", "bob"))
    assert sessions.find(alice, IDLE_S - 1)
    assert sessions.find(bob, IDLE_S + 1) is None
    now = IDLE_S - 1
    while now < LONGEST_SESSION_S:
        assert sessions.find(alice, now)
        now += IDLE_S - 1
    assert sessions.find(alice, now) is None
    alice, bob = (sessions.begin(name, users.all()[name], now) for name in ("alice", "bob"))
    users.remove("bob")
    users.put("alice", "another password", replace=True)
    assert sessions.find(bob, now) is None
    assert sessions.find(alice, now) is None, "her password is another one now"
    assert sessions.find("", now) is None


async def test_log_out_ends_the_session_for_whoever_kept_its_cookie(cluster: Cluster, tmp_path: Path) -> None:
    async with operator(cluster, users_in(tmp_path)) as browser:
        kept = browser.cookies.get("vmha")
        assert kept
        page = (await browser.get("/")).text
        assert (await browser.post("/logout", data={"token": "none"})).status_code == 403
        assert "Log out" in (await browser.get("/")).text
        assert (await browser.post("/logout", data=fields_of(page, "/logout"))).status_code == 303
        browser.cookies.set("vmha", kept)
        assert "Log out" not in (await browser.get("/")).text


@pytest.mark.parametrize(
    ("listen", "is_fine"),
    [
        ("127.0.0.1:9780", True),
        ("[::1]:9780", True),
        ("localhost:1", True),
        ("0.0.0.0:9780", False),
        ("10.0.0.7:1", False),
    ],
)
async def test_nobody_logs_in_over_a_network_in_clear_text(
    cluster: Cluster, tmp_path: Path, listen: str, is_fine: bool
) -> None:
    users = users_in(tmp_path)
    async with stranger(cluster, users, listen=listen) as browser:
        page = (await browser.get("/login")).text
        assert ("clear text" in page) != is_fine
        assert ('type="password"' in page) == is_fine
        answer = await browser.post("/login", data={"user": "alice", "password": PASSWORD})
        assert answer.status_code == 403
    assert (WebSettings(listen=listen, https_in_front=True).why_no_login) == ""


async def test_without_users_the_pages_are_for_reading_only(cluster: Cluster) -> None:
    await add(cluster, "web", "h1")
    async with stranger(cluster, Users(Path("/nonexistent/users.json"))) as browser:
        page = (await browser.get("/vm/web")).text
        assert "/do/" not in page
        assert "/login" not in page
        assert "vmha web user add NAME" in (await browser.get("/login")).text


@pytest.mark.parametrize(
    ("said", "to"),
    [
        ("/vm/web?x=1", "/vm/web?x=1"),
        ("//evil.example", "/"),
        ("https://evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nset-cookie: x=1", "/"),
        ("http://[", "/"),
        ("", "/"),
    ],
)
def test_after_log_in_one_stays_here(said: str, to: str) -> None:
    assert safe_next(said) == to


# -- the file of users ------------------------------------------------------------------------------------------------


def test_file_of_users_belongs_to_whoever_its_folder_does(tmp_path: Path) -> None:
    """A dashboard that is not root reads what root has written."""
    folder = tmp_path / "web"
    folder.mkdir()
    owner = (12345, 12346) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(folder, *owner)
    found = users_in(folder).path.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (*owner, 0o600)


def test_file_of_users_is_for_its_owner_alone_and_holds_no_password(tmp_path: Path) -> None:
    users = users_in(tmp_path / "web", "alice", "bob")
    assert users.path.stat().st_mode & 0o777 == 0o600
    assert users.path.parent.stat().st_mode & 0o777 == 0o700
    text = users.path.read_text()
    assert PASSWORD not in text
    hashes = [one["hash"] for one in json.loads(text)["users"].values()]
    assert hashes[0] != hashes[1], "the same password with another salt"
    assert [one.name for one in users.path.parent.iterdir()] == ["users.json"]


def test_file_that_others_can_read_lets_nobody_in(tmp_path: Path) -> None:
    users = users_in(tmp_path)
    users.path.chmod(0o640)
    with pytest.raises(Rejected, match="0640"):
        users.find("alice")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"users": {"a": {}}}',
        '{"users": {"a": {"n": 1073741824, "r": 8, "p": 1, "salt": "", "hash": ""}}}',
    ],
)
def test_file_that_is_none_of_users_lets_nobody_in(tmp_path: Path, text: str) -> None:
    path = tmp_path / "users.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(Rejected, match="no file of users"):
        Users(path).all()


def test_users_are_added_once_given_new_passwords_and_removed(tmp_path: Path) -> None:
    users = users_in(tmp_path)
    with pytest.raises(Rejected, match="already"):
        users.put("alice", "another password")
    for name in ("", "a b", "-x", "x" * 33, "<b>"):
        with pytest.raises(Rejected, match="user"):
            users.put(name, PASSWORD)
    with pytest.raises(Rejected) as refused:
        users.put("bob", "geheim")
    assert "geheim" not in str(refused.value)
    with pytest.raises(UnknownName, match="did you mean alice"):
        users.remove("alcie")
    users.remove("alice")
    assert Users(users.path).all() == {}
