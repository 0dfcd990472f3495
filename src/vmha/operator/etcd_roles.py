"""The roles of model/permissions.py as commands of etcdctl, for an administrator to read and to run.

vmha holds no certificate of etcd's root, and should not: what these commands need is given to a person's shell once.
They may be run again: what is there already is left, and what is missing is added.
"""

import shlex
from collections.abc import Iterable, Iterator

from vmha.model.ids import NodeName
from vmha.model.keys import Keys
from vmha.model.permissions import Grant, leader_name, node_name, roles, users


def commands(keys: Keys, nodes: Iterable[NodeName], *, enable: bool) -> Iterator[str]:
    """A shell script's lines. ``enable``: makes root too, and switches etcd's auth on at the end."""
    known = tuple(nodes)
    yield "set -e"
    if enable:
        yield _unless("user get root", "user add root --no-password")
        yield "etcdctl user grant-role root root >/dev/null"
    for role in roles(keys, known):
        yield _unless(f"role get {_q(role.name)}", f"role add {_q(role.name)}")
        for grant in sorted(role.grants):
            yield f"etcdctl role grant-permission {_q(role.name)} {_permission(grant)} >/dev/null"
    for user in users(keys, known):
        yield _unless(f"user get {_q(user.name)}", f"user add {_q(user.name)} --no-password")
        for name in user.roles:
            yield f"etcdctl user grant-role {_q(user.name)} {_q(name)} >/dev/null"
    if enable:
        yield "etcdctl auth enable"


def removal(keys: Keys, node: NodeName) -> Iterator[str]:
    """What takes a node's rights away: its certificate then opens nothing."""
    name, leader = node_name(keys.cluster, node), leader_name(keys.cluster)
    yield "set -e"
    yield f"etcdctl user delete {_q(name)}"
    yield f"etcdctl role delete {_q(name)}"
    for key in (keys.session(node), keys.beat(node), keys.fence_attempt(node)):
        yield f"etcdctl role revoke-permission {_q(leader)} {_q(key)} >/dev/null"


def _permission(grant: Grant) -> str:
    words = ["readwrite" if grant.write else "read", grant.key]
    return ("--prefix=true " if grant.prefix else "") + " ".join(map(_q, words))


def _unless(test: str, command: str) -> str:
    return f"etcdctl {test} >/dev/null 2>&1 || etcdctl {command} >/dev/null"


def _q(word: str) -> str:
    return shlex.quote(word)
