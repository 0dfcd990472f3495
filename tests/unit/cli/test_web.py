"""``vmha web user`` and ``vmha web token``: who is let in, and as what."""

import io
import json
from pathlib import Path

import pytest

from tests.unit.web.operators import PASSWORD
from vmha.cli.main import run
from vmha.web.access import Role
from vmha.web.tokens import Tokens
from vmha.web.users import Users


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file that names the file of users."""
    file = tmp_path / "vmha.toml"
    file.write_text(f'[web]\nusers = "{tmp_path / "users.json"}"\n')
    monkeypatch.setenv("VMHA_CONFIG", str(file))
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n" * 9))
    return file


def printed(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert run(["web", *words]) == code
    said = capsys.readouterr()
    return said.err if code else said.out


def test_users_are_let_in_by_role_listed_and_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nobody may log in" in printed(capsys, "user", "list")
    assert "alice may log in, as operator" in printed(capsys, "user", "add", "alice")
    assert "bob may log in, as reader" in printed(capsys, "user", "add", "bob", "--role", "reader")
    listed = json.loads(printed(capsys, "user", "list", "--json"))
    assert listed == [{"name": "alice", "role": "operator"}, {"name": "bob", "role": "reader"}]
    assert printed(capsys, "user", "role", "bob", "operator") == "bob is an operator now\n"
    assert "bob may log in, as operator" in printed(capsys, "user", "add", "bob", "--replace")
    printed(capsys, "user", "remove", "alice")
    assert printed(capsys, "user", "list").split() == ["NAME", "ROLE", "bob", "operator"]
    user = Users(tmp_path / "users.json").all()["bob"]
    assert user.password.fits(PASSWORD)


def test_new_password_keeps_the_role(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed(capsys, "user", "add", "bob", "--role", "reader")
    printed(capsys, "user", "add", "bob", "--replace")
    assert Users(tmp_path / "users.json").all()["bob"].role is Role.READER


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("user", "add", "bob", "--role", "king"), "role 'king' (accepted: reader or operator)"),
        (("user", "role", "bob", "reader"), "there is no user 'bob'"),
        (("user", "role", "bob", "king"), "role 'king'"),
        (("user", "add", "a b"), "user 'a b'"),
        (("token", "add", "ci", "--role", "king"), "role 'king'"),
        (("token", "add", "ci", "--for", "soon"), "--for soon (accepted: a time above 0"),
        (("token", "add", "ci", "--for", "9999d"), "five years"),
        (("token", "add", "<ci>"), "token '<ci>'"),
        (("token", "revoke", "ci"), "there is no token 'ci'"),
    ],
    ids=str,
)
def test_what_can_not_be_is_told_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert run(["web", *words]) != 0
    assert said in capsys.readouterr().err
    assert not (tmp_path / "users.json").exists()


def test_token_is_told_once_listed_without_its_word_and_revoked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "there is no token" in printed(capsys, "token", "list")
    word = printed(capsys, "token", "add", "ci", "--role", "operator", "--for", "12h").strip()
    assert word.startswith("vmha_")
    listed = printed(capsys, "token", "list", "--json")
    (one,) = json.loads(listed)
    assert (one["name"], one["role"], one["expired"]) == ("ci", "operator", False)
    assert one["expires_at"] - one["made_at"] == pytest.approx(12 * 3600)
    assert word not in listed + printed(capsys, "token", "list")
    found = Tokens(tmp_path / "users.json").find(word, one["made_at"])
    assert found
    assert "good for nothing" in printed(capsys, "token", "revoke", "ci")
    assert Tokens(tmp_path / "users.json").find(word, one["made_at"]) is None


def test_token_that_is_over_is_listed_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Tokens(tmp_path / "users.json").make("old", role=Role.READER, for_s=1.0, wall=1000.0)
    assert "(over)" in printed(capsys, "token", "list")
    assert json.loads(printed(capsys, "token", "list", "--json"))[0]["expired"] is True
