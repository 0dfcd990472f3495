"""What an agent takes into account before it decides about one vm: the record, the guest, and what this process knows.

What counts only when it has lasted for a while is counted here (``Lasting``). Nothing is done; the decision itself is
``policy.at_node.reconcile``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from vmha.agent.health import HealthWatch
from vmha.agent.inventory import Inventory
from vmha.agent.lasting import Lasting
from vmha.agent.memory import Memory, try_of
from vmha.agent.pauses import Pauses
from vmha.agent.ports import AgentPorts
from vmha.hypervisor.port import Ending
from vmha.model.ids import NodeName, VmName
from vmha.model.records import (
    Phase,
    Placement,
    SeenState,
    Stored,
)
from vmha.model.vm import OnDuplicate
from vmha.policy.at_node.health import Consequence
from vmha.policy.at_node.known import Attempt, Local, Others
from vmha.policy.at_node.not_let_go import why_given_up
from vmha.policy.at_node.paused import is_ours_alone
from vmha.policy.at_node.reconcile import SAYS_WHAT_IS, Action, reconcile, under_hold
from vmha.policy.at_node.tracking import DUPLICATE_GRACE_S, SURE_OF_SECOND_S, find_rightful, on_duplicate, stands_beside
from vmha.policy.deciding.leaving import find_where_it_comes_in, has_come
from vmha.policy.deciding.post_copy import PULLS_IN_VAIN_S, find_seen, is_post_copy, is_session_over, runs_at_once
from vmha.policy.state.hands_off import hands_off
from vmha.policy.state.snapshot import Snapshot, VmView

UNSURE_ARRIVAL_S = 30.0
LEFT_STANDING_S = 5.0
"""A libvirtd that is stuck shows in its node's status only after its calls have timed out and the sweep has come by."""


