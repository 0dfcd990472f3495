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

STARTS = (
    "n1 opens session n1-1",
    "beat of n1",
    "inventory of n1",
    "status of n1",
    "n2 opens session n2-1",
    "beat of n2",
    "inventory of n2",
    "status of n2",
    "n2 leads",
    "leader n2 writes: assign n1",
    "n1 begins to start the vm: written",
)
"""The vm is being started on n1 and n2 leads: where a search may begin that need not see what lies before."""

FOUND_LATER = frozenset(
    {
        "takeover-before-the-hold-ends",
        "suspicion-taken-for-proof",
        "guard-never-ends-guests",
        "eviction-without-compare-of-the-beat",
        "recovery-without-proof",
        "start-gate-open",
    }
)


def explored_with(name: str) -> Found:
    """Two nodes and as many faults as kinds, with the named check taken out."""
    begin = STARTS if name in FOUND_LATER else ()
    with BY_NAME[name].in_place():
        bounds = Bounds(2, len(CAUGHT[name]), Rules(kinds=frozenset(CAUGHT[name])), begin=begin)
        return explore(bounds, liveness=False)
