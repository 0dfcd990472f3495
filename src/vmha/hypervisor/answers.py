"""Futures that somebody may wait for, or nobody any more."""

import asyncio
from typing import TypeVar

T = TypeVar("T")


def promise(loop: asyncio.AbstractEventLoop) -> "asyncio.Future[T]":
    """A future whose error may be looked at by nobody."""
    future: asyncio.Future[T] = loop.create_future()
    future.add_done_callback(heed)
    return future


def succeed(future: "asyncio.Future[T]", result: T) -> None:
    if not future.done():
        future.set_result(result)


def fail(future: "asyncio.Future[T]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def heed(future: "asyncio.Future[T]") -> None:
    """Look at an error that nobody may be left to look at, so that asyncio does not complain of it."""
    if not future.cancelled():
        future.exception()