@dataclass(slots=True, kw_only=True)
class Outlook:
    """``alarmed``: second copies that were told of, and are to be left."""

    ports: AgentPorts
    inventory: Inventory
    health: HealthWatch
    pauses: Pauses
    memory: Memory
    mark: Callable[[set[VmName]], None]
    alarmed: set[VmName] = field(default_factory=set)
    _lately: set[VmName] = field(default_factory=set)
    _duplicate: Lasting = field(init=False)
    _beside: Lasting = field(init=False)
    _answering: Lasting = field(init=False)
    _silence: Lasting = field(init=False)
    _standing: Lasting = field(init=False)
    _incoming: Lasting = field(init=False)
    _pulling: Lasting = field(init=False)

    def __post_init__(self) -> None:
        self._duplicate = Lasting(self.ports.clock, DUPLICATE_GRACE_S, self.mark)
        self._beside = Lasting(self.ports.clock, SURE_OF_SECOND_S, self.mark)
        self._answering = Lasting(self.ports.clock, UNSURE_ARRIVAL_S, self.mark)
        self._silence = Lasting(self.ports.clock, UNSURE_ARRIVAL_S, self.mark)
        self._standing = Lasting(self.ports.clock, LEFT_STANDING_S, self.mark)
        self._incoming = Lasting(self.ports.clock, LEFT_STANDING_S, self.mark)
        self._pulling = Lasting(self.ports.clock, PULLS_IN_VAIN_S, self.mark)

    def concerns(self, vm: VmName, view: VmView | None) -> bool:
        """Is it this node's business, or was it at the last look? Nothing is to be decided about any other.

        Every agent hears of every change in the cluster, and almost all are of vms that only concern others. One that
        has ceased to be ours is looked at once more: what was counted of it ends then.
        """
        if self._is_ours(vm, view):
            self._lately.add(vm)
        return vm in self._lately

    def _is_ours(self, vm: VmName, view: VmView | None) -> bool:
        """Something of it is here, was last shown to be here, or is here by its placement, or on the way here."""
        reading, node = self.inventory.reading, self.ports.node
        if reading is not None and vm in reading.domains:
            return True
        if view is None:
            return False
        placement = view.placement.value if view.placement else None
        named = placement is not None and node in (placement.node, placement.target, placement.leaving_to)
        return named or node in view.seen

    def decide(
        self, vm: VmName, view: VmView | None, placement: Stored[Placement] | None, snapshot: Snapshot
    ) -> Action:
        session, reading = self.ports.keeper.confirmed, self.inventory.reading
        if session is None or reading is None or self.inventory.trouble or not self.inventory.is_published(session):
            return Action.NOTHING
        if not self._is_ours(vm, view):
            self._lately.discard(vm)
        spec = view.spec.value if view and view.spec else None
        target = placement.value.target if placement else None
        at_once = runs_at_once(placement.value if placement else None, spec)
        local = reading.local(vm)
        is_ours = is_ours_alone(view, placement.value if placement else None, self.ports.node, session.id, snapshot)
        if local is not None:
            self._silence.ends(vm)
        by_hand = placement is not None and placement.value.came_by_hand
        reaction = self.pauses.look(vm, local, spec, is_held=is_ours, came_by_hand=by_hand)
        attempt = replace(self._attempt(vm, view, placement, local, snapshot), pause=reaction.deed)
        action = reconcile(
            placement.value if placement else None,
            reading.local(vm),
            me=self.ports.node,
            session=session.id,
            managed=spec is not None or snapshot.is_unreadable("vms", vm, "spec"),
            attempt=attempt,
            others=Others(
                at_target=find_seen(target, view, snapshot),
                target_answers=not at_once or self._target_answers(vm, placement, snapshot),
                target_lacks_it=self._target_lacks_it(vm, placement, snapshot) if attempt.left_by_migration else False,
                target_is_over=is_session_over(target, snapshot),
                seen_elsewhere=_is_seen_elsewhere(self.ports.node, view, placement, snapshot),
                comes_in=find_where_it_comes_in(view, self.ports.node, snapshot) if view else None,
                duplicate=self._on_duplicate(vm, view, snapshot),
                stands_beside=self._beside.has_lasted(
                    vm, view is not None and stands_beside(view, self.ports.node, snapshot)
                ),
            ),
            runs_at_once=at_once,
            post_copy=is_post_copy(placement.value if placement else None, spec),
        )
        if snapshot.unsettled and action not in SAYS_WHAT_IS:
            return Action.NOTHING  # the placement may be of the past (policy/deciding/restored.py)
        if view is not None and hands_off(view, snapshot):
            return under_hold(action, placement.value if placement else None, reading.local(vm))
        return action

    def _attempt(
        self,
        vm: VmName,
        view: VmView | None,
        placement: Stored[Placement] | None,
        local: Local | None,
        snapshot: Snapshot,
    ) -> Attempt:
        tried = self.memory.migrations_tried.get(vm)
        held_here = placement is not None and placement.value.node == self.ports.node
        held_here = held_here and placement is not None and placement.value.phase is Phase.HELD
        return Attempt(
            migration_tried=tried is not None and placement is not None and tried[0] == try_of(placement.value),
            left_by_migration=self.ports.hypervisor.find_ending(vm) is Ending.MIGRATED
            or (placement is not None and self.memory.left_unseen.get(vm) == placement.modified),
            migration_is_ours=placement is not None
            and (self.memory.migrated.get(vm) == try_of(placement.value) or has_come(view, placement, snapshot)),
            is_unwell=local is not None and self._is_unwell(vm, local),
            measured=placement is not None and self.memory.measured.get(vm) == placement.value.epoch,
            left_standing=self._standing.has_lasted(vm, local is not None and local.stands_outgoing),
            left_incoming=self._incoming.has_lasted(
                vm, local is not None and local.state is SeenState.INCOMING and not self._is_expected(placement)
            ),
            is_given_up=placement is not None and self.memory.given_up.get(vm) == try_of(placement.value),
            let_go_in_vain=placement is not None and bool(self._why_not_let_go(placement.value, view)),
            pulls_in_vain=self._pulling.has_lasted(vm, local is not None and local.is_pulling and held_here),
        )

    def _why_not_let_go(self, placement: Placement, view: VmView | None) -> str:
        spec = view.spec.value if view and view.spec else None
        return why_given_up(self.memory.not_let_go.get(placement.vm), placement, spec, self.ports.clock.now())

    def _is_expected(self, placement: Stored[Placement] | None) -> bool:
        """By migration, here."""
        return placement is not None and self.ports.node in (placement.value.target, placement.value.node)

    def _is_unwell(self, vm: VmName, local: Local) -> bool:
        judged = self.health.judged(vm, local.epoch)
        return judged is not None and judged.consequence is not Consequence.NONE

    def _target_answers(self, vm: VmName, placement: Stored[Placement] | None, snapshot: Snapshot) -> bool:
        """Whether what the target of a migration does not show is known not to be there: it has been saying so with a
        working hypervisor for ``UNSURE_ARRIVAL_S``, or its session is over.
        """
        target = placement.value.target if placement and placement.value.phase is Phase.MIGRATING else None
        view = snapshot.nodes.get(target) if target else None
        if view is None or view.beat is None:
            self._answering.ends(vm)
            return True
        status = view.current_status
        if view.session is None or status is None or not status.eligible:
            self._answering.ends(vm)
            return False
        return self._answering.has_lasted(vm)

    def _target_lacks_it(self, vm: VmName, placement: Stored[Placement] | None, snapshot: Snapshot) -> bool | None:
        """See ``Others``."""
        target = placement.value.target if placement else None
        view = snapshot.nodes.get(target) if target else None
        is_over = view is None or view.beat is None
        has_been_over = self._silence.has_lasted(vm, is_over)
        return True if has_been_over or (not is_over and self._target_answers(vm, placement, snapshot)) else None

    def _on_duplicate(self, vm: VmName, view: VmView | None, snapshot: Snapshot) -> OnDuplicate | None:
        """What to do with a second copy here, once it has been one for longer than a migration's switch."""
        if view is None or view.spec is None or find_rightful(view, self.ports.node, snapshot) is None:
            self._duplicate.ends(vm)
            self.alarmed.discard(vm)
            return None
        if vm in self.alarmed:
            return None  # said once, and to be left
        return on_duplicate(view.spec.value) if self._duplicate.has_lasted(vm) else None


def _is_seen_elsewhere(
    me: NodeName, view: VmView | None, placement: Stored[Placement] | None, snapshot: Snapshot
) -> bool:
    if view is None or placement is None or placement.value.phase is not Phase.MIGRATING:
        return False
    ours = (me, placement.value.target)
    return any(o.state is SeenState.RUNNING and o.node not in ours for o in snapshot.observations(view))
