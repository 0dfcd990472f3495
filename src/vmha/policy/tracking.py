"""What was done behind our back: copies that nobody granted."""

from vmha.model.ids import NodeName
from vmha.model.records import Observation, Phase, SeenState
from vmha.policy.snapshot import Snapshot, VmView

DUPLICATE_GRACE_S = 1.0
"""A hand-made migration shows the guest on both sides for an instant (0.2 s measured): that is no duplicate."""


def find_rightful(vm: VmView, me: NodeName, snapshot: Snapshot) -> Observation | None:
    """What the holder saw of a vm that runs on ``me`` as well: both run now, and ``me`` holds no claim.

    None unless the holder's session lives and sees it running: only then is the copy here one too many. What runs
    here while the holder's does not is adopted, never ended.
    """
    placement = vm.placement.value if vm.placement else None
    if placement is None or placement.phase is not Phase.HELD or placement.node == me:
        return None
    running = {o.node: o for o in snapshot.observations(vm) if o.state is SeenState.RUNNING}
    if me not in running or placement.node is None:
        return None
    rightful = running.get(placement.node)
    return rightful if rightful is not None and rightful.session == placement.session else None
