"""Rules weakened on purpose, which the explorer must find: the mutants that it catches, and how far it has to look."""

from tests.mutation.mutants import BY_NAME

from .explore import Bounds, Found, explore
from .laws import Rules

CAUGHT = {
    "takeover-before-the-hold-ends": ("pause",),
    "suspicion-taken-for-proof": ("pause",),
    "guard-never-ends-guests": ("pause",),
    "eviction-without-compare-of-the-beat": ("stall",),
    "claim-without-compare-of-the-placement": ("work",),
    "step-without-compare-of-the-placement": ("step",),
    "step-without-compare-of-the-leader-key": ("step", "lease"),
    "recovery-without-proof": ("inventory", "pause"),
    "start-gate-open": ("kill",),
}
"""Each with the kinds of faults that are enough to show it in a cluster of two nodes: one fault, or one of each."""


def explored_with(name: str) -> Found:
    """Two nodes and as many faults as kinds, with the named check taken out."""
    with BY_NAME[name].in_place():
        return explore(Bounds(2, len(CAUGHT[name]), Rules(kinds=frozenset(CAUGHT[name]))), liveness=False)
