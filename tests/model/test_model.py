"""The explorer over small clusters: nothing wrong in the product, and something wrong as soon as a rule is weakened."""

import pytest

from vmha.sim.quiet import silence_logs

from .explore import Bounds, Found, explore
from .laws import Rules
from .planted import CAUGHT, STARTS, explored_with


@pytest.fixture(autouse=True)
def _quiet() -> None:
    silence_logs()


def checked(found: Found) -> Found:
    assert not found.wrong, found.in_words()
    assert found.is_complete, found.in_words()
    return found


def test_one_node_survives_every_fault_and_its_vm_always_runs_again() -> None:
    assert checked(explore(Bounds(1, 1))).states > 1000


def test_two_nodes_never_run_the_vm_twice_when_a_host_or_a_cable_or_an_agent_fails() -> None:
    kinds = frozenset({"power", "cut", "pause"})  # make model: every kind, and three nodes
    assert checked(explore(Bounds(2, 1, Rules(kinds=kinds)))).states > 1000


@pytest.mark.parametrize("name", sorted(CAUGHT))
def test_weakened_rule_is_found_with_a_trace(name: str) -> None:
    found = explored_with(name)
    assert found.wrong, f"{name}: {found.in_words()}"
    assert found.trace[0].endswith("-1"), found.in_words()  # it begins with a node that opens its first session


def test_clock_that_loses_more_than_the_margin_is_found() -> None:
    found = explore(Bounds(2, 1, Rules(margin=1, max_lag=4, kinds=frozenset({"cut"})), begin=STARTS), liveness=False)
    assert "runs" in found.wrong, found.in_words()


def test_host_that_freezes_without_a_watchdog_is_found() -> None:
    """What the safety page says is not covered: it goes on for an instant after its guest runs elsewhere."""
    found = explore(Bounds(2, 1, Rules(watchdog=False, kinds=frozenset({"freeze"})), begin=STARTS), liveness=False)
    assert "and it runs the vm" in found.wrong, found.in_words()
