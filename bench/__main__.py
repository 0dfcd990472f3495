"""``python -m bench [--only NAME] [--runs N] [--json FILE]``: measure, print JSON lines, and a table at the end."""

import argparse
import sys
from pathlib import Path

from bench import moving, placement, planner, recovery, status, twenty
from bench.labs import lab
from bench.measure import Run, progress

VM = "web"


def main() -> int:
    asked = _parser().parse_args()
    run = Run(samples=asked.runs, only=asked.only)
    if not run.wants(_all_names()):
        print(f"nothing is called {', '.join(asked.only)}; there are: {', '.join(_all_names())}", file=sys.stderr)
        return 2
    try:
        planner.planner(run)
        placement.placement(run)
        status.status(run)
        _real_hosts(run)
    except KeyboardInterrupt:
        progress("interrupted: what was measured until now")
    if run.found:
        print(run.table())
    if asked.json:
        run.write(asked.json)
    return 0


def _real_hosts(run: Run) -> None:
    moves = (moving.VIRSH, moving.SAFE, moving.DIRECT)
    if run.wants([recovery.CREATE, *recovery.FENCED, recovery.KILLED, *moves]):
        progress("a lab whose hosts have a fence program")
        with lab(fence=True) as bench:
            recovery.bare_create(run, bench)
            bench.add_vm(VM)
            bench.await_settled(VM)
            if run.wants(moves):
                moving.migrations(run, bench, VM)
            if run.wants([recovery.KILLED]):
                recovery.qemu_kill(run, bench)
            recovery.power_cuts(run, bench, VM, recovery.FENCED, at_most_s=4.0, by="with a fence program")
    if run.wants(recovery.GUARDED):
        progress("a lab whose hosts have nothing but guard and watchdog")
        with lab(fence=False) as bench:
            if recovery.CREATE not in run.found:
                recovery.bare_create(run, bench)
            bench.add_vm(VM)
            bench.await_settled(VM)
            recovery.power_cuts(run, bench, VM, recovery.GUARDED, at_most_s=7.0, by="by guard and watchdog alone")
    if run.wants([twenty.CREATE, twenty.LOST, twenty.HOME], unasked=False):
        progress("a lab for twenty vms")
        with lab(fence=True) as bench:
            twenty.twenty(run, bench)


def _all_names() -> list[str]:
    recoveries = [recovery.CREATE, *recovery.FENCED, *recovery.GUARDED, recovery.KILLED]
    moves = [moving.VIRSH, moving.SAFE, moving.DIRECT]
    return [
        *planner.names(),
        *placement.names(),
        *status.names(),
        *recoveries,
        *moves,
        twenty.CREATE,
        twenty.LOST,
        twenty.HOME,
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure; see docs/reference/benchmarks.md.")
    parser.add_argument("--runs", type=_at_least_one, default=5, metavar="N", help="samples of each measure (5)")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="only this measure or group (planner, placement, status, power-cut, ...); may be given several times",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all measures there, as one array")
    return parser


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
