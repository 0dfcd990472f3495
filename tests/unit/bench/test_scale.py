"""What ``make scale`` takes and prints, and what it says of a loop that stood."""

import asyncio

import pytest
from bench.scale import asked_for
from bench.scale_result import Phase, Result, latencies, table
from bench.scale_stalls import Stacks, WatchedSelector

from vmha.model.clock import SystemClock
from vmha.model.keys import encode
from vmha.model.settings import ClusterConfig
from vmha.node.stalls import Stalls


def test_ten_thousand_vms_on_five_hundred_played_nodes_are_what_is_measured_unless_asked_otherwise() -> None:
    asked = asked_for([])
    assert (asked.agents, asked.nodes, asked.vms, asked.lost) == ("played", 500, 10_000, 10)
    asked = asked_for(["--agents", "real", "--vms", "0"])
    assert (asked.nodes, asked.vms, asked.processes) == (48, 0, 3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--nodes 3", "--nodes: 3: too few (accepted: 8 or more)"),
        ("--agents real --nodes 8", "--nodes: 8: too few (accepted: 9 or more)"),
        ("--vms 0", "--vms: 0: too few (accepted: 1 or more)"),
        ("--agents real --processes 1", "--processes: 1: too few (accepted: 2 or more)"),
        ("--beat 4", "--beat: 4.0: played agents have none (accepted with --agents real)"),
        ("--agents real --beat 0", "--beat: 0: too short (accepted: more than 0 seconds)"),
        ("--lost -1", "--lost: -1: too few (accepted: 0 or more)"),
    ],
)
def test_what_can_not_be_measured_is_refused_by_its_name_before_anything_begins(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        asked_for(words.split())
    assert refused.value.code == 2
    assert said in capsys.readouterr().err


def test_latencies_are_of_the_slowest_and_of_the_one_in_the_middle() -> None:
    assert latencies([float(number) for number in range(200, 0, -1)]) == {
        "of": 200,
        "median": 100.5,
        "p99": 199.0,
        "max": 200.0,
    }
    assert latencies([]) == {}


def test_table_shows_each_phase_and_says_below_what_was_written_beside_beats_and_what_was_not_judged() -> None:
    common = {"events": 30, "events_per_s": 3.0, "leader_cpu_s": 1.0, "etcd_cpu_s": 1.0, "hosts_cpu_s": 1.0}
    common |= {
        "etcd_sent_mib": 35.2,
        "stall_s": 0.061,
        "long_turns": 2,
        "turn_cpu_s": 0.012,
        "leader_peak_mib": 200.0,
        "load": 1.0,
    }
    phase = Phase(name="idle", rest_s=10.0, beats=20, written={"status": 10}, **common)
    about = {"agents": "played", "nodes": 10, "vms": 5, "processes": 0, "cores": 2}
    said = table(Result(**about, beat_s=2.0, hold_s=10.0, lease_s=8, phases=[phase]))
    assert "35        0.06   2       0.012     200" in said
    assert "beyond them 1.00 writes a node {'status': 10}" in said
    assert "vms that ran twice or other breaches: not judged: nothing ran" in said


def test_turn_that_takes_long_is_told_with_what_it_was_in() -> None:
    stacks = Stacks(SystemClock())
    record = ClusterConfig()

    async def stand() -> None:
        """Until a look, which may come at any instant of the turn, has come in what it does most."""
        async with asyncio.timeout(60.0):
            while not any("model/keys.py" in str(one["in"]) for one in stacks.take()):
                for _ in range(2000):
                    encode(record)
                await asyncio.sleep(0)

    turns = Stalls()
    watched = WatchedSelector(Stalls(), SystemClock(), lambda: None, turns=turns, stacks=stacks)
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(watched)) as runner:
        runner.run(stand())
    stacks.end()
    assert turns.longest_s > 0
