"""Random lives of a cluster, a fixed set of them: every fault at any time, then healing. A failing seed can be replayed
with the command that the message names.
"""

from dataclasses import replace

import pytest

from vmha.hypervisor.twin.fabric import SimulatedFabric
from vmha.model.errors import Rejected
from vmha.sim.chaos import Life, live
from vmha.sim.drawing.draw import Options, draw
from vmha.sim.drawing.schedule_file import from_text, to_json
from vmha.sim.faults.catalogue import selected
from vmha.sim.faults.schedule import Schedule
from vmha.sim.judge.invariants import Violation
from vmha.sim.lives import replay_command, total, trace_of
from vmha.sim.quiet import silence_logs
from vmha.sim.shrink import shrink

SMALL = Options(steps=100)
CUT_OFF = Options(steps=60, faults="network,agent-stopped,start,migrate")
ONE_NODE = Options(nodes=(1, 1), vms=(2, 2), steps=60)
FIVE_NODES = Options(nodes=(5, 5), vms=(8, 8), steps=100)


def lived(seed: int, options: Options) -> Life:
    silence_logs()
    return live(seed, options)


def explained(life: Life, options: Options) -> str:
    wrong, last = "\n".join(life.what_is_wrong()), "\n".join(trace_of(life)[-20:])
    return f"{wrong}\n{last}\nreplay: {replay_command(life.seed, options)}"


@pytest.mark.parametrize("seed", range(1, 51))
def test_three_nodes_keep_the_invariants_and_recover(seed: int) -> None:
    life = lived(seed, SMALL)
    assert life.is_good, explained(life, SMALL)


@pytest.mark.parametrize("seed", range(1, 6))
def test_five_nodes_keep_the_invariants_and_recover(seed: int) -> None:
    life = lived(seed, FIVE_NODES)
    assert life.is_good, explained(life, FIVE_NODES)


@pytest.mark.parametrize("seed", range(1, 6))
def test_single_node_keeps_the_invariants_and_recovers(seed: int) -> None:
    life = lived(seed, ONE_NODE)
    assert life.is_good, explained(life, ONE_NODE)


def test_same_seed_lives_the_same_life() -> None:
    assert lived(7, SMALL) == lived(7, SMALL)


def test_guard_that_ends_nothing_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle sees what it is there for: without the self-fence, lost nodes' guests run twice."""
    monkeypatch.setattr(SimulatedFabric, "kill_managed", lambda self, host: ())
    wanted, found = {"never-two", "evicted-guests-do-not-run"}, set()
    for seed in range(7, 37):
        found |= {violation.law for violation in lived(seed, CUT_OFF).violations}
        if wanted <= found:
            return
    raise AssertionError(f"found only {sorted(found)}")


def test_dense_faults_leave_a_cluster_that_does_everything() -> None:
    """A cluster that is struck without pause would recover nothing, and prove nothing."""
    options = Options(nodes=(3, 5), vms=(4, 6), steps=300)
    by_hand = replace(options, faults="hand,power,network")  # what a hand begins is rarely left to end otherwise
    lives = [*(lived(seed, options) for seed in range(301, 309)), *(lived(seed, by_hand) for seed in range(301, 304))]
    reached = total(lives)
    wanted = {
        "adopt",
        "arrived",
        "departed",
        "fenced: guard_elapsed",
        "fenced: power_off_confirmed",
        "fenced: watchdog_elapsed",
        "handed-over",
        "migration-failed",
        "recover",
        "start-failed",
        "stopped",
    }
    assert wanted <= reached.keys(), sorted(wanted - reached.keys())
    assert reached["struck"] > 2 * reached["passed over"] / 3, reached


@pytest.mark.parametrize("chosen", ["frieze", "power,-frieze"])
def test_fault_that_does_not_exist_is_refused_with_what_is_accepted(chosen: str) -> None:
    with pytest.raises(Rejected, match=r"'frieze' is no kind of fault, did you mean freeze.*libvirtd-hangs"):
        selected(chosen)


def test_faults_are_chosen_by_name_and_kind_and_left_out_by_a_minus() -> None:
    assert {fault.name for fault in selected("freeze,clock,-wall-jumps-back")} == {"freeze", "wall-jumps-ahead"}
    assert {fault.name for fault in selected("-store")} == {f.name for f in selected("")} - {
        f.name for f in selected("store")
    }


def test_schedule_that_was_saved_lives_the_same_life() -> None:
    schedule = draw(7, SMALL)
    assert from_text(to_json(schedule), file="saved") == schedule


def test_failing_schedule_shrinks_to_the_steps_that_matter() -> None:
    schedule = draw(7, Options(steps=500))
    needed = {schedule.steps[17], schedule.steps[230], schedule.steps[231]}
    good = lived(7, Options(steps=0))

    def play(tried: Schedule) -> Life:
        is_bad = needed <= set(tried.steps)
        return replace(good, violations=(Violation(at_s=1e9, law="never-two", text="two"),) if is_bad else ())

    smaller, wrong = shrink(schedule, play(schedule), play=play)
    assert set(smaller.steps) == needed
    assert wrong.laws() == {"never-two"}
