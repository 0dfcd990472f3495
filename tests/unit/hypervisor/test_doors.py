"""Doors on this machine's own loopback address: what QEMU's settings and certificates make of them."""

import shutil
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from vmha.hypervisor.real.doors import Doors, QemuSettings, read_settings

HERE = "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", QemuSettings()),
        ("#migration_port_min = 1\n", QemuSettings()),
        ("migration_port_min = 50000\nmigration_port_max=50100\n", QemuSettings(first_port=50000, last_port=50100)),
        ('migration_port_min = "many"\nmigration_port_max = 99999\n', QemuSettings()),
        (f'migration_port_min = "²"\nmigration_port_max = {"9" * 5000}\n', QemuSettings()),
        ('default_tls_x509_cert_dir = "/a"\n', QemuSettings(certificates="/a")),
        ('default_tls_x509_cert_dir = "/a"\nmigrate_tls_x509_cert_dir = "/b"\n', QemuSettings(certificates="/b")),
        ("migrate_tls_x509_verify = 0\n", QemuSettings(verifies=False)),
        ('default_tls_x509_secret_uuid = "1-2"\n', QemuSettings(has_secret=True)),
    ],
)
def test_settings_are_read_as_libvirt_reads_them(text: str, settings: QemuSettings) -> None:
    assert read_settings(text) == settings


class Equipped:
    """Two hosts' doors, each with a qemu.conf and a folder of certificates."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.folder, self.authority = folder, authority
        self.one, self.two = self._host("one"), self._host("two")

    def _host(self, name: str) -> Doors:
        pki = self.folder / name
        pki.mkdir()
        conf = self.folder / f"{name}.conf"
        conf.write_text(
            f'migration_port_min = 49300\nmigration_port_max = 49320\nmigrate_tls_x509_cert_dir = "{pki}"\n'
        )
        self.give(name, self.authority)
        return Doors(conf)

    def give(self, name: str, authority: Authority, *, days: int = 2, at: str = f"IP:{HERE}") -> None:
        crt, key = authority.issue(name, usage="serverAuth,clientAuth", at=at, days=days)
        shutil.copy(authority.ca, self.folder / name / "ca-cert.pem")
        for side in ("server", "client"):
            shutil.copy(crt, self.folder / name / f"{side}-cert.pem")
            shutil.copy(key, self.folder / name / f"{side}-key.pem")

    async def knock(self, *, encrypted: bool = True) -> str:
        """From one at two's door."""
        door = await self.two.open(for_s=60.0)
        assert door is not None
        try:
            if encrypted and not door.encrypts:
                return f"there {door.trouble}"
            return await self.one.knock(HERE, door.port, encrypted=encrypted, timeout_s=20.0)
        finally:
            await self.two.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def hosts(tmp_path: Path, authority: Authority) -> Equipped:
    return Equipped(tmp_path, authority)


async def test_hosts_of_one_authority_open_to_each_other(hosts: Equipped) -> None:
    assert await hosts.knock(encrypted=False) == ""
    assert await hosts.knock() == ""


async def test_host_of_another_authority_is_trusted_in_neither_direction(hosts: Equipped, tmp_path: Path) -> None:
    hosts.give("two", Authority(tmp_path / "other"))
    assert await hosts.knock(encrypted=False) == "", "one may come, and say nothing secret"
    assert "is not accepted here" in await hosts.knock()
    shutil.copy(tmp_path / "other/ca.crt", tmp_path / "one/ca-cert.pem")
    assert "does not accept the certificate from here" in await hosts.knock(), "now one trusts two, and two not one"


async def test_certificate_for_another_address_or_that_has_ended_is_told(hosts: Equipped, authority: Authority) -> None:
    hosts.give("two", authority, at="IP:10.9.9.9")
    assert "mismatch" in await hosts.knock()
    hosts.give("two", authority, days=-1)
    assert "certificate has expired" in await hosts.knock()


async def test_missing_or_damaged_certificates_are_told_by_their_files(hosts: Equipped, tmp_path: Path) -> None:
    (tmp_path / "one/ca-cert.pem").write_text("nothing of the kind")
    assert (await hosts.knock()).startswith(f"here the certificates in {tmp_path / 'one'} can not be used")
    (tmp_path / "two/server-cert.pem").unlink()
    assert "there QEMU has no certificate: there is no" in await hosts.knock()


async def test_range_of_which_every_port_is_taken_has_no_door(tmp_path: Path) -> None:
    conf = tmp_path / "qemu.conf"
    conf.write_text("migration_port_min = 49330\nmigration_port_max = 49331\n")
    doors = Doors(conf)
    try:
        taken = [await doors.open(for_s=60.0) for _ in range(2)]
        assert sorted(door.port for door in taken if door) == [49330, 49331]
        assert await doors.open(for_s=60.0) is None
    finally:
        await doors.close()


async def test_name_that_has_no_address_is_not_told_as_a_port_that_is_shut(tmp_path: Path) -> None:
    said = await Doors(tmp_path / "none.conf").knock("nobody.invalid", 49215, encrypted=False, timeout_s=20.0)
    assert said == ""
