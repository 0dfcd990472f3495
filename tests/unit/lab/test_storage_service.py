"""The lab's storage as a program of its own: it serves, makes witnesses, and judges them from what it wrote down."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from vmha.lab import storage_service
from vmha.lab.storage_service import verdict
from vmha.lab.witness.disk import make_disk


def call(monkeypatch: pytest.MonkeyPatch, directory: Path, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["vmha-storage", "--dir", str(directory), *words])
    return storage_service.main()


def noted(directory: Path, *events: dict[str, str]) -> None:
    (directory / "journal.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in events))


def test_a_witness_gets_a_disk_and_a_definition_that_finds_it_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VMHA_STORAGE_NAME", "storage")
    assert call(monkeypatch, tmp_path, "add", "web") == 0
    host = ElementTree.fromstring(capsys.readouterr().out).find("devices/disk/source/host")
    assert host is not None
    assert (host.get("name"), host.get("port")) == ("storage", "10809")
    assert (tmp_path / "web.img").exists()


def test_a_disk_that_is_there_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "web.img").write_text("precious")
    assert call(monkeypatch, tmp_path, "add", "web") == 2
    assert "web.img: File exists" in capsys.readouterr().err
    assert (tmp_path / "web.img").read_text() == "precious"


@pytest.mark.parametrize("name", ["../etc", "", "-x"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(SystemExit):
        call(monkeypatch, tmp_path, "add", name)
    assert list(tmp_path.iterdir()) == []


def test_verdict_names_the_writers_and_convicts_when_two_took_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_disk(tmp_path / "web.img")
    one = {"event": "storage-writer", "export": "web", "writer": "10.0.0.1#1"}
    noted(tmp_path, one, {"event": "storage-double-writer", "export": "other", "writer": "10.0.0.2#2"})
    assert verdict(tmp_path, "web") == {
        "vm": "web",
        "ran_twice": False,
        "boots": 0,
        "ticks": 0,
        "writers": ["10.0.0.1#1"],
    }
    assert call(monkeypatch, tmp_path, "verdict", "web") == 0
    noted(tmp_path, one, {"event": "storage-double-writer", "export": "web", "writer": "10.0.0.2#2"})
    assert call(monkeypatch, tmp_path, "verdict", "web") == 1
    assert '"ran_twice": true' in capsys.readouterr().out
