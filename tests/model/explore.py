"""Breadth first through every state: the shortest trace to a violation, and whether each state has a way out."""

from array import array
from collections import deque
from typing import NamedTuple

from vmha.sim.quiet import collect_as_usual, collect_by_hand

from .laws import Rules, never_two
from .moves import moves
from .product import Product
from .reduce import reduced
from .state import State, canonical, initial, is_running


class Bounds(NamedTuple):
    nodes: int
    faults: int
    rules: Rules = Rules()
    max_states: int = 5_000_000
    begin: tuple[str, ...] = ()
    """Moves that are made first, by their labels: what lies beside that way is not looked at."""


class Found(NamedTuple):
    """``wrong`` '': every state that can be reached keeps the laws. ``trace`` leads to the violation."""

    states: int
    moves: int
    depth: int
    wrong: str = ""
    trace: tuple[str, ...] = ()
    dead_ends: int = 0
    is_complete: bool = True

    def in_words(self) -> str:
        size = f"{self.states} states, {self.moves} moves, {self.depth} steps deep"
        if self.wrong:
            return "\n".join((f"{size}: {self.wrong}", *(f"{at:4} {one}" for at, one in enumerate(self.trace, 1))))
        return f"{size}: {'no violation' if self.is_complete else 'STOPPED, not all of it was seen'}"


def explore(bounds: Bounds, *, liveness: bool = True) -> Found:
    collect_by_hand()  # states are tuples in tuples, and none is ever thrown away
    try:
        return _explored(bounds, liveness)
    finally:
        collect_as_usual()


def _explored(bounds: Bounds, liveness: bool) -> Found:
    product = Product(bounds.nodes, bounds.rules.margin)
    first = _begun(bounds, product)
    numbers: dict[State, int] = {first: 0}
    states: list[State] = [first]
    parents, depths = array("l", [-1]), array("l", [0])
    labels: list[str] = ["the beginning"]
    sources, targets = array("l"), array("l")
    count, at = 0, 0
    while at < len(states):
        state = states[at]
        for move in moves(state, product, bounds.rules):
            count += 1
            after = move.state if move.is_plain else canonical(reduced(move.state, product))
            number = numbers.get(after)
            if number is None:
                number = numbers[after] = len(states)
                states.append(after)
                parents.append(at)
                depths.append(depths[at] + 1)
                labels.append(move.label)
            if wrong := (move.wrong or never_two(after)):
                trace = (*bounds.begin, *_trace(at, parents, labels), move.label)
                return Found(len(states), count, len(trace), wrong, trace)
            if liveness and not move.is_fault:
                sources.append(at)
                targets.append(number)
        at += 1
        if len(states) > bounds.max_states:
            return Found(len(states), count, depths[-1], is_complete=False)
    if liveness and (stuck := _dead_ends(states, sources, targets)):
        trace = (*bounds.begin, *_trace(stuck[0], parents, labels))
        words = f"{len(stuck)} states from which the vm never runs again, without any further fault"
        return Found(len(states), count, depths[-1], words, (*trace, str(states[stuck[0]])), len(stuck))
    return Found(len(states), count, depths[-1])


def _begun(bounds: Bounds, product: Product) -> State:
    state = canonical(initial(bounds.nodes, bounds.faults))
    for label in bounds.begin:
        found = [move.state for move in moves(state, product, bounds.rules) if move.label == label]
        assert found, f"{label!r}: not what can come next"
        state = canonical(reduced(found[0], product))
    return state


def _trace(at: int, parents: "array[int]", labels: list[str]) -> tuple[str, ...]:
    trace = []
    while at > 0:
        trace.append(labels[at])
        at = parents[at]
    return tuple(reversed(trace))


def _dead_ends(states: list[State], sources: "array[int]", targets: "array[int]") -> list[int]:
    """States from which no way without faults leads to one in which the vm runs."""
    begins = array("l", bytes(8 * (len(states) + 1)))
    for target in targets:
        begins[target + 1] += 1
    for number in range(len(states)):
        begins[number + 1] += begins[number]
    into, fill = array("l", bytes(8 * len(targets))), array("l", begins)
    for source, target in zip(sources, targets, strict=True):
        into[fill[target]] = source
        fill[target] += 1
    good = bytearray(len(states))
    waiting = deque(number for number, state in enumerate(states) if any(map(is_running, state.hosts)))
    for number in waiting:
        good[number] = 1
    while waiting:
        number = waiting.popleft()
        for source in into[begins[number] : begins[number + 1]]:
            if not good[source]:
                good[source] = 1
                waiting.append(source)
    return [number for number in range(len(states)) if not good[number]]
