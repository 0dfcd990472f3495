"""A page's changes, as a browser receives them over a real connection."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import uvicorn

from tests.unit.operator.cluster import Cluster, xml_of
from vmha.model.clock import SystemClock
from vmha.model.ids import NodeName, Revision
from vmha.model.records import Phase
from vmha.model.web import WebSettings
from vmha.operator import vms
from vmha.store.memory_store import MemoryStore
from vmha.store.port import Batch, Listing
from vmha.web.app import Limits, application
from vmha.web.serve import listen

DEADLINE_S = 60.0


@dataclass(kw_only=True)
class Page:
    """What stands on a page by now."""

    html: dict[str, str]
    lists: dict[str, list[str]]
    events: AsyncIterator[str]
    sent: int = 0

    async def until(self, is_there: Callable[["Page"], bool]) -> dict[str, Any]:
        """The last event that was needed for it."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                data = await self._next()
                if "html" in data:
                    self.html |= data["html"]
                    self.lists |= data["lists"]
                if is_there(self):
                    return data

    async def _next(self) -> dict[str, Any]:
        async for line in self.events:
            if line.startswith("data: "):
                self.sent += 1
                found: dict[str, Any] = json.loads(line[6:])
                return found
        raise AssertionError("the stream has ended")


@asynccontextmanager
async def serving(cluster: Cluster, **given: Any) -> AsyncGenerator[str, None]:
    config = uvicorn.Config(application(cluster.client, **given), log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with listen(WebSettings(listen="127.0.0.1:0")) as listening:
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


class StandingClock(SystemClock):
    """Its date goes on by hand: no node is silent for long because this process had no processor for long."""

    def __init__(self) -> None:
        self.date = super().wall()

    def wall(self) -> float:
        return self.date


@pytest.fixture
async def address(cluster: Cluster) -> AsyncGenerator[str, None]:
    cluster.client.clock = StandingClock()
    async with serving(cluster) as found:
        yield found


@asynccontextmanager
async def looking(address: str, where: str = "/stream") -> AsyncGenerator[Page, None]:
    async with httpx.AsyncClient(timeout=DEADLINE_S) as client, client.stream("GET", address + where) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        async with aclosing(answer.aiter_lines()) as lines:  # type: ignore[type-var]
            yield Page(html={}, lists={}, events=lines)


async def test_a_page_is_sent_whole_and_then_only_what_changes(cluster: Cluster, address: str) -> None:
    await vms.add_vm(cluster.client, "web", xml_of("web"), start=True)
    await vms.add_vm(cluster.client, "db", xml_of("db"), start=True)
    cluster.run("web", "h1")
    cluster.run("db", "h1")
    async with looking(address) as page:
        await page.until(lambda page: "running" in page.html.get("vm-db", "") and "running" in page.html["vm-web"])
        cluster.place("web", "h1", target=NodeName("h2"), phase=Phase.MIGRATING)
        news = await page.until(lambda page: "migrating" in page.html["vm-web"])
        assert set(news["html"]) == {"vm-web", "move-web", "moving-title", "headline", "node-h2"}
        assert page.lists["moves"] == ["move-web"]
        assert page.lists["vms"] == ["vm-web", "vm-db"]


async def test_journal_entries_come_as_they_are_written(cluster: Cluster, address: str) -> None:
    async with looking(address) as page:
        await page.until(lambda page: "journal" in page.lists)
        cluster.tell("1", "something happened", vm="web")
        await page.until(lambda page: page.lists["journal"] == ["j-1"])
        assert "something happened" in page.html["j-1"]


async def test_beats_that_only_count_on_send_nothing(cluster: Cluster, address: str) -> None:
    async with looking(address) as page:
        await page.until(lambda page: "node-h1" in page.html)
        before = page.sent
        for count in range(2, 30):
            cluster.beat("h1", count)
        cluster.tell("1", "the end", vm="web")
        await page.until(lambda page: "j-1" in page.html)
        assert page.sent == before + 1


async def test_node_whose_beats_stay_away_is_told_with_since_when_and_others_are_not(cluster: Cluster) -> None:
    clock = StandingClock()
    cluster.client.clock = clock
    async with serving(cluster) as address, looking(address) as page, looking(address, "/stream/node/h1") as own:
        await page.until(lambda page: {"node-h1", "node-h2"} <= page.html.keys())
        assert "no beat for" not in page.html["node-h1"]
        clock.date += 60.0
        cluster.beat("h2", 2)
        cluster.lose_lease("h1")
        await page.until(lambda page: "no beat for" in page.html["node-h1"])
        await own.until(lambda own: "no beat for" in own.html["headline"])
        assert "no beat for" not in page.html["node-h2"]
        cluster.beat("h1", 2)
        cluster.join("h1")
        await page.until(lambda page: "no beat for" not in page.html["node-h1"])


async def test_page_of_a_vm_ends_when_the_vm_is_no_more(cluster: Cluster) -> None:
    await vms.add_vm(cluster.client, "web", xml_of("web"))
    async with serving(cluster) as address, looking(address, "/stream/vm/web") as page:
        await page.until(lambda page: "why" in page.html)
        await vms.remove_vm(cluster.client, "web")
        with pytest.raises(AssertionError, match="ended"):
            await page.until(lambda page: False)


async def test_a_store_that_falls_silent_is_told_and_its_return_too(cluster: Cluster, address: str) -> None:
    cluster.client.store = MemoryStore(cluster.etcd, "web", watch_give_up_s=0.1)
    async with looking(address) as page:
        await page.until(lambda page: " hidden" in page.html.get("stale", ""))
        cluster.etcd.cut("web")
        await page.until(lambda page: "the store does not answer" in page.html["stale"])
        assert "The store does not answer" in page.html["headline"]
        cluster.etcd.heal("web")
        await page.until(lambda page: " hidden" in page.html["stale"])


class CountingStore(MemoryStore):
    """How often it was asked."""

    watches = listings = 0

    def watch(self, prefix: str, *, start_revision: Revision) -> AsyncGenerator[Batch, None]:
        self.watches += 1
        return super().watch(prefix, start_revision=start_revision)

    async def list(self, prefix: str, *, without: str = "", timeout_s: float = 10.0) -> Listing:
        self.listings += 1
        return await super().list(prefix, without=without, timeout_s=timeout_s)


async def test_many_browsers_cost_one_reading(cluster: Cluster) -> None:
    store = cluster.client.store = CountingStore(cluster.etcd, "web")
    async with serving(cluster) as address, AsyncExitStack() as stack:
        pages = [await stack.enter_async_context(looking(address, f"/stream?q={number}")) for number in range(12)]
        for number in range(3):
            cluster.lose_lease("h2")
            cluster.join("h2")
            cluster.tell(str(number), "something happened")
            for page in pages:
                await page.until(lambda page, id=f"j-{number}": id in page.html)
    assert (store.watches, store.listings) == (2, 2), "the cluster and its journal, once"


async def test_more_browsers_than_there_is_room_for_are_sent_away(cluster: Cluster) -> None:
    limits = Limits(streams_of_one_address=2)
    async with (
        serving(cluster, limits=limits) as address,
        looking(address),
        looking(address) as page,
        httpx.AsyncClient(timeout=DEADLINE_S) as client,
    ):
        await page.until(lambda page: "headline" in page.html)
        answer = await client.get(address + "/stream")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
