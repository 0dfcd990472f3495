"""A smaller schedule that still fails: delta debugging over the steps (Zeller's ddmin, complements only).

Halves are left out, then quarters, down to single steps, as long as what is left breaks one of the laws that the whole
broke. Every trial is a whole life, so it stops after ``trials`` of them with the smallest found by then.
"""

from collections.abc import Callable, Sequence

from vmha.sim.chaos import Life, live_through
from vmha.sim.faults.schedule import Schedule, Step
from vmha.sim.quiet import collect

TRIALS = 300


def _live(schedule: Schedule) -> Life:
    life = live_through(schedule)
    collect()  # nobody else may do it meanwhile: lives are played in a quiet process
    return life


def shrink(
    schedule: Schedule, wrong: Life, *, trials: int = TRIALS, play: Callable[[Schedule], Life] = _live
) -> tuple[Schedule, Life]:
    """The smallest failing schedule found, and its life.

    Args:
        schedule: One that fails.
        wrong: Its life.
        trials: How many lives may be spent on it.
        play: Lives a schedule.
    """
    laws, best, left = wrong.laws(), wrong, trials
    steps: Sequence[Step] = _until_the_breach(schedule, wrong)
    parts = 1
    while left > 0 and steps:
        size = max(1, -(-len(steps) // parts))
        for begin in range(0, len(steps), size):
            if left <= 0:
                break
            fewer = [*steps[:begin], *steps[begin + size :]]
            if parts == 1:
                fewer = list(steps)  # first of all: is what came after the breach needed?
            left -= 1
            life = play(schedule.with_steps(tuple(fewer)))
            if laws & life.laws():
                steps, best = fewer, life
                parts = max(2, parts - 1)
                break
        else:
            if parts == 1:
                steps, parts = schedule.steps, 2
            elif size == 1:
                break
            else:
                parts = min(len(steps), parts * 2)
    return schedule.with_steps(tuple(steps)), best


def _until_the_breach(schedule: Schedule, wrong: Life) -> tuple[Step, ...]:
    """What happened after the first breach of a law can not have brought it about."""
    if not wrong.violations:
        return schedule.steps
    first = min(violation.at_s for violation in wrong.violations)
    return tuple(step for step in schedule.steps if wrong.begin_s + step.at <= first)
