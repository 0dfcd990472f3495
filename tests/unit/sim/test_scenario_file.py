"""Scenario files that are none: each is refused as a whole, naming file, line, field, value and what is accepted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.source import SOURCE
from vmha.cli.main import run
from vmha.model.errors import Rejected
from vmha.sim.scenario import VERBS
from vmha.sim.scenario_file import json_schema, load_scenario

GOOD = "nodes: [{name: n1}, {name: n2}]\nvms: [{name: web}]\n"
EXAMPLES = Path(__file__).parents[3] / "docs" / "examples" / "sim"


def refusal(text: str) -> str:
    with pytest.raises(Rejected) as caught:
        load_scenario(text, file="s.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nodes: [{name: n1}\n", "s.yaml:2: "),
        ("- n1\n", "s.yaml:1: the document is no mapping (accepted: keys: name, config, nodes,"),
        ("vms: []\n", "s.yaml:1: nodes: is missing"),
        ("nodes: []\n", "s.yaml:1: nodes: is empty (accepted: at least one)"),
        (GOOD + "step: []\n", "s.yaml:3: step: unknown key, did you mean steps?"),
        (GOOD + "nodes: [{name: n1}]\n", "s.yaml:3: nodes: the key is given twice"),
        ("nodes:\n  - name: n1\n    memory: 3\n", "s.yaml:3: nodes[n1].memory: unknown key, did you mean memory_mib?"),
        ("nodes: [{name: n1, memory_mib: '5'}]\n", "s.yaml:1: nodes[n1].memory_mib: '5' (accepted: a valid integer)"),
        ("nodes: [{name: n1, fence: maybe}]\n", "s.yaml:1: nodes[n1].fence: 'maybe' (accepted: true, false, works,"),
        ("nodes: [{name: n1}, {name: n1}]\n", "s.yaml:1: nodes[n1].name: 'n1': given twice"),
        (GOOD + "steps:\n  - power_of: n1\n", "s.yaml:4: steps[0].power_of: unknown key, did you mean power_off?"),
        (GOOD + "steps:\n  - at: 3\n", "s.yaml:4: steps[0]: names no verb (accepted: exactly one of power_off,"),
        (GOOD + "steps:\n  - {cut: n1, heal: n1}\n", "s.yaml:4: steps[0]: names cut and heal (accepted: exactly one"),
        (GOOD + "steps:\n  - cut: n3\n", "s.yaml:4: steps[0].cut: 'n3': no such node (accepted: n1, n2)"),
        (GOOD + "steps:\n  - stop: db\n", "s.yaml:4: steps[0].stop: 'db': no such vm (accepted: web)"),
        (
            GOOD + "steps:\n  - migrate: {vm: web, to: n9}\n",
            "steps[0].migrate.to: 'n9': no such node (accepted: n1, n2)",
        ),
        (GOOD + "steps:\n  - {at: 5, cut: n1}\n  - {at: 4, heal: n1}\n", "s.yaml:5: steps[1].at: 4: comes before"),
        (
            "nodes: [{name: n1}]\nvms: [{name: web, failover_domain: d}]\n",
            "'d': no such failover domain (accepted: there is",
        ),
        (GOOD + "rules: [{name: far, apart: [web, wob]}]\n", "s.yaml:3: rules[far].apart[1]: 'wob': no such vm"),
        (
            GOOD + "services: [{name: s, members: [web, db]}]\nrules: [{name: far, apart: [web, db], hard: true}]\n",
            "s.yaml:4: rules[far]: rule far keeps web and db apart, and service s keeps them on one node",
        ),
        (GOOD + "rules: [{name: far, apart: [web]}]\n", "s.yaml:3: rules[far]: apart: web alone"),
        ("nodes: [{name: n1}]\nconfig: {profile: fast}\n", "s.yaml:2: config.profile: 'fast' (accepted: "),
        (
            "nodes: [{name: n1}]\nconfig: {timing: {watchdog_s: 60}}\n",
            "s.yaml:2: config.timing: watchdog_s: 60: a frozen",
        ),
    ],
)
def test_bad_file_is_refused_in_words(text: str, words: str) -> None:
    assert words in refusal(text)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    lines = refusal("nodes: [{name: n1, colour: red}]\nvms: [{name: web, vcpus: 0}]\nsteps: [{}]\n").splitlines()
    assert [line.split(":")[1] for line in lines] == ["1", "2", "3"]


def test_vm_that_a_step_adds_may_be_named_by_later_steps_only() -> None:
    add = "  - add: {name: db}\n"
    load_scenario(f"{GOOD}steps:\n{add}  - stop: db\n", file="s.yaml")
    assert "'db': no such vm" in refusal(f"{GOOD}steps:\n  - stop: db\n{add}")


def test_json_is_read_as_well() -> None:
    document = {"nodes": [{"name": "n1"}], "vms": [{"name": "web"}], "steps": [{"at": 3, "power_off": "n1"}]}
    assert load_scenario(json.dumps(document), file="s.json").steps[0].verb == "power_off"


def test_schema_describes_every_verb() -> None:
    properties = json_schema()["$defs"]["Step"]["properties"]
    assert set(VERBS) | {"at"} == set(properties)


def test_bad_file_ends_in_exit_code_2_and_nothing_on_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("nodes: 3\n")
    assert run(["simulate", str(file)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{file}:1: nodes: 3 (accepted: a list)" in said.err


def test_missing_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "/nowhere/s.yaml"]) == 2
    assert "/nowhere/s.yaml: no such file" in capsys.readouterr().err


def test_breach_ends_in_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Freezing a host without a watchdog for longer than its hold is what no software on it can survive."""
    file = tmp_path / "frozen.yaml"
    file.write_text(
        "config: {profile: tuned}\nnodes: [{name: n1}, {name: n2}]\nvms: [{name: web, running_on: n1}]\n"
        "steps: [{freeze: n1}, {wait: 20}, {thaw: n1}]\n"
    )
    assert run(["simulate", str(file), "--json"]) == 1
    verdict = json.loads(capsys.readouterr().out)["verdict"]
    assert not verdict["holds"]
    assert not verdict["never_two"]


@pytest.mark.parametrize("arguments", [["simulate", str(EXAMPLES / "drain.yaml")], ["sim", "--seeds", "1", "--trace"]])
def test_output_is_the_same_to_the_byte_under_any_hash_seed(arguments: list[str]) -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-m", "vmha", *arguments],
            env={**SOURCE, "PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin"},
            check=True,
            capture_output=True,
            timeout=120,
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(outputs) == 1
    assert b"epoch" in outputs.pop() or arguments[0] == "sim"


def test_random_lives_are_counted_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "--seeds", "2", "--first-seed", "5", "--steps", "5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["seeds"], told["good"]) == (2, 2)
    assert [life["seed"] for life in told["lives"]] == [5, 6]
