"""Has the cluster come to rest? Seen by an observer with a mirror of its own, on the operator's network.

At rest: there is a leader if there can be one; nobody is suspected or about to be evicted or admitted; no node that is
whole is unfit; no vm is on its way; nothing but beats and journal entries has been written and no guest has changed for
``quiet_s``.
"""

import asyncio
from dataclasses import replace

from vmha.model.ids import NodeName
from vmha.model.records import Phase, Placement
from vmha.model.vm import Desired
from vmha.policy.members.membership import Condition
from vmha.policy.plan import judge_all, plan
from vmha.policy.state.snapshot import Moment, Snapshot
from vmha.policy.state.steps import AnswerRequest, PlacementStep
from vmha.sim.world.world import World
from vmha.store.memory_store import MemoryStore
from vmha.store.mirror import Mirror

LOOK_S = 0.25

_UNDER_WAY = (Phase.ASSIGNED, Phase.STOPPING, Phase.MIGRATING)
_PASSING = (Condition.SUSPECT, Condition.LOST, Condition.FENCING, Condition.JOINING, Condition.LEAVING)


class Observer:
    """``start`` it inside the running loop."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._mirror = Mirror(MemoryStore(world.etcd, "observer"), world.keys, world.clock)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._mirror.run(), name="observer")

    def stop(self) -> None:
        """Looks no more until it is started again: watching costs as much as another node does."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    @property
    def snapshot(self) -> Snapshot:
        return self._mirror.snapshot()

    def silence_s(self) -> dict[NodeName, float]:
        return self._mirror.silence_s()

    def moment(self) -> Moment:
        clock = self._world.clock
        return Moment(now=clock.now(), wall=clock.wall(), silence_s=self._mirror.silence_s())

    async def settle(self, *, quiet_s: float, at_most_s: float) -> bool:
        """Wait for rest. False: there was none within ``at_most_s``."""
        now = self._world.clock.now
        give_up_at, quiet_since = now() + at_most_s, now()
        revision, facts = self._world.etcd.revision, len(self._world.fabric.history)
        while now() < give_up_at:
            await asyncio.sleep(LOOK_S)
            await self._mirror.caught_up(self._world.etcd.revision)
            history = len(self._world.fabric.history)
            is_quiet = history == facts and self._world.record.is_quiet_since(revision)
            is_over = is_quiet and now() - quiet_since >= quiet_s
            if is_over and not self.what_is_pending():  # asked last: it thinks as hard as a leader
                return True
            if is_over or not is_quiet:
                quiet_since, revision, facts = now(), self._world.etcd.revision, history
        return False

    def what_is_pending(self) -> str:
        """The first thing that is under way or will happen by itself; '' when there is none."""
        if not self._world.etcd.is_running:
            # Nothing can be decided; what can still happen is that guards come to their deadlines.
            armed = [name for name in self._world.hosts if self._world.managed_on(name)]
            return f"guests on {', '.join(armed)}" if armed else ""
        snapshot = self.snapshot
        if snapshot.leader is None and any(self._can_lead(name) for name in self._world.hosts):
            return "no leader yet"
        for name, verdict in judge_all(snapshot, self.moment()).items():
            host = self._world.hosts.get(name)
            if verdict.condition in _PASSING and not self._is_stuck(name, snapshot):
                return f"{name} {verdict.refusal}"
            if host and host.has_agent and not host.is_cut and verdict.condition is Condition.OFFLINE:
                return f"{name} has not joined yet"
            if verdict.condition is Condition.UNFIT and host and self._is_whole(name):
                return f"{name} {verdict.refusal}"
        for vm in snapshot.vms.values():
            placement = vm.placement.value if vm.placement else None
            if placement and placement.phase in _UNDER_WAY and not self._is_forsaken(placement):
                return f"{vm.name} is {placement.phase}"
            if placement and self._is_to_be_answered_for(placement):
                return f"{placement.node} has yet to say what became of {vm.name}"
        return self._planned(snapshot)

    def _planned(self, snapshot: Snapshot) -> str:
        if not any(self._can_lead(name) for name in self._world.hosts):
            return ""
        moment = replace(self.moment(), silence_s={})
        made = plan(snapshot, moment)
        for step in made.steps:
            if isinstance(step, PlacementStep | AnswerRequest):
                return f"a step is planned: {step}"
        for waiting in made.waiting:
            if not waiting.vm:
                continue  # something of the whole cluster
            wanted = snapshot.vms[waiting.vm].spec
            resting = "after a rest" in waiting.text or any(
                candidate.refusal.startswith("failed to start") for candidate in waiting.candidates
            )
            resting = resting or ("it is to follow" in waiting.text and "failed to receive" in waiting.text)
            if resting and wanted and wanted.value.desired is Desired.RUNNING:
                return f"{waiting.vm} is tried again soon"
        return ""

    def _can_lead(self, name: NodeName) -> bool:
        host = self._world.hosts[name]
        return host.has_agent and not host.is_cut and not host.is_frozen

    def _is_whole(self, name: NodeName) -> bool:
        """Nothing of it is broken, so that it should be of use."""
        host, fabric = self._world.hosts[name], self._world.fabric.host(name)
        has_libvirtd = fabric.has_libvirtd and not fabric.is_libvirtd_frozen
        is_of_today = host.member is not None and not host.member.keeper.why_too_old()
        return self._can_lead(name) and is_of_today and not host.is_guard_away and has_libvirtd

    def _is_forsaken(self, placement: Placement) -> bool:
        """Whoever was at work on it is not there any more: what becomes of it is the leader's to plan."""
        view = self.snapshot.nodes.get(placement.node) if placement.node else None
        if view is None or view.beat is None:
            return True
        return placement.session is not None and placement.session != view.session_id

    def _is_to_be_answered_for(self, placement: Placement) -> bool:
        """Held by a former session of a node that is back: it looks, for a while perhaps, before it gives its word."""
        view = self.snapshot.nodes.get(placement.node) if placement.node else None
        if view is None or view.session_id is None or placement.session in (None, view.session_id):
            return False
        is_at_work = placement.node is not None and self._can_lead(placement.node)
        return is_at_work and placement.session not in self.snapshot.fenced

    def _is_stuck(self, name: NodeName, snapshot: Snapshot) -> bool:
        """Silent for long, and no proof can be had by waiting."""
        silence = self._mirror.silence_s().get(name, 0.0)
        view = snapshot.nodes[name]
        patience_s = 6 * snapshot.config.clockwork.dead_after_s
        return view.beat is not None and silence > patience_s
