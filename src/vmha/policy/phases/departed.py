"""A vm that left the cluster by a migration: never started by us until it is seen, or confirmed gone."""

from vmha.policy.deciding.decision import Decision, adopt, seen_running
from vmha.policy.placing.field import Field
from vmha.policy.state.snapshot import Moment, VmView
from vmha.policy.state.steps import Waiting


def decide_departed(vm: VmView, ground: Field, moment: Moment) -> Decision:
    running = seen_running(vm, ground)
    if running:
        return adopt(vm, running[0], ground, moment, why="it was migrated there by hand")
    assert vm.placement
    return Decision(waiting=Waiting(vm=vm.name, text=vm.placement.value.ended_why))
