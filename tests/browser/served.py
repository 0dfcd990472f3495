"""A dashboard as a browser finds it: behind uvicorn on a port of this machine, over a cluster in memory."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import uvicorn

from tests.unit.operator.cluster import Cluster
from vmha.model.web import WebSettings
from vmha.web.app import application
from vmha.web.serve import listen

PATIENCE_S = 90.0
T = TypeVar("T")


@dataclass(kw_only=True)
class Served:
    """``do`` changes the cluster, on the loop that its server has."""

    cluster: Cluster
    base: str
    loop: asyncio.AbstractEventLoop

    def do(self, work: Callable[[Cluster], Awaitable[T]]) -> T:
        async def run() -> T:
            return await work(self.cluster)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(PATIENCE_S)


@contextmanager
def served(build: Callable[[Cluster], Awaitable[None]], users: Path) -> Iterator[Served]:
    """A cluster that ``build`` has made."""
    ready: list[Served] = []
    is_ready, servers = threading.Event(), list[uvicorn.Server]()

    async def run() -> None:
        cluster = Cluster()
        await build(cluster)
        settings = WebSettings(listen="127.0.0.1:0", users=users)
        with listen(settings) as listening:
            config = uvicorn.Config(application(cluster.client, settings), log_config=None, http="h11", lifespan="on")
            servers.append(uvicorn.Server(config))
            base = f"http://127.0.0.1:{listening.getsockname()[1]}"
            ready.append(Served(cluster=cluster, base=base, loop=asyncio.get_running_loop()))
            is_ready.set()
            await servers[0].serve(sockets=[listening])

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="dashboard")
    thread.start()
    try:
        assert is_ready.wait(PATIENCE_S), "the dashboard does not begin"
        yield ready[0]
    finally:
        for server in servers:
            server.should_exit = server.force_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
