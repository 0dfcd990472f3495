"""Quiet: the log of simulated agents: silent unless asked for, because it is every node's at once and in no file."""

import gc
import logging

import structlog


def rarely_collect() -> None:
    """A life makes little garbage in cycles and much of everything else: looking for it often takes a tenth of it."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def silence_logs() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
