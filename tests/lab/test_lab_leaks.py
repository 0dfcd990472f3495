"""Nothing of a lab remains, whatever part of it was killed, and two labs do not see each other."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmha.lab.layout import LabDir, LabSpec
from vmha.model.clock import SystemClock

from .conftest import LabRun, running_lab, wait_until

pytestmark = pytest.mark.lab

CLOCK = SystemClock()
_FUSE_CONNECTIONS = "mount -t fusectl none /sys/fs/fuse/connections 2>/dev/null; ls /sys/fs/fuse/connections"


class Traces:
    """What one running lab has on this machine, and how much of it is still there.

    The kernel gives numbers of namespaces and of fuse connections that have become free to whoever comes next, and
    other labs may run meanwhile: what came after this was made is none of this lab's.
    """

    def __init__(self, lab: LabRun) -> None:
        self.lab = lab
        self.processes = _tree(_members(lab)["supervisor"])
        self.until = _ticks_since_boot()
        none = {"", _namespace(os.getpid())}  # "": it has ended while we looked
        self.namespaces = {_namespace(pid) for pid, _ in self.processes} - none
        self.fuse = {minor for pid, _ in self.processes for minor in _watchdog_mounts(pid)}
        self.cgroup = LabSpec.from_json(LabDir(lab.path).spec.read_text()).cgroup_name

    def living(self) -> list[str]:
        return [_words(pid) for pid, started in self.processes if _is_alive(pid, started)]

    def left(self) -> dict[str, list[str]]:
        stats = {int(entry): _stat(int(entry)) for entry in os.listdir("/proc") if entry.isdigit()}
        old = [pid for pid, stat in stats.items() if stat and int(stat[19]) <= self.until]
        new = [pid for pid, stat in stats.items() if stat and int(stat[19]) > self.until]
        of_others = {minor for pid in new for minor in _watchdog_mounts(pid)}
        found = {
            "processes": self.living(),
            "namespaces": [_words(pid) for pid in old if _namespace(pid) in self.namespaces],
            "mounts": [
                line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.lab.path) in line
            ],
            "fuse": sorted((self.fuse & _fuse_connections()) - of_others),
            "cgroups": [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{self.cgroup}")],
            "files": [str(path) for path in self.lab.path.parent.iterdir()],
        }
        return {what: which for what, which in found.items() if which}


def _members(lab: LabRun) -> dict[str, int]:
    recorded = json.loads(LabDir(lab.path).pids.read_text())
    return {name: pid for name, (pid, _) in recorded.items()}


def _stat(pid: int) -> list[str]:
    """Fields from the state on; the parent is the second, the start time the twentieth."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _ticks_since_boot() -> int:
    """As start times are counted."""
    return int(CLOCK.now() * os.sysconf("SC_CLK_TCK"))


def _is_alive(pid: int, started: str) -> bool:
    stat = _stat(pid)
    return bool(stat) and stat[19] == started and stat[0] != "Z"


def _tree(root: int) -> list[tuple[int, str]]:
    stats = {int(entry): _stat(int(entry)) for entry in os.listdir("/proc") if entry.isdigit()}
    found = [root]
    for parent in found:
        found += [pid for pid, stat in stats.items() if stat and int(stat[1]) == parent]
    return [(pid, stats[pid][19]) for pid in found]


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return ""


def _words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _watchdog_mounts(pid: int) -> list[str]:
    """Minor numbers of the fuse mounts that ``pid`` sees; the kernel names its connections by them."""
    try:
        lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    except OSError:
        return []
    return [line.split()[2].split(":")[1] for line in lines if "vmha-watchdog" in line]


def _fuse_connections() -> set[str]:
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", _FUSE_CONNECTIONS], capture_output=True, text=True, timeout=20, check=False
    )
    return set(done.stdout.split())


def _host_pid(lab: LabRun, name: str) -> int:
    return next(pid for pid, _ in _tree(_members(lab)["supervisor"]) if f"/{name}/box.json" in _words(pid))


def _start_a_guest(lab: LabRun) -> None:
    from vmha.lab.guests import add_witness

    witness = add_witness(LabDir(lab.path), "guest")
    (lab.path / "h1/var/lib/guest.xml").write_text(witness.xml)
    lab.sh("h1", "virsh create /var/lib/guest.xml")


