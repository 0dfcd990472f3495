"""A whole host that is short of memory: all that runs on it swaps without end.

Agent, guard, libvirtd, QEMU and init share a group that has room for the guard and little more, with programs that
touch all of their memory again and again, and one slow disk to swap to (tests/support/storm.py). The witness's disk
gives the verdict.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from tests.lab.cluster import Cluster, processes_of, running_cluster
from tests.lab.conftest import wait_until
from tests.support.squeeze import squeezed
from tests.support.storm import HOG, Storm, bytes_fetched, bytes_of, storm_if_possible
from vmha.lab.layout import LabDir
from vmha.model.settings import PROFILES, Profile

pytestmark = pytest.mark.lab

MIB = 1 << 20
READS_PER_S = 300
"""What an agent reads for a beat takes minutes, what a QEMU reads to die less than a second: else a reset is due."""
ROOM_BYTES = 12 * MIB
"""For all but the guard: a tenth of what they have."""
HOGS, HOG_BYTES = 3, 32 * MIB
TIMING = PROFILES[Profile.TUNED]


@dataclass(frozen=True, kw_only=True)
class Host:
    """h1, begun anew in a group of its own."""

    cluster: Cluster
    storm: Storm | None

    def pids(self, words: str) -> list[int]:
        """Of the programs whose command line has these words."""
        return processes_of(self.cluster, "h1", lambda command: words in command)

    @property
    def guard(self) -> int:
        return self.pids("-m vmha.fencing.guard")[0]

    @property
    def agent(self) -> int:
        return self.pids("-m vmha agent")[0]

    def begin_anew(self) -> None:
        """It is switched on by somebody who is in the group meanwhile."""
        if self.storm is None:
            return
        lab = self.cluster.lab
        lab.run("kill", "h1")
        who, _ = json.loads(LabDir(lab.path).pids.read_text())["lab"]
        with self.storm.born_of(who):
            lab.run("start", "h1")

    def boots(self) -> int:
        return int(self.cluster.lab.node("h1")["boots"])

    def told_by_guard(self) -> dict[str, dict[str, float]]:
        told: dict[str, dict[str, float]] = json.loads(self.cluster.lab.sh("h1", "cat /run/vmha/guard.json"))
        return told

    @contextmanager
    def in_storm(self) -> Iterator[None]:
        """Where there can be none its agent is out of memory, and stands."""
        if self.storm is None:
            with squeezed(self.agent):
                yield
            return
        guard, agent = self.guard, self.agent
        assert {guard, agent, *self.pids("qemu-system"), *self.pids("libvirtd")} <= self.storm.members()
        read = bytes_fetched(agent)
        with self.hogs(self.storm) as let_go:
            self.storm.begin(limit_bytes=bytes_of(guard, "RssAnon") + ROOM_BYTES, reads_per_s=READS_PER_S)
            let_go()
            yield
            assert bytes_of(agent, "VmSwap") > 0
            assert bytes_fetched(agent) > read + MIB
        self.storm.end()

    @contextmanager
    def hogs(self, storm: Storm) -> Iterator[Callable[[], None]]:
        """Programs of the host that want memory; yields what lets them take it."""
        with ExitStack() as undo:
            started = [self._start_hog(undo) for _ in range(HOGS)]
            for hog in started:
                assert hog.stdout
                assert hog.stdout.readline() == "here\n"
            storm.take(*self.pids("sys.stdin.readline()"))

            def let_go() -> None:
                for hog in started:
                    print(file=hog.stdin, flush=True)

            yield let_go

    def _start_hog(self, undo: ExitStack) -> "subprocess.Popen[str]":
        hog = self.cluster.lab.spawn("h1", HOG.format(size=HOG_BYTES))
        undo.callback(hog.wait)
        undo.callback(hog.kill)
        return hog


@pytest.fixture(scope="module")
def stormy() -> Iterator[Storm | None]:
    with storm_if_possible() as group:
        yield group


@pytest.fixture(scope="module")
def shared_host(stormy: Storm | None) -> Iterator[Host]:
    for cluster in running_cluster():
        host = Host(cluster=cluster, storm=stormy)
        host.begin_anew()
        yield host


@pytest.fixture
def host(shared_host: Host) -> Iterator[Host]:
    """At peace, with the witness ``web`` at home on it."""
    cluster = shared_host.cluster
    cluster.lab.switch_everything_on()
    cluster.await_all_online()
    cluster.add("web", "--failover-domain", "pref")
    cluster.await_running("web", on="h1")
    cluster.await_ticks("web")
    try:
        yield shared_host
        verdict = cluster.lab.verdict("web")
        assert verdict["ran_twice"] is False, verdict
        assert verdict["double_writers"] == 0, verdict
    finally:
        if shared_host.storm:
            shared_host.storm.end()
        cluster.await_all_online()
        cluster.remove("web")


def test_host_in_a_swap_storm_loses_its_guest_to_its_guard_by_the_deadline_and_is_taken_back_after_it(host: Host):
    cluster, guard, boots = host.cluster, host.guard, host.boots()
    with host.in_storm():
        cluster.await_running("web", on="h2")
        cluster.await_ticks("web")
        assert bytes_of(guard, "VmSwap") == 0
        assert cluster.qemu_pids("h1") == []
        wait_until("the guard has seen it gone", lambda: host.told_by_guard()["last_kill"]["verified_at"], 30.0)
        told = host.told_by_guard()
        sent_at, kill = told["deadline"]["sent_at"], told["last_kill"]
        assert kill["begun_at"] <= sent_at + TIMING.hold_s
        assert kill["verified_at"] <= sent_at + TIMING.dead_after_s
        assert host.boots() == boots, "the watchdog was petted"
    cluster.await_all_online()
    cluster.await_running("web", on="h1")
    cluster.await_ticks("web")
    assert (host.guard, host.boots()) == (guard, boots)
