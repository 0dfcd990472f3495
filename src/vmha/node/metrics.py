"""What Prometheus reads of one agent: how well this node is guarded, beats, and what it sees of the cluster.

Everything is read at the moment of the scrape from what the agent knows anyway; nothing asks etcd or libvirt, so that
the endpoint answers while both are away. What the cluster looks like is the mirror's last view of it. What only the
past can tell is in histograms, which are kept where it happens. Words and names: metric_names.py.
"""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from vmha import __version__
from vmha.model.clock import Clock
from vmha.model.holds import PauseMode
from vmha.model.ids import NodeName
from vmha.model.records import ArmedLevel
from vmha.model.vm import Desired
from vmha.node.happenings import Happenings
from vmha.node.member import Member
from vmha.node.metric_families import family, histograms, single
from vmha.node.metric_names import METRICS
from vmha.node.stalls import Stalls
from vmha.node.survival_metrics import SurvivalMetrics
from vmha.policy.members.membership import Condition, Verdict, judge, moment_of_one_reading
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.telling.explain import VmState, vm_state
from vmha.store.metered import Metered

_RUNS = (VmState.RUNNING, VmState.MIGRATING, VmState.PAUSED, VmState.DUPLICATE, VmState.DEPARTED)
"""A vm that should run and is in one of these is not missing; paused is somebody's doing, or the host's, and shown."""
_WELL = (Condition.ONLINE, Condition.MAINTENANCE)


class MemberMetrics(Collector):
    """One member's numbers. ``happenings`` and ``store``: what is counted as it happens; absent where nobody counts."""

    def __init__(
        self,
        member: Member,
        clock: Clock,
        *,
        cluster: str,
        happenings: Happenings | None = None,
        store: Metered | None = None,
        stalls: Stalls | None = None,
    ) -> None:
        self._member, self._clock, self._cluster = member, clock, cluster
        self._happenings, self._store, self._stalls = happenings, store, stalls
        self._survival = SurvivalMetrics(clock)

    def registry(self) -> CollectorRegistry:
        found = CollectorRegistry(auto_describe=False)
        found.register(self)
        return found

    def collect(self) -> Iterator[Metric]:
        about = METRICS["vmha_agent_info"]
        info = GaugeMetricFamily(about.name, about.text, labels=about.labels)
        info.add_metric([self._cluster, self._member.node, __version__], 1)
        yield info
        snapshot = self._member.mirror.snapshot()
        moment = moment_of_one_reading(snapshot, wall=self._clock.wall())
        verdicts = {name: judge(view, snapshot, moment) for name, view in snapshot.nodes.items()}
        if self._stalls is not None:
            yield histograms("vmha_loop_stall_seconds", {"": self._stalls.turns})
            yield single("vmha_loop_stall_longest_seconds", self._stalls.longest_s)
        yield from self._of_session()
        yield from self._of_lease()
        yield from self._of_store()
        yield from self._of_cluster(snapshot, verdicts)
        yield from self._of_leading(verdicts)
        yield from self._of_the_past()
        if self._member.leader.term is not None:
            yield from self._survival.collect(snapshot, wall=self._clock.wall())

    def _of_session(self) -> Iterator[Metric]:
        keeper, now = self._member.keeper, self._clock.now()
        session = keeper.current
        armed = session.armed if session else ArmedLevel.NONE
        yield family("vmha_armed", {one: one is armed for one in ArmedLevel})
        guard = session.guard if session else None
        yield single("vmha_guard_alive", guard is not None)
        if session is not None and guard is not None and guard.kill_at is not None:
            yield single("vmha_hold_left_seconds", guard.kill_at - now)
            yield single("vmha_hold_seconds", session.timing.hold_s - session.timing.kill_lead_s)
        if session is not None:
            yield single("vmha_session_age_seconds", now - session.live_since)
        status = self._member.agent.account.status
        is_current = session is not None and status is not None and status.session == session.id
        eligible = is_current and status is not None and status.eligible and armed is not ArmedLevel.NONE
        yield single("vmha_eligible", eligible)
        yield family("vmha_beats_total", {"committed": keeper.beats.committed, "failed": keeper.beats.failed})

    def _of_lease(self) -> Iterator[Metric]:
        session = self._member.keeper.current
        if session is None or session.lease is None:
            return
        age_s = self._clock.now() - session.lease_renewed_at
        yield single("vmha_lease_age_seconds", age_s)
        yield single("vmha_lease_left_seconds", session.lease_ttl_s - age_s)
        yield single("vmha_lease_ttl_seconds", session.lease_ttl_s)

    def _of_store(self) -> Iterator[Metric]:
        yield single("vmha_store_answers", self._member.keeper.store_answers())
        if self._store is not None:
            yield histograms("vmha_etcd_request_duration_seconds", self._store.took)
            yield family("vmha_etcd_request_failures_total", self._store.unanswered)

    def _of_cluster(self, snapshot: Snapshot, verdicts: dict[NodeName, Verdict]) -> Iterator[Metric]:
        conditions = Counter(verdict.condition for verdict in verdicts.values())
        yield family("vmha_nodes", {condition: conditions[condition] for condition in Condition})
        found = [(vm, vm_state(vm, snapshot, verdicts)) for vm in snapshot.vms.values()]
        states = Counter(state for _, state in found)
        yield family("vmha_vms", {state: states[state] for state in VmState})
        missing = sum(
            vm.spec is not None and vm.spec.value.desired is Desired.RUNNING and state not in _RUNS
            for vm, state in found
        )
        yield single("vmha_vms_missing", missing)
        yield single("vmha_vms_frozen", len(snapshot.frozen))
        paused = snapshot.pause.value.mode if snapshot.pause else None
        yield family("vmha_paused", {mode: mode is paused for mode in PauseMode})
        yield single("vmha_leader_known", snapshot.leader is not None)
        failing = sum(view.attempt is not None and bool(view.attempt.message) for view in snapshot.nodes.values())
        yield single("vmha_fencing_failing_nodes", failing)

    def _of_leading(self, verdicts: dict[NodeName, Verdict]) -> Iterator[Metric]:
        leader = self._member.leader
        yield single("vmha_leader", leader.term is not None)
        if leader.term is not None:
            yield family("vmha_node_online", {node: one.condition in _WELL for node, one in verdicts.items()})
        yield family("vmha_fencing_attempts_total", {"begun": leader.cuts.begun, "failed": leader.cuts.failures})
        yield histograms("vmha_plan_duration_seconds", {"": leader.plan_took})

    def _of_the_past(self) -> Iterator[Metric]:
        past = self._happenings
        if past is None:
            return
        yield histograms("vmha_failover_phase_duration_seconds", past.phases)
        yield histograms("vmha_failover_duration_seconds", {"": past.failover})
        yield family("vmha_migrations_total", past.migrations)
        yield histograms("vmha_migration_duration_seconds", {"": past.migration})
        yield histograms("vmha_migration_downtime_seconds", {"": past.downtime})
