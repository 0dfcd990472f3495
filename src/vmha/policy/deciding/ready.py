"""When is a vm ready, so that what needs it may start? It runs, as its holder's living session sees it, and all
probes that are for readiness answer (model/health.py); what is not known of them yet is not ready."""

from vmha.model.records import Observation, Phase, SeenState
from vmha.policy.placing.field import Field
from vmha.policy.state.snapshot import VmView


def is_ready(vm: VmView, ground: Field) -> bool:
    return ready_since(vm, ground) is not None


def ready_since(vm: VmView, ground: Field) -> float | None:
    """Since when, by its node's wall clock; None: it is not ready, or nobody knows."""
    seen = _seen_by_its_holder(vm, ground)
    if seen is None or seen.state is not SeenState.RUNNING:
        return None
    asked = vm.spec is not None and any(probe.readiness or probe.start_gate for probe in vm.spec.value.probes)
    return seen.since if not asked or (seen.health is not None and seen.health.ready) else None


def _seen_by_its_holder(vm: VmView, ground: Field) -> Observation | None:
    placement = vm.placement.value if vm.placement else None
    if placement is None or placement.node is None or placement.phase not in (Phase.HELD, Phase.MIGRATING):
        return None
    verdict, seen = ground.verdicts.get(placement.node), vm.seen.get(placement.node)
    if verdict is None or not verdict.is_alive or seen is None:
        return None
    return seen if seen.session == placement.session == ground.snapshot.nodes[placement.node].session_id else None
