"""The Debian package: built, and installed, used, refused, removed and purged on a copy of this host.

The copy is this host's own root with a layer above it that takes what is written, in a mount namespace: at the end the
layer shows what the package has left. Here, beside the compose tests, because it is heavy; it needs no Docker engine.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.project import ROOT, run

pytestmark = pytest.mark.compose

NOT_OURS = ("var/lib/dpkg/", "var/log/", "var/cache/", "tmp/", "run/", "root/", "dev/")
"""What dpkg itself, or a shell, may leave."""


@pytest.fixture(scope="module")
def package() -> Path:
    said = [line for line in run("make", "deb").splitlines() if line.startswith("deb: ")]
    return ROOT / said[-1].removeprefix("deb: ")


@pytest.fixture
def layer(package: Path) -> Iterator[Path]:
    # On a file system of its own in memory: an overlay can not be the upper layer of another one.
    place = Path("/dev/shm") / f"vmha-deb-test-{package.stat().st_ino}"
    for name in ("upper", "work", "merged"):
        (place / name).mkdir(parents=True)
    shutil.copy(package, place / "vmha.deb")
    yield place
    shutil.rmtree(place)


def on_the_copy(layer: Path, script: str) -> str:
    """What the script printed, run as root of the copy. ``/tmp/vmha.deb`` is the package."""
    inside = f"""set -e
mount -t overlay overlay -o lowerdir=/,upperdir={layer}/upper,workdir={layer}/work {layer}/merged
cd {layer}/merged
mount -t proc proc proc && mount --bind /dev dev && mount -t tmpfs tmpfs run && mount -t tmpfs tmpfs tmp
cp {layer}/vmha.deb tmp/vmha.deb
exec chroot . sh -ec "$1"
"""
    command = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", inside, "sh", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def left(layer: Path) -> list[str]:
    """Files that are new or gone in the copy."""
    upper = layer / "upper"
    names = [str(path.relative_to(upper)) for path in upper.rglob("*") if not path.is_dir()]
    return [name for name in names if not name.startswith(NOT_OURS) and "/__pycache__/" not in f"/{name}"]


def test_package_installs_works_upgrades_and_leaves_no_trace(layer: Path) -> None:
    said = on_the_copy(
        layer,
        """
        dpkg -i /tmp/vmha.deb
        vmha --version && vmha --help
        clustat -h || test $? = 1
        cd /lib/systemd/system && systemd-analyze verify --recursive-errors=no vmha-agent.service vmha-guard.service
        test "$(systemctl is-enabled vmha-agent)" = disabled && test "$(systemctl is-enabled vmha-web)" = disabled
        systemd-sysusers --dry-run vmha-web.conf
        vmha pki init /tmp/pki && vmha pki issue /tmp/pki node kvm1 --address 10.0.0.1
        /usr/lib/vmha/bin/python -c 'import libvirt, vmha.node.process'
        install -m 600 /dev/null /etc/vmha/vmha.toml
        dpkg -i /tmp/vmha.deb
        dpkg -r vmha
        test -e /etc/vmha/vmha.toml
        /etc/libvirt/hooks/qemu.d/vmha web start begin - </dev/null && echo the gate is open
        dpkg -P vmha
        """,
    )
    assert "Usage: vmha" in said
    assert "the gate is open" in said
    assert left(layer) == []


def test_package_stays_while_its_guests_run_and_says_what_to_do(layer: Path) -> None:
    said = on_the_copy(
        layer,
        """
        dpkg -i /tmp/vmha.deb
        mkdir -p /run/libvirt/qemu
        echo '<vmha:vm xmlns:vmha="https://vmha.dev/xmlns/domain/1"/>' >/run/libvirt/qemu/web.xml
        ! dpkg -r vmha
        vmha --version && echo it is still there
        rm /run/libvirt/qemu/web.xml
        dpkg -P vmha
        """,
    )
    assert "guests that it manages run on this host: web" in said
    assert "vmha node drain" in said
    assert "it is still there" in said
