"""Random lives of a cluster, a fixed set of them: every fault at any time, then healing. A failing seed can be replayed
with the command that the message names.
"""

import pytest

from vmha.hypervisor.fabric import SimulatedFabric
from vmha.sim.chaos import Life, live
from vmha.sim.draw import Options
from vmha.sim.lives import replay_command, trace_of
from vmha.sim.quiet import silence_logs

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
    for seed in range(1, 30):
        found |= {violation.law for violation in lived(seed, CUT_OFF).violations}
        if wanted <= found:
            return
    raise AssertionError(f"found only {sorted(found)}")
