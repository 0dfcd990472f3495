"""``vmha status --watch``: the screen redrawn at every change, in place; what was on it comes back at the end."""

import asyncio
import json
import signal
import sys
from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING

from vmha.cli.connect import run, unreachable
from vmha.cli.in_place import InPlace, may_draw_in_place
from vmha.cli.output import Screen, screen, wrapped
from vmha.cli.status_view import render
from vmha.model.errors import Retryable
from vmha.operator.overview import Overview, as_plain, overview
from vmha.policy.snapshot import Snapshot

if TYPE_CHECKING:
    from vmha.cli.connect import Place
    from vmha.operator.client import OperatorClient

REDRAW_S = 0.2
"""The screen is redrawn at most this often, however fast the cluster changes."""


def watch_status(place: "Place", *, as_json: bool) -> None:
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
                    lines = render(_overview(client, newest[0]), on, wall=wall) if newest else []
                    in_place.draw([*_told(trouble, on), *lines])
                elif trouble:
                    print(f"vmha: {trouble[0]}", file=sys.stderr, flush=True)
                elif as_json:
                    print(json.dumps(as_plain(_overview(client, newest[0]))), flush=True)
                else:
                    shown = render(_overview(client, newest[0]), screen(), wall=client.clock.wall())
                    print("\n".join(shown), end="\n\n", flush=True)
                await asyncio.sleep(REDRAW_S)

        if in_place:
            asyncio.get_running_loop().add_signal_handler(signal.SIGWINCH, news.set)
        async with asyncio.TaskGroup() as group:
            group.create_task(collect(), name="collect snapshots")
            group.create_task(draw(), name="draw")

    with in_place or nullcontext():
        run(place, follow)


def _overview(client: "OperatorClient", snapshot: Snapshot) -> Overview:
    return overview(snapshot, cluster=client.keys.cluster, wall=client.clock.wall(), asks_survival=True)


def _told(trouble: list[str], on: Screen) -> list[str]:
    """What is below it is from before."""
    return [on.paint(line, "red") for said in trouble for line in wrapped(f"! {said}", on, hang="  ")]
