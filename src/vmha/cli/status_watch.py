"""``vmha status --watch``: the screen redrawn at every change, in place; what was on it comes back at the end."""

import asyncio
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from vmha.cli.chosen import Chosen, pick
from vmha.cli.connect import run, unreachable
from vmha.cli.in_place import InPlace, may_draw_in_place
from vmha.cli.output import Screen, screen, wrapped
from vmha.cli.status_view import render
from vmha.model.errors import Retryable
from vmha.operator.overview import Overview, as_plain, overview
from vmha.policy.state.snapshot import Snapshot

if TYPE_CHECKING:
    from vmha.cli.connect import Place
    from vmha.operator.client import OperatorClient

REDRAW_S = 0.2
"""The screen is redrawn at most this often, however fast the cluster changes."""


def watch_status(place: "Place", *, as_json: bool, chosen: Chosen) -> None:
    """Draws the newest snapshot; while it is being drawn, older ones are passed over."""

    in_place = InPlace() if may_draw_in_place() and not as_json else None

    async def follow(client: "OperatorClient") -> None:
        newest: list[Snapshot] = []
        trouble: list[str] = []
        news = asyncio.Event()

        async def collect() -> None:
            while True:
                try:
                    async with aclosing(client.snapshots()) as snapshots:
                        async for snapshot in snapshots:
                            newest[:], trouble[:] = [snapshot], []
                            news.set()
                except Retryable as error:
                    trouble[:] = [str(unreachable(place, error))]
                    news.set()
                    await asyncio.sleep(error.retry_after_s)

        async def draw() -> None:
            while True:
                await news.wait()
                news.clear()
                if in_place:
                    on, wall = screen(), client.clock.wall()
                    lines = render(_overview(client, newest[0]), on, wall=wall, chosen=chosen) if newest else []
                    in_place.draw([*_told(trouble, on), *lines])
                elif trouble:
                    print(f"vmha: {trouble[0]}", file=sys.stderr, flush=True)
                elif as_json:
                    found = _overview(client, newest[0])
                    part = pick(found, chosen, None)
                    print(json.dumps(as_plain(replace(found, nodes=part.nodes, vms=part.vms))), flush=True)
                else:
                    shown = render(_overview(client, newest[0]), screen(), wall=client.clock.wall(), chosen=chosen)
                    print("\n".join(shown), end="\n\n", flush=True)
                await asyncio.sleep(REDRAW_S)

        with _ended_in_order(), in_place or nullcontext():
            if in_place:
                asyncio.get_running_loop().add_signal_handler(signal.SIGWINCH, news.set)
            async with asyncio.TaskGroup() as group:
                group.create_task(collect(), name="collect snapshots")
                group.create_task(draw(), name="draw")

    run(place, follow)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM and SIGHUP end it as Ctrl-C does: what is around it is put back first.

    Raises:
        SystemExit: with the code that a shell gives to who ends by that signal.
    """
    loop, task, received = asyncio.get_running_loop(), asyncio.current_task(), list[int]()
    assert task

    def end(number: int) -> None:
        received.append(number)
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end, number)
    try:
        yield
    except asyncio.CancelledError:
        if received:
            raise SystemExit(128 + received[0]) from None
        raise


def _overview(client: "OperatorClient", snapshot: Snapshot) -> Overview:
    return overview(snapshot, cluster=client.keys.cluster, wall=client.clock.wall(), asks_survival=client.clock)


def _told(trouble: list[str], on: Screen) -> list[str]:
    """What is below it is from before."""
    return [on.paint(line, "red") for said in trouble for line in wrapped(f"! {said}", on, hang="  ")]
