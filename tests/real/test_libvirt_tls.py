"""Whom a real libvirtd lets in by TLS: whoever its authority has signed, until it has the list that the verb names."""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.libvirt import LibvirtHost
from tests.support.said import command_line
from vmha.pki.authority import Authority, Kind

pytestmark = pytest.mark.real

NOW = datetime.now(UTC)
ADDRESS = "10.9.9.1"
PKI = "/run/etc/pki"
SETTINGS = f"""
listen_tls = 1
listen_tcp = 0
key_file = "{PKI}/libvirt/private/serverkey.pem"
cert_file = "{PKI}/libvirt/servercert.pem"
ca_file = "{PKI}/CA/cacert.pem"
"""
CLIENTS = {"ca.pem": "cacert.pem", "cert.pem": "clientcert.pem", "key.pem": "clientkey.pem"}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "pki", cluster="prod", now=NOW, days=9)


@pytest.fixture
def host() -> Iterator[LibvirtHost]:
    made = LibvirtHost("kvm1", "127.0.0.2", "6c9e0d7e-2f6b-4a59-9d3c-d9c0a3a6d9b1")
    try:
        within(made, "ip", "link", "set", "lo", "up")
        within(made, "ip", "addr", "add", f"{ADDRESS}/32", "dev", "lo")
        yield made
    finally:
        made.close()


def within(host: LibvirtHost, *words: str) -> "subprocess.CompletedProcess[str]":
    command = ["nsenter", "-t", str(host.pid), "-m", "-n", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def is_let_in(host: LibvirtHost, authority: Authority, kind: Kind) -> bool:
    issued = authority.issue(kind, "other", ("10.9.9.2",), now=NOW, days=2).folder
    place = host.inside(f"/run/of-{kind}")
    place.mkdir(exist_ok=True)
    for name, called in CLIENTS.items():
        shutil.copy(authority.ca if name == "ca.pem" else issued / name, place / called)
    uri = f"qemu+tls://{ADDRESS}/system?pkipath=/run/of-{kind}"
    return within(host, "virsh", "-c", uri, "hostname").stdout.strip() == "kvm1"


def test_readers_are_root_by_tls_until_libvirtd_has_the_list_and_a_browsers_certificate_never_is(
    host: LibvirtHost, authority: Authority, capfd: pytest.CaptureFixture[str]
) -> None:
    node = authority.issue(Kind.NODE, "kvm1", (ADDRESS,), now=NOW, days=2)
    vmha = command_line(capfd)
    said = vmha("pki", "libvirt", node.folder, "--root", host.inside("/run"))
    assert said.code == 0, said.err
    settings = host.inside("/etc/libvirt/libvirtd.conf")
    settings.write_text(settings.read_text().replace("listen_t", "#listen_t") + SETTINGS)
    host.start_libvirtd()
    everybody = (Kind.NODE, Kind.READER, Kind.OPERATOR, Kind.ETCD, Kind.WEB)
    assert [kind for kind in everybody if is_let_in(host, authority, kind)] == list(everybody[:-1])
    line = said.out.rpartition("restart libvirtd: ")[2]
    settings.write_text(settings.read_text() + line)
    host.restart_libvirtd()
    assert [kind for kind in everybody if is_let_in(host, authority, kind)] == [Kind.NODE]
