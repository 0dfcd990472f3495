"""The guard's mind with a host made of lists: what is killed when, what is petted when, what is remembered."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from vmha.fencing.deadline import State
from vmha.fencing.guard_keeper import Keeper
from vmha.fencing.guard_protocol import Arm, AskStatus, Beat, Disarm, Expire
from vmha.fencing.names import GUARD_STATE
from vmha.fencing.qemu_processes import Guest, Scan
from vmha.fencing.watchdog import WDIOC_GETTIMEOUT, WDIOC_KEEPALIVE, WDIOC_SETTIMEOUT, Watchdog

BOOT = "boot-1"


def guest(name: str, pid: int = 10) -> Guest:
    return Guest(uuid=f"uuid-{name}", name=name, pid=pid, start_ticks=1)


@dataclass
class Host:
    """Guests that end when struck, unless they are stuck in the kernel."""

    running: list[Guest] = field(default_factory=list)
    stuck: set[str] = field(default_factory=set)
    unclear: tuple[str, ...] = ()
    told: frozenset[str] = frozenset()
    errors: tuple[str, ...] = ()
    struck: list[Guest] = field(default_factory=list)
    held: list[Guest] = field(default_factory=list)
    is_out_of_files: bool = False
    is_out_of_memory: bool = False

    def scan(self, told: frozenset[str]) -> Scan:
        self.told = told
        if self.is_out_of_memory:
            raise MemoryError
        if self.is_out_of_files:
            return Scan(unclear=("/run/libvirt/qemu: Too many open files",))
        return Scan(guests=tuple(self.running), unclear=self.unclear)

    def hold(self, guests: Iterable[Guest], *, instead: bool = True) -> None:
        if not self.is_out_of_files:
            self.held = list(dict.fromkeys((*(() if instead else self.held), *guests)))

    def strike_held(self) -> None:
        for one in self.held:
            self.strike(one)

    def strike(self, guest: Guest) -> None:
        if guest in self.running and guest not in self.struck:
            self.struck.append(guest)

    def reap(self) -> None:
        self.running = [guest for guest in self.running if guest not in self.struck or guest.name in self.stuck]
        self.struck = [guest for guest in self.struck if guest in self.running]

    @property
    def outstanding(self) -> tuple[Guest, ...]:
        return tuple(self.struck)


class Device(Watchdog):
    """A watchdog whose driver is a table: the shortest timeout it takes, and what it was told."""

    def __init__(self, path: str, *, shortest_s: int = 1, settable: bool = True) -> None:
        super().__init__(path)
        self.shortest_s, self.settable, self.pets = shortest_s, settable, 0

    def _ioctl(self, request: int, buffer: bytearray) -> None:
        if not self.is_open:
            raise OSError("not open")
        match request:
            case _ if request == WDIOC_KEEPALIVE:
                self.pets += 1
            case _ if request == WDIOC_SETTIMEOUT and self.settable:
                asked = struct.unpack("<i", buffer)[0]
                buffer[:] = struct.pack("<i", max(asked, self.shortest_s))
            case _ if request == WDIOC_GETTIMEOUT:
                buffer[:] = struct.pack("<i", self.shortest_s)
            case _:
                raise OSError(95, "Operation not supported")


class Bench:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.host = Host()
        self.device_path = root / "watchdog"
        self.device_path.touch()
        self.device = Device(str(self.device_path))
        self.now = 100.0
        self.keeper = self.start()

    def start(self, boot: str = BOOT) -> Keeper:
        self.keeper = Keeper(
            state_path=self.root / GUARD_STATE,
            boot_id=boot,
            processes=self.host,
            killer=self.host,
            watchdog=self.device,
            wall=lambda: 1.7e9,
            now=self.now,
        )
        return self.keeper

    def restart(self, **options: str) -> Keeper:
        """SIGKILL and a new process: nothing of the old one is left but its file."""
        self.device = Device(str(self.device_path))
        self.host.struck.clear()
        return self.start(**options)

    def arm(self, session: str = "s1", **options: Any) -> tuple[bool, str, str]:
        fields: dict[str, Any] = {"hold_s": 10.0, "kill_lead_s": 1.0, "sent_at": self.now, **options}
        return self.keeper.answer(Arm(session=session, **fields), self.now)

    def beat(self, session: str = "s1", **options: Any) -> tuple[bool, str, str]:
        return self.keeper.answer(Beat(session=session, sent_at=self.now, **options), self.now)

    def pass_s(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 0.1)
            self.keeper.tick(self.now)

    @property
    def status(self) -> dict[str, Any]:
        return self.keeper.status(self.now)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_guests_end_before_the_hold_is_over_and_the_proof_names_them(bench: Bench) -> None:
    bench.host.running = [guest("web"), guest("db", 11)]
    bench.arm()
    bench.pass_s(8.8)
    assert len(bench.host.running) == 2
    bench.pass_s(0.5)
    assert bench.host.running == []
    kill = bench.status["last_kill"]
    assert bench.status["state"] == State.EXPIRED_CLEAN
    assert [killed["name"] for killed in kill["guests"]] == ["web", "db"]
    assert kill["session"] == "s1"
    assert kill["begun_at"] <= kill["verified_at"] < 110.0


def test_an_arm_is_answered_with_what_runs_now_not_with_an_earlier_look(bench: Bench) -> None:
    bench.keeper.answer(AskStatus(), bench.now)
    bench.host.running = [guest("web")]
    bench.arm()
    assert bench.status["guests"] == ["web"]


def test_beats_keep_guests_running(bench: Bench) -> None:
    bench.host.running = [guest("web")]
    bench.arm()
    for _ in range(30):
        bench.pass_s(2.0)
        assert bench.beat()[0]
    assert bench.host.running == [guest("web")]
    assert bench.status["guests"] == ["web"]


def test_an_expiry_without_guests_is_a_proof_too(bench: Bench) -> None:
    bench.arm()
    bench.pass_s(9.2)
    assert bench.status["last_kill"]["verified_at"] is not None
    assert bench.status["last_kill"]["guests"] == ()


def test_an_expired_guard_ends_what_appears_until_a_new_session_is_armed(bench: Bench) -> None:
    bench.arm()
    bench.pass_s(9.5)
    bench.host.running = [guest("late", 12)]
    bench.pass_s(0.3)
    assert bench.host.running == []
    assert [killed["name"] for killed in bench.status["last_kill"]["guests"]] == ["late"]
    assert bench.beat() == (False, "expired", bench.beat()[2])
    assert bench.arm("s2")[0]
    bench.host.running = [guest("new", 13)]
    bench.pass_s(5)
    assert bench.host.running == [guest("new", 13)]


def test_a_guest_that_will_not_die_is_reported_and_blocks_a_new_session(bench: Bench) -> None:
    bench.host.running, bench.host.stuck = [guest("web")], {"web"}
    bench.arm()
    bench.pass_s(20)
    assert bench.status["state"] == State.EXPIRED_KILLING
    assert bench.status["last_kill"]["verified_at"] is None
    assert bench.status["guests"] == ["web"]
    done, verdict, words = bench.arm("s2")
    assert (done, verdict) == (False, "guests_left")
    assert "s1" in words
    bench.host.stuck.clear()
    bench.pass_s(0.3)
    assert bench.arm("s2")[0]


def test_what_can_not_be_read_is_not_verified_gone(bench: Bench) -> None:
    bench.host.unclear = ("web.xml: unreadable",)
    bench.arm()
    bench.pass_s(12)
    assert bench.status["state"] == State.EXPIRED_KILLING
    assert bench.status["unclear"] == ["web.xml: unreadable"]


def test_guests_end_by_what_is_held_of_them_when_nothing_can_be_looked_at_any_more(bench: Bench) -> None:
    bench.host.running = [guest("web")]
    bench.arm()
    bench.pass_s(3)
    late = guest("late", pid=11)
    bench.host.is_out_of_files = True
    bench.host.running.append(late)  # nobody has seen it
    bench.pass_s(10)
    assert bench.host.running == [late]
    assert bench.keeper.state is State.EXPIRED_KILLING
    assert [killed["name"] for killed in bench.status["last_kill"]["guests"]] == ["web"]
    bench.host.is_out_of_files = False
    bench.pass_s(1)
    assert bench.host.running == []
    assert bench.keeper.state is State.EXPIRED_CLEAN


def test_guests_end_by_what_is_held_of_them_when_a_look_fails_as_nobody_foresaw(bench: Bench) -> None:
    bench.host.running = [guest("web")]
    bench.arm()
    bench.now += 9
    bench.host.is_out_of_memory = True
    with pytest.raises(MemoryError):
        bench.keeper.tick(bench.now)
    with pytest.raises(MemoryError):
        bench.keeper.tick(bench.now)
    assert bench.host.running == []
    assert bench.keeper.state is State.EXPIRED_KILLING
    bench.host.is_out_of_memory = False
    bench.pass_s(1)
    assert bench.keeper.state is State.EXPIRED_CLEAN


def test_what_is_no_managed_guest_any_more_is_not_held(bench: Bench) -> None:
    removed = guest("removed")
    bench.host.running = [removed]
    bench.arm()
    assert bench.host.held == [removed]
    bench.host.running = []
    bench.beat()
    bench.pass_s(2)
    assert bench.host.held == []


def test_the_watchdog_is_petted_while_the_session_is_valid_and_again_when_all_is_verified_gone(bench: Bench) -> None:
    bench.host.running = [guest("web")]
    bench.arm(watchdog_s=4)
    assert bench.status["watchdog"]["armed"]
    before = bench.device.pets
    bench.pass_s(8)
    assert bench.device.pets - before in (7, 8)
    bench.pass_s(4)
    before = bench.device.pets
    bench.pass_s(8)
    assert bench.device.pets - before in (7, 8)


def test_the_watchdog_is_not_petted_while_a_guest_can_not_be_ended(bench: Bench) -> None:
    bench.host.running, bench.host.stuck = [guest("web")], {"web"}
    bench.arm(watchdog_s=4)
    bench.pass_s(9.1)
    before = bench.device.pets
    bench.pass_s(30)
    assert bench.device.pets == before


def test_a_disarm_without_guests_stops_the_watchdog_and_with_guests_is_refused(bench: Bench) -> None:
    bench.arm(watchdog_s=4)
    bench.host.running = [guest("web")]
    assert bench.keeper.answer(Disarm(session="s1"), bench.now)[:2] == (False, "guests_left")
    assert bench.device.is_open
    bench.host.running = []
    assert bench.keeper.answer(Disarm(session="s1"), bench.now)[0]
    assert not bench.device.is_open
    assert bench.device_path.read_bytes().endswith(b"V")
    assert bench.keeper.wake_in_s(bench.now) is None


def test_a_guard_that_ends_while_armed_leaves_the_watchdog_ticking(bench: Bench) -> None:
    bench.arm(watchdog_s=4)
    bench.keeper.close()
    assert bench.device.is_open
    assert b"V" not in bench.device_path.read_bytes()


def test_without_a_usable_watchdog_the_level_is_lower_and_the_reason_is_told(bench: Bench) -> None:
    bench.device.shortest_s = 60
    bench.arm(watchdog_s=4)
    assert not bench.status["watchdog"]["armed"]
    assert "its timeout is 60 s, 4 s was asked for" in bench.status["watchdog"]["reason"]
    before = bench.device.pets
    bench.pass_s(40)
    assert bench.device.pets > before  # it ticks since it was opened, so it must be petted


def test_a_watchdog_that_is_busy_is_opened_as_soon_as_it_is_free(bench: Bench) -> None:
    bench.device_path.unlink()
    bench.arm(watchdog_s=4)
    assert "No such file" in bench.status["watchdog"]["reason"]
    bench.device_path.touch()
    bench.pass_s(1)
    assert bench.status["watchdog"]["armed"]


def test_a_restarted_guard_resumes_the_same_deadline_and_pets_at_once(bench: Bench) -> None:
    bench.host.running = [guest("web")]
    bench.arm(watchdog_s=4, managed=frozenset({"uuid-web"}))
    bench.pass_s(5)
    bench.beat()
    deadline = bench.status["deadline"]
    bench.restart()
    assert (bench.status["state"], bench.status["deadline"]) == (State.ARMED, deadline)
    assert bench.device.pets == 1
    assert bench.host.told == {"uuid-web"}
    bench.pass_s(9.2)
    assert bench.host.running == []


def test_a_guard_restarted_past_the_deadline_kills_before_it_does_anything_else(bench: Bench) -> None:
    bench.host.running = [guest("web")]
    bench.arm()
    bench.now += 60
    bench.restart()
    assert bench.host.running == []
    assert bench.status["last_kill"]["session"] == "s1"


def test_a_guard_restarted_during_the_killing_goes_on_with_the_same_proof(bench: Bench) -> None:
    bench.host.running, bench.host.stuck = [guest("web")], {"web"}
    bench.arm()
    bench.pass_s(9.5)
    begun_at = bench.status["last_kill"]["begun_at"]
    bench.restart()
    assert bench.status["state"] == State.EXPIRED_KILLING
    bench.host.stuck.clear()
    bench.pass_s(0.3)
    kill = bench.status["last_kill"]
    assert (kill["begun_at"], [killed["name"] for killed in kill["guests"]]) == (begun_at, ["web"])
    assert kill["verified_at"] is not None


def test_the_state_of_an_earlier_boot_is_ignored(bench: Bench) -> None:
    bench.arm()
    bench.now = 5.0
    bench.restart(boot="boot-2")
    assert bench.status["state"] == State.IDLE
    assert "earlier boot" in bench.status["notes"][0]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"boot_id": "boot-1"}', '{"boot_id":"boot-1","deadline":3}'])
def test_a_state_that_can_not_be_read_counts_as_expired(bench: Bench, text: str) -> None:
    bench.host.running = [guest("web")]
    (bench.root / GUARD_STATE).write_text(text)
    bench.restart()
    assert bench.host.running == []
    bench.pass_s(0.2)
    assert bench.arm("s2")[0]


def test_a_deadline_that_can_not_be_written_down_is_not_armed(bench: Bench) -> None:
    (bench.root / GUARD_STATE).mkdir()
    done, verdict, words = bench.arm()
    assert (done, verdict) == (False, "invalid")
    assert GUARD_STATE in words
    assert bench.status["state"] == State.IDLE


def test_an_evicted_session_ends_at_once(bench: Bench) -> None:
    bench.host.running = [guest("web")]
    bench.arm()
    assert bench.keeper.answer(Expire(session="s1", cause="evicted by the leader"), bench.now)[0]
    assert bench.host.running == []
    assert bench.status["last_kill"]["cause"] == "evicted by the leader"


def test_an_idle_guard_touches_nothing_and_sleeps(bench: Bench) -> None:
    bench.host.running = [guest("web")]
    bench.pass_s(60)
    assert bench.keeper.answer(AskStatus(), bench.now)[0]
    assert bench.status["guests"] == ["web"]
    assert bench.keeper.wake_in_s(bench.now) is None


def test_a_second_expiry_has_a_proof_of_its_own(bench: Bench) -> None:
    bench.host.running = [guest("web")]
    bench.arm()
    bench.pass_s(10)
    bench.arm("s2")
    bench.host.running = [guest("db", 11)]
    bench.pass_s(10)
    kill = bench.status["last_kill"]
    assert (kill["session"], [killed["name"] for killed in kill["guests"]]) == ("s2", ["db"])


def test_a_new_list_of_managed_guests_replaces_the_old_and_none_keeps_it(bench: Bench) -> None:
    bench.arm(managed=frozenset({"a"}))
    bench.beat(managed=frozenset({"b"}))
    bench.beat()
    bench.pass_s(1.2)
    assert bench.host.told == {"b"}
