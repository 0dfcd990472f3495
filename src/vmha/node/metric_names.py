"""Every metric that an agent gives, with its words: the endpoint, its reference page and their tests read this table.

Names follow Prometheus' conventions: the unit last, counters end in ``_total``. They stay what they are: alerts and
boards hang on them.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    name: str  # as it is scraped; of a histogram, without _bucket, _sum, _count
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()


def _gauge(name: str, text: str, *labels: str) -> Described:
    return Described(name=name, kind=Kind.GAUGE, text=text, labels=labels)


def _counter(name: str, text: str, *labels: str) -> Described:
    return Described(name=name, kind=Kind.COUNTER, text=text, labels=labels)


def _histogram(name: str, text: str, *labels: str) -> Described:
    return Described(name=name, kind=Kind.HISTOGRAM, text=text, labels=labels)


SECTIONS: dict[str, tuple[Described, ...]] = {
    "This node, by its own account": (
        _gauge("vmha_agent_info", "1", "cluster", "node", "version"),
        _gauge(
            "vmha_armed",
            "1 at the level that ends this node's guests when it can not commit: none, guard, watchdog",
            "level",
        ),
        _gauge("vmha_guard_alive", "the guard answered last time; its end is noticed at once"),
        _gauge(
            "vmha_hold_left_seconds",
            "until the guard ends the guests if no beat commits; absent without a session or guard",
        ),
        _gauge("vmha_hold_seconds", "what that is right after a beat, by the cluster's timing; absent with the other"),
        _gauge("vmha_session_age_seconds", "since this process holds its session; absent between two"),
        _gauge("vmha_lease_age_seconds", "since the session's lease was last renewed; absent without a lease"),
        _gauge("vmha_lease_left_seconds", "until the lease would end without a renewal; absent without a lease"),
        _gauge("vmha_lease_ttl_seconds", "what that is right after a renewal; absent without a lease"),
        _gauge("vmha_eligible", "this node may receive vms, by its own account"),
        _histogram(
            "vmha_loop_stall_seconds",
            "for how long the agent's event loop stood at a time, so that nothing else, beats among it, had its turn",
        ),
        _gauge("vmha_loop_stall_longest_seconds", "the longest of these since this process began"),
        _counter("vmha_beats_total", "beats: committed and failed, since this process began", "result"),
    ),
    "The store, as this node meets it": (
        _gauge("vmha_store_answers", "this node's beats commit; 0 without a session"),
        _histogram("vmha_etcd_request_duration_seconds", "calls of etcd that were answered, by kind", "call"),
        _counter("vmha_etcd_request_failures_total", "calls of etcd that were not (clearly) answered, by kind", "call"),
    ),
    "The cluster, as this node sees it": (
        _gauge("vmha_nodes", "nodes", "condition"),
        _gauge("vmha_vms", "vms; duplicate: seen running twice", "state"),
        _gauge("vmha_vms_missing", "vms that should run, and are not known to"),
        _gauge("vmha_vms_frozen", "vms that an operator has frozen"),
        _gauge("vmha_paused", "the whole cluster is paused by an operator, in this mode: starts, all", "mode"),
        _gauge("vmha_leader_known", "a leader is on record"),
        _gauge("vmha_fencing_failing_nodes", "nodes whose fencing failed so far and is tried again"),
    ),
    "Of the node that leads": (
        _gauge("vmha_leader", "this node leads; 0 on all others"),
        _gauge("vmha_node_online", "1: the node is online, or in maintenance by an operator's word", "node"),
        _counter(
            "vmha_fencing_attempts_total", "power cuts that this node began as leader: begun and failed", "result"
        ),
        _histogram("vmha_plan_duration_seconds", "plans that this node made as leader"),
        _histogram(
            "vmha_failover_phase_duration_seconds",
            "of what was recovered: proven (last beat to proof), assigned (proof to a node for the vm), "
            "started (from there to where it was seen running)",
            "phase",
        ),
        _histogram("vmha_failover_duration_seconds", "last beat of the lost node to where the vm was seen running"),
        _counter("vmha_migrations_total", "migrations that ended: done, failed, cancelled, lost", "result"),
        _histogram("vmha_migration_duration_seconds", "migrations done, from their begin to the guest going on"),
        _histogram("vmha_migration_downtime_seconds", "for how long the guest stood still in all"),
        _gauge(
            "vmha_survives_node_loss",
            "1: every vm would come back, whichever one node were lost; absent on others and while it is not known",
        ),
        _gauge("vmha_node_loss_vms", "vms that would not come back if this node were lost", "node"),
        _gauge(
            "vmha_node_loss_unknown_nodes",
            "nodes of which that is not known, because it would take too long to find out",
        ),
    ),
}

METRICS: dict[str, Described] = {one.name: one for section in SECTIONS.values() for one in section}
