"""TLS files that change while they are in use: the new ones are taken when they fit, and only then."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from vmha.pki.authority import Authority, Kind
from vmha.pki.renewed import LOOK_EVERY_S
from vmha.store.tls_files import RenewedFiles, TlsFiles

NOW = datetime.now(UTC)


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> TlsFiles:
    issued = authority.issue(Kind.OPERATOR, "alice", (), now=NOW, days=10)
    home = tmp_path / "home"
    shutil.copytree(issued.folder, home)
    return TlsFiles(ca=home / "ca.pem", cert=home / "cert.pem", key=home / "key.pem")


def looks(renewed: RenewedFiles, *, begin: float, times: int) -> list[bool]:
    return [renewed.look(begin + number * LOOK_EVERY_S) is not None for number in range(times)]


def test_files_that_stay_are_never_taken_again(files: TlsFiles) -> None:
    assert looks(RenewedFiles(files), begin=10.0, times=5) == [False] * 5


def test_new_files_are_taken_once_when_they_have_stood_still(authority: Authority, files: TlsFiles) -> None:
    renewed = RenewedFiles(files)
    issued = authority.issue(Kind.OPERATOR, "alice", (), now=NOW, days=10)
    assert files.key
    assert files.cert
    shutil.copy(issued.folder / "key.pem", files.key)
    assert looks(renewed, begin=10.0, times=1) == [False], "the other files may be about to follow"
    shutil.copy(issued.folder / "cert.pem", files.cert)
    assert looks(renewed, begin=20.0, times=4) == [False, True, False, False]


def test_half_of_a_pair_is_not_taken_and_the_whole_is_when_it_is_there(authority: Authority, files: TlsFiles) -> None:
    renewed = RenewedFiles(files)
    issued = authority.issue(Kind.OPERATOR, "alice", (), now=NOW, days=10)
    assert files.key
    assert files.cert
    shutil.copy(issued.folder / "key.pem", files.key)
    assert looks(renewed, begin=10.0, times=4) == [False] * 4
    shutil.copy(issued.folder / "cert.pem", files.cert)
    assert looks(renewed, begin=20.0, times=2) == [False, True]


def test_files_that_vanish_or_hold_nonsense_leave_the_old_ones_in_use(files: TlsFiles) -> None:
    renewed = RenewedFiles(files)
    files.ca.write_text("nonsense")
    assert looks(renewed, begin=10.0, times=3) == [False] * 3
    files.ca.unlink()
    assert looks(renewed, begin=20.0, times=3) == [False] * 3
