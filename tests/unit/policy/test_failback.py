"""When a vm goes home: how long its node has been back, and the windows of the day."""

import calendar
import time
from typing import Any

import pytest
from pydantic import ValidationError

from tests.support.clusters import Book, cluster
from vmha.model.ids import NodeName, VmName
from vmha.model.records import Failure
from vmha.model.standing import Failback
from vmha.policy.deciding.failback import opens_in
from vmha.policy.placing.placement import FAILED_START_REST_S, survey
from vmha.policy.plan import decide, judge_all
from vmha.policy.state.steps import Change, PlacementStep

HOUR = 3600.0


def at(text: str) -> float:
    """An instant in UTC; 2026-11-30 is a Monday."""
    return float(calendar.timegm(time.strptime(text, "%Y-%m-%d %H:%M")))


@pytest.mark.parametrize(
    ("window", "now", "hours"),
    [
        ("22:00-23:00", "2026-11-30 22:30", 0),
        ("22:00-23:00", "2026-11-30 21:00", 1),
        ("22:00-23:00", "2026-11-30 23:00", 23),
        ("22:00-06:00", "2026-12-01 05:59", 0),
        ("22:00-06:00", "2026-12-01 06:00", 16),
        ("22:00-24:00", "2026-11-30 23:59", 0),
        ("00:00-24:00", "2026-11-30 12:00", 0),
        ("Mon 01:00-02:00", "2026-11-30 01:30", 0),
        ("Mon 01:00-02:00", "2026-12-01 01:00", 6 * 24),
        ("Mon 01:00-02:00", "2026-11-30 02:00", 7 * 24 - 1),
        ("Fri 22:00-06:00", "2026-12-05 05:00", 0),  # Saturday's night is still Friday's
        ("Fri 22:00-06:00", "2026-12-04 05:00", 17),
        ("Sat-Sun 10:00-11:00", "2026-12-06 10:30", 0),
        ("Fri-Mon 10:00-11:00", "2026-12-01 10:30", 3 * 24 - 0.5),
    ],
)
def test_window_opens_when_it_says(window: str, now: str, hours: float) -> None:
    assert opens_in(window, at(now)) == hours * HOUR


@pytest.mark.parametrize("window", ["22-6", "25:00-26:00", "Monday 10:00-11:00", "10:00-24:01", "10:00 - 11:00", ""])
def test_window_that_can_not_be_read_is_refused(window: str) -> None:
    with pytest.raises(ValidationError, match="such as Mon-Fri 22:00-06:00"):
        Failback(windows=(window,))


def away(**failback: Any) -> Book:
    """web prefers n1, which is back, and runs on n2."""
    book = cluster("n2").node("n1", age_s=0.0).domain("home", "n1", "n2", ordered=True)
    return book.running("web", "n2", failover_domain="home", failback=Failback(**failback))


def goes_home(book: Book) -> bool:
    steps = [step for step in book.plan().steps if isinstance(step, PlacementStep)]
    return any(step.change is Change.MIGRATE for step in steps)


def looked_at_again_in_s(book: Book) -> float | None:
    snapshot, moment = book.snapshot(), book.moment()
    ground = survey(snapshot, judge_all(snapshot, moment), moment.wall)
    return decide(snapshot.vms[VmName("web")], None, ground, moment).retry_in_s


def test_vm_goes_home_at_once_if_nothing_else_is_said() -> None:
    assert goes_home(away())


def test_vm_whose_failback_is_not_enabled_stays_and_says_so() -> None:
    book = away(enabled=False)
    assert not goes_home(book)
    assert "not enabled" in book.plan().waiting[0].text


def test_node_has_to_be_back_for_a_while() -> None:
    book = away(delay_s=300.0)
    assert not goes_home(book)
    assert "has been back for 300 s" in book.plan().waiting[0].text
    assert looked_at_again_in_s(book) == 300.0
    book.clock.at += 300.0
    assert goes_home(book)


def test_it_waits_for_its_window_and_goes_when_that_opens() -> None:
    book = away(windows=("02:00-03:00",))
    opens_s = opens_in("02:00-03:00", book.clock.wall())
    assert opens_s > 0
    made = book.plan()
    assert not goes_home(book)
    assert "02:00-03:00 UTC" in made.waiting[0].text
    assert looked_at_again_in_s(book) == opens_s
    book.clock.at += opens_s
    assert goes_home(book)


def test_home_that_could_not_receive_it_is_looked_at_again_when_its_rest_is_over() -> None:
    """Nothing else would bring another plan by then: in a quiet cluster nothing changes."""
    book = away()
    failure = Failure(node=NodeName("n1"), at=book.clock.wall(), error="no route to host", moving=True)
    book.placed("web", "n2", failures=(failure,))
    assert not goes_home(book)
    assert book.plan().wake_in_s == pytest.approx(FAILED_START_REST_S)
    book.clock.at += FAILED_START_REST_S
    assert goes_home(book)
