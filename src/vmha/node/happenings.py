"""What happens to vms, timed from the mirror: recoveries in their phases, and migrations, counted by the leader.

    last beat --proven--> proof on record --assigned--> a node may start it --started--> seen running there
        '------------------------------------ the whole recovery ------------------------------------'

Every agent follows along on its own clock, so that a new leader can go on; only the one that leads just then counts,
so that the sum over all nodes counts everything once. What a watch did not show (its node was cut off, or began later)
is not made up.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from vmha.model.clock import Clock
from vmha.model.histogram import FAILOVER_S, MIGRATION_S, STANDSTILL_S, Histogram
from vmha.model.ids import Epoch, NodeName, SessionId, VmName
from vmha.model.keys import split_key
from vmha.model.records import Phase, Placement, SeenState
from vmha.policy.state.snapshot import Snapshot
from vmha.store.mirror import Mirror

PHASES = ("proven", "assigned", "started")
RESULTS = ("done", "failed", "cancelled", "lost")
"""Of migrations. ``lost``: neither where it came from nor where it went to; the vm ended, or a node was lost."""
FORGET_AFTER_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loss:
    """A session that was fenced, or one vm's share in it. On this node's clock."""

    lost_at: float
    proven_at: float
    assigned_at: float = 0.0
    epoch: Epoch | None = None


class Happenings:
    """``follow`` it; read the histograms."""

    def __init__(self, clock: Clock, *, is_leading: Callable[[], bool]) -> None:
        self._clock, self._is_leading = clock, is_leading
        self.phases = {phase: Histogram(FAILOVER_S) for phase in PHASES}
        self.failover = Histogram(FAILOVER_S)
        self.migrations = dict.fromkeys(RESULTS, 0)
        self.migration = Histogram(MIGRATION_S)
        self.downtime = Histogram(STANDSTILL_S)
        self._beaten: dict[NodeName, tuple[SessionId, float]] = {}
        self._fenced: dict[SessionId, _Loss] = {}
        self._recovering: dict[VmName, _Loss] = {}
        self._before: dict[VmName, Placement] = {}

    def follow(self, mirror: Mirror, prefix: str) -> None:
        def look(keys: tuple[str, ...]) -> None:
            for key in keys:
                match split_key(prefix, key):
                    case ("nodes", node, "beat"):
                        if (beat := mirror.beat(NodeName(node))) is not None:
                            self._beaten[NodeName(node)] = (beat.value.session, self._clock.now())
                    case ("fencing", session):
                        self._proof(SessionId(session), mirror.snapshot())
                    case ("vms", vm, "placement"):
                        self._placement(VmName(vm), mirror.snapshot())
                    case ("nodes", _, "vms", vm) if vm in self._recovering:
                        self._seen(VmName(vm), mirror.snapshot())

        mirror.subscribe(look)

    # --- recoveries

    def _proof(self, session: SessionId, snapshot: Snapshot) -> None:
        record, now = snapshot.fenced.get(session), self._clock.now()
        self._forget(now)
        if record is None or session in self._fenced:
            return
        beaten, at = self._beaten.get(record.node, (None, 0.0))
        if beaten != session:
            return
        self._fenced[session] = _Loss(lost_at=at, proven_at=now)
        if self._is_leading():
            self.phases["proven"].note(now - at)

    def _recovery(self, vm: VmName, before: Placement | None, placement: Placement) -> None:
        now = self._clock.now()
        if before and before.session in self._fenced and placement.session != before.session:
            self._recovering[vm] = self._fenced[before.session]
        loss = self._recovering.get(vm)
        if loss is None or placement.phase is not Phase.ASSIGNED:
            return
        if not loss.assigned_at and self._is_leading():
            self.phases["assigned"].note(now - loss.proven_at)
        # A start that failed is followed by another, under another epoch: the vm was down all the time.
        self._recovering[vm] = replace(loss, assigned_at=loss.assigned_at or now, epoch=placement.epoch)

    def _seen(self, vm: VmName, snapshot: Snapshot) -> None:
        loss, view = self._recovering[vm], snapshot.vms.get(vm)
        if view is None or not loss.assigned_at:
            return
        running = (one.epoch for one in snapshot.observations(view) if one.state is SeenState.RUNNING)
        if loss.epoch not in running:
            return
        del self._recovering[vm]
        if self._is_leading():
            now = self._clock.now()
            self.phases["started"].note(now - loss.assigned_at)
            self.failover.note(now - loss.lost_at)

    def _forget(self, now: float) -> None:
        self._fenced = {one: loss for one, loss in self._fenced.items() if now - loss.proven_at < FORGET_AFTER_S}
        self._recovering = {vm: loss for vm, loss in self._recovering.items() if now - loss.lost_at < FORGET_AFTER_S}

    # --- placements

    def _placement(self, vm: VmName, snapshot: Snapshot) -> None:
        view = snapshot.vms.get(vm)
        placement = view.placement.value if view and view.placement else None
        before = self._before.pop(vm, None)
        if placement is None:
            self._recovering.pop(vm, None)
        else:
            self._before[vm] = placement
            self._recovery(vm, before, placement)
        if before is not None and self._is_leading():
            self._migration(before, placement)

    def _migration(self, before: Placement, now: Placement | None) -> None:
        if before.phase is Phase.MIGRATING and (result := _result(before, now)):
            self.migrations[result] += 1
        if now is not None and now.moved is not None and now.moved != before.moved:
            self.migration.note(now.moved.total_s + now.moved.stood_s)
            self.downtime.note(now.moved.downtime_s)


def _result(before: Placement, now: Placement | None) -> str:
    """Of the migration that was under way; empty: it still is."""
    if now is None:
        return "lost"
    match now.phase:
        case Phase.MIGRATING:
            return ""
        case Phase.ASSIGNED | Phase.HELD if now.arrival and now.node == before.target:
            return "done"
        case Phase.HELD if now.node == before.node:
            return "cancelled" if before.cancel is not None else "failed"
        case _:
            return "lost"
