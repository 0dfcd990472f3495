"""``python -m tests.model``: explore, and say what was found. Exit code 1 for a violation."""

import argparse
import sys
import time

from vmha.sim.quiet import silence_logs

from .explore import Bounds, explore
from .laws import Rules


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--faults", type=int, default=1)
    parser.add_argument("--max-states", type=int, default=5_000_000)
    parser.add_argument("--kinds", default="")
    parser.add_argument("--margin", type=int, default=2)
    parser.add_argument("--max-lag", type=int, default=1)
    given = parser.parse_args()
    silence_logs()
    rules = Rules(margin=given.margin, max_lag=given.max_lag)
    if given.kinds:
        rules = rules._replace(kinds=frozenset(given.kinds.split(",")))
    began = time.perf_counter()
    found = explore(Bounds(given.nodes, given.faults, rules, given.max_states))
    print(f"{given.nodes} nodes, {given.faults} faults: {found.in_words()} ({time.perf_counter() - began:.0f} s)")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
