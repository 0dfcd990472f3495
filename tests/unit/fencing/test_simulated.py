"""The simulated guard: the same deadline, carried out by a callback."""

import pytest

from tests.support.until import until
from vmha.fencing.port import Guard, GuardRefused, GuardUnavailable, Killed, Level, SessionExpired, State, Verdict
from vmha.fencing.simulated import SimulatedGuard
from vmha.model.clock import SystemClock
from vmha.model.ids import SessionId

S1, S2 = SessionId("s1"), SessionId("s2")


class Host:
    def __init__(self, *guests: str, watchdog_s: int = 0) -> None:
        self.clock = SystemClock()
        self.guests = set(guests)
        self.guard: Guard = SimulatedGuard(
            self.clock, self.kill, list_managed=lambda: self.guests, watchdog_s=watchdog_s
        )

    def kill(self) -> list[Killed]:
        killed = [Killed(uuid="", name=name, pid=0) for name in sorted(self.guests)]
        self.guests.clear()
        return killed


async def test_guests_end_when_no_beat_comes_and_the_proof_names_them() -> None:
    host = Host("web", "db")
    began_at = host.clock.now()
    await host.guard.arm(S1, hold_s=0.2, kill_lead_s=0.05, sent_at=began_at)
    await until(lambda: not host.guests)
    status = await host.guard.status()
    assert status.state is State.EXPIRED_CLEAN
    assert status.last_kill is not None
    assert [killed.name for killed in status.last_kill.guests] == ["db", "web"]
    assert status.last_kill.begun_at >= began_at + 0.15
    assert status.last_kill.verified_at is not None


async def test_a_beat_moves_the_end_and_a_late_one_is_refused() -> None:
    host = Host("web")
    now = host.clock.now()
    first = await host.guard.arm(S1, hold_s=600, kill_lead_s=1, sent_at=now - 1)
    second = await host.guard.beat(S1, sent_at=now)
    assert second.deadline == pytest.approx((first.deadline or 0) + 1)
    await host.guard.expire(S1, cause="evicted")
    assert host.guests == set()
    with pytest.raises(SessionExpired):
        await host.guard.beat(S1, sent_at=host.clock.now())


async def test_what_appears_after_the_end_is_ended_until_a_new_session_is_armed() -> None:
    host = Host()
    await host.guard.arm(S1, hold_s=600, kill_lead_s=1, sent_at=host.clock.now())
    await host.guard.expire(S1, cause="evicted")
    host.guests.add("late")
    await until(lambda: not host.guests)
    status = await host.guard.arm(S2, hold_s=600, kill_lead_s=1, sent_at=host.clock.now())
    assert (status.state, status.session) == (State.ARMED, S2)
    host.guests.add("new")
    assert (await host.guard.status()).guests == ("new",)


async def test_refusals_carry_their_verdict() -> None:
    host = Host("web")
    now = host.clock.now()
    with pytest.raises(GuardRefused) as unknown:
        await host.guard.beat(S1, sent_at=now)
    assert unknown.value.verdict is Verdict.UNKNOWN_SESSION
    await host.guard.arm(S1, hold_s=600, kill_lead_s=1, sent_at=now)
    for call in (host.guard.disarm(S1), host.guard.arm(S2, hold_s=600, kill_lead_s=1, sent_at=now)):
        with pytest.raises(GuardRefused) as left:
            await call
        assert left.value.verdict is Verdict.GUESTS_LEFT
    host.guests.clear()
    assert (await host.guard.disarm(S1)).state is State.IDLE


async def test_a_host_without_power_ends_no_guests_and_answers_nobody() -> None:
    host = Host("web")
    guard = host.guard
    assert isinstance(guard, SimulatedGuard)
    await guard.arm(S1, hold_s=0.1, kill_lead_s=0.05, sent_at=host.clock.now())
    guard.stop()
    with pytest.raises(GuardUnavailable):
        await guard.status()
    other = Host("db")
    await other.guard.arm(S1, hold_s=0.1, kill_lead_s=0.05, sent_at=other.clock.now())
    await until(lambda: not other.guests)  # the same deadline on a host with power is over by now
    assert host.guests == {"web"}


@pytest.mark.parametrize(
    ("has_s", "wants_s", "level"), [(0, 10, Level.GUARD), (10, 0, Level.GUARD), (10, 10, Level.WATCHDOG)]
)
async def test_the_watchdog_counts_when_there_is_one_and_it_was_asked_for(
    has_s: int, wants_s: int, level: Level
) -> None:
    host = Host(watchdog_s=has_s)
    assert (await host.guard.status()).level is Level.NONE
    status = await host.guard.arm(S1, hold_s=600, kill_lead_s=1, sent_at=host.clock.now(), watchdog_s=wants_s)
    assert status.level is level
    await host.guard.disarm(S1)
