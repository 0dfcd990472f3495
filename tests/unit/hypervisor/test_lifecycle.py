"""The endings table: every order of lifecycle events that QEMU domains were seen to produce."""

import pytest

from vmha.hypervisor.lifecycle import WATCHDOG_POWEROFF, Endings
from vmha.hypervisor.port import Ending
from vmha.model.migration import Arrival

BOOT = [(4, 0), (2, 0)]
ARRIVE = [(2, 1), (4, 1)]
STANDING = [(2, 1), (3, 0)]
BEGIN_INCOMING = [(2, 1)]


@pytest.mark.parametrize(
    ("events", "ending"),
    [
        pytest.param([*BOOT, (6, 1), (5, 0)], Ending.GUEST_SHUTDOWN, id="the guest powers itself off"),
        pytest.param([*BOOT, (6, 2), (5, 1)], Ending.DESTROYED, id="destroyed"),
        pytest.param([*BOOT, (6, 2), (5, 0)], Ending.HOST_SHUTDOWN, id="SIGTERM to the QEMU"),
        pytest.param([*BOOT, (5, 5)], Ending.CRASHED, id="SIGKILL of the QEMU"),
        pytest.param([*BOOT, (8, 0), (5, 2)], Ending.PANICKED, id="panic"),
        pytest.param([*BOOT, (3, 0), (8, 0), (5, 2)], Ending.PANICKED, id="panic with a suspend before"),
        pytest.param([*BOOT, (8, 0), (6, 2), (5, 1)], Ending.PANICKED, id="panic, kept, and cleared away"),
        pytest.param([*BOOT, (3, 1), (5, 3)], Ending.MIGRATED, id="migrated away"),
        pytest.param([*BOOT, (3, 1), (3, 7), (5, 3)], Ending.MIGRATED, id="migrated away by post-copy"),
        pytest.param([*BOOT, (3, 1), (3, 7), (3, 8), (5, 5)], Ending.MIGRATED, id="its post-copy source died"),
        pytest.param([*BOOT, (3, 1), (3, 7), (3, 8), (6, 2), (5, 1)], Ending.MIGRATED, id="... or was ended"),
        pytest.param([*BOOT, (3, 0), (5, 4)], Ending.SAVED, id="saved"),
        pytest.param([*BEGIN_INCOMING, (5, 5)], Ending.INCOMING_FAILED, id="the migration in broke"),
        pytest.param([*BEGIN_INCOMING, (6, 2), (5, 1)], Ending.INCOMING_FAILED, id="its driver connection went"),
        pytest.param([*ARRIVE, (5, 5)], Ending.CRASHED, id="crash after an arrival"),
        pytest.param([*STANDING, (5, 5)], Ending.CRASHED, id="crash while standing complete: its memory is lost"),
        pytest.param([*STANDING, (6, 2), (5, 1)], Ending.DESTROYED, id="destroyed while standing complete"),
        pytest.param([*STANDING, (4, 0), (6, 1), (5, 0)], Ending.GUEST_SHUTDOWN, id="handed over, then powered off"),
        pytest.param([(2, 2), (4, 2), (5, 5)], Ending.CRASHED, id="crash after a restore"),
        pytest.param([*BOOT, (3, 0), (5, 5)], Ending.CRASHED, id="crash while paused by a user"),
        pytest.param([(5, 5)], Ending.CRASHED, id="crash of a domain that ran before we looked"),
        pytest.param([(5, 0)], Ending.UNKNOWN, id="who asked for the shutdown was not seen"),
        pytest.param([*BOOT, (6, 0), (5, 0)], Ending.UNKNOWN, id="an old libvirt does not say who asked"),
        pytest.param([*BOOT, (5, 6)], Ending.UNKNOWN, id="reverted to a snapshot"),
        pytest.param([*BOOT, (5, 99)], Ending.UNKNOWN, id="a detail of a later libvirt"),
        pytest.param([*BOOT, (6, 99), (5, 0)], Ending.UNKNOWN, id="an origin of a later libvirt"),
    ],
)
def test_order_of_events_tells_how_a_domain_ended(events: list[tuple[int, int]], ending: Ending) -> None:
    endings = Endings()
    conclusions = [endings.note("web", event, detail) for event, detail in events]
    assert conclusions == [*[None] * (len(events) - 1), ending]
    assert endings.find("web") is ending


def test_watchdogs_power_off_is_the_guest_giving_up_not_a_dead_qemu() -> None:
    endings = _seen(BOOT)
    endings.note_watchdog("web", WATCHDOG_POWEROFF)
    assert endings.note("web", 5, 5) is Ending.PANICKED


