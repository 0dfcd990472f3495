"""Who catches which mutant: the schedule or the history of the simulation that shows it, and the law that then breaks.

A schedule lies in ``schedules/NAME.json``, shrunk to the steps that matter; ``found`` says where it came from. One that
a seed drew is found again by ``python -m tests.mutation.search NAME --first SEED --last SEED --profiles PROFILE``, as
long as the drawing of lives does not change; the schedule itself stays. What a schedule can not say (a lying fence
agent, a cloned host, a store restored from a backup) is a directed history: a function of the test suite.

``tests/model/planted.py`` has those that the exhaustive explorer catches.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """``found``: the seed and the profile of kinds of faults, or "by hand". ``history``: module and function, else a
    schedule of the mutant's name."""

    law: str
    found: str = "by hand"
    history: str = ""


_TWO, _EVICTED, _SUPERSEDED = "never-two", "evicted-guests-do-not-run", "superseded-guests-do-not-run"
_FENCING, _FAILSAFE = "tests.sim.test_fencing", "tests.sim.test_failsafe"
_HARD, _RESTORED = "tests.sim.test_hard_cases", "tests.sim.test_restored_store"
_MIGRATION = "tests.sim.test_migration_faults"
_FULL, _BOTH_ENDS = "no-node-is-given-more-than-it-has", "tests.sim.test_room_at_both_ends"
_UNFIT, _FIT_NODES = "only-a-fit-node-is-given-a-vm", "tests.sim.test_only_fit_nodes"
_REBOOTED = f"{_FENCING}:test_node_fenced_and_quickly_rebooted_gets_nothing_before_its_guard_and_inventory_are_there"
_OWN = "tests.mutation.histories"
_QUEUED = f"{_HARD}:test_start_still_queued_when_its_agent_is_killed_is_given_to_nobody_else_before_it_is_certain"

SHOWN = {
    "guard-never-ends-guests": Shown(law=_EVICTED, found="seed 10, work"),
    "takeover-before-the-hold-ends": Shown(law=_EVICTED, found="seed 3, switch"),
    "suspicion-taken-for-proof": Shown(law=_EVICTED, found="seed 14, hosts"),
    "recovery-without-proof": Shown(law="a-claim-leaves-only-by-proof", found="seed 3, switch"),
    "claim-without-compare-of-the-placement": Shown(law="a-new-holder-has-a-new-epoch", found="seed 28, work"),
    "step-without-compare-of-the-leader-key": Shown(law="only-the-leader-leads", found="seed 12, all"),
    "handover-without-waiting-for-the-source": Shown(law=_SUPERSEDED, found="seed 3, switch"),
    "arrival-not-left-paused": Shown(law=_TWO),
    "arrival-resumed-before-the-claim": Shown(law=_TWO),
    "new-holder-under-the-old-epoch": Shown(law="a-new-holder-has-a-new-epoch"),
    "unconfirmed-power-off-believed": Shown(law=_TWO),
    "promise-of-some-is-enough": Shown(law=_TWO),
    "start-gate-open": Shown(law=_TWO),
    "eviction-without-compare-of-the-beat": Shown(
        law=_EVICTED,
        history=f"{_FENCING}:test_beat_committed_after_the_power_was_cut_refutes_whoever_says_that_it_is_off",
    ),
    "power-off-believed-in-spite-of-a-beat": Shown(
        law=_EVICTED, history=f"{_FENCING}:test_switch_that_says_off_of_a_node_that_beats_on_is_not_believed"
    ),
    "second-machine-of-that-name": Shown(
        law=_TWO, history=f"{_HARD}:test_second_machine_of_the_same_name_is_refused_while_the_first_one_lives"
    ),
    "unsure-start-not-waited-out": Shown(
        law=_TWO,
        history=_QUEUED,
    ),
    "released-without-a-look": Shown(
        law=_SUPERSEDED,
        history=_QUEUED,
    ),
    "session-begins-over-a-start": Shown(
        law=_TWO,
        history=f"{_HARD}:test_start_that_comes_through_after_its_session_is_over_does_not_run_beside_the_recovered_one",
    ),
    "switched-to-a-node-that-shows-no-life": Shown(
        law=_TWO,
        history="tests.sim.test_found_by_seeds"
        ":test_booted_node_that_does_not_look_before_its_session_is_over_by_time_is_sent_no_guest_by_libvirts_switch",
    ),
    "gone-taken-for-migrated": Shown(
        law="memory-is-as-new-as-the-disk",
        history=f"{_MIGRATION}:test_guest_that_ran_on_at_its_source_and_crashed_there"
        "_does_not_go_on_from_what_stands_at_the_target",
    ),
    "leaving-taken-for-lost": Shown(
        law=_TWO,
        history="tests.sim.test_leaving"
        ":test_guest_that_arrives_outside_after_its_node_was_cut_off_runs_there_and_nowhere_else",
    ),
    "gate-of-a-node-without-a-session-open": Shown(
        law=_EVICTED,
        history="tests.sim.test_leaving:test_guest_is_not_let_in_by_a_member_that_has_booted_and_has_no_session_yet",
    ),
    "promise-without-counting-anew": Shown(
        law=_EVICTED,
        history=f"{_FAILSAFE}:test_ten_minutes_without_etcd_end_no_guest_and_move_none_and_then_all_goes_on",
    ),
    "stranger-concludes-from-silence": Shown(
        law=_TWO,
        history=f"{_FAILSAFE}:test_node_that_joins_while_two_live_on_promises_does_not_take_their_guests_over",
    ),
    "listing-decided-on-unconfirmed": Shown(
        law=_TWO,
        history=f"{_RESTORED}:test_backup_made_while_a_vm_was_assigned_lets_its_node_start_no_second_one",
    ),
    "incoming-takes-no-room": Shown(
        law=_FULL, history=f"{_BOTH_ENDS}:test_room_that_a_vm_is_on_its_way_to_is_given_to_nobody_else"
    ),
    "outgoing-takes-no-room": Shown(
        law=_FULL, history=f"{_BOTH_ENDS}:test_room_that_a_vm_leaves_is_given_to_another_only_when_it_is_gone"
    ),
    "status-of-a-former-session-counts": Shown(law=_UNFIT, history=_REBOOTED),
    "fit-without-saying-so": Shown(law=_UNFIT, history=_REBOOTED),
    "eligible-without-an-armed-guard": Shown(
        law=_UNFIT, history=f"{_FIT_NODES}:test_node_whose_guard_is_gone_is_given_nothing_until_it_is_back"
    ),
    "eligible-before-its-inventory": Shown(
        law=_UNFIT,
        history=f"{_FIT_NODES}:test_node_that_boots_before_its_libvirtd_is_given_nothing_until_it_has_looked",
    ),
    "silent-node-taken-for-there": Shown(
        law=_UNFIT,
        history=f"{_FIT_NODES}"
        ":test_node_that_is_silent_is_given_nothing_while_its_session_is_on_record_for_want_of_a_proof",
    ),
    "unknown-taken-for-absent": Shown(
        law=_TWO, history=f"{_OWN}:vm_run_by_hand_is_added_while_nobody_can_look_where_it_runs"
    ),
}
