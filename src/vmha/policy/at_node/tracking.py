"""What was done behind our back: copies that nobody granted."""

from vmha.model.ids import NodeName
from vmha.model.records import Observation, Phase, SeenState
from vmha.model.vm import OnDuplicate, VmSpec
from vmha.policy.deciding.post_copy import POSTCOPY
from vmha.policy.state.snapshot import Snapshot, VmView

DUPLICATE_GRACE_S = 1.0
"""A hand-made migration shows the guest on both sides for an instant (0.2 s measured): that is no duplicate."""


SURE_OF_SECOND_S = 30.0
"""A holder that says for so long, with a hypervisor that answers, that it runs the vm is not speaking of the past."""


def stands_beside(vm: VmView, me: NodeName, snapshot: Snapshot) -> bool:
    """Whether a guest that stands on ``me`` is one too many: the holder, who looks and answers, runs the vm.

    At one glance that is no certainty: a guest that a hand has migrated here is shown at its source until somebody
    looks there. It counts when it has been so for ``SURE_OF_SECOND_S``.
    """
    placement = vm.placement.value if vm.placement else None
    if placement is None or placement.phase is not Phase.HELD or placement.node in (None, me):
        return False
    here, there = vm.seen.get(me), vm.seen.get(placement.node) if placement.node else None
    holder = snapshot.nodes.get(placement.node) if placement.node else None
    if here is None or here.state is not SeenState.PAUSED or here.second or here not in snapshot.observations(vm):
        return False
    if there is None or there.state is not SeenState.RUNNING or there.session != placement.session:
        return False
    status = holder.current_status if holder else None
    is_there = holder is not None and holder.session is not None and holder.session_id == placement.session
    return is_there and status is not None and status.eligible


def find_rightful(vm: VmView, me: NodeName, snapshot: Snapshot) -> Observation | None:
    """What the holder saw of a vm that runs on ``me`` as well: both run now, and ``me`` holds no claim.

    None unless the holder's session lives and sees it running: only then is the copy here one too many. What runs
    here while the holder's does not is adopted, never ended.
    """
    placement = vm.placement.value if vm.placement else None
    if placement is None or placement.phase is not Phase.HELD or placement.node == me:
        return None
    if placement.leaving_to == me:
        return None  # it has come; its source, which may be silent by now, has not said that it is gone there
    running = {o.node: o for o in snapshot.observations(vm) if o.state is SeenState.RUNNING}
    if me not in running or placement.node is None:
        return None
    if running[me].reason == POSTCOPY:
        return None  # what it still pulls from does not run: that is shown of the past
    rightful = running.get(placement.node)
    return rightful if rightful is not None and rightful.session == placement.session else None


def on_duplicate(spec: VmSpec) -> OnDuplicate:
    """What is done about a second copy. One of a vm that must not be killed is made to stand still instead of ended."""
    if spec.no_kill and spec.on_duplicate is OnDuplicate.DESTROY:
        return OnDuplicate.PAUSE
    return spec.on_duplicate
