"""The secret of the channel between agents, and the lock that keeps a second agent from the same node."""

from pathlib import Path

import pytest

from vmha.model.clock import SystemClock
from vmha.model.errors import Rejected
from vmha.node.peers import open_channel, read_secret, read_tls
from vmha.node.process import only_agent
from vmha.node.settings import NodeSettings


def secret_file(tmp_path: Path, text: str = "0123456789abcdef\n", mode: int = 0o600) -> Path:
    path = tmp_path / "peers.secret"
    path.write_text(text)
    path.chmod(mode)
    return path


def settings(**fields: object) -> NodeSettings:
    return NodeSettings.model_validate({"node": "n1", "endpoints": ["127.0.0.1:2379"], **fields})


def test_secret_is_what_stands_in_the_file(tmp_path: Path) -> None:
    assert read_secret(secret_file(tmp_path)) == b"0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [("0123456789abcdef", 0o640, "others may read it"), ("short", 0o600, "at least 16")],
)
def test_secret_that_is_none_is_refused_with_what_would_do(tmp_path: Path, text: str, mode: int, why: str) -> None:
    with pytest.raises(Rejected, match=why):
        read_secret(secret_file(tmp_path, text, mode))


def test_agent_without_a_secret_or_with_a_bad_one_has_no_channel_and_starts(tmp_path: Path) -> None:
    assert open_channel(settings(), "10.0.0.1", SystemClock()) is None
    assert open_channel(settings(peers_secret_file=tmp_path / "none"), "10.0.0.1", SystemClock()) is None


def test_agent_that_is_to_use_tls_and_can_not_has_no_channel_rather_than_one_in_clear(tmp_path: Path) -> None:
    known = {"peers_secret_file": secret_file(tmp_path), "peers_tls": True}
    with pytest.raises(Rejected, match=r"peers_tls: true, and there is no \[tls\]"):
        read_tls(settings(**known))
    assert open_channel(settings(**known), "10.0.0.1", SystemClock()) is None
    nowhere = {name: tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")}
    with pytest.raises(Rejected, match=r"peers_tls: .*ca.pem.*No such file"):
        read_tls(settings(**known, tls=nowhere))
    assert open_channel(settings(**known, tls=nowhere), "10.0.0.1", SystemClock()) is None


def test_peers_are_told_the_nodes_address_unless_another_is_named(tmp_path: Path) -> None:
    known = {"peers_secret_file": secret_file(tmp_path), "peers_listen": "0.0.0.0:7701"}
    there = open_channel(settings(**known), "10.0.0.1", SystemClock())
    assert there
    assert there.address == "10.0.0.1:7701"
    named = open_channel(settings(**known, peers_address="kvm1.lan:9"), "10.0.0.1", SystemClock())
    assert named
    assert named.address == "kvm1.lan:9"


def test_second_agent_of_a_node_does_not_start_while_the_first_runs(tmp_path: Path) -> None:
    with only_agent(tmp_path), pytest.raises(Rejected, match="another agent runs"), only_agent(tmp_path):
        pass
    with only_agent(tmp_path):
        pass
