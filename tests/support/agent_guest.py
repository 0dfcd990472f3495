"""A guest with a kernel and a real QEMU guest agent, booted from two files without a disk.

Its parts are Debian's own, unpacked by ``scripts/bootstrap dev`` into ``.venv/agent-guest`` and never installed: a
kernel of the cloud flavour with its virtio modules, busybox as the whole of user space, qemu-ga. The libraries of
qemu-ga are this machine's: QEMU needs the same ones. ``build`` puts them together where the test says.

The guest powers itself off when its agent is asked to, does not see its power button, and has a shell for what a test
wants done in it (``guest-exec``).
"""

import gzip
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

PARTS = Path(__file__).parents[2] / ".venv" / "agent-guest"
MODULES = ("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_console")

INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
for module in {modules}; do /bin/busybox insmod /modules/$module.ko; done
while ! [ -e /sys/class/virtio-ports/vport*/name ]; do /bin/busybox sleep 0.1; done
port=/dev/$(/bin/busybox basename /sys/class/virtio-ports/vport*)
echo "agent: begins on $port"
while :; do /usr/sbin/qemu-ga --method virtio-serial --path $port; /bin/busybox sleep 1; done
"""

SHUTDOWN = """#!/bin/busybox sh
/bin/busybox poweroff -f
"""

DOMAIN = """<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>96</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{directory}/vmlinuz</kernel><initrd>{directory}/initrd</initrd><cmdline>console=ttyS0 quiet</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='maximum'/>
  <devices>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    <serial type='pty'/>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
  </devices>
</domain>
"""


@dataclass(frozen=True, slots=True)
class BootFiles:
    kernel: Path
    initrd: Path


def domain_xml(name: str, directory: str) -> str:
    """A definition for a host that has the two files in ``directory``."""
    return DOMAIN.format(name=name, directory=directory)


def build(into: Path) -> BootFiles:
    """The kernel and an initramfs, in ``into``."""
    assert (PARTS / ".ready").exists(), f"{PARTS} is missing; scripts/bootstrap dev unpacks it"
    [kernel] = PARTS.glob("boot/vmlinuz-*")
    modules = {path.stem: path for path in PARTS.glob("lib/modules/*/kernel/drivers/**/*.ko")}
    agent = PARTS / "usr/sbin/qemu-ga"
    files = {"bin/busybox": PARTS / "bin/busybox", "usr/sbin/qemu-ga": agent}
    files |= {f"modules/{name}.ko": modules[name] for name in MODULES}
    files |= {library.lstrip("/"): Path(library) for library in _libraries(agent)}
    archive = _Archive()
    for name, path in files.items():
        archive.add(name, path.read_bytes(), 0o100755)
    for name in ("proc", "sys", "dev", "run", "var/run", "tmp"):
        archive.add(name, b"", 0o040755)
    archive.add("sbin/shutdown", SHUTDOWN.encode(), 0o100755)
    archive.add("init", INIT.format(modules=" ".join(MODULES)).encode(), 0o100755)
    boot = BootFiles(into / "vmlinuz", into / "initrd")
    boot.kernel.write_bytes(kernel.read_bytes())
    boot.initrd.write_bytes(gzip.compress(archive.end(), compresslevel=1))
    return boot


def _libraries(program: Path) -> list[str]:
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return re.findall(r"(/\S+) \(0x", said)


class _Archive:
    """A cpio archive of the kind that the kernel unpacks (newc)."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._seen: set[str] = set()

    def add(self, name: str, content: bytes, mode: int) -> None:
        directory = name.rpartition("/")[0]
        if directory and directory not in self._seen:
            self.add(directory, b"", 0o040755)
        if name in self._seen:
            return
        self._seen.add(name)
        self._entry(name, content, mode)

    def end(self) -> bytes:
        self._entry("TRAILER!!!", b"", 0)
        return bytes(self._bytes)

    def _entry(self, name: str, content: bytes, mode: int) -> None:
        fields = (len(self._seen), mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        self._bytes += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        self._pad()
        self._bytes += content
        self._pad()

    def _pad(self) -> None:
        self._bytes += b"\0" * (-len(self._bytes) % 4)
