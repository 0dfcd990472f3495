"""``python -m tests.mutation.search NAME...``: look for a seed of the simulation that catches a mutant.

The seeds of a record lead to other lives when the simulation changes; this finds new ones for ``caught.py``.
"""

import argparse
import sys

from vmha.sim.chaos import Options, live
from vmha.sim.quiet import silence_logs

from .mutants import BY_NAME


def find_seed(name: str, first: int, last: int) -> tuple[int, str] | None:
    """The first seed whose life breaks a law with this mutant in place and none without it, and the law."""
    for seed in range(first, last + 1):
        with BY_NAME[name].in_place():
            found = live(seed, Options()).violations
        if found and not live(seed, Options()).violations:
            return seed, found[0].law
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(BY_NAME))
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--last", type=int, default=40)
    given = parser.parse_args()
    silence_logs()
    for name in given.names:
        print(name, find_seed(name, given.first, given.last) or "not caught", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
