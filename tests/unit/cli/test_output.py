"""Tables that fit, and status as people see it."""

import io
from dataclasses import replace

import pytest

from vmha.cli.output import Cell, Screen, screen, table
from vmha.cli.status_view import render
from vmha.model.durations import ago
from vmha.model.ids import Epoch, NodeName, Revision, SessionId, Term, VmName
from vmha.model.records import ArmedLevel
from vmha.model.vm import Desired
from vmha.operator.overview import LeaderLine, NodeLine, Overview
from vmha.policy.members.membership import Condition
from vmha.policy.telling.explain import VmState, VmSummary

PIPED = Screen(colour=False, width=None)


def node(name: str, **fields: object) -> NodeLine:
    given: dict[str, object] = {
        "condition": Condition.ONLINE,
        "eligible": True,
        "why_not": "",
        "session": SessionId("s"),
        "armed": ArmedLevel.WATCHDOG,
        "vms": 1,
        "memory_mib": 64000,
        "memory_used_mib": 4096,
        "vcpus": 8,
        "memory_for_vms_mib": 64000,
        "vcpus_for_vms": 0,
        "vcpus_used": 4,
        "address": "192.168.100.101",
        "migration_address": "",
        "hypervisor": "",
        "version": "0.1.0",
        "maintenance": False,
        "maintenance_why": "",
        "since": 0.0,
    }
    return NodeLine(name=NodeName(name), **{**given, **fields})  # type: ignore[arg-type]


def vm(name: str, state: VmState, where: str | None, reason: str) -> VmSummary:
    return VmSummary(
        name=VmName(name),
        state=state,
        desired=Desired.RUNNING,
        node=NodeName(where) if where else None,
        epoch=Epoch(12),
        reason=reason,
    )


LONG = (
    "h1 is fenced (guard_elapsed); h2 is preferred in failover domain a-long-name-for-a-domain; "
    "everybody else refused: h3 has 100 MiB free of 64000, the vm needs 4096"
)
SHOWN = Overview(
    cluster="prod",
    revision=Revision(7),
    leader=LeaderLine(node=NodeName("h2"), session=SessionId("s"), since=40.0, term=Term(3)),
    nodes=(node("h1", condition=Condition.OFFLINE, why_not="is offline", eligible=False), node("h2")),
    vms=(vm("web", VmState.RUNNING, "h2", LONG), vm("db", VmState.WAITING, None, "no node can take it")),
    warnings=("node h1 is suspected to be lost",),
)


@pytest.mark.parametrize("width", [80, 200])
def test_status_fits_the_screen_and_loses_no_word_of_a_reason(width: int) -> None:
    lines = render(SHOWN, Screen(colour=False, width=width), wall=100.0)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for word in LONG.split():
        assert word in text
    assert text.startswith(
        "cluster prod: leader h2 for 60 s; nodes: 1 of 2 online; vms: 1 running, 1 waiting "
        "! node h1 is suspected to be lost NODE"
    )


def test_piped_status_has_one_line_a_vm_and_no_colour() -> None:
    lines = render(SHOWN, PIPED)
    assert [line for line in lines if line.startswith("web ")] == [f"web  running  h2    12     {LONG}"]
    assert not any("\x1b" in line for line in lines)


def test_versions_of_agents_are_shown_as_long_as_they_differ() -> None:
    def remarks(*versions: str) -> list[str]:
        nodes = tuple(node(f"h{number}", version=version) for number, version in enumerate(versions, start=1))
        lines = render(replace(SHOWN, nodes=nodes), PIPED)
        return [line.rpartition("192.168.100.101")[2].strip() for line in lines if "192.168.100.101" in line]

    assert remarks("0.1.0", "0.2.0", "") == ["vmha 0.1.0", "vmha 0.2.0", ""]
    assert remarks("0.2.0", "0.2.0", "") == ["", "", ""]


def test_colour_does_not_move_columns() -> None:
    plain = render(SHOWN, Screen(colour=False, width=100))
    coloured = render(SHOWN, Screen(colour=True, width=100))
    assert any("\x1b[32mrunning\x1b[0m" in line for line in coloured)
    assert [_without_colour(line) for line in coloured] == plain


def _without_colour(line: str) -> str:
    import re

    return re.sub(r"\x1b\[\d+m", "", line)


def test_an_empty_cluster_says_what_to_do_next() -> None:
    empty = Overview(cluster="prod", revision=Revision(1), leader=None, nodes=(), vms=(), warnings=())
    assert "vmha agent" in render(empty, PIPED)[-1]
    joined = Overview(cluster="prod", revision=Revision(1), leader=None, nodes=(node("h1"),), vms=(), warnings=())
    assert "vmha vm add" in render(joined, PIPED)[-1]


def test_a_wide_column_is_cut_before_the_reason_gets_too_narrow() -> None:
    lines = table(
        ("NAME", "REASON"), [("x" * 100, "because it is so and not otherwise")], Screen(colour=False, width=60)
    )
    assert max(map(len, lines)) <= 60
    assert "…" in lines[1]


def test_a_table_of_nothing_is_its_header() -> None:
    assert table(("NAME", "REASON"), [], PIPED) == ["NAME  REASON"]
    assert table(("NAME", "REASON"), [(Cell("a", "red"), "")], PIPED)[1] == "a"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colour_is_for_terminals_and_never_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "123")
    assert screen(Terminal()) == Screen(colour=True, width=123)
    monkeypatch.setenv("NO_COLOR", "1")
    assert screen(Terminal()) == Screen(colour=False, width=123)
    assert screen(io.StringIO()) == PIPED
    for odd in ("²", "9" * 5000, "0", "-3", "wide"):
        monkeypatch.setenv("COLUMNS", odd)
        assert screen(Terminal()).width == 80


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172800, "2 d"), (-5, "0 s")]
)
def test_durations_have_one_unit(seconds: float, said: str) -> None:
    assert ago(seconds) == said
