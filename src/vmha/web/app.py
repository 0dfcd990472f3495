"""The dashboard as an application: which address shows what."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from vmha.operator.client import OperatorClient
from vmha.operator.errors import UnknownName
from vmha.web import dashboard, details, pages, what_if
from vmha.web.feed import Feed
from vmha.web.guards import Guards
from vmha.web.html import Html, path
from vmha.web.parts import Parts
from vmha.web.stream import Streams, View


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """``first_s``: how long a page waits for the cluster's first reading. ``streams``: of pages that are open."""

    first_s: float = 4.0
    streams: int = 200
    streams_of_one_address: int = 50


class Dashboard:
    """One cluster's pages."""

    def __init__(self, client: OperatorClient, feed: Feed, limits: Limits) -> None:
        self._client, self._feed, self._limits = client, feed, limits
        self._streams = Streams(feed, most=limits.streams, most_of_one_address=limits.streams_of_one_address)
        self._cluster = client.keys.cluster

    def routes(self) -> list[Route]:
        return [
            Route("/", self.cluster),
            Route("/stream", self.cluster_stream),
            Route("/vm/{name:path}", self.vm),
            Route("/node/{name:path}", self.node),
            Route("/stream/{kind:str}/{name:path}", self.detail_stream),
            Route("/what-if", self.what_if),
            Route("/static/{name:str}", self.static),
        ]

    async def cluster(self, request: Request) -> Response:
        scene = await self._feed.first(self._limits.first_s)
        if scene is None:
            return self._silent()
        query = _query(request)
        parts = self._streams.parts(f"cluster {query}", partial(dashboard.parts_of, query=query), scene)
        stream = f"/stream?{request.url.query}" if query else "/stream"
        body = dashboard.body(parts, query)
        return self._page(scene.cluster, *body, where="/", stream=stream)

    async def cluster_stream(self, request: Request) -> Response:
        query = _query(request)
        return self._stream(request, f"cluster {query}", partial(dashboard.parts_of, query=query))

    async def vm(self, request: Request) -> Response:
        name = str(request.path_params["name"])
        return await self._detail(f"vm {name}", partial(details.parts_of_vm, vm=name), details.body_of_vm, name)

    async def node(self, request: Request) -> Response:
        name = str(request.path_params["name"])
        view = partial(details.parts_of_node, node=name)
        return await self._detail(f"node {name}", view, details.body_of_node, name)

    async def detail_stream(self, request: Request) -> Response:
        kind, name = str(request.path_params["kind"]), str(request.path_params["name"])
        match kind:
            case "vm":
                return self._stream(request, f"vm {name}", partial(details.parts_of_vm, vm=name))
            case "node":
                return self._stream(request, f"node {name}", partial(details.parts_of_node, node=name))
        return self._message("Not here", "There is no such page.", 404)

    async def what_if(self, request: Request) -> Response:
        scene = await self._feed.first(self._limits.first_s)
        if scene is None:
            return self._silent()
        body = await asyncio.to_thread(what_if.body, scene, [one for one in request.query_params.getlist("if") if one])
        return self._page("What if", *body, where="/what-if")

    async def static(self, request: Request) -> Response:
        name = str(request.path_params["name"])
        kind = pages.STATIC.get(name)
        if kind is None:
            return Response(status_code=404)
        return Response(pages.static(name), media_type=kind, headers={"cache-control": "no-cache"})

    async def _detail(self, key: str, view: View, body: Callable[[Parts], list[Html]], title: str) -> Response:
        scene = await self._feed.first(self._limits.first_s)
        if scene is None:
            return self._silent()
        try:
            parts = self._streams.parts(key, view, scene)
        except UnknownName as error:
            return self._message("Not here", f"{error}", 404)
        kind, _, name = key.partition(" ")
        return self._page(title, *body(parts), stream=path("stream", kind, name))

    def _stream(self, request: Request, key: str, view: View) -> Response:
        address = request.client.host if request.client else ""
        if not self._streams.has_room(address):
            return Response("too many are looking\n", 503, {"retry-after": "10"}, "text/plain")
        events = self._streams.events(key, view, address=address, may_go_on=lambda: True)
        return StreamingResponse(events, media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    def _page(self, title: str, *body: Html, where: str = "", stream: str | None = None, code: int = 200) -> Response:
        made = pages.page(title, *body, cluster=self._cluster, where=where, stream=stream)
        return HTMLResponse(made, code)

    def _silent(self) -> Response:
        why = self._feed.lost or "it has not been read yet"
        return self._message("The cluster does not answer", f"{why}. Load this page again.", 503)

    def _message(self, title: str, said: str, code: int) -> Response:
        return HTMLResponse(pages.message(title, said, cluster=self._cluster), code)


def application(
    client: OperatorClient, *, names: Iterable[str] = (), over_tls: bool = False, limits: Limits | None = None
) -> Starlette:
    """The application, with the tasks that read the cluster for it. ``names``: what it answers to beside addresses."""
    feed = Feed(client)

    @asynccontextmanager
    async def living(_: Starlette) -> AsyncGenerator[None, None]:
        reading = asyncio.create_task(feed.run(), name="read the cluster")
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    guards = Middleware(Guards, names=tuple(names), over_tls=over_tls)
    routes = Dashboard(client, feed, limits or Limits()).routes()
    app = Starlette(routes=routes, lifespan=living, middleware=[guards])
    app.router.redirect_slashes = False
    return app


def _query(request: Request) -> str:
    return " ".join(request.query_params.get("q", "").split())[:100]
