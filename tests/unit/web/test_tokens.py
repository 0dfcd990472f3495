"""Tokens of programs: told once, kept as what they can be known by, and good until they end or are revoked."""

import json
from pathlib import Path

import pytest

from tests.unit.web.operators import PASSWORD, users_in
from vmha.model.errors import Rejected
from vmha.operator.errors import UnknownName
from vmha.web.access import AccessFile, Role
from vmha.web.tokens import LONGEST_S, Tokens

DAY_S = 86400.0


def tokens_in(folder: Path) -> Tokens:
    return Tokens(folder / "users.json")


def test_token_is_known_by_its_word_until_it_expires(tmp_path: Path) -> None:
    tokens = tokens_in(tmp_path)
    word = tokens.make("ci", role=Role.OPERATOR, for_s=DAY_S, wall=1000.0)
    found = tokens.find(word, 1000.0 + DAY_S - 1)
    assert found
    assert (found[0], found[1].role) == ("ci", Role.OPERATOR)
    assert tokens.find(word, 1000.0 + DAY_S) is None
    for other in ("", "vmha_", word[:-1], f"{word}x", word.upper(), "\ud800"):
        assert tokens.find(other, 1000.0) is None


def test_word_is_nowhere_in_the_file_and_no_two_are_the_same(tmp_path: Path) -> None:
    tokens = tokens_in(tmp_path)
    words = {tokens.make(f"t{number}", role=Role.READER, for_s=1.0, wall=0.0) for number in range(20)}
    assert len(words) == 20
    text = tokens.path.read_text()
    assert not any(word in text or word.removeprefix("vmha_") in text for word in words)
    assert tokens.path.stat().st_mode & 0o777 == 0o600


def test_revoked_token_is_good_for_nothing_and_others_stay(tmp_path: Path) -> None:
    tokens = tokens_in(tmp_path)
    one, two = (tokens.make(name, role=Role.READER, for_s=DAY_S, wall=0.0) for name in ("one", "two"))
    tokens.revoke("one")
    assert tokens.find(one, 1.0) is None
    assert tokens.find(two, 1.0)
    with pytest.raises(UnknownName, match="did you mean two"):
        tokens.revoke("twoo")


def test_users_and_tokens_of_one_file_do_not_lose_each_other(tmp_path: Path) -> None:
    users = users_in(tmp_path)
    word = Tokens(users.path).make("ci", role=Role.READER, for_s=DAY_S, wall=0.0)
    users.put("bob", PASSWORD, role=Role.READER)
    users.remove("alice")
    assert Tokens(users.path).find(word, 1.0)
    Tokens(users.path).revoke("ci")
    assert {name: one.role for name, one in users.all().items()} == {"bob": Role.READER}


def test_what_can_not_be_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    tokens = tokens_in(tmp_path)
    for name in ("", "a b", "-x", "x" * 33, "<b>"):
        with pytest.raises(Rejected, match="token"):
            tokens.make(name, role=Role.READER, for_s=1.0, wall=0.0)
    for for_s in (0.0, -1.0, LONGEST_S + 1):
        with pytest.raises(Rejected, match="five years"):
            tokens.make("ci", role=Role.READER, for_s=for_s, wall=0.0)
    assert not tokens.path.exists()
    tokens.make("ci", role=Role.READER, for_s=1.0, wall=0.0)
    with pytest.raises(Rejected, match="already"):
        tokens.make("ci", role=Role.OPERATOR, for_s=1.0, wall=0.0)


@pytest.mark.parametrize(
    "change",
    [
        {"role": "king"},
        {"sha256": "00"},
        {"sha256": 7},
        {"expires_at": "nan"},
        {"expires_at": "inf"},
        {"expires_at": -1},
        {"made_at": None},
    ],
    ids=str,
)
def test_token_that_is_none_makes_the_whole_file_untrusted(tmp_path: Path, change: dict[str, object]) -> None:
    tokens = tokens_in(tmp_path)
    tokens.make("ci", role=Role.READER, for_s=1.0, wall=0.0)
    said = json.loads(tokens.path.read_text())
    said["tokens"]["ci"] |= change
    tokens.path.write_text(json.dumps(said))
    with pytest.raises(Rejected, match="no file of users"):
        AccessFile(tokens.path).now()


def test_file_of_a_newer_vmha_is_not_half_understood(tmp_path: Path) -> None:
    users = users_in(tmp_path)
    users.path.write_text(users.path.read_text().replace('"schema": 2', '"schema": 3'))
    with pytest.raises(Rejected, match="no file of users"):
        users.all()
