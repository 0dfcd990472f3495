"""What a host gets that joins: files that fit each other, all or none, and nothing over what is there."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from vmha.model.errors import Refused, Rejected
from vmha.node.handing_out import File, write
from vmha.node.joining import Joining, prepare
from vmha.node.settings import read_settings
from vmha.pki.authority import Authority, Kind

NOW = datetime.now(UTC)
GIVEN = {"cluster": "prod", "node": "kvm1", "endpoints": ["10.0.0.1:2379"], "address": "10.0.0.11", "watchdog": ""}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("0123456789abcdef0123456789abcdef\n")
    path.chmod(0o600)
    return path


def folder(authority: Authority, name: str = "kvm1", days: int = 90) -> Path:
    return authority.issue(Kind.NODE, name, ("10.0.0.11",), now=NOW, days=days).folder


def joined(config: Path, given: dict[str, Any] | None = None, **options: Any) -> Joining:
    joining = prepare(config, GIVEN if given is None else given, now=NOW, **options)
    write(joining.files)
    return joining


def contents(place: Path) -> dict[str, tuple[bytes, int]]:
    return {str(path): (path.read_bytes(), path.stat().st_mode) for path in place.rglob("*") if path.is_file()}


def test_a_host_gets_settings_certificate_and_secret_and_only_it_reads_its_keys(
    authority: Authority, config: Path, secret: Path
) -> None:
    joined(config, certificates=folder(authority), secret=secret)
    settings = read_settings(config)
    assert (settings.node, settings.cluster, settings.endpoints) == ("kvm1", "prod", ("10.0.0.1:2379",))
    assert settings.tls
    assert settings.peers_secret_file
    for path in (settings.tls.key, settings.peers_secret_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_joining_again_changes_nothing_with_and_without_words(authority: Authority, config: Path, secret: Path) -> None:
    given = folder(authority)
    joined(config, certificates=given, secret=secret)
    before = contents(config.parent)
    again = joined(config, certificates=given, secret=secret)
    assert not any(file.is_new for file in again.files)
    joined(config, {})
    assert contents(config.parent) == before


def test_a_renewed_certificate_takes_the_place_of_the_old_one_and_the_settings_stay(
    authority: Authority, config: Path
) -> None:
    joined(config, certificates=folder(authority))
    before = contents(config.parent)
    joined(config, {}, certificates=folder(authority))
    after = contents(config.parent)
    assert sorted(Path(path).name for path in after if after[path] != before[path]) == ["cert.pem", "key.pem"]


def test_an_authority_issues_what_is_missing_and_hands_out_again_what_is_good(
    authority: Authority, config: Path
) -> None:
    looked = prepare(config, GIVEN, certificates=authority.folder, now=NOW, only_look=True)
    assert authority.issued() == ()
    assert [file.path for file in looked.files] == [config]
    joined(config, certificates=authority.folder)
    (first,) = authority.issued()
    joined(config, certificates=authority.folder)
    assert authority.issued() == (first,)
    prepare(config, {}, certificates=authority.folder, now=NOW + timedelta(days=350))
    assert authority.issued() != (first,), "it would have expired within a month"


def test_an_authority_that_ends_soon_does_not_issue_again_what_could_not_be_good_for_longer(
    config: Path, tmp_path: Path
) -> None:
    short = Authority.create(tmp_path / "short", cluster="prod", now=NOW, days=20)
    joined(config, certificates=short.folder)
    before = contents(config.parent)
    joined(config, certificates=short.folder)
    assert contents(config.parent) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"node": "kvm2"}, "node is kvm1 there, kvm2 was asked for"),
        ({"endpoints": ["10.0.0.9:2379"]}, "10.0.0.9:2379 was asked for"),
        ({"watchdog": "/dev/watchdog9"}, "/dev/watchdog9 was asked for"),
    ],
)
def test_settings_that_are_there_are_not_contradicted(config: Path, change: dict[str, Any], words: str) -> None:
    joined(config)
    before = contents(config.parent)
    with pytest.raises(Refused, match=words):
        joined(config, change)
    assert contents(config.parent) == before


def test_what_does_not_fit_is_rejected_with_what_would_and_nothing_is_written(
    authority: Authority, config: Path, tmp_path: Path, secret: Path
) -> None:
    other = Authority.create(tmp_path / "other", cluster="other", now=NOW, days=90)
    torn = folder(authority, "torn")
    (torn / "key.pem").write_bytes((folder(authority, "kvm3") / "key.pem").read_bytes())
    alien = folder(authority, "alien")
    (alien / "ca.pem").write_bytes(other.ca.read_bytes())
    secret.chmod(0o644)
    cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({}, {"certificates": folder(authority, "kvm2")}, "certificate is for vmha-prod-node-kvm2"),
        ({}, {"certificates": tmp_path}, "No such file"),
        ({}, {"certificates": other.folder}, "authority of cluster other"),
        ({"node": "torn"}, {"certificates": torn}, "key is not the certificate's"),
        ({"node": "alien"}, {"certificates": alien}, "not signed by"),
        ({"node": "old"}, {"certificates": folder(authority, "old"), "now": NOW + timedelta(days=91)}, "good until"),
        ({"address": ""}, {"certificates": authority.folder}, "no address"),
        ({"endpoints": []}, {}, "no endpoints"),
        ({"node": "a b"}, {}, "node"),
        ({}, {"secret": secret}, "others may read it"),
    ]
    for given, options, words in cases:
        with pytest.raises(Rejected, match=words):
            prepare(config, {**GIVEN, **given}, **{"now": NOW, **options})
    assert not config.parent.exists()


def test_a_file_that_can_not_be_written_leaves_those_before_it_as_they_were(tmp_path: Path) -> None:
    old, new, blocked = tmp_path / "old", tmp_path / "new", tmp_path / "file/in/a/file"
    old.write_text("as it was")
    old.chmod(0o640)
    (tmp_path / "file").write_text("no folder")
    before = contents(tmp_path)
    files = [File(path=path, content=b"x", mode=0o600, is_new=True) for path in (old, new, blocked)]
    with pytest.raises(Refused, match="nothing was changed"):
        write(files)
    assert contents(tmp_path) == before


def test_another_secret_is_not_written_over_the_one_that_is_there(config: Path, secret: Path) -> None:
    joined(config, secret=secret)
    secret.write_text("ffffffffffffffffffffffffffffffff\n")
    with pytest.raises(Refused, match="another secret"):
        joined(config, secret=secret)
