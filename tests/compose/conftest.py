"""The Debian package, and a copy of this host to try it on: a layer above its root that takes what is written."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.project import ROOT, run


@pytest.fixture(scope="session")
def package() -> Path:
    said = [line for line in run("make", "deb").splitlines() if line.startswith("deb: ")]
    return ROOT / said[-1].removeprefix("deb: ")


@pytest.fixture
def layer(package: Path) -> Iterator[Path]:
    # On a file system of its own in memory: an overlay can not be the upper layer of another one.
    place = Path(tempfile.mkdtemp(prefix="vmha-deb-test-", dir="/dev/shm"))
    for name in ("upper", "work", "merged"):
        (place / name).mkdir()
    shutil.copy(package, place / "vmha.deb")
    shutil.copytree(ROOT / "deploy", place / "checkout/deploy")
    yield place
    shutil.rmtree(place)


def on_the_copy(layer: Path, script: str) -> str:
    """What the script printed, run as root of the copy. In /tmp are the package, and what a checkout has to copy."""
    inside = f"""set -e
mount -t overlay overlay -o lowerdir=/,upperdir={layer}/upper,workdir={layer}/work {layer}/merged
cd {layer}/merged
mount -t proc proc proc && mount --bind /dev dev && mount -t tmpfs tmpfs run && mount -t tmpfs tmpfs tmp
cp -r {layer}/vmha.deb {layer}/checkout tmp
exec chroot . sh -ec "$1"
"""
    command = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", inside, "sh", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout + done.stderr
