"""When is a vm ready, so that what needs it may start? Now: it runs, as its holder's living session sees it."""

from vmha.model.records import Observation, Phase, SeenState
from vmha.policy.placement import Field
from vmha.policy.snapshot import VmView


def is_ready(vm: VmView, ground: Field) -> bool:
    return ready_since(vm, ground) is not None


def ready_since(vm: VmView, ground: Field) -> float | None:
    """Since when, by its node's wall clock; None: it is not ready, or nobody knows."""
    seen = _seen_by_its_holder(vm, ground)
    return seen.since if seen is not None and seen.state is SeenState.RUNNING else None


def _seen_by_its_holder(vm: VmView, ground: Field) -> Observation | None:
    placement = vm.placement.value if vm.placement else None
    if placement is None or placement.node is None or placement.phase not in (Phase.HELD, Phase.MIGRATING):
        return None
    verdict, seen = ground.verdicts.get(placement.node), vm.seen.get(placement.node)
    if verdict is None or not verdict.is_alive or seen is None:
        return None
    return seen if seen.session == placement.session == ground.snapshot.nodes[placement.node].session_id else None
