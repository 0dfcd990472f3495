"""The best placement of a small cluster, by a solver that shares nothing with the planner (scipy's HiGHS).

First as many vms placed as can be; of those the fewest moves; of those, when asked for, the lowest memory share of the
fullest node. A vm that runs goes on running.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.computing import Bounds, LinearConstraint, milp, np
from bench.instances import Instance

EXACT = {"mip_rel_gap": 1e-4}
"""Numbers of vms and moves are whole, and far fewer than this tells apart."""


@dataclass(frozen=True, slots=True)
class Best:
    """``fullest``: memory share of the fullest node; None: not asked for."""

    placed: int
    moves: int
    fullest: float | None = None


def optimum(instance: Instance, *, may_move: bool, balance: bool = False) -> Best:
    """``may_move``: False: what runs stays where it is, as the planner leaves it."""
    program = _Program(instance, may_move=may_move)
    placed = round(-program.least(-program.all))
    program.hold(program.all, at_least=placed)
    moves = round(program.standing + program.least(-program.at_home)) if may_move else 0
    if may_move:
        program.hold(program.at_home, at_least=program.standing - moves)
    return Best(placed, moves, program.least(program.share) if balance else None)


class _Program:
    """One binary variable for each vm and node that may take it, and the share of the fullest node as the last."""

    def __init__(self, instance: Instance, *, may_move: bool) -> None:
        self.pairs = [
            (number, node)
            for number, vm in enumerate(instance.vms)
            for node in sorted(vm.allowed)
            if node != instance.lost and (may_move or not instance.stands(number) or node == vm.home)
        ]
        homes = [vm.home for vm in instance.vms]
        stands = [instance.stands(number) for number in range(len(instance.vms))]
        self.standing = sum(stands)
        self.all = self._row(dict.fromkeys(self.pairs, 1.0))
        self.at_home = self._row({pair: 1.0 for pair in self.pairs if stands[pair[0]] and homes[pair[0]] == pair[1]})
        self.share = self._row({}, share=1.0)
        self.rows: list[Any] = []
        for number, is_standing in enumerate(stands):
            row = self._row({pair: 1.0 for pair in self.pairs if pair[0] == number})
            self.rows.append(LinearConstraint(row, float(is_standing), 1.0))
        for at, node in enumerate(instance.nodes):
            here = [pair for pair in self.pairs if pair[1] == at]
            vcpus = self._row({pair: float(instance.vms[pair[0]].vcpus) for pair in here})
            self.rows.append(LinearConstraint(vcpus, -np.inf, node.vcpus))
            memory = self._row({pair: float(instance.vms[pair[0]].gib) for pair in here}, share=-float(node.gib))
            self.rows.append(LinearConstraint(memory, -np.inf, 0.0))
            for group in instance.apart:
                row = self._row({pair: 1.0 for pair in here if pair[0] in group})
                self.rows.append(LinearConstraint(row, 0.0, 1.0))

    def hold(self, row: Any, *, at_least: float) -> None:
        self.rows.append(LinearConstraint(row, at_least, np.inf))

    def least(self, costs: Any) -> float:
        whole = np.append(np.ones(len(self.pairs)), 0.0)
        with _silence():
            found = milp(costs, constraints=self.rows, integrality=whole, bounds=Bounds(0.0, 1.0), options=EXACT)
        if not found.success:
            raise ArithmeticError(f"the solver found no optimum: {found.message}")
        return float(found.fun)

    def _row(self, values: dict[tuple[int, int], float], *, share: float = 0.0) -> Any:
        return np.array([*(values.get(pair, 0.0) for pair in self.pairs), share])


@contextmanager
def _silence() -> Iterator[None]:
    """The solver writes past Python to standard output, where the measures go."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
