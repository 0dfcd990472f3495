"""A live cluster, dumped and played: the dump alone is enough, and what is supposed of it happens."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.worlds import Cluster, in_cluster
from vmha.cli.exits import ExitCode
from vmha.cli.main import run
from vmha.model.keys import encode
from vmha.model.vm import FailoverDomain, FailoverDomainMember
from vmha.operator.dump import dump
from vmha.operator.export import export
from vmha.store.port import Put

PREFER_N2 = FailoverDomain(
    name="d",
    ordered=True,
    members=tuple(FailoverDomainMember(node=node, priority=rank) for rank, node in enumerate(("n2", "n1", "n9"), 1)),
)
"""n9 has not joined: it is in the scenario too, and off."""


@pytest.fixture(scope="module")
def told() -> tuple[dict[str, Any], str]:
    """A dump and an export of one cluster: db at home on n2, web on n1, a vm that is stopped, one that is frozen."""

    async def scene(cluster: Cluster) -> tuple[dict[str, Any], str]:
        await cluster.world.operator_store.txn([], [Put(cluster.world.keys.domain("d"), encode(PREFER_N2))])
        for name in ("web", "db", "off", "still"):
            more = {"failover_domain": "d"} if name == "db" else {}
            await cluster.hands.add(name, memory_mib=1024, vcpus=1, start=name != "off", **more)
        await cluster.rest()
        await cluster.hands.freeze("still")
        await cluster.rest()
        return await dump(cluster.hands.operator), export(await cluster.hands.operator.read())

    return in_cluster(scene)


def played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, *supposed: str, code: int = 0
) -> dict[str, Any]:
    file = tmp_path / "told"
    file.write_text(text)
    given = [word for one in supposed for word in ("--if", one)]
    assert run(["simulate", str(file), "--json", *given]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out or "{}")
    return found


def places(report: dict[str, Any]) -> dict[str, str | None]:
    return {vm["name"]: vm["node"] for vm in report["vms"]}


def held_in(dumped: dict[str, Any]) -> dict[str, str | None]:
    keys = dumped["keys"]
    return {
        name.split("/")[1]: entry["value"]["node"]
        for name, entry in keys.items()
        if name.startswith("vms/") and name.endswith("/placement")
    }


def test_dump_plays_on_from_where_every_vm_runs(
    told: tuple[dict[str, Any], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = played(tmp_path, capsys, json.dumps(told[0]))
    assert places(report) == {**held_in(told[0]), "off": None}
    assert report["gaps"] == []
    assert "still is frozen, and is not here" in " ".join(report["notes"])


def test_what_is_supposed_of_a_dump_happens_to_it_one_after_another(
    told: tuple[dict[str, Any], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = played(tmp_path, capsys, json.dumps(told[0]), "node n2 lost", "vm off running", "node n3 drained")
    assert set(places(report).values()) == {"n1"}
    (gap,) = [gap for gap in report["gaps"] if gap["vm"] == "db"]
    assert (gap["host_before"], gap["host_after"]) == ("n2", "n1")
    assert [step["step"] for step in report["steps"]] == ["power_off n2", "start off", "drain n3"]
    assert report["verdict"]["holds"]


def test_export_plays_with_its_definitions_and_says_what_it_does_not_know(
    told: tuple[dict[str, Any], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported = told[1].replace("  - node: n9\n    priority: 3\n", "")  # an export with it is refused, as by apply
    report = played(tmp_path, capsys, exported, "node n2 lost")
    assert places(report)["db"] == "n1"
    assert "does not say where its vms run" in report["notes"][0]


@pytest.mark.parametrize(
    ("change", "supposed", "words"),
    [
        ({}, "node n7 lost", "there is no node 'n7'"),
        ({}, "any node lost", "vmha plan answers it"),
        ({"keys": []}, "node n2 lost", "keys, revision: a mapping and a number"),
        ({"keys": {"vms/web/spec": 7}}, "node n2 lost", "keys.vms/web/spec: a mapping with a value"),
        ({"keys": {}}, "node n2 lost", "there is no node in it"),
    ],
)
def test_what_can_not_be_played_is_refused_in_words(
    told: tuple[dict[str, Any], str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
    supposed: str,
    words: str,
) -> None:
    file = tmp_path / "told"
    file.write_text(json.dumps({**told[0], **change}))
    code = ExitCode.UNKNOWN_NAME if "n7" in supposed else ExitCode.BAD_INPUT
    assert run(["simulate", str(file), "--if", supposed]) == code
    assert words in capsys.readouterr().err


def test_scenario_has_steps_and_takes_no_if(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "scenario"
    file.write_text("nodes: [{name: n1}]")
    assert run(["simulate", str(file), "--if", "node n1 lost"]) == ExitCode.BAD_INPUT
    assert "steps in the scenario" in capsys.readouterr().err
