"""The commands that set roles up, and what the roles hold; what they are worth is shown with a real etcd."""

import shlex
import subprocess

import pytest

from vmha.cli.main import run
from vmha.model.ids import NodeName
from vmha.model.keys import Keys
from vmha.model.permissions import Grant, leader_name, node_name, roles, users
from vmha.operator.etcd_roles import commands, removal

KEYS = Keys("prod")
NODES = [NodeName("a"), NodeName("a-b")]


def test_no_role_writes_another_cluster_and_everybody_reads_this_one() -> None:
    for role in roles(KEYS, NODES):
        assert Grant(KEYS.prefix, prefix=True) in role.grants
        assert {grant for grant in role.grants if grant.write and not grant.key.startswith(KEYS.prefix)} == set()


def test_an_agents_user_holds_its_nodes_role_and_the_leaders_and_nothing_of_operators() -> None:
    by_name = {user.name: user.roles for user in users(KEYS, NODES)}
    assert by_name[node_name("prod", "a")] == (node_name("prod", "a"), leader_name("prod"))


def test_every_line_is_one_that_a_shell_reads_and_names_with_odd_letters_are_quoted() -> None:
    lines = list(commands(KEYS, [NodeName("a+b:c@d")], enable=True))
    script = "\n".join(lines)
    assert subprocess.run(["sh", "-n"], input=script, text=True, check=False, timeout=30).returncode == 0
    assert all(shlex.split(line)[0] in ("etcdctl", "set") for line in lines)
    assert lines[0] == "set -e"
    assert lines[-1] == "etcdctl auth enable"


def test_a_nodes_removal_takes_from_the_leader_what_was_the_nodes() -> None:
    text = "\n".join(removal(KEYS, NodeName("a")))
    assert f"user delete {node_name('prod', 'a')}" in text
    assert KEYS.beat(NodeName("a")) in text


@pytest.mark.parametrize("arguments", [[], ["a", "--remove", "b"], ["a b"], ["--remove", "; rm -rf"]])
def test_what_names_no_nodes_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cluster", "roles", "--cluster", "prod", *arguments]) == 2
    assert "accepted" in capsys.readouterr().err


def test_roles_and_certificates_agree_on_the_names_of_users(
    capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    assert run(["pki", "init", f"{tmp_path}/pki", "--cluster", "prod"]) == 0
    assert run(["pki", "issue", f"{tmp_path}/pki", "node", "a", "--address", "10.0.0.1"]) == 0
    assert run(["pki", "show", f"{tmp_path}/pki"]) == 0
    assert node_name("prod", "a") in capsys.readouterr().out
    assert run(["cluster", "roles", "--cluster", "prod", "a"]) == 0
    assert f"etcdctl user add {node_name('prod', 'a')} --no-password" in capsys.readouterr().out
    assert run(["pki", "issue", f"{tmp_path}/pki", "nod", "a"]) == 2
    assert "accepted: etcd, node, operator, restore, reader, web, root" in capsys.readouterr().err
    assert run(["pki", "show", f"{tmp_path}/pki", "--within", "400"]) == 1
