"""The lab of an ordinary user: the same hosts without any of root's rights."""

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import vmha
from vmha.lab.guests import add_witness
from vmha.lab.layout import LabDir

from .conftest import COMMAND, LabRun, make_directory, wait_until

pytestmark = pytest.mark.lab

_USER = 61234


def _as_user(directory: Path) -> tuple[Sequence[str], Sequence[str], dict[str, str]]:
    """Prefix, command and environment that run the command line as somebody without rights.

    Where that user can not read this interpreter or the package (a checkout below /root), copies are made.
    """
    environment = dict(os.environ) | {"HOME": str(directory)}
    if os.geteuid() != 0:
        return (), COMMAND, environment
    prefix = ("setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups")
    os.chown(directory, _USER, _USER)
    source = Path(vmha.__file__).resolve().parent
    packages = Path(sysconfig.get_paths()["purelib"])
    if all(_is_readable(path) for path in (source, packages, Path(sys.executable))):
        return prefix, COMMAND, environment
    readable = directory / "python"
    ignored = shutil.ignore_patterns("ruff*", "mypy*", "__pycache__")
    shutil.copytree(packages, readable, symlinks=True, ignore=ignored)
    shutil.copytree(source, readable / "vmha", ignore=ignored, dirs_exist_ok=True)
    environment["PYTHONPATH"] = str(readable)
    return prefix, ("/usr/bin/python3", *COMMAND[1:]), environment


def _is_readable(path: Path) -> bool:
    """By everybody: every directory on the way is open to others."""
    return all(parent.stat().st_mode & 0o005 == 0o005 for parent in [*path.resolve().parents, *path.parents])


@pytest.fixture(scope="module")
def lab() -> Iterator[LabRun]:
    directory = make_directory()
    prefix, command, environment = _as_user(directory)
    lab = LabRun(path=directory / "lab", prefix=prefix, command=command, environment=environment)
    try:
        said = lab.up("--nodes", "2")
        has_watchdog = lab.node("h1")["watchdog"] is not None
        assert ("no /dev/watchdog" in said) is not has_watchdog
        yield lab
    finally:
        lab.run("down", code=None)
        shutil.rmtree(directory)


def test_an_ordinary_user_gets_hosts_between_which_a_guest_migrates(lab: LabRun) -> None:
    assert lab.status()["tier"] == "user"
    witness = add_witness(LabDir(lab.path), "guest")
    image = LabDir(lab.path).image("guest")
    if os.geteuid() == 0:
        os.chown(image, _USER, _USER)
    (lab.path / "h1/var/lib/guest.xml").write_text(witness.xml)
    lab.sh("h1", "virsh create /var/lib/guest.xml")
    wait_until("it ticks", lambda: lab.verdict("guest")["ticks"] > 5)
    lab.sh("h1", "virsh migrate --live --p2p guest qemu+tcp://10.97.0.2/system tcp://10.97.0.2")
    wait_until("the other host writes", lambda: lab.verdict("guest")["writer"].startswith("h2#"))
    verdict = lab.verdict("guest")
    assert (verdict["boots"], verdict["ran_twice"], verdict["migrations_survived"]) == (1, False, 1)


def test_an_ordinary_users_hosts_freeze_and_lose_power_too(lab: LabRun) -> None:
    boot_id = lab.node("h2")["boot_id"]
    lab.run("freeze", "h2")
    assert lab.node("h2")["frozen"]
    lab.run("thaw", "h2")
    assert lab.sh("h2", "echo awake") == "awake"
    lab.run("freeze", "h2")
    lab.run("kill", "h2")
    lab.run("start", "h2")
    assert lab.node("h2")["boot_id"] != boot_id
    assert lab.sh("h2", "virsh uri") == "qemu:///system"


def test_an_ordinary_users_lab_leaves_nothing(lab: LabRun) -> None:
    lab.run("down")
    assert not lab.path.exists()


def test_a_machine_that_forbids_namespaces_gets_one_line_that_points_to_the_simulation(unbuilt_lab: LabRun) -> None:
    lab = unbuilt_lab
    forbid = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"'
    lab.prefix = ("unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh")
    *_, words = lab.run("up", "--no-agents", code=2).splitlines()
    assert "no namespaces" in words
    assert "vmha sim" in words
    assert not lab.path.exists()
