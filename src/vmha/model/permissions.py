"""Who may touch which keys: one role of etcd for each kind of participant, as narrow as etcd can express it.

etcd guards ranges of keys, and knows no patterns: what is written below ``vms/`` can not be told apart by what comes
after the vm's name. So a role for the specs of vms is one for their placements too. Below ``nodes/`` the nodes are
known by name, and each is granted by itself. docs/howto/tls.md says in words what a stolen certificate can do.

Every agent may come to lead, so its user holds two roles: its node's, and the leader's. Whoever puts a backup back is
an operator who may write two keys more, which say that the store is another one than it was.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from vmha.model.ids import NodeName, RequestId, SessionId, VmName
from vmha.model.keys import Keys

PROBE_KEY: Final = "/vmha/"
"""Nothing is ever written there. Whoever wants nothing but the store's revision reads this key."""


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One permission: a key, or with ``prefix`` all keys that begin with it; to read it, or to read and write it."""

    key: str
    prefix: bool = False
    write: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    name: str
    grants: frozenset[Grant]


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Known by the common name of its certificate; it has no password."""

    name: str
    roles: tuple[str, ...]


def reader_name(cluster: str) -> str:
    return f"vmha-{cluster}-reader"


def operator_name(cluster: str) -> str:
    return f"vmha-{cluster}-operator"


def restorer_name(cluster: str) -> str:
    return f"vmha-{cluster}-restore"


def leader_name(cluster: str) -> str:
    return f"vmha-{cluster}-leader"


def node_name(cluster: str, node: str) -> str:
    """The role of a node's agent, its user, and the common name of its certificate."""
    return f"vmha-{cluster}-node-{node}"


def roles(keys: Keys, nodes: Iterable[NodeName]) -> tuple[Role, ...]:
    """Every role that the cluster of these nodes needs."""
    known = sorted(set(nodes))
    cluster = keys.cluster
    return (
        Role(name=reader_name(cluster), grants=_reading(keys)),
        Role(name=operator_name(cluster), grants=_reading(keys) | _operating(keys)),
        Role(name=restorer_name(cluster), grants=_reading(keys) | _writing((keys.history, keys.schema), ())),
        Role(name=leader_name(cluster), grants=_reading(keys) | _leading(keys, known)),
        *(Role(name=node_name(cluster, node), grants=_reading(keys) | _running(keys, node)) for node in known),
    )


def users(keys: Keys, nodes: Iterable[NodeName]) -> tuple[User, ...]:
    """The users of these roles: one each, and for each node one that may lead as well."""
    cluster = keys.cluster
    return (
        User(name=reader_name(cluster), roles=(reader_name(cluster),)),
        User(name=operator_name(cluster), roles=(operator_name(cluster),)),
        User(name=restorer_name(cluster), roles=(operator_name(cluster), restorer_name(cluster))),
        *(
            User(name=node_name(cluster, node), roles=(node_name(cluster, node), leader_name(cluster)))
            for node in sorted(set(nodes))
        ),
    )


def _reading(keys: Keys) -> frozenset[Grant]:
    return frozenset({Grant(keys.prefix, prefix=True), Grant(PROBE_KEY)})


def _writing(whole: Iterable[str], below: Iterable[str]) -> frozenset[Grant]:
    return frozenset(
        {Grant(key, write=True) for key in whole} | {Grant(prefix, prefix=True, write=True) for prefix in below}
    )


def _operating(keys: Keys) -> frozenset[Grant]:
    """What the verbs write. ``vms/`` holds the placements too, ``nodes/`` the beats: see the module."""
    below = (
        keys.domain(""),
        keys.rule(""),
        keys.service(""),
        f"{keys.prefix}nodes/",
        f"{keys.prefix}vms/",
        keys.uuid(""),
        keys.removed(""),
        keys.request(RequestId("")),
        keys.checkup(""),
        keys.journal(""),
    )
    return _writing((keys.config, keys.pause), below)


def _leading(keys: Keys, nodes: Iterable[NodeName]) -> frozenset[Grant]:
    """What a leader's steps write: of a node its session and beat, which an eviction deletes, and its fencing."""
    below = (
        f"{keys.prefix}vms/",
        keys.removed(""),
        keys.request(RequestId("")),
        keys.outcome(RequestId("")),
        keys.fencing(SessionId("")),
        keys.hook(""),
        keys.journal(""),
    )
    of_nodes = [key for node in nodes for key in (keys.session(node), keys.beat(node), keys.fence_attempt(node))]
    return _writing((keys.leader, keys.schema, keys.survival, keys.history, keys.pause, *of_nodes), below)


def _running(keys: Keys, node: NodeName) -> frozenset[Grant]:
    """What an agent writes that does not lead. The names of a node's sessions begin with the node's."""
    below = (
        keys.observation(node, VmName("")),
        f"{keys.prefix}vms/",
        keys.fencing(SessionId(f"{node}-")),
        keys.checkup(""),
        keys.journal(""),
    )
    return _writing((keys.session(node), keys.beat(node), keys.node_status(node), keys.history), below)
