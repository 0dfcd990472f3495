"""``vmha status --watch``: the screen redrawn at every change."""

import asyncio
import json
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING

from vmha.cli.connect import run, unreachable
from vmha.cli.output import screen
from vmha.cli.status_view import render
from vmha.model.errors import Retryable
from vmha.operator.overview import as_plain, overview
from vmha.policy.snapshot import Snapshot

if TYPE_CHECKING:
    from vmha.cli.connect import Place
    from vmha.operator.client import OperatorClient

REDRAW_S = 0.2
"""The screen is redrawn at most this often, however fast the cluster changes."""


def watch_status(place: "Place", *, as_json: bool) -> None:
    """Draws the newest snapshot; while it is being drawn, older ones are passed over."""

    async def follow(client: "OperatorClient") -> None:
        newest: list[Snapshot | str] = []
        news = asyncio.Event()

        async def collect() -> None:
            while True:
                try:
                    async with aclosing(client.snapshots()) as snapshots:
                        async for snapshot in snapshots:
                            newest[:] = [snapshot]
                            news.set()
                except Retryable as error:
                    newest[:] = [str(unreachable(place, error))]
                    news.set()
                    await asyncio.sleep(error.retry_after_s)

        async def draw() -> None:
            while True:
                await news.wait()
                news.clear()
                last, wall = newest[0], client.clock.wall()
                if isinstance(last, str):
                    print(f"vmha: {last}", file=sys.stderr, flush=True)
                else:
                    shown = overview(last, cluster=client.keys.cluster, wall=wall, asks_survival=True)
                    if as_json:
                        print(json.dumps(as_plain(shown)), flush=True)
                    else:
                        _redraw(render(shown, screen(), wall=wall))
                await asyncio.sleep(REDRAW_S)

        async with asyncio.TaskGroup() as group:
            group.create_task(collect(), name="collect snapshots")
            group.create_task(draw(), name="draw")

    run(place, follow)


def _redraw(lines: list[str]) -> None:
    if sys.stdout.isatty():
        print("\x1b[H\x1b[J" + "\n".join(lines), flush=True)
    else:
        print("\n".join(lines), end="\n\n", flush=True)
