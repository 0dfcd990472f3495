"""The log of simulated agents: silent unless asked for, because it is every node's at once and in no file."""

import logging

import structlog


def silence_logs() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
