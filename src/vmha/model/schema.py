"""The schema of a cluster: which shape its documents may have, so that agents of two versions share one store.

Fields that a reader does not know are passed over, and are lost when that reader writes the document again. So what an
older agent must not lose, or could misunderstand, belongs to a later *schema version*. The cluster is at one version
(``schema`` in etcd, 1 without that key). The leader raises it as soon as every member reads the next one, and nobody
ever lowers it: who does not read it decides and writes nothing (policy/members/schema.py).

``schema`` in a document is the oldest version whose readers understand it; where it is missing, 1. A later version's
software writes at the version that the cluster is at. It reads documents of every version before by ``UPGRADES``:
functions from one version's shape to the next, which fill what is new from what is old.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vmha import __version__
from vmha.model.ids import NodeName

FIRST = 1
NEWEST = 1
"""The newest version that this software reads, and writes where the cluster is at it."""

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]

UPGRADES: dict[type, Mapping[int, Upgrade]] = {}
"""For a kind of document, by version: from the shape that it had before that version to the one it has there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSchema:
    """``schema``: the version that the cluster is at. Absent: 1. Only ever raised, by the leader, once all members
    read it. An agent that does not read it starts no session, and with one it has it does nothing but keep it.
    """

    schema: int = FIRST
    version: int
    by: NodeName
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """What an agent is made of: its version, and the newest schema of a cluster that it reads."""

    version: str = __version__
    reads: int = NEWEST

    def why_too_old(self, cluster: int) -> str:
        """Why it must not act in a cluster at that version; '': it may."""
        if cluster <= self.reads:
            return ""
        return (
            f"vmha {self.version} reads schema {self.reads} of a cluster, and this one is at {cluster}: it would lose "
            f"what it does not know; install the version that the other nodes have (vmha status)"
        )


def version_of(document: Any) -> int:
    """Of a document as it is stored. What claims none is of the first."""
    version = document.get("schema", FIRST) if isinstance(document, dict) else FIRST
    return version if isinstance(version, int) and not isinstance(version, bool) else FIRST


def upgraded(kind: type, document: Any) -> Any:
    """A stored document in the shape that this software has for it. ``schema`` stays as whoever wrote it said."""
    if not isinstance(document, dict):
        return document
    stored = version_of(document)
    for version, step in sorted(UPGRADES.get(kind, {}).items()):
        if stored < version:
            document = step(document)
    return document
