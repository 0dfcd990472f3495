"""The cluster for programs: ``/api/v1``. What the pages show, and what they do, by the same guarded path.

A program is known by a token (``Authorization: Bearer``), never by a browser's session: so no page of somebody else's
can make a browser ask here in its user's name. Reading needs none where reading is for everybody; a token that is
given must be good, though. Errors are problem documents. The table of readings is in ``api_operations``.
"""

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vmha.model.errors import Rejected, VmhaError
from vmha.web.access import Role
from vmha.web.api_asked import Asked, Confirmed, body_of, query_of, wish_for
from vmha.web.api_operations import PREFIX, READINGS, Reading
from vmha.web.confirmation import in_words
from vmha.web.feed import Feed, Scene
from vmha.web.guarded import Guarded, NotConfirmed, Rehearsed
from vmha.web.html import path
from vmha.web.openapi import description
from vmha.web.problems import Problem, as_json, json_text, of_error, wrong
from vmha.web.tokens import Tokens
from vmha.web.verbs import DEEDS, Deed, Wish

log = structlog.get_logger(__name__)

MADE_AT_ONCE = 2
MOST_KEPT = 100
_ASK = {"www-authenticate": 'Bearer realm="vmha"'}


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Who asks. ``token`` '': nobody has said."""

    token: str
    role: Role

    @property
    def author(self) -> str:
        return f"{self.token} (token)"


class Answers:
    """Answers of one scene, made once for all who ask the same, and few at a time, however many ask.

    The status of ten thousand vms takes a third of a second of processor time, a plan of that many longer; and reading
    may be for everybody. Plans wait for plans alone, so that nobody's what-if holds up the status.
    """

    def __init__(self) -> None:
        self._room, self._room_to_plan = asyncio.Semaphore(MADE_AT_ONCE), asyncio.Semaphore(1)
        self._number, self._texts = 0, dict[Hashable, str]()

    async def text(self, one: Reading, scene: Scene, name: str, query: dict[str, list[str]]) -> str:
        """Raises: Problem, VmhaError: as the reading does."""
        key = (one.id, name, repr(sorted(query.items())))
        async with self._room_to_plan if one.is_slow else self._room:
            if scene.number > self._number:
                self._number, self._texts = scene.number, {}
            if scene.number == self._number and (found := self._texts.get(key)):
                return found
            text = await asyncio.to_thread(lambda: json_text(one.tell(scene, name, query)))
            if scene.number == self._number and len(self._texts) < MOST_KEPT:
                self._texts[key] = text
            return text


class Api:
    """``why_not``: why no token is taken here, '' : they are; ``is_public``: reading needs none."""

    def __init__(
        self, guarded: Guarded, feed: Feed, tokens: Tokens, *, first_s: float, is_public: bool, why_not: str
    ) -> None:
        self._guarded, self._feed, self._tokens = guarded, feed, tokens
        self._first_s, self._is_public, self._why_not = first_s, is_public, why_not
        self._answers = Answers()

    def routes(self) -> list[Route]:
        return [
            Route(f"{PREFIX}/openapi.json", self._answering(self._description)),
            *(Route(f"{PREFIX}{one.where}", self._answering(self._reading_of(one))) for one in READINGS),
            Route(f"{PREFIX}/verbs/{{verb}}/plan", self._answering(self._plan), methods=["POST"]),
            Route(f"{PREFIX}/verbs/{{verb}}", self._answering(self._do), methods=["POST"]),
        ]

    def _answering(self, work: Any) -> Any:
        """Whatever goes wrong is a problem document."""

        async def answer(request: Request) -> Response:
            try:
                found: Response = await work(request)
            except Problem as problem:
                return problem.answer()
            return found

        return answer

    async def _description(self, request: Request) -> Response:
        return as_json(description())

    def _reading_of(self, one: Reading) -> Any:
        async def read(request: Request) -> Response:
            self._who(request)
            query = query_of(request, one.asks)
            scene = await self._scene()
            name = str(request.path_params.get("name", ""))
            kind = "node" if one.where.startswith("/nodes") else "vm"
            try:
                text = await self._answers.text(one, scene, name, query)
                return Response(text, media_type="application/json")
            except VmhaError as error:
                raise of_error(error, {kind: "name"}) from error

        return read

    async def _plan(self, request: Request) -> Response:
        who, verb, doing = self._operator(request)
        wish = wish_for(verb, doing, await body_of(request, Asked))
        try:
            return as_json(plain_plan(await self._guarded.rehearse(wish, who.author)))
        except VmhaError as error:
            raise of_error(error, _fields(doing)) from error

    async def _do(self, request: Request) -> Response:
        who, verb, doing = self._operator(request)
        asked = await body_of(request, Confirmed)
        assert isinstance(asked, Confirmed)
        wish = wish_for(verb, doing, asked)
        try:
            done = await self._guarded.do(wish, who.author, seen=asked.seen, all_the_same=asked.all_the_same)
        except NotConfirmed as error:
            seen = asked.seen != error.rehearsed.digest
            field = (
                wrong("seen", asked.seen, error.rehearsed.digest)
                if seen
                else wrong("all_the_same", asked.all_the_same, "true, to do it although some vms stay")
            )
            raise Problem(409, str(error), fields=[field], more={"now": plain_plan(error.rehearsed)}) from error
        except VmhaError as error:
            raise of_error(error, _fields(doing)) from error
        log.info("asked for", verb=verb, on=wish.on, by=who.author)
        return as_json({**plain_plan(done), "asked_by": who.author, "follow": _follow(doing, wish)}, 202)

    def _operator(self, request: Request) -> tuple[Program, str, Deed]:
        """Raises: Problem: whoever asks may not, or there is no such verb."""
        who = self._who(request)
        if not who.token:
            raise Problem(401, "To do something, say who you are: a token of the role operator", headers=_ASK)
        if not who.role.may_do:
            detail = f"{who.token} is a {who.role}, and may look at everything. Doing something is for operators"
            raise Problem(403, detail)
        query_of(request, {})
        verb = str(request.path_params["verb"])
        if verb not in DEEDS:
            raise Problem(404, f"there is no verb {verb!r} here", fields=[wrong("verb", verb, ", ".join(DEEDS))])
        return who, verb, DEEDS[verb]

    def _who(self, request: Request) -> Program:
        """Raises: Problem: a token that is none, or none where one is needed."""
        said = request.headers.getlist("authorization")
        if not said:
            if not self._is_public:
                raise Problem(401, "Reading needs a token here: vmha web token add NAME", headers=_ASK)
            return Program(token="", role=Role.READER)
        if self._why_not:
            raise Problem(403, self._why_not)
        scheme, _, word = said[0].partition(" ")
        try:
            known = self._tokens.find(word.strip(), self._guarded.client.clock.wall())
        except Rejected as error:
            raise Problem(503, f"Nobody is let in: {error}") from error
        if len(said) != 1 or scheme.lower() != "bearer" or known is None:
            log.warning("a token was refused", address=request.client.host if request.client else "")
            detail = "There is no such token, or not any more"
            raise Problem(401, detail, headers={"www-authenticate": 'Bearer realm="vmha", error="invalid_token"'})
        name, token = known
        return Program(token=name, role=token.role)

    async def _scene(self) -> Scene:
        """Raises: Problem: the cluster has not been read, or not lately: a program must not take old for new."""
        scene = await self._feed.first(self._first_s)
        why = self._feed.lost or ("" if scene else "it has not been read yet")
        if scene is None or why:
            raise Problem(503, f"The store does not answer: {why}", headers={"retry-after": "2"})
        return scene


def plain_plan(rehearsed: Rehearsed) -> dict[str, Any]:
    wish, found = rehearsed.wish, rehearsed.found
    return {
        "verb": wish.verb,
        "on": wish.on,
        "what": in_words(DEEDS[wish.verb], wish),
        "plan": list(found.plan),
        "risks": list(found.risks),
        "left": [{"vm": one.vm, "waits_for": one.text} for one in found.left],
        "well": found.is_well,
        "seen": rehearsed.digest,
    }


def _fields(doing: Deed) -> dict[str, str]:
    """In which field a vm and a node are named."""
    return {doing.about: "on", **({"node": "to"} if "to" in doing.takes else {})}


def _follow(doing: Deed, wish: Wish) -> str:
    """Where to see what becomes of it."""
    return f"{PREFIX}{path(f'{doing.about}s', wish.on)}" if wish.on else f"{PREFIX}/status"
