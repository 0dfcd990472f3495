"""What a guard finds of itself when it is started anew: the same again, or a session that is over. Never nothing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmha.fencing.deadline import EXPIRED, Deadline, State
from vmha.fencing.guard_state import Killed, KillRecord, SavedState, load, save
from vmha.fencing.qemu_processes import Guest

BOOT = "boot-1"
STATE = SavedState(
    deadline=Deadline(state=State.ARMED, session="s", hold_s=10.0, kill_lead_s=1.0, sent_at=90.0),
    watchdog_s=15,
    managed=frozenset({"web"}),
    committed_at=90.0,
    last_kill=KillRecord(
        session="r",
        cause="c",
        begun_at=1.0,
        begun_wall=1.7e9,
        guests=(Killed(uuid="u", name="web", pid=7, vm="web", came_in=3),),
    ),
    outstanding=(Guest(uuid="u", name="web", pid=7, start_ticks=9, vm="web", came_in=3),),
)
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 3, 10**30, 10**400, 1e308, float("nan"), float("inf"), -float("inf")),
    *("", "x", "nan", "1e999", "\ud800", [], [[]], {}, {"a": 1}),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save(tmp_path / "guard.json", STATE, BOOT)
    return tmp_path / "guard.json"


def leaves(value: Any, where: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in a document, the document itself among them."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [where, *(place for key, one in inside for place in leaves(one, (*where, key)))]


def with_(value: Any, place: tuple[str | int, ...], new: Any) -> Any:
    if not place:
        return new
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = with_(value[place[0]], place[1:], new)
    return copy


def test_what_was_saved_is_what_is_loaded(path: Path) -> None:
    assert load(path, BOOT, 100.0) == (STATE, "")
    assert load(path, "boot-2", 100.0)[0] == SavedState()


def test_one_odd_value_anywhere_leaves_a_deadline_that_comes(path: Path) -> None:
    document = json.loads(path.read_text())
    for place in leaves(document):
        for odd in ODD:
            path.write_text(json.dumps(with_(document, place, odd)))
            found, note = load(path, BOOT, 100.0)
            if found == SavedState() and "earlier boot" in note:
                continue
            late = found.deadline.tick(1e400)
            assert found.deadline.state is State.IDLE or late.state in EXPIRED, (place, odd)
            assert len(note) < 1000


@pytest.mark.parametrize("field", ["hold_s", "kill_lead_s", "sent_at"])
@pytest.mark.parametrize("odd", ["NaN", "Infinity", "1e999", "9" * 400, "9" * 5000, '"soon"', "null"], ids=range(7))
def test_deadline_that_is_no_number_is_past(path: Path, field: str, odd: str) -> None:
    was = {"hold_s": "10.0", "kill_lead_s": "1.0", "sent_at": "90.0"}[field]
    path.write_text(path.read_text().replace(f'"{field}": {was}', f'"{field}": {odd}'))
    found, note = load(path, BOOT, 100.0)
    assert found.deadline.state is State.EXPIRED_KILLING
    assert "taken as expired" in note


@pytest.mark.parametrize("pid", ["-1", "0", "9" * 400, "2147483648"], ids=range(4))
def test_guest_whose_process_no_kernel_has_is_not_struck(path: Path, pid: str) -> None:
    head, _, guests = path.read_text().rpartition('"outstanding"')
    path.write_text(f'{head}"outstanding"{guests.replace(": 7", f": {pid}")}')
    assert load(path, BOOT, 100.0)[0].deadline.state is State.EXPIRED_KILLING


@settings(max_examples=200, deadline=None, database=None)
@given(st.binary(max_size=60) | st.sampled_from([b"[" * 100_000, b'{"a":' * 5000, b"9" * 5000]))
def test_file_of_any_bytes_is_a_session_that_is_over(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.json"
    path.write_bytes(text)
    found, note = load(path, BOOT, 100.0)
    assert found == replace(SavedState(), deadline=found.deadline)
    assert (found.deadline.state, "taken as expired" in note) == (State.EXPIRED_KILLING, True)
