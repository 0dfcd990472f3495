"""Lives that the simulation found to end badly, each shrunk to the steps that matter."""

from vmha.sim.chaos import Life, live_through
from vmha.sim.quiet import silence_logs
from vmha.sim.schedule import NodeDrawn, Schedule, Step, VmDrawn

TUNED = {
    "beat_s": 0.5,
    "lease_ttl_s": 2,
    "hold_s": 4.0,
    "kill_lead_s": 0.5,
    "margin_s": 2.0,
    "watchdog_s": 2,
    "suspect_s": 1.2,
}
NODES = tuple(NodeDrawn(name=name) for name in ("n1", "n2", "n3"))


def lived(*steps: Step, vms: tuple[VmDrawn, ...]) -> Life:
    silence_logs()
    return live_through(Schedule.model_validate({"timing": TUNED, "nodes": NODES, "vms": vms, "steps": steps}))


def test_guest_sent_elsewhere_by_hand_is_not_handed_over_to_the_target_of_a_migration_asked_for_meanwhile() -> None:
    """It would be started at the target while it runs where the hand has sent it."""
    life = lived(
        Step(at=1.0, do="virsh-migrate", vm="v1", to="n2"),
        Step(at=1.2, do="migrate", vm="v1", to="n3"),
        vms=(VmDrawn(name="v1", migration_s=2.0),),
    )
    assert life.is_good, life.what_is_wrong()
    assert life.reached.get("departed", 0) + life.reached.get("adopt", 0) > 0


def test_guest_that_a_hand_sends_elsewhere_while_it_is_being_stopped_is_not_taken_for_stopped() -> None:
    """It would be started at its next place while it runs where nobody can see it yet."""
    life = lived(
        Step(at=0.8, do="store-cut", node="n3", for_s=3.0),
        Step(at=0.9, do="virsh-migrate", vm="v1", to="n3"),
        Step(at=1.0, do="relocate", vm="v1"),
        Step(at=4.5, do="start", vm="v1"),
        vms=(VmDrawn(name="v1", migration_s=0.5),),
    )
    assert life.is_good, life.what_is_wrong()


def test_migration_waits_until_its_target_has_cleared_away_what_an_earlier_one_left_there() -> None:
    """libvirt refuses a second copy, and a leader that asks again at once would ask for ever."""
    life = lived(
        Step(at=1.0, do="reply-lost", vm="v1"),
        Step(at=1.1, do="migrate", vm="v1", to="n2"),
        *(Step(at=1.3 + 0.2 * again, do="migrate", vm="v1", to="n2") for again in range(10)),
        vms=(VmDrawn(name="v1"),),
    )
    assert life.is_good, life.what_is_wrong()
    assert life.reached.get("migration-failed", 0) < 5, life.reached


def test_wall_clock_set_ahead_by_a_day_keeps_no_vm_waiting_for_a_day() -> None:
    life = lived(
        *(Step(at=1.0, do="wall-jumps-ahead", node=node, number=86400.0) for node in ("n2", "n3")),
        *(Step(at=2.0 + 2.0 * again, do="qemu-dies", vm=vm) for again in range(6) for vm in ("v1", "v2", "v3")),
        vms=tuple(VmDrawn(name=name) for name in ("v1", "v2", "v3")),
    )
    assert life.is_good, life.what_is_wrong()
