"""Many lives: one after another, or shared by processes. Results come in the order of the seeds either way."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

from vmha.sim.chaos import Life, Options, live
from vmha.sim.quiet import silence_logs


def live_all(seeds: Sequence[int], options: Options, *, jobs: int = 1) -> Iterator[Life]:
    if jobs == 1:
        silence_logs()
        for seed in seeds:
            yield live(seed, options)
        return
    with ProcessPoolExecutor(max_workers=jobs, initializer=silence_logs) as pool:
        yield from pool.map(partial(live, options=options), seeds)


def replay_command(seed: int, options: Options) -> str:
    return (
        f"vmha sim --seeds 1 --first-seed {seed} --nodes {options.nodes} --vms {options.vms} "
        f"--steps {options.steps} --trace"
    )


def trace_of(life: Life) -> list[str]:
    """What was done and what the journal says of it, by time."""
    done = [(float(line.split(maxsplit=1)[0]), f"{line} <--") for line in life.done]
    written = [(line.at_s, str(line)) for line in life.journal]
    return [text for _, text in sorted([*done, *written], key=lambda line: line[0])]


def as_plain(life: Life) -> dict[str, Any]:
    return {
        "seed": life.seed,
        "good": life.is_good,
        "wrong": life.what_is_wrong(),
        "simulated_s": round(life.simulated_s, 3),
    }
