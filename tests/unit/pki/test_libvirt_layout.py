"""Where libvirt and QEMU find a node's certificate: all of it there, keys private, or nothing changed."""

import grp
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from vmha.cli.main import run
from vmha.model.errors import Refused, Rejected
from vmha.pki.authority import Authority, Kind
from vmha.pki.libvirt_layout import lay_out

NOW = datetime.now(UTC)
KEYS = {"libvirt/private/serverkey.pem", "libvirt/private/clientkey.pem", "qemu/server-key.pem", "qemu/client-key.pem"}


@pytest.fixture
def issue(authority: Authority) -> Callable[[], Path]:
    return lambda: authority.issue(Kind.NODE, "kvm1", ("10.0.0.1",), now=NOW, days=10).folder


def found(root: Path) -> dict[str, str]:
    pki = root / "etc/pki"
    return {str(path.relative_to(pki)): path.read_text() for path in pki.rglob("*") if path.is_file()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_all_places_have_the_nodes_files_and_keys_are_nobody_elses(issue: Callable[[], Path], tmp_path: Path) -> None:
    folder, mine = issue(), grp.getgrgid(os.getgid()).gr_name
    known, group = lay_out(folder, root=tmp_path, group=mine, now=NOW)
    assert (known.common_name, group) == ("vmha-prod-node-kvm1", mine)
    there = found(tmp_path)
    assert len(there) == 10
    assert {name for name, text in there.items() if text == (folder / "key.pem").read_text()} == KEYS
    assert {mode(tmp_path / "etc/pki" / name) for name in KEYS if name.startswith("libvirt")} == {0o600}
    assert {mode(tmp_path / "etc/pki" / name) for name in KEYS if name.startswith("qemu")} == {0o640}
    assert {(tmp_path / "etc/pki" / name).stat().st_gid for name in KEYS} == {os.getgid()}
    assert there["CA/cacert.pem"] == there["qemu/ca-cert.pem"] == (folder / "ca.pem").read_text()


def test_new_files_take_the_place_of_old_ones(issue: Callable[[], Path], tmp_path: Path) -> None:
    lay_out(issue(), root=tmp_path, group=None, now=NOW)
    before = found(tmp_path)
    lay_out(issue(), root=tmp_path, group=None, now=NOW)
    after = found(tmp_path)
    assert {name for name in after if after[name] == before[name]} == {"CA/cacert.pem", "qemu/ca-cert.pem"}


def test_nothing_is_changed_when_one_file_can_not_be_written(issue: Callable[[], Path], tmp_path: Path) -> None:
    lay_out(issue(), root=tmp_path, group=None, now=NOW)
    last = tmp_path / "etc/pki/qemu/client-cert.pem"
    last.unlink()
    last.mkdir()
    before = found(tmp_path)
    with pytest.raises(Refused, match=r"client-cert\.pem: .*; nothing was changed"):
        lay_out(issue(), root=tmp_path, group=None, now=NOW)
    assert found(tmp_path) == before


def test_what_does_not_fit_is_refused_before_anything_is_written(
    authority: Authority, issue: Callable[[], Path], tmp_path: Path
) -> None:
    folder = issue()
    person = authority.issue(Kind.OPERATOR, "alice", (), now=NOW, days=10).folder
    with pytest.raises(Rejected, match="names no address"):
        lay_out(person, root=tmp_path, group=None, now=NOW)
    with pytest.raises(Rejected, match="--qemu-group: 'no-such-group'"):
        lay_out(folder, root=tmp_path, group="no-such-group", now=NOW)
    (folder / "key.pem").write_bytes((person / "key.pem").read_bytes())
    with pytest.raises(Rejected, match="the key is not the certificate's"):
        lay_out(folder, root=tmp_path, group=None, now=NOW)
    with pytest.raises(Rejected, match=r"ca\.pem: No such file"):
        lay_out(tmp_path, root=tmp_path, group=None, now=NOW)
    assert found(tmp_path) == {}


def test_verb_says_where_they_are_and_how_libvirtd_is_told(
    issue: Callable[[], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["pki", "libvirt", str(issue()), "--root", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "vmha-prod-node-kvm1, good until" in said
    assert "virt-admin server-update-tls libvirtd" in said
    assert len(found(tmp_path)) == 10


def test_verb_says_that_libvirtd_lets_everybody_of_the_authority_in_until_it_has_a_list(
    issue: Callable[[], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = 'tls_allowed_dn_list = ["CN=vmha-prod-node-*"]'
    settings = tmp_path / "etc/libvirt/libvirtd.conf"
    settings.parent.mkdir(parents=True)
    for text, is_told in (("", True), (f"#{line}\n", True), (f"{line}\n", False)):
        settings.write_text(text)
        assert run(["pki", "libvirt", str(issue()), "--root", str(tmp_path)]) == 0
        assert (line in capsys.readouterr().out) == is_told
