"""Lives that the simulation found to end badly, each shrunk to the steps that matter."""

from vmha.model.vm import Handover, Migration
from vmha.sim.chaos import Life, live_through
from vmha.sim.faults.schedule import NodeDrawn, Schedule, Step, VmDrawn
from vmha.sim.quiet import silence_logs

TUNED = {
    "beat_s": 0.5,
    "lease_ttl_s": 2,
    "hold_s": 4.0,
    "kill_lead_s": 0.5,
    "margin_s": 2.0,
    "watchdog_s": 2,
    "suspect_s": 1.2,
}
NODES = tuple(NodeDrawn(name=name, has_watchdog=name == "n1") for name in ("n1", "n2", "n3"))


def lived(*steps: Step, vms: tuple[VmDrawn, ...], peers: bool = False) -> Life:
    silence_logs()
    drawn = {"timing": TUNED, "nodes": NODES, "vms": vms, "steps": steps, "peers": peers}
    return live_through(Schedule.model_validate(drawn))


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


def test_guest_paused_by_a_hand_on_its_way_is_resumed_when_its_migration_has_ended() -> None:
    """At the end of a life it would stay paused, and nothing would be wrong with the cluster."""
    life = lived(
        Step(at=1.0, do="virsh-migrate", vm="v1", to="n3"),
        Step(at=1.2, do="power-cut", node="n3", for_s=10.0),
        Step(at=1.4, do="virsh-suspend", vm="v1", for_s=5.0),
        vms=(VmDrawn(name="v1", migration_s=2.0),),
    )
    assert life.is_good, life.what_is_wrong()
    assert life.reached["struck"] == 3, life.done


def test_agent_restarted_while_promises_held_does_not_take_the_store_for_restored() -> None:
    """Its guard counts from the last promise, which is later than the last beat in the store; all decisions stopped."""
    life = lived(
        Step(at=1.0, do="etcd-stops", for_s=3.0),
        Step(at=3.5, do="agent-killed", node="n2", for_s=0.2),
        vms=(VmDrawn(name="v1"),),
        peers=True,
    )
    assert life.is_good, life.what_is_wrong()
    assert life.reached.get("failsafe", 0) > 0, life.reached
    assert life.reached.get("store-went-back", 0) == 0, life.reached


def test_answers_that_were_to_be_lost_are_lost_no_more_once_everything_is_mended() -> None:
    """A node that was off for so long that many added up would begin no session, and be fenced for it."""
    life = lived(
        Step(at=1.0, do="power-cut", node="n2", for_s=1.0),
        *(Step(at=1.1 + at / 100, do="answer-lost", node="n2") for at in range(60)),
        vms=(VmDrawn(name="v1"),),
    )
    assert life.is_good, life.what_is_wrong()
    assert life.reached["struck"] == 61, life.reached
    assert life.simulated_s < 25.0, life.done


def test_boot_is_no_proof_for_a_guest_that_came_by_libvirts_switch_after_it() -> None:
    """Its holder is the session of before the boot, which still seemed to live: it would be started a second time."""
    life = lived(
        Step(at=0.99, do="store-cut", node="n3", for_s=3.0),
        Step(at=1.0, do="power-cut", node="n3", for_s=0.2),
        Step(at=1.25, do="migrate", vm="v1", to="n3"),
        Step(at=6.0, do="watch-breaks", node="n2"),
        vms=(VmDrawn(name="v1", migration=Migration(handover=Handover.LIBVIRT), migration_s=0.3),),
    )
    assert life.is_good, life.what_is_wrong()
    assert life.reached.get("handed-over", 0) == 0, life.reached


def test_booted_node_that_does_not_look_before_its_session_is_over_by_time_is_sent_no_guest_by_libvirts_switch() -> (
    None
):
    """Evicted by time, with a guest that nothing guards, it would be no proof."""
    life = lived(
        Step(at=0.99, do="store-cut", node="n3", for_s=14.0),
        Step(at=1.0, do="power-cut", node="n3", for_s=0.2),
        Step(at=1.25, do="migrate", vm="v1", to="n3"),
        Step(at=18.0, do="watch-breaks", node="n2"),
        vms=(VmDrawn(name="v1", migration=Migration(handover=Handover.LIBVIRT), migration_s=0.3),),
    )
    assert life.is_good, life.what_is_wrong()
    assert life.reached["migration-failed"] >= 1, life.reached


def test_cord_plugged_in_again_does_not_pet_the_watchdog_of_a_host_that_stands_still() -> None:
    """The simulated host's own: its guests ran on when it thawed, after the watchdog's time was taken for proof."""
    life = lived(
        Step(at=1.1, do="power-cut-at-step", node="n1", for_s=0.5, number=10_000),
        Step(at=1.2, do="freeze", node="n1", for_s=9.0),
        Step(at=11.0, do="watch-breaks", node="n2"),
        vms=(VmDrawn(name="v1"), VmDrawn(name="v2")),
    )
    assert life.is_good, life.what_is_wrong()
    assert life.reached.get("recover"), life.reached


def test_guest_that_hands_send_over_several_hosts_before_its_adopter_has_marked_it_is_no_second_copy() -> None:
    """The judge's own: it took one hop for all that hands do within two seconds."""
    life = lived(
        Step(at=2.0, do="store-slow", node="n2", for_s=20.0, number=1.2),
        Step(at=3.0, do="virsh-migrate", vm="v1", to="n2"),
        Step(at=4.2, do="virsh-migrate", vm="v1", to="n3"),
        Step(at=4.6, do="store-cut", node="n3", for_s=2.6),
        Step(at=5.0, do="virsh-migrate", vm="v1", to="n1"),
        vms=(VmDrawn(name="v1", migration_s=0.6),),
    )
    assert life.is_good, life.what_is_wrong()
    assert life.reached.get("adopt"), life.reached
