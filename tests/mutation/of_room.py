"""Mutants of the count of what every node carries: a vm on its way is left out of it at one of its ends."""

from collections.abc import Callable
from typing import Any

from vmha.model.records import Phase, Placement
from vmha.policy import plan
from vmha.policy.deciding import making_room
from vmha.policy.placing import placement as placing
from vmha.policy.state.reservation import size_of

from .mutant import Change, Mutant


def _not_counted(end: Callable[[Placement], Any]) -> Callable[[], tuple[Change, ...]]:
    original = placing.survey

    def survey(snapshot: Any, verdicts: Any, wall: float, census: Any = None, preferences: Any = None) -> Any:
        ground = original(snapshot, verdicts, wall, census, preferences)
        for vm in snapshot.vms.values():
            held = vm.placement.value if vm.placement else None
            if held is None or vm.spec is None or held.phase is not Phase.MIGRATING:
                continue
            load, size = ground.loads[end(held)], size_of(vm.spec.value, held)
            load.memory_mib -= size.memory_mib
            load.vcpus -= size.vcpus
        return ground

    return lambda: ((plan, "survey", survey), (making_room, "survey", survey))


OF_ROOM = (
    Mutant(
        name="incoming-takes-no-room",
        removed="a vm that migrates takes its room at its target from when it is asked to",
        changes=_not_counted(lambda held: held.target),
    ),
    Mutant(
        name="outgoing-takes-no-room",
        removed="a vm that migrates takes its room at its source until it is handed over",
        changes=_not_counted(lambda held: held.node),
    ),
)
