"""What Prometheus reads of one agent: how well this node is guarded, beats, and what it sees of the cluster.

Everything is read at the moment of the scrape from what the agent knows anyway; nothing asks etcd or libvirt, so that
the endpoint answers while both are away. What the cluster looks like is the mirror's last view of it.
"""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from vmha import __version__
from vmha.model.clock import Clock
from vmha.model.records import ArmedLevel
from vmha.node.member import Member
from vmha.node.survival_metrics import SurvivalMetrics
from vmha.policy.explain import VmState, vm_state
from vmha.policy.membership import Condition, judge, moment_of_one_reading


class MemberMetrics(Collector):
    """One member's numbers."""

    def __init__(self, member: Member, clock: Clock, *, cluster: str) -> None:
        self._member, self._clock, self._cluster = member, clock, cluster
        self._survival = SurvivalMetrics()

    def registry(self) -> CollectorRegistry:
        found = CollectorRegistry(auto_describe=False)
        found.register(self)
        return found

    def collect(self) -> Iterator[Metric]:
        about = GaugeMetricFamily("vmha_agent_info", "Who this is.", labels=["cluster", "node", "version"])
        about.add_metric([self._cluster, self._member.node, __version__], 1)
        yield about
        yield from self._of_session()
        yield from self._of_leading()
        yield from self._of_cluster()
        if self._member.leader.term is not None:
            yield from self._survival.collect(self._member.mirror.snapshot(), wall=self._clock.wall())

    def _of_session(self) -> Iterator[Metric]:
        keeper, now = self._member.keeper, self._clock.now()
        session = keeper.current
        armed = session.armed if session else ArmedLevel.NONE
        level = GaugeMetricFamily(
            "vmha_armed",
            "What ends this node's guests when it can not commit: 1 at the level in force.",
            labels=["level"],
        )
        for one in ArmedLevel:
            level.add_metric([one], one is armed)
        yield level
        guard = session.guard if session else None
        yield _gauge("vmha_guard_alive", "The guard answered last time.", guard is not None)
        if guard is not None and guard.kill_at is not None:
            yield _gauge(
                "vmha_hold_left_seconds", "Until the guard ends the guests, if no beat commits.", guard.kill_at - now
            )
        if session is not None:
            yield _gauge("vmha_session_age_seconds", "Since this process holds the session.", now - session.live_since)
        status = self._member.agent.account.status
        is_current = session is not None and status is not None and status.session == session.id
        eligible = is_current and status is not None and status.eligible and armed is not ArmedLevel.NONE
        yield _gauge("vmha_eligible", "This node may receive vms, by its own account.", eligible)
        beats = CounterMetricFamily("vmha_beats", "Beats sent, by what became of them.", labels=["result"])
        beats.add_metric(["committed"], keeper.beats.committed)
        beats.add_metric(["failed"], keeper.beats.failed)
        yield beats

    def _of_leading(self) -> Iterator[Metric]:
        leader = self._member.leader
        yield _gauge("vmha_leader", "This node leads.", leader.term is not None)
        fencing = CounterMetricFamily(
            "vmha_fencing_attempts",
            "Power cuts that this node began as leader, by what came of them.",
            labels=["result"],
        )
        fencing.add_metric(["begun"], leader.cuts.begun)
        fencing.add_metric(["failed"], leader.cuts.failures)
        yield fencing

    def _of_cluster(self) -> Iterator[Metric]:
        snapshot = self._member.mirror.snapshot()
        moment = moment_of_one_reading(snapshot, wall=self._clock.wall())
        verdicts = {name: judge(view, snapshot, moment) for name, view in snapshot.nodes.items()}
        nodes = GaugeMetricFamily("vmha_nodes", "Nodes, as this one sees them.", labels=["condition"])
        conditions = Counter(verdict.condition for verdict in verdicts.values())
        for condition in Condition:
            nodes.add_metric([condition], conditions[condition])
        yield nodes
        vms = GaugeMetricFamily("vmha_vms", "Vms, as this node sees them; duplicate: RUNS TWICE.", labels=["state"])
        states = Counter(vm_state(vm, snapshot, verdicts) for vm in snapshot.vms.values())
        for state in VmState:
            vms.add_metric([state], states[state])
        yield vms
        yield _gauge(
            "vmha_fencing_failing_nodes",
            "Nodes whose fencing has failed so far and is tried again.",
            sum(view.attempt is not None and bool(view.attempt.message) for view in snapshot.nodes.values()),
        )


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=float(value))
