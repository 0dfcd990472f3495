"""Which cluster is meant: the command line, then the environment, then the file, then a running lab."""

from pathlib import Path

import pytest

from vmha.cli import connect
from vmha.cli.connect import find_cluster_meant, find_place, open_store, unreachable
from vmha.model.errors import Rejected, Retryable


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment in which nothing names a cluster."""
    monkeypatch.setattr(connect, "CONFIG_FILE", tmp_path / "vmha.toml")
    monkeypatch.setattr(connect, "DEFAULT_LAB", tmp_path / "lab")
    return {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "vmha.toml"
    path.write_text(text)
    return path


def start_lab(tmp_path: Path) -> Path:
    for folder in ("lab", "vmha/lab"):  # where root's and a user's lie
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "etcd.sock").touch()
    return connect.lab_dir({"XDG_STATE_HOME": str(tmp_path)}) / "etcd.sock"


def test_the_command_line_comes_first(env: dict[str, str], tmp_path: Path) -> None:
    config(tmp_path, 'cluster = "filed"\nendpoints = ["file:1"]')
    env |= {"VMHA_ENDPOINTS": "env:1", "VMHA_CLUSTER": "environed"}
    place = find_place(endpoints="a:1, b:2", cluster="mine", environ=env)
    assert (place.endpoints, place.cluster, place.source) == (("a:1", "b:2"), "mine", "--endpoints")


def test_the_environment_comes_before_the_file(env: dict[str, str], tmp_path: Path) -> None:
    config(tmp_path, 'cluster = "filed"\nendpoints = ["file:1"]')
    place = find_place(environ=env | {"VMHA_ENDPOINTS": "env:1"})
    assert (place.endpoints, place.cluster, place.source) == (("env:1",), "filed", "$VMHA_ENDPOINTS")


def test_the_file_comes_before_a_running_lab(env: dict[str, str], tmp_path: Path) -> None:
    start_lab(tmp_path)
    path = config(tmp_path, 'cluster = "filed"\nendpoints = ["file:1"]\n[tls]\nca = "/ca.pem"')
    place = find_place(environ=env)
    assert (place.endpoints, place.cluster, place.source) == (("file:1",), "filed", str(path))
    assert place.ca == Path("/ca.pem")


def test_a_lab_named_by_the_environment_comes_before_the_file(env: dict[str, str], tmp_path: Path) -> None:
    config(tmp_path, 'cluster = "filed"\nendpoints = ["file:1"]')
    place = find_place(environ=env | {"VMHA_LAB": "/some/lab"})
    assert (place.endpoints, place.cluster) == (("unix:/some/lab/etcd.sock",), "lab")


def test_a_running_lab_is_found_without_being_named(env: dict[str, str], tmp_path: Path) -> None:
    socket = start_lab(tmp_path)
    place = find_place(environ=env)
    assert (place.endpoints, place.cluster) == ((f"unix:{socket}",), "lab")
    assert "vmha lab" in place.next_step


def test_name_of_the_cluster_alone_is_the_labs_where_a_lab_is_meant(env: dict[str, str], tmp_path: Path) -> None:
    assert find_cluster_meant(environ=env) == "vmha"
    assert find_cluster_meant(environ=env | {"VMHA_LAB": "/some/lab"}) == "lab"
    start_lab(tmp_path)
    assert find_cluster_meant(environ=env) == "lab"
    assert find_cluster_meant(environ=env, cluster="mine") == "mine"
    assert find_cluster_meant(environ=env, endpoints="a:1") == "vmha"


def test_nothing_named_says_what_to_set(env: dict[str, str]) -> None:
    with pytest.raises(Rejected) as refused:
        find_place(environ=env)
    for words in ("--endpoints", "$VMHA_ENDPOINTS", "vmha.toml", "vmha lab up"):
        assert words in str(refused.value)


BROKEN = [
    pytest.param("endpoints = [", "vmha.toml", id="no TOML"),
    pytest.param('endpoints = "a:1"', "endpoints: 'a:1'", id="no list"),
    pytest.param("endpoints = [1]", "endpoints: [1]", id="no text"),
    pytest.param('endpoints = ["a:1"]\ncluster = "a/b"', "cluster: 'a/b'", id="a name that no key can hold"),
]


@pytest.mark.parametrize(("text", "said"), BROKEN)
def test_a_broken_file_is_named(env: dict[str, str], tmp_path: Path, text: str, said: str) -> None:
    config(tmp_path, text)
    with pytest.raises(Rejected) as refused:
        find_place(environ=env)
    assert said in str(refused.value)


def test_a_file_that_is_named_must_exist(env: dict[str, str]) -> None:
    with pytest.raises(Rejected, match=r"\$VMHA_CONFIG: there is no file /nowhere/vmha.toml"):
        find_place(environ=env | {"VMHA_CONFIG": "/nowhere/vmha.toml"})


def test_an_endpoint_list_of_nothing_is_refused(env: dict[str, str]) -> None:
    with pytest.raises(Rejected, match="--endpoints"):
        find_place(endpoints=" , ", environ=env)


def test_what_does_not_answer_is_named_with_its_source_and_the_next_step(env: dict[str, str]) -> None:
    place = find_place(endpoints="a:1", environ=env)
    text = str(unreachable(place, Retryable("no answer from etcd at a:1")))
    assert "no answer from etcd at a:1; endpoint from --endpoints" in text
    assert "etcdctl --endpoints a:1 endpoint health" in text


@pytest.mark.parametrize("variable", ["VMHA_CERT", "VMHA_KEY"])
def test_a_certificate_without_its_authority_is_refused_and_not_left_out(env: dict[str, str], variable: str) -> None:
    place = find_place(endpoints="a:1", environ=env | {variable: "/alice.pem"})
    with pytest.raises(Rejected, match=r"/alice.pem without the authority's certificate.*VMHA_CA"):
        open_store(place)
