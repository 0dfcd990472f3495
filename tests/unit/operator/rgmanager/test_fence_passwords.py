"""Passwords of fence devices in a cluster.conf: programs on the nodes print them, and the document says which."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.operator.cluster import Cluster
from tests.unit.operator.rgmanager.conf import assert_readable, conf, findings, imported, only
from vmha.model.errors import Rejected
from vmha.operator.apply import prepare
from vmha.operator.rgmanager.fence_passwords import FOLDER, as_program
from vmha.operator.rgmanager.findings import Kind
from vmha.operator.rgmanager.report import as_lines, as_plain, as_yaml
from vmha.operator.rgmanager.translate import Imported

ONE_FOR_ALL = '<fencedevice name="apc" agent="fence_apc" ipaddr="10.0.0.1" passwd="secret-1"/>'


def farm(devices: str, **own: str) -> bytes:
    """``own``: of each node, what its ``<device>`` says beside its name."""
    nodes = "".join(
        f'<clusternode name="{node}"><fence><method name="1"><device name="apc" {attributes}/></method></fence>'
        f"</clusternode>"
        for node, attributes in own.items()
    )
    return conf("", nodes=f"<clusternodes>{nodes}</clusternodes><fencedevices>{devices}</fencedevices>")


def options(result: Imported) -> list[dict[str, Any]]:
    return [node["fence"][0]["options"] for node in result.document["nodes"]]


def all_that_is_shown(result: Imported) -> str:
    return "\n".join([as_yaml(result), *as_lines(result), str(as_plain(result)), repr(result)])


async def test_password_is_neither_in_the_document_nor_in_the_report_and_is_not_lost(cluster: Cluster) -> None:
    result = imported(farm(ONE_FOR_ALL, n1='port="1"', n2='port="2"'))
    program = f"{FOLDER}/apc-passwd"
    assert options(result) == [{"ipaddr": "10.0.0.1", "passwd_script": program, "port": port} for port in "12"]
    assert result.passwords == {"apc-passwd": "secret-1"}
    assert "secret-1" not in all_that_is_shown(result)
    found = only(result, "passwd")
    assert (found.kind, program in found.text, "--passwords DIR" in found.text) == (Kind.CHANGED, True, True)
    assert FOLDER in as_yaml(result).splitlines()[2]
    assert as_plain(result)["programs"] == [program]
    assert (await prepare(cluster.client, assert_readable(result))).count("created") == 2


def test_each_password_has_a_program_of_its_own() -> None:
    own = {"n1": 'passwd="secret-2"', "n2": 'passwd="secret-3" snmp_priv_passwd="secret-4"', "n3": 'port="3"'}
    result = imported(farm(ONE_FOR_ALL, **own))
    assert result.passwords == {
        "apc-passwd": "secret-1",
        "apc-n1-passwd": "secret-2",
        "apc-n2-passwd": "secret-3",
        "apc-n2-snmp_priv_passwd": "secret-4",
    }
    assert [one["passwd_script"] for one in options(result)] == [
        f"{FOLDER}/{name}-passwd" for name in ("apc-n1", "apc-n2", "apc")
    ]
    assert options(result)[1]["snmp_priv_passwd_script"] == f"{FOLDER}/apc-n2-snmp_priv_passwd"
    assert not [name for name in map(str, range(1, 5)) if f"secret-{name}" in all_that_is_shown(result)]


@pytest.mark.parametrize("script", ["passwd_script", "password_script"])
def test_password_beside_the_program_that_prints_it_is_not_needed(script: str) -> None:
    result = imported(farm(ONE_FOR_ALL.replace("/>", f' {script}="/etc/pw"/>'), n1='port="1"'))
    assert options(result) == [{"ipaddr": "10.0.0.1", script: "/etc/pw", "port": "1"}]
    assert result.passwords == {}
    assert only(result, "passwd").kind is Kind.NOT_TAKEN
    assert only(result, script).value == "/etc/pw"


def test_program_of_one_node_leaves_the_others_theirs() -> None:
    result = imported(farm(ONE_FOR_ALL, n1='passwd_script="/etc/pw"', n2='port="2"'))
    assert [one["passwd_script"] for one in options(result)] == ["/etc/pw", f"{FOLDER}/apc-passwd"]
    assert only(result, "passwd").kind is Kind.CHANGED


async def test_secret_that_no_agent_takes_from_a_program_is_told_and_refused_by_apply(cluster: Cluster) -> None:
    result = imported(farm(ONE_FOR_ALL.replace("passwd", "community"), n1='port="1"'))
    assert options(result)[0]["community"] == "secret-1"
    found = only(result, "community")
    assert (found.kind, found.value) == (Kind.CHANGED, "***")
    assert "a fence agent of your own" in found.accepted
    assert "vmha apply refuses" in as_yaml(result).splitlines()[2]
    with pytest.raises(Rejected, match=r"options\.community: a secret, and fencing\.secrets is files"):
        await prepare(cluster.client, assert_readable(result))


def test_empty_password_is_an_option_like_others() -> None:
    result = imported(farm(ONE_FOR_ALL.replace("secret-1", ""), n1='port="1"'))
    assert options(result)[0]["passwd"] == ""
    assert result.passwords == {}
    assert only(result, "passwd").kind is Kind.TAKEN


def test_password_of_a_device_that_is_not_taken_has_no_program() -> None:
    result = imported(farm(ONE_FOR_ALL, n1='action="on"'))
    assert (result.document["nodes"], result.passwords) == ([{"name": "n1"}], {})
    assert {finding.kind for finding in findings(result, "passwd")} == {Kind.NOT_TAKEN}
    assert "secret-1" not in all_that_is_shown(result)


@pytest.mark.parametrize("name", ["../../etc/x", "a b;reboot", "$(reboot)", "büro", ".hidden", "x" * 300])
def test_whatever_a_device_is_called_its_program_is_a_plain_file_of_the_folder(name: str) -> None:
    nodes = f'<clusternode name="n1"><fence><method name="1"><device name="{name}"/></method></fence></clusternode>'
    devices = f'<fencedevice name="{name}" agent="fence_apc" passwd="secret-1"/>'
    result = imported(conf("", nodes=f"<clusternodes>{nodes}</clusternodes><fencedevices>{devices}</fencedevices>"))
    (program,) = result.passwords
    assert program.replace("-", "").replace("_", "").replace(".", "").isalnum()
    assert program.isascii()
    assert not program.startswith((".", "-"))
    assert len(program) < 200
    assert options(result)[0]["passwd_script"] == f"{FOLDER}/{program}"


def test_names_that_would_be_one_file_are_two() -> None:
    devices = "".join(
        f'<fencedevice name="a{letter}b" agent="fence_apc" passwd="secret-{number}"/>'
        for number, letter in enumerate(" ;")
    )
    methods = "".join(f'<method name="{name}"><device name="{name}"/></method>' for name in ("a b", "a;b"))
    nodes = f'<clusternodes><clusternode name="n1"><fence>{methods}</fence></clusternode></clusternodes>'
    result = imported(conf("", nodes=f"{nodes}<fencedevices>{devices}</fencedevices>"))
    assert result.passwords == {"a-b-passwd": "secret-0", "a-b-passwd-2": "secret-1"}
    first, second = result.document["nodes"][0]["fence"]
    assert (first["options"]["passwd_script"], second["options"]["passwd_script"]) == (
        f"{FOLDER}/a-b-passwd",
        f"{FOLDER}/a-b-passwd-2",
    )


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1))
def test_program_prints_the_password_whatever_is_in_it(password: str) -> None:
    done = subprocess.run(["sh"], input=as_program(password).encode(), capture_output=True, timeout=30, check=True)
    assert done.stdout.decode() == f"{password}\n"


def test_program_is_one_that_runs_by_itself(tmp_path: Path) -> None:
    program = tmp_path / "pw"
    program.write_text(as_program("it's $HOME %s \\n"))
    program.chmod(0o700)
    done = subprocess.run([program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "it's $HOME %s \\n\n"
