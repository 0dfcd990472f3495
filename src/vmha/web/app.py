"""The dashboard as an application: which address shows what."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from vmha.model.web import WebSettings
from vmha.operator.client import OperatorClient
from vmha.operator.errors import UnknownName
from vmha.web import dashboard, details, pages, what_if
from vmha.web.access import AccessFile
from vmha.web.actions import Actions
from vmha.web.api import Api
from vmha.web.feed import Feed
from vmha.web.gate import Gate
from vmha.web.guarded import Guarded
from vmha.web.guards import Guards
from vmha.web.html import Html, el, mark, path
from vmha.web.logins import Logins
from vmha.web.parts import Parts
from vmha.web.problems import answer_in_kind
from vmha.web.stream import Streams, View
from vmha.web.tokens import Tokens
from vmha.web.users import Users


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """``first_s``: how long a page waits for the cluster's first reading. ``streams``: of pages that are open."""

    first_s: float = 4.0
    streams: int = 200
    streams_of_one_address: int = 50


class Dashboard:
    """One cluster's pages."""

    def __init__(self, client: OperatorClient, feed: Feed, limits: Limits, logins: Logins) -> None:
        self._client, self._feed, self._limits, self._logins = client, feed, limits, logins
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
            return self._silent(request)
        query = _query(request)
        parts = self._streams.parts(*self._cluster_view(request), scene)
        stream = f"/stream?{request.url.query}" if query else "/stream"
        body = dashboard.body(parts, query)
        return self._page(request, scene.cluster, *body, where="/", stream=stream)

    async def cluster_stream(self, request: Request) -> Response:
        return self._stream(request, *self._cluster_view(request))

    async def vm(self, request: Request) -> Response:
        return await self._detail(request, "vm", details.body_of_vm)

    async def node(self, request: Request) -> Response:
        return await self._detail(request, "node", details.body_of_node)

    async def detail_stream(self, request: Request) -> Response:
        kind, name = str(request.path_params["kind"]), str(request.path_params["name"])
        if kind not in ("vm", "node"):
            return self._message(request, "Not here", "There is no such page.", 404)
        return self._stream(request, *self._detail_view(request, kind, name))

    async def what_if(self, request: Request) -> Response:
        scene = await self._feed.first(self._limits.first_s)
        if scene is None:
            return self._silent(request)
        body = await asyncio.to_thread(what_if.body, scene, [one for one in request.query_params.getlist("if") if one])
        return self._page(request, "What if", *body, where="/what-if")

    async def static(self, request: Request) -> Response:
        name = str(request.path_params["name"])
        kind = pages.STATIC.get(name)
        if kind is None:
            return Response(status_code=404)
        return Response(pages.static(name), media_type=kind, headers={"cache-control": "no-cache"})

    def _cluster_view(self, request: Request) -> tuple[str, View]:
        query, verbs = _query(request), self._logins.may_do(request)
        return f"cluster {verbs} {query}", partial(dashboard.parts_of, query=query, verbs=verbs)

    def _detail_view(self, request: Request, kind: str, name: str) -> tuple[str, View]:
        verbs = self._logins.may_do(request)
        if kind == "vm":
            return f"vm {verbs} {name}", partial(details.parts_of_vm, vm=name, verbs=verbs)
        return f"node {verbs} {name}", partial(details.parts_of_node, node=name, verbs=verbs)

    async def _detail(self, request: Request, kind: str, body: Callable[[Parts], list[Html]]) -> Response:
        name = str(request.path_params["name"])
        scene = await self._feed.first(self._limits.first_s)
        if scene is None:
            return self._silent(request)
        try:
            parts = self._streams.parts(*self._detail_view(request, kind, name), scene)
        except UnknownName as error:
            return self._message(request, "Not here", f"{error}", 404)
        return self._page(request, name, *body(parts), stream=path("stream", kind, name))

    def _stream(self, request: Request, key: str, view: View) -> Response:
        address = request.client.host if request.client else ""
        if not self._streams.has_room(address):
            return Response("too many are looking\n", 503, {"retry-after": "10"}, "text/plain")
        events = self._streams.events(key, view, address=address, may_go_on=lambda: self._logins.may_read(request))
        return StreamingResponse(events, media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    def _page(
        self, request: Request, title: str, *body: Html, where: str = "", stream: str | None = None, code: int = 200
    ) -> Response:
        said: list[Html] = []
        session = self._logins.session_of(request)
        if session and session.said:
            said = [el("p", mark("ok"), session.said, class_="banner ok", role="status")]
            session.said = ""
        who = self._logins.who(request)
        made = pages.page(title, *said, *body, cluster=self._cluster, where=where, stream=stream, who=who)
        return HTMLResponse(made, code)

    def _silent(self, request: Request) -> Response:
        why = self._feed.lost or "it has not been read yet"
        return self._message(request, "The cluster does not answer", f"{why}. Load this page again.", 503)

    def _message(self, request: Request, title: str, said: str, code: int) -> Response:
        head = el("header", el("h1", title), el("p", said), class_="headline bad")
        return self._page(request, title, head, code=code)


def application(
    client: OperatorClient, settings: WebSettings | None = None, *, limits: Limits | None = None
) -> Starlette:
    """The application, with the tasks that read the cluster for it."""
    settings = settings or WebSettings()
    limits, feed, guarded = limits or Limits(), Feed(client), Guarded(client)
    is_secure, is_public, why_not = settings.over_tls or settings.https_in_front, settings.public, settings.why_no_login
    known = AccessFile(settings.users)
    logins = Logins(Users(known), client.clock, is_secure=is_secure, why_not=why_not, is_public=is_public)
    api = Api(guarded, feed, Tokens(known), first_s=limits.first_s, is_public=is_public, why_not=why_not)

    @asynccontextmanager
    async def living(_: Starlette) -> AsyncGenerator[None, None]:
        reading = asyncio.create_task(feed.run(), name="read the cluster")
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    around = [Middleware(Guards, names=settings.names, over_tls=is_secure), Middleware(Gate, logins=logins)]
    pages_of = Dashboard(client, feed, limits, logins).routes() + Actions(guarded, logins).routes()
    handlers = {HTTPException: answer_in_kind}
    app = Starlette(routes=api.routes() + pages_of, lifespan=living, middleware=around, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return app


def _query(request: Request) -> str:
    return " ".join(request.query_params.get("q", "").split())[:100]
