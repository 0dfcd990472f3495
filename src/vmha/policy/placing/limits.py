"""How much may happen at once: at a node, and in the whole cluster.

A migration counts at both of its ends, from the placement that asks for it until its guest was let go at the target.
What waits for its turn says so, and comes in the order of the plan: the most important vm first.
"""

from vmha.model.ids import NodeName
from vmha.policy.placing.field import Field

RULE = "enough-at-once"


def no_migration_out_of(node: NodeName, ground: Field) -> str:
    """Why no migration may begin at ``node`` now; '' when it may."""
    limits, load = ground.limits, ground.loads[node]
    if load.migrating >= limits.migrations_per_node:
        return f"{node} has {load.migrating} migrations in progress (limit {limits.migrations_per_node})"
    return no_migration(ground)


def no_migration(ground: Field) -> str:
    limit = ground.limits.migrations
    if 0 < limit <= ground.migrating:
        return f"the cluster has {ground.migrating} migrations in progress (limit {limit})"
    return ""


def no_start(ground: Field) -> str:
    """Why no vm may be started anywhere now; '' when one may."""
    limit = ground.limits.starts
    if 0 < limit <= ground.starting:
        return f"the cluster has {ground.starting} starts in progress (limit {limit})"
    return ""
