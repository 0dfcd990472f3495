"""Whom libvirtd lets in by TLS, read in its settings as libvirt reads them."""

from pathlib import Path

import pytest

from vmha.hypervisor.real.letting_in import read_whom_tls_lets_in

LIST = 'tls_allowed_dn_list = ["CN=vmha-prod-node-*"]\n'
NO_LIST = "no tls_allowed_dn_list in /etc/libvirt/libvirtd.conf"


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", NO_LIST),
        (f"#{LIST}", NO_LIST),
        (LIST, ""),
        ("  tls_allowed_dn_list=[\n  'CN=kvm1',\n]\n", ""),
        ("tls_allowed_dn_list = []\n", ""),  # lets nobody in
        (f"{LIST}tls_no_verify_certificate = 0\n", ""),
        (f"{LIST}tls_no_verify_certificate = 1\n", "tls_no_verify_certificate in /etc/libvirt/libvirtd.conf"),
    ],
)
def test_list_of_names_is_there_or_why_it_is_none_is_told(tmp_path: Path, text: str, told: str) -> None:
    write(tmp_path, "etc/libvirt/libvirtd.conf", text)
    assert read_whom_tls_lets_in([tmp_path]) == told


def test_settings_that_are_not_there_have_no_list(tmp_path: Path) -> None:
    assert read_whom_tls_lets_in([tmp_path]) == NO_LIST


def test_where_the_daemons_are_parted_the_proxys_settings_count(tmp_path: Path) -> None:
    write(tmp_path, "etc/libvirt/libvirtd.conf", LIST)
    write(tmp_path, "etc/libvirt/virtproxyd.conf", "")
    assert read_whom_tls_lets_in([tmp_path]) == ""
    write(tmp_path, "run/libvirt/virtqemud-sock", "")
    assert read_whom_tls_lets_in([tmp_path]) == "no tls_allowed_dn_list in /etc/libvirt/virtproxyd.conf"
    write(tmp_path, "etc/libvirt/virtproxyd.conf", LIST)
    write(tmp_path, "etc/libvirt/libvirtd.conf", "")
    assert read_whom_tls_lets_in([tmp_path]) == ""


def test_root_that_can_not_be_read_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "here/etc/libvirt/libvirtd.conf", LIST)
    (tmp_path / "barred/etc/libvirt/libvirtd.conf").mkdir(parents=True)  # nobody reads a folder as a file
    assert read_whom_tls_lets_in([tmp_path / "barred", tmp_path / "here"]) == ""
    write(tmp_path, "here/etc/libvirt/libvirtd.conf", "")
    assert read_whom_tls_lets_in([tmp_path / "barred", tmp_path / "here"]) == NO_LIST
    assert read_whom_tls_lets_in([tmp_path / "barred"]) == ""
