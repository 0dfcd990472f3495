"""Many lives: one after another, or shared by processes. Results come in the order of the seeds either way."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

from vmha.sim.chaos import Life, live
from vmha.sim.drawing.draw import Options
from vmha.sim.pages import use_large_pages
from vmha.sim.quick import make_records_fast
from vmha.sim.quiet import collect, collect_as_usual, collect_by_hand, silence_logs

_KEPT_LINES = 40


def live_all(seeds: Sequence[int], options: Options, *, jobs: int = 1, whole: bool = False) -> Iterator[Life]:
    """``whole``: with everything that happened, also of good lives."""
    one = partial(_live_one, options=options, whole=whole)
    if jobs == 1:
        _begin()
        try:
            yield from map(one, seeds)
        finally:
            collect_as_usual()
        return
    with ProcessPoolExecutor(max_workers=jobs, initializer=_begin_one_of_many) as pool:
        yield from pool.map(one, seeds)


def _begin() -> None:
    silence_logs()
    collect_by_hand()
    make_records_fast()


def _begin_one_of_many() -> None:
    _begin()
    silence_logs(for_good=True)


def _live_one(seed: int, options: Options, whole: bool) -> Life:
    life = live(seed, options, forgets=True)
    collect()
    use_large_pages()
    return life if whole or not life.is_good else life.in_short()


def replay_command(seed: int, options: Options) -> str:
    faults = f" --faults={options.faults}" if options.faults else ""
    return (
        f"vmha sim --seeds 1 --first-seed {seed} --nodes {in_words(options.nodes)} --vms {in_words(options.vms)} "
        f"--steps {options.steps}{faults} --trace"
    )


def in_words(bounds: tuple[int, int]) -> str:
    low, high = bounds
    return str(low) if low == high else f"{low}-{high}"


def trace_of(life: Life) -> list[str]:
    """What was done and what the journal says of it, by time."""
    done = [(float(line.split(maxsplit=1)[0]), f"{line} <--") for line in life.done]
    written = [(line.at_s, str(line)) for line in life.journal]
    return [text for _, text in sorted([*done, *written], key=lambda line: line[0])]


def trace_to_breach(life: Life) -> list[str]:
    """The last of it before the first breach of a law, or before the end."""
    first = min((violation.at_s for violation in life.violations), default=float("inf"))
    lines = [line for line in trace_of(life) if float(line.split(maxsplit=1)[0]) <= first]
    return lines[-_KEPT_LINES:]


def total(lives: Sequence[Life]) -> dict[str, int]:
    """How often everything was reached, in all of them."""
    found: Counter[str] = Counter()
    for life in lives:
        found.update(life.reached)
    return dict(sorted(found.items()))


def as_plain(life: Life) -> dict[str, Any]:
    return {
        "seed": life.seed,
        "good": life.is_good,
        "wrong": life.what_is_wrong(),
        "simulated_s": round(life.simulated_s, 3),
        "reached": dict(life.reached),
    }
