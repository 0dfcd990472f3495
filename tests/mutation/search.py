"""``python -m tests.mutation.search NAME...``: look for lives of the simulation in which a mutant breaks a law.

A life that does is shrunk to the steps that matter and written to ``schedules/NAME.json``, which the suite replays; its
seed and options are printed, for the table in ``caught.py``. A seed leads to another life whenever the drawing of lives
changes; a schedule does not. Without names it looks for every mutant that no schedule shows yet.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from vmha.model.errors import VmhaError
from vmha.sim.chaos import Life, live_through
from vmha.sim.drawing.draw import Options, draw
from vmha.sim.drawing.schedule_file import from_text, to_json
from vmha.sim.faults.schedule import Schedule
from vmha.sim.quiet import silence_logs
from vmha.sim.shrink import shrink

from .mutants import BY_NAME

TRIALS = 120
"""Lives spent on making one schedule smaller, at most, in each of two rounds."""
SCHEDULES = Path(__file__).parent / "schedules"
PROFILES = {
    "all": "",
    "hosts": "power,mend,network,freeze,agent,guard,clock,store,lease,switch",
    "cut": "network,agent-stopped,store,lease,mend,power,start",
    "switch": "power,mend,network,freeze,switch,agent,store-slow,lease-vanishes",
    "work": "operator,agent,network,libvirtd,store,migrate,reply-lost",
    "hands": "virsh-migrate,virsh-start,virsh-destroy,libvirtd,agent,store,network,operator",
}
"""Kinds of faults to look with, as ``vmha sim --faults``."""


def broken_by(name: str, schedule: Schedule) -> Life:
    """The life with this mutant in place ('' for none), and of all that is wrong with it only the laws it breaks."""
    with BY_NAME[name].in_place() if name else nullcontext():
        life = live_through(schedule)
    return replace(life, blocked=(), crashes=(), restless="")


def recorded(name: str) -> Schedule:
    path = SCHEDULES / f"{name}.json"
    return from_text(path.read_text(), file=path.name)


def find(name: str, seeds: range, profiles: tuple[str, ...], steps: int) -> Iterator[tuple[int, str, Schedule, Life]]:
    """Lives that break a law with the mutant in place and none without it."""
    for seed in seeds:
        profile = profiles[seed % len(profiles)]
        schedule = draw(seed, Options(steps=steps, faults=PROFILES[profile]))
        life = broken_by(name, schedule)
        if life.violations and not broken_by("", schedule).violations:
            yield seed, profile, schedule, life


def smallest(name: str, schedule: Schedule, wrong: Life) -> tuple[Schedule, Life]:
    """Steps first, then vms, domains and the channel: what is not needed for the breach is left out."""

    def play(other: Schedule) -> Life:
        return broken_by(name, other)

    schedule, wrong = shrink(schedule, wrong, trials=TRIALS, play=play)
    for fewer in _fewer(schedule):
        smaller = fewer(schedule)
        try:
            life = play(smaller)
        except VmhaError:
            continue  # what is left out is needed by what is left
        if wrong.laws() & life.laws():
            schedule, wrong = smaller, life
    return shrink(schedule, wrong, trials=TRIALS, play=play)


def _fewer(schedule: Schedule) -> list[Callable[[Schedule], Schedule]]:
    named = {step.vm for step in schedule.steps}

    def without_vm(vm: str) -> Callable[[Schedule], Schedule]:
        return lambda s: s.model_copy(update={"vms": tuple(one for one in s.vms if one.name != vm)})

    def without_domains(s: Schedule) -> Schedule:
        free = tuple(one.model_copy(update={"failover_domain": None}) for one in s.vms)
        return s.model_copy(update={"domains": (), "vms": free})

    def without_drift(s: Schedule) -> Schedule:
        return s.model_copy(update={"nodes": tuple(one.model_copy(update={"drift": 0.0}) for one in s.nodes)})

    return [
        *(without_vm(vm.name) for vm in schedule.vms if vm.name not in named),
        without_domains,
        without_drift,
        lambda s: s.model_copy(update={"peers": False}),
    ]


def record(name: str, seeds: range, profiles: tuple[str, ...], steps: int) -> str:
    """Find, shrink and write. Returns the line that tells of it, '' when no seed shows it."""
    for seed, profile, schedule, life in find(name, seeds, profiles, steps):
        small, wrong = smallest(name, schedule, life)
        if broken_by("", small).violations:
            print(f"{name}: seed {seed} with {profile}: the shrunk life breaks a law WITHOUT the mutant", flush=True)
            (SCHEDULES / f"{name}.{seed}.unmutated.json").write_text(to_json(small))
            continue
        (SCHEDULES / f"{name}.json").write_text(to_json(small))
        first = wrong.violations[0]
        return f"{name}: seed {seed}, {profile}, {steps} steps -> {len(small.steps)}: {first.law}: {first.text}"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--last", type=int, default=40)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--profiles", default=",".join(PROFILES), help=f"of {', '.join(PROFILES)}")
    given = parser.parse_args()
    silence_logs()
    names = given.names or [name for name in BY_NAME if not (SCHEDULES / f"{name}.json").exists()]
    for name in names:
        said = record(name, range(given.first, given.last + 1), tuple(given.profiles.split(",")), given.steps)
        print(said or f"{name}: no seed from {given.first} to {given.last} shows it", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