def test_down_leaves_nothing(unbuilt_lab: LabRun) -> None:
    lab = unbuilt_lab
    lab.up("--nodes", "2")
    _start_a_guest(lab)
    traces = Traces(lab)
    assert any("qemu-system" in words for words in traces.living())
    assert len(traces.namespaces) == 4  # the lab, two hosts, one etcd
    lab.run("freeze", "h2")
    lab.run("down")
    wait_until("nothing is left", lambda: not traces.left())
    assert "nothing to do" in lab.run("down")


@pytest.mark.parametrize("victim", ["supervisor", "lab"])
def test_a_lab_whose_first_processes_are_killed_dies_at_once_and_can_be_built_again(
    unbuilt_lab: LabRun, victim: str
) -> None:
    lab = unbuilt_lab
    lab.up("--nodes", "1")
    _start_a_guest(lab)
    traces = Traces(lab)
    os.kill(_members(lab)[victim], signal.SIGKILL)
    wait_until("no process lives", lambda: not traces.living())
    assert "no lab runs" in lab.run("status", code=2)
    lab.up("--nodes", "1")
    assert lab.sh("h1", "hostname") == "h1"
    again = Traces(lab)
    lab.run("down")
    wait_until("nothing of the second is left", lambda: not again.left())
    assert not traces.left()


def test_a_host_that_is_killed_from_outside_is_off_and_starts_again(unbuilt_lab: LabRun) -> None:
    lab = unbuilt_lab
    lab.up("--nodes", "2")
    traces = Traces(lab)
    os.kill(_host_pid(lab, "h1"), signal.SIGKILL)
    wait_until("it is off", lambda: lab.node("h1")["power"] == "off")
    lab.run("start", "h1")
    assert lab.sh("h1", "timeout 5 bash -c 'echo > /dev/tcp/10.97.0.2/16509' && echo connected") == "connected"
    lab.run("down")
    wait_until("nothing is left", lambda: not traces.left())


def test_down_works_where_no_lab_ever_was_and_spares_what_is_not_a_labs(unbuilt_lab: LabRun) -> None:
    lab = unbuilt_lab
    assert "nothing to do" in lab.run("down")
    lab.path.mkdir()
    (lab.path / "precious").write_text("mine")
    assert "nothing to do" in lab.run("down")
    assert "not empty" in lab.run("up", "--no-agents", code=2)
    assert [path.name for path in lab.path.iterdir()] == ["precious"]


def test_down_keeps_the_logs_when_asked(unbuilt_lab: LabRun) -> None:
    lab = unbuilt_lab
    lab.up("--nodes", "1")
    lab.run("down", "--keep")
    assert (lab.path / "h1/var/log/vmha/libvirtd.log").stat().st_size > 0
    assert (lab.path / "events.jsonl").exists()
    assert not (lab.path / "h1/etc").exists()
    lab.run("down")
    assert not lab.path.exists()


def test_two_labs_run_side_by_side_with_the_same_addresses(unbuilt_lab: LabRun) -> None:
    one = unbuilt_lab
    two = LabRun(path=one.path.with_name("other"))
    try:
        one.up("--nodes", "1")
        two.up("--nodes", "1")
        one.sh("h1", "etcdctl put name one")
        two.sh("h1", "etcdctl put name two")
        assert [lab.sh("h1", "etcdctl get name --print-value-only") for lab in (one, two)] == ["one", "two"]
        two.run("down")
        assert one.sh("h1", "etcdctl get name --print-value-only") == "one"
    finally:
        two.run("down", code=None)


@pytest.fixture(scope="module")
def three_members() -> Iterator[LabRun]:
    yield from running_lab("--nodes", "1", "--etcd", "3")


def test_the_cluster_outlives_one_etcd_member_cut_off_frozen_or_killed(three_members: LabRun) -> None:
    lab = three_members
    endpoint = lab.status()["etcd_endpoint"].replace("unix:", "unix://")

    def writes() -> bool:
        done = subprocess.run(
            ["etcdctl", "--endpoints", endpoint, "--command-timeout", "4s", "put", "key", "value"],
            env=lab.environment | {"ETCDCTL_API": "3"},
            capture_output=True,
            timeout=30,
            check=False,
        )
        return done.returncode == 0

    for harm, member, cure in (("kill", "etcd-1", "start"), ("freeze", "etcd-2", "thaw"), ("cut", "etcd-3", "heal")):
        assert writes()
        lab.run(harm, member)
        wait_until(f"the others write after {harm}", writes)
        lab.run(cure, member)
        wait_until(
            f"all write after {cure}",
            lambda: lab.sh("h1", "etcdctl endpoint health", code=None).count("is healthy") == 3,
        )
