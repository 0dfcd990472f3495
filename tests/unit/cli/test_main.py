"""Verbs, usage errors and exit codes that need no cluster."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vmha import __version__
from vmha.cli.exits import INTERRUPTED, MEANINGS, ExitCode, Unreachable, exit_code_of
from vmha.cli.main import run
from vmha.cli.root import _global_options_first
from vmha.model.errors import Broken, Refused, Rejected, VmhaError
from vmha.operator.errors import OperationFailed, RefusedByCluster, TimedOut, unknown_name
from vmha.store.port import Ambiguous, Unavailable


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OperationFailed("x"), 1),
        (Refused("x"), 1),
        (Broken("x"), 1),
        (Rejected("x"), 2),
        (Unreachable("x"), 3),
        (Unavailable("x"), 3),
        (Ambiguous("x"), 3),
        (unknown_name("vm", "x", []), 4),
        (TimedOut("x"), 5),
        (RefusedByCluster("x"), 6),
    ],
)
def test_exit_codes_are_as_documented(error: VmhaError, code: int) -> None:
    assert exit_code_of(error) == code


def test_every_exit_code_is_told_in_the_reference() -> None:
    """Which is made of this (test_reference.py)."""
    assert list(MEANINGS) == [*ExitCode, INTERRUPTED]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["vmha"] == __version__
    assert run(["--version"]) == 0


def test_an_unknown_verb_suggests_the_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["stats"]) == ExitCode.BAD_INPUT
    assert "Did you mean 'status'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "group", [[], ["vm"], ["node"], ["domain"], ["config"], ["service"], ["vm", "migrate"], ["apply"], ["events"]]
)
def test_every_verb_has_help(group: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*group, "--help"]) == 0
    assert "Usage: vmha" in capsys.readouterr().out


def test_missing_arguments_are_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["vm", "add", "web"]) == ExitCode.BAD_INPUT
    assert "--xml" in capsys.readouterr().err


def test_no_cluster_named_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from vmha.cli import connect

    monkeypatch.setattr(connect, "CONFIG_FILE", tmp_path / "none.toml")
    monkeypatch.setattr(connect, "DEFAULT_LAB", tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for name in ("VMHA_ENDPOINTS", "VMHA_CLUSTER", "VMHA_CONFIG", "VMHA_LAB"):
        monkeypatch.delenv(name, raising=False)
    assert run(["status"]) == ExitCode.BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert "vmha lab up" in line


def test_global_options_may_stand_anywhere_but_after_two_dashes() -> None:
    line = ["vm", "list", "--endpoints", "a:1", "--cluster=c", "--json", "--", "--cluster", "x"]
    assert _global_options_first(line) == [
        *("--endpoints", "a:1", "--cluster=c"),
        *("vm", "list", "--json", "--", "--cluster", "x"),
    ]


def test_status_does_without_the_command_line_library() -> None:
    """It is run all day and by scripts: what it does not import it does not wait for."""
    code = (
        "import sys; from vmha.cli.main import run; code = run(['status']); "
        "assert code == 3, code; assert not {'typer', 'rich', 'yaml', 'libvirt'} & set(sys.modules)"
    )
    environ = {"VMHA_ENDPOINTS": "127.0.0.1:1", "PATH": "/usr/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_chaos_prints_the_rounds_of_a_seed_without_building_anything(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "chaos", "--seed", "5", "--rounds", "3", "--first-round", "9", "--schedule", "--json"]) == 0
    drawn = json.loads(capsys.readouterr().out)
    assert [(played["seed"], played["number"]) for played in drawn] == [(5, 9), (5, 10), (5, 11)]
    assert all(played["strikes"] for played in drawn)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["--profile", "fast"], "no timing profile 'fast'", id="unknown profile"),
        pytest.param(["--record", "x.md", "--rounds", "0"], "needs the file of results", id="record of nothing"),
        pytest.param(["--hosts", "1"], "--hosts", id="nowhere to go"),
    ],
)
def test_chaos_refuses_what_it_can_not_do_before_it_builds_anything(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["lab", "chaos", *arguments]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["status", "--state", "runing"], "'runing': did you mean running? accepted: running, paused, "),
        (["vm", "edit", "web", "--recovery", "often"], "'often': accepted: restart, relocate, "),
        (["vm", "edit", "web", "--memory", "4G"], "'4G' is no whole number (Its memory in MiB"),
        (["vm", "edit", "web", "--stop-timeout", "5m"], "'5m' is no number (Seconds"),
        (["sim", "--seeds", "-1"], "'-1' is less than 1, the least that is accepted"),
        (["web", "--listen", "80x"], "listen: '80x' (accepted: ADDRESS:PORT)"),
        (["doctor", "--timeout", "5000"], "'5000' is more than 600.0, the most that is accepted"),
        (
            ["node", "join", "--web-role", "reader"],
            "--web-role reader without --web (accepted: --web --web-role reader",
        ),
        (
            ["node", "join", "--endpoints", "h:2379", "--web", "--web-role", "root"],
            "'root' (accepted: reader or operator)",
        ),
    ],
)
def test_an_option_that_can_not_be_taken_says_what_was_given_and_what_would_be_accepted(
    typed: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(typed) == ExitCode.BAD_INPUT
    said = " ".join(capsys.readouterr().err.split())
    assert told in said
    assert "Value error" not in said


@pytest.mark.parametrize("verb", [["lab", "up"], ["lab", "vm", "add"], ["sim"], ["simulate"], ["vm", "add"]])
def test_help_looks_the_same_for_every_verb(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Usage: vmha ")
    assert "╭" not in shown
    assert "--install-completion" not in shown


def test_names_that_are_as_near_as_each_other_are_told_in_their_order() -> None:
    assert "did you mean h1 or h2 or h3?" in str(unknown_name("node", "h9", ["h4", "h3", "h2", "h1"]))
    assert "did you mean web1 or " in str(unknown_name("vm", "web11", ["web", "web2", "web1"]))
