"""Quiet: what a process that plays many lives does without.

The log of simulated agents is silent unless asked for, because it is every node's at once and in no file. And the
collector of garbage does not look again and again whether a life that still goes on can be thrown away.
"""

import gc
import logging

import structlog

_ALL_THAT_IS_NEW = 1


def collect_by_hand() -> None:
    """Garbage in cycles is looked for by ``collect`` only: a life makes little of it, and much of everything else."""
    gc.freeze()  # what is there now stays
    gc.disable()


def collect() -> None:
    """After a life: what it has made and left."""
    gc.collect(_ALL_THAT_IS_NEW)


def collect_as_usual() -> None:
    gc.unfreeze()
    gc.enable()


def silence_logs(*, for_good: bool = False) -> None:
    """``for_good``: nobody in this process will ever ask for them, and whoever logs need not look again whether."""
    silent = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=silent, cache_logger_on_first_use=for_good)
