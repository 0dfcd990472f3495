"""Verbs, usage errors and exit codes that need no cluster."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vmha import __version__
from vmha.cli.exits import ExitCode, Unreachable, exit_code_of
from vmha.cli.main import run
from vmha.cli.root import _global_options_first
from vmha.model.errors import Broken, Refused, Rejected, VmhaError
from vmha.operator.errors import OperationFailed, RefusedByCluster, TimedOut, UnknownName
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
        (UnknownName("x"), 4),
        (TimedOut("x"), 5),
        (RefusedByCluster("x"), 6),
    ],
)
def test_exit_codes_are_as_documented(error: VmhaError, code: int) -> None:
    assert exit_code_of(error) == code


def test_the_reference_lists_every_exit_code() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/exit-codes.md").read_text()
    for code in ExitCode:
        assert f"| {int(code)} |" in page


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
