"""The witness guest's boot sector, disk and definition."""

import subprocess
from importlib import resources
from pathlib import Path

import pytest
from defusedxml import ElementTree

from vmha.lab.witness.disk import DISK_SIZE, boot_sector, make_disk
from vmha.lab.witness.domain import witness_domain_xml
from vmha.lab.witness.entry import RING_ENTRIES


def test_the_shipped_boot_sector_is_what_the_source_assembles_to(tmp_path: Path) -> None:
    source = resources.files("vmha.lab.witness").joinpath("tick.asm")
    with resources.as_file(source) as path:
        subprocess.run(["nasm", "-f", "bin", str(path), "-o", str(tmp_path / "tick.bin")], check=True, timeout=30)
        assert f"RING_MASK equ   {RING_ENTRIES - 1:#06x}" in path.read_text()
    assert (tmp_path / "tick.bin").read_bytes() == boot_sector()


def test_the_boot_sector_is_one_sector_with_its_signature() -> None:
    assert len(boot_sector()) == 512
    assert boot_sector().endswith(b"\x55\xaa")


def test_a_disk_is_sparse_bootable_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "vm.img"
    make_disk(path)
    assert path.stat().st_size == DISK_SIZE
    assert path.stat().st_blocks * 512 < 1 << 20
    assert path.read_bytes()[:512] == boot_sector()
    with pytest.raises(FileExistsError):
        make_disk(path)


def test_the_definition_names_disk_and_memory_and_keeps_its_uuid() -> None:
    root = ElementTree.fromstring(witness_domain_xml("web", 24))
    assert root.get("type") == "qemu"
    assert root.findtext("name") == "web"
    assert root.findtext("memory") == "24"
    assert root.find("devices/disk/source").attrib == {"protocol": "nbd", "name": "web"}
    assert root.find("devices/disk/source/reconnect").get("delay") == "20"
    assert root.find("devices/disk/target").get("bus") == "ide"
    assert root.find("devices/interface") is None
    assert witness_domain_xml("web") == witness_domain_xml("web")
    assert root.findtext("uuid") != ElementTree.fromstring(witness_domain_xml("other")).findtext("uuid")


def test_a_sata_disk_is_named_as_one() -> None:
    root = ElementTree.fromstring(witness_domain_xml("web", bus="sata"))
    assert root.find("devices/disk/target").attrib == {"dev": "sda", "bus": "sata"}