def test_watchdog_that_only_reset_the_guest_does_not_excuse_a_later_crash() -> None:
    endings = _seen(BOOT)
    endings.note_watchdog("web", 2)
    assert endings.note("web", 5, 5) is Ending.CRASHED


@pytest.mark.parametrize("again", [BOOT, ARRIVE, STANDING, [(2, 2), (4, 2)]])
def test_ending_is_forgotten_when_the_domain_starts_again(again: list[tuple[int, int]]) -> None:
    endings = _seen([*BOOT, (5, 5)])
    endings.note("web", *again[0])
    assert endings.find("web") is None


def test_shutdown_of_an_earlier_run_says_nothing_about_the_next() -> None:
    endings = _seen([*BOOT, (6, 1), (5, 0), *BOOT])
    assert endings.note("web", 5, 0) is Ending.UNKNOWN


def test_restart_inside_the_same_qemu_after_a_panic_is_a_life_like_any() -> None:
    endings = _seen([*BOOT, (8, 0), (4, 0)])
    assert endings.find("web") is None
    assert endings.note("web", 5, 5) is Ending.CRASHED


def test_domain_gone_while_nobody_listened_ended_unknown() -> None:
    endings = _seen(BOOT)
    endings.note("db", 4, 0)
    endings.begin_resync()
    assert endings.resync(present=["db"], incoming=[]) == ("web",)
    assert endings.find("web") is Ending.UNKNOWN
    assert endings.find("db") is None


def test_domain_found_incoming_at_the_first_look_that_then_fails_never_ran_here() -> None:
    endings = Endings()
    endings.resync(present=["web"], incoming=["web"])
    assert endings.note("web", 5, 5) is Ending.INCOMING_FAILED


def test_domain_found_running_at_the_first_look_that_then_dies_has_crashed() -> None:
    endings = Endings()
    endings.resync(present=["web"], incoming=[])
    assert endings.note("web", 5, 5) is Ending.CRASHED


def test_panicked_guest_that_was_kept_is_known_as_such_after_a_time_without_events() -> None:
    endings = Endings()
    endings.resync(present=["web"], incoming=[], panicked=["web"])
    assert endings.note("web", 5, 1) is Ending.PANICKED


def test_domain_back_while_nobody_listened_has_no_ending() -> None:
    endings = _seen([*BOOT, (5, 5)])
    endings.begin_resync()
    endings.resync(present=["web"], incoming=[])
    assert endings.find("web") is None


def test_definition_removed_after_the_end_leaves_the_ending_known() -> None:
    endings = _seen([*BOOT, (3, 1), (5, 3), (1, 0)])  # virsh migrate --undefinesource
    assert endings.find("web") is Ending.MIGRATED


def test_events_newer_than_the_list_win_over_it() -> None:
    endings = _seen([*BOOT])
    endings.begin_resync()
    endings.note("web", 5, 5)
    endings.note("db", 4, 0)
    endings.resync(present=["web"], incoming=[])
    assert endings.find("web") is Ending.CRASHED
    assert endings.note("db", 5, 5) is Ending.CRASHED


def test_undefining_a_running_domain_changes_nothing() -> None:
    endings = _seen([*BOOT, (1, 0)])
    assert endings.note("web", 5, 5) is Ending.CRASHED


def test_endings_of_two_domains_do_not_mix() -> None:
    endings = _seen([*BOOT, (6, 1)])
    endings.note("db", 4, 0)
    assert endings.note("db", 5, 0) is Ending.UNKNOWN
    assert endings.note("web", 5, 0) is Ending.GUEST_SHUTDOWN


def _seen(events: list[tuple[int, int]]) -> Endings:
    endings = Endings()
    for event, detail in events:
        endings.note("web", event, detail)
    return endings


@pytest.mark.parametrize("told_first", ["the end", "what it took"])
def test_what_a_migration_away_took_is_kept_until_the_domain_is_here_again(told_first: str) -> None:
    endings, took = Endings(), Arrival(total_s=2.1, downtime_s=0.008)
    for event in BOOT:
        endings.note("web", *event)
    if told_first == "the end":
        endings.note("web", 5, 3)
    endings.note_departure("web", took)
    if told_first != "the end":
        endings.note("web", 5, 3)
    assert endings.find_departure("web") == took
    assert endings.find_departure("db") is None
    endings.note("web", *BEGIN_INCOMING[0])
    assert endings.find_departure("web") is None
