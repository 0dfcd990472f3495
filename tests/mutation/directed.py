"""Histories that the directed tests of the simulation know: the same life, watched for the laws that it breaks.

A directed test ends at its first assertion; what is told here is what the checker says of everything that happened
until then, whatever the test itself thought of it.
"""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

from vmha.sim.judge.invariants import check_safety
from vmha.sim.judge.of_fitness import check_fitness
from vmha.sim.judge.of_relations import check_relations
from vmha.sim.world.world import World

from .mutants import BY_NAME


@contextmanager
def _watched() -> Iterator[list[World]]:
    worlds: list[World] = []
    original = World.__init__

    def init(self: World, *given: Any, **how: Any) -> None:
        original(self, *given, **how)
        worlds.append(self)

    with patch.object(World, "__init__", init):
        yield worlds


def history_of(where: str) -> Callable[[], object]:
    """``tests.sim.test_failsafe:test_...``. Raises: AttributeError, ImportError when it is gone."""
    module, _, function = where.partition(":")
    found: Callable[[], object] = getattr(importlib.import_module(module), function)
    return found


def laws_broken(name: str, history: Callable[[], object]) -> frozenset[str]:
    """By this history with the mutant in place ('' for none)."""
    with _watched() as worlds, BY_NAME[name].in_place() if name else nullcontext():
        try:
            history()
        except (AssertionError, TimeoutError):
            assert name, "a directed test fails without any mutant"
    found = []
    for world in worlds:
        lines, history = world.record.catch_up().lines, world.fabric.history
        found += [*check_safety(history, lines), *check_relations(lines)]
        found += check_fitness(world.sights, history, lines)
    return frozenset(violation.law for violation in found)
