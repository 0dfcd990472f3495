"""The records of a large cluster (``world``), written to a real etcd for a leader that is to find them there."""

from collections.abc import Iterator
from dataclasses import replace

from bench.scale_cluster import KEYS
from bench.world import records
from vmha.model.ids import NodeName, Revision
from vmha.model.keys import encode
from vmha.model.records import LeaderRecord, NodeStatus, Observation, Placement
from vmha.model.vm import NodeSpec
from vmha.store.port import Op, Put

LEAD = NodeName("lead")
"""A node beside those of the cluster: the one that is to lead."""

LATER = Revision(1 << 40)
"""Every node has looked for every vm: a cold start would wait for that."""


def filling(vms: int, nodes: int, *, is_cold: bool, lead_runs_vms: bool) -> Iterator[Op]:
    """``is_cold``: no vm was ever placed. There is no leader."""
    yield Put(KEYS.node_spec(LEAD), encode(NodeSpec(name=LEAD, maintenance=not lead_runs_vms)))
    for key, record in records(vms, nodes, KEYS):
        if isinstance(record, LeaderRecord) or (is_cold and isinstance(record, Placement | Observation)):
            continue
        written = replace(record, looked_for=LATER) if isinstance(record, NodeStatus) else record
        yield Put(key, encode(written))
