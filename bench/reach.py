"""What can be reached by migrations one after another: every standing of the vms that run, tried by brute force.

The optimum (bench/optimum.py) knows where everything should be, not how it comes there. A migration takes room on both
ends while it lasts: two vms that would have to trade places, where neither fits beside the other, never do. What is to
start waits here until all moves are done, so that nothing is in their way.
"""

from collections import deque

from bench.instances import Instance
from bench.optimum import Best

STATES_AT_MOST = 200_000
Standing = tuple[int, ...]
"""Of each vm that runs its node."""


def reachable(instance: Instance) -> Best | None:
    """The most vms that can be placed, and by how few moves. None: there are too many standings to try them all."""
    running = [number for number in range(len(instance.vms)) if instance.stands(number)]
    waiting = [number for number in range(len(instance.vms)) if not instance.stands(number)]
    begin = tuple(home for number in running if (home := instance.vms[number].home) is not None)
    moves: dict[Standing, int] = {begin: 0}
    queue = deque([begin])
    best = Best(placed=0, moves=0)
    while queue:
        standing = queue.popleft()
        taken = _Taken(instance, dict(zip(running, standing, strict=True)))
        placed = len(running) + taken.most(waiting)
        if placed > best.placed:  # the first ones are those of the fewest moves
            best = Best(placed=placed, moves=moves[standing])
        for index, number in enumerate(running):
            for node in taken.able(number):
                after = (*standing[:index], node, *standing[index + 1 :])
                if after not in moves:
                    moves[after] = moves[standing] + 1
                    queue.append(after)
        if len(moves) > STATES_AT_MOST:
            return None
    return best


class _Taken:
    """The nodes with some vms on them; one that moves counts on both."""

    def __init__(self, instance: Instance, at: dict[int, int]) -> None:
        self.instance, self.at = instance, at
        self.gib = [node.gib for node in instance.nodes]
        self.vcpus = [node.vcpus for node in instance.nodes]
        for number, node in at.items():
            self._count(number, node, 1)

    def _count(self, number: int, node: int, sign: int) -> None:
        self.gib[node] -= sign * self.instance.vms[number].gib
        self.vcpus[node] -= sign * self.instance.vms[number].vcpus

    def able(self, number: int) -> list[int]:
        """Where it fits, beside where it is."""
        vm, here = self.instance.vms[number], self.at.get(number)
        mates = {other for group in self.instance.apart if number in group for other in group} - {number}
        barred = {self.at.get(other) for other in mates} | {here, self.instance.lost}
        return [
            node
            for node in sorted(vm.allowed)
            if vm.gib <= self.gib[node] and vm.vcpus <= self.vcpus[node] and node not in barred
        ]

    def most(self, waiting: list[int]) -> int:
        """So many of these find room."""
        if not waiting:
            return 0
        number, *rest = waiting
        found = self.most(rest)
        for node in self.able(number):
            if found == len(waiting):
                break
            self.at[number] = node
            self._count(number, node, 1)
            found = max(found, 1 + self.most(rest))
            self._count(number, node, -1)
            del self.at[number]
        return found
