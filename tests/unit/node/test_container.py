"""A node's container makes its files from its environment, and says of what it can not."""

import uuid
from pathlib import Path

import pytest

from vmha.fencing.guard import read_settings as read_guard_settings
from vmha.model.errors import Rejected
from vmha.node.container import health, prepare, settings_from
from vmha.node.settings import NodeSettings

ENDPOINTS = {"VMHA_ENDPOINTS": "etcd-1:2379, etcd-2:2379,etcd-3:2379"}


def made(root: Path, environ: dict[str, str] | None = None, host_name: str = "agent-1.example") -> NodeSettings:
    (root / "etc").mkdir(exist_ok=True)
    return prepare({**ENDPOINTS, **(environ or {})}, host_name=host_name, root=root)


def test_a_node_is_named_after_its_host_and_has_no_watchdog_unless_told(tmp_path: Path) -> None:
    settings = made(tmp_path)
    assert (settings.node, settings.watchdog) == ("agent-1", "")
    assert settings.endpoints == ("etcd-1:2379", "etcd-2:2379", "etcd-3:2379")


@pytest.mark.parametrize("environ", [{}, {"VMHA_CLUSTER": "boxes", "VMHA_WATCHDOG": "/dev/wd"}])
def test_guard_and_agent_read_what_was_made(tmp_path: Path, environ: dict[str, str]) -> None:
    settings = made(tmp_path, environ)
    guard = read_guard_settings(["--config", str(tmp_path / "etc/vmha/vmha.toml")])
    assert (guard.cluster, guard.node, guard.watchdog) == (settings.cluster, settings.node, settings.watchdog)
    assert guard.cluster == environ.get("VMHA_CLUSTER", "vmha")


def test_every_setting_of_a_node_can_be_given_by_its_name_in_capitals() -> None:
    names = set(NodeSettings.model_fields) - {"tls"}
    files = {f"VMHA_{name}": "/f" for name in ("CA", "CERT", "KEY")}
    environ = {f"VMHA_{name.upper()}": "a:1" for name in names} | files
    found = settings_from(environ, "h")
    assert set(found) == names | {"tls"}
    assert found["tls"] == {"ca": "/f", "cert": "/f", "key": "/f"}


def test_what_a_value_holds_does_not_get_out_of_its_quotes(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="cluster"):
        made(tmp_path, {"VMHA_CLUSTER": 'a"\nwatchdog = "/dev/watchdog'})


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "VMHA_ENDPOINTS is not set"),
        ({"VMHA_ENDPOINTS": " , "}, "VMHA_ENDPOINTS is not set"),
        ({**ENDPOINTS, "VMHA_CLUSTR": "x"}, "VMHA_CLUSTR names no setting of a node, did you mean VMHA_CLUSTER?"),
        ({**ENDPOINTS, "VMHA_TLS": "x"}, "VMHA_TLS names no setting"),
    ],
)
def test_an_environment_that_makes_no_node_is_refused_in_words(environ: dict[str, str], words: str) -> None:
    with pytest.raises(Rejected, match=words):
        settings_from(environ, "h")


def test_variables_of_the_command_line_and_of_others_are_no_settings() -> None:
    found = settings_from({**ENDPOINTS, "VMHA_LAB": "/l", "VMHA_CONFIG": "/c", "PATH": "/bin"}, "h")
    assert set(found) == {"cluster", "node", "watchdog", "endpoints"}


def test_a_file_from_outside_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "etc/vmha/vmha.toml"
    path.parent.mkdir(parents=True)
    path.write_text('node = "of-the-file"\nendpoints = ["e:1"]\n')
    settings = made(tmp_path, {"VMHA_NODE": "of-the-environment", "VMHA_NO_SETTING": ""})
    assert settings.node == "of-the-file"
    assert path.read_text().startswith('node = "of-the-file"')


def test_a_container_that_is_made_anew_is_the_same_host_and_two_are_not(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for root in (one, other):
        root.mkdir()
        made(root)
    first = (one / "etc/machine-id").read_text()
    (one / "etc/machine-id").unlink()
    made(one)
    assert (one / "etc/machine-id").read_text() == first != (other / "etc/machine-id").read_text()
    line = next(line for line in (one / "etc/libvirt/libvirtd.conf").read_text().splitlines() if "host_uuid" in line)
    assert uuid.UUID(line.split('"')[1]).hex == first.strip()


def test_nodes_that_mount_one_directory_share_one_secret(tmp_path: Path) -> None:
    shared = {"VMHA_PEERS_SECRET_FILE": "/shared/peers.secret"}
    secrets = set()
    (tmp_path / "shared").mkdir()
    for name in ("one", "two"):
        root = tmp_path / name
        root.mkdir()
        (root / "shared").symlink_to(tmp_path / "shared")
        made(root, shared)
        secrets.add((root / "shared/peers.secret").read_text())
    assert len(secrets) == 1
    assert [path.name for path in (tmp_path / "shared").iterdir()] == ["peers.secret"]
    assert (tmp_path / "shared/peers.secret").stat().st_mode & 0o777 == 0o600


async def test_a_node_whose_guard_does_not_answer_is_in_no_good_health(tmp_path: Path) -> None:
    found = await health(NodeSettings(node="n", endpoints=("e:1",), run_dir=tmp_path))
    assert not found.is_good
    assert str(tmp_path) in found.words
