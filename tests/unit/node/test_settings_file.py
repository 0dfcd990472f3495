"""The settings file as people and editors leave it, read by agent and guard alike."""

import socket
from pathlib import Path

import pytest

from vmha.fencing.guard import read_settings as read_guards_settings
from vmha.model.errors import Rejected
from vmha.node.process import only_agent
from vmha.node.settings import read_settings

LINES = ('cluster = "prod"', 'node = "h1"', 'endpoints = ["10.0.0.1:2379"]', "")


@pytest.mark.parametrize("begins", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_agent_and_guard_read_the_same_out_of_every_editors_file(begins: bytes, ends: str, tmp_path: Path) -> None:
    file = tmp_path / "vmha.toml"
    file.write_bytes(begins + ends.join(LINES).encode())
    agents, guards = read_settings(file), read_guards_settings(["--config", str(file)])
    assert (agents.cluster, agents.node) == (guards.cluster, guards.node) == ("prod", "h1")


def test_key_that_stands_there_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "vmha.toml"
    file.write_text('node = "h1"\nnode = "h2"\nendpoints = ["10.0.0.1:2379"]\n')
    with pytest.raises(Rejected, match=r"vmha.toml: .*line 2"):
        read_settings(file)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('endpoint = ["10.0.0.1:2379"]', "vmha.toml: endpoint: unknown key, did you mean endpoints?"),
        (
            '[tls]\nca = "/ca"\ncert = "/c"\nkey = "/k"\ncrt = "/x"',
            "vmha.toml: tls.crt: unknown key, did you mean cert?",
        ),
        ("[web]\nlistn = 1", "vmha.toml: web.listn: unknown key, did you mean listen?"),
    ],
)
def test_key_that_is_not_known_suggests_the_near_one(line: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "vmha.toml"
    file.write_text(f'endpoints = ["10.0.0.1:2379"]\n{line}\n' if "endpoint" not in line else f"{line}\n")
    with pytest.raises(Rejected) as refused:
        read_settings(file)
    assert said in str(refused.value)
    assert "accepted: " in str(refused.value)


@pytest.mark.parametrize("name", ["(none)", "büro.example", "two words"])
def test_host_whose_name_makes_no_node_is_told_to_name_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "vmha.toml"
    file.write_text('endpoints = ["10.0.0.1:2379"]\n')
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    with pytest.raises(Rejected, match=r"vmha.toml: node: .*accepted: letters"):
        read_settings(file)


def test_run_dir_that_can_not_be_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Rejected, match=r"run_dir: .*file.*directory"), only_agent(tmp_path / "file" / "vmha"):
        raise AssertionError("it has no lock")
