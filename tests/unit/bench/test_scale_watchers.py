"""What is made of the costs of telling many agents of every beat."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench.scale_told import ALONE, RAW, Line, Point, fitted, table, words

ROOT = Path(__file__).parents[3]
LINE = Line(rest=0.02, beat_us=500, thousand=0.03, power=0.7, off=0.0)
NUMBERS = (50, 100, 300)


def point(agents: int, kind: str, **fields: Any) -> Point:
    """One that lies on the line."""
    beats = agents / 2
    told = beats * agents if kind == RAW else 0.0
    values: dict[str, Any] = {
        "etcd_cpu": LINE.writing(beats) + LINE.telling(told),
        "kept_up": 1.0,
        "failed": 0,
        "etcd_mib": 50.0,
        "sent_mib_per_s": 1.0,
        "bytes_per_event": 300,
        "least_told": 1.0,
        "behind": 0,
        "answered_ms": (1.0, 2.0),
        "heard_ms": (1.0, 2.0),
        "others_cpu": 0.1,
        "idle_cpu": 0.0,
        "load": 1.0,
    }
    return Point(agents=agents, kind=kind, beats_per_s=beats, told_per_s=told, **{**values, **fields})


POINTS = [point(agents, kind) for agents in NUMBERS for kind in (ALONE, RAW)]


def test_line_through_points_that_lie_on_one_is_that_line() -> None:
    assert fitted(POINTS) == LINE
    assert LINE.writing(50.0) == pytest.approx(0.045)
    assert LINE.telling(1000.0) == pytest.approx(0.03)


def test_point_that_lies_beside_is_told_by_how_much() -> None:
    found = fitted([*POINTS, point(200, ALONE), point(200, RAW, etcd_cpu=2.0)])
    assert found is not None
    assert found.off > 0.1


def test_what_etcd_takes_where_it_does_not_keep_up_is_no_measure_of_what_it_needs() -> None:
    late = [point(500, ALONE), point(500, RAW, etcd_cpu=0.5, kept_up=0.6)]
    assert fitted([*POINTS, *late]) == LINE
    assert fitted([*POINTS[:2], *late]) is None


def test_what_telling_costs_is_what_there_is_beside_the_same_writes_alone() -> None:
    shown = table(POINTS).splitlines()
    at = shown[0].index("US A TOLD")
    assert shown[1][at:].split()[0] == "-"
    assert shown[2][at:].split()[0] == f"{LINE.telling(1250.0) / 1250.0 * 1e6:.1f}"


def test_lines_are_said_of_as_many_agents_as_are_asked_about() -> None:
    assert words(LINE, (100,), beat_s=2.0)[-1] == (
        f"100 agents by these lines: 0.04 cores of writing, {LINE.telling(5000.0):.2f} of telling"
    )


@pytest.mark.parametrize("program", ["scale_watchers", "optimum"])
def test_measurement_without_numpy_says_in_a_line_what_to_install(program: str) -> None:
    code = (
        "import runpy, sys\n"
        "class Without:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('numpy', 'scipy'): raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Without())\n"
        f"runpy.run_module('bench.{program}', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "make dev-ready" in done.stderr
