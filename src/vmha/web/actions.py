"""The addresses of verbs: a confirmation that says what will happen, and the form it holds.

A confirmation is read by whoever is logged in; its form, sent back, does the deed: with the session's token, and only
if the plan is still the one that was read. Who did it is the author of what is written, as ``NAME (web)``.
"""

import asyncio
from collections.abc import Mapping
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from vmha.model.errors import Retryable, VmhaError
from vmha.operator.client import OperatorClient
from vmha.operator.errors import UnknownName
from vmha.web import pages
from vmha.web.confirmation import confirmation, digest
from vmha.web.html import Html, el, path
from vmha.web.logins import Forbidden, Logins, TooOften, safe_next
from vmha.web.sessions import Session
from vmha.web.verbs import Deed, Rehearsal, Wish, deed, rehearse


class Actions:
    def __init__(self, client: OperatorClient, logins: Logins) -> None:
        self._client, self._logins = client, logins

    def routes(self) -> list[Route]:
        return [
            Route("/login", self.login, methods=["GET", "POST"]),
            Route("/logout", self.logout, methods=["POST"]),
            Route("/do/{verb:str}", self.act, methods=["GET", "POST"]),
        ]

    async def login(self, request: Request) -> Response:
        try:
            if request.method != "POST":
                return self._login_page(request, safe_next(request.query_params.get("next", "/")))
            fields = await self._logins.form_of(request, None)
            to = safe_next(fields.get("next", "/"))
            gone_on = RedirectResponse(to, 303)
            complaint = await self._logins.log_in(request, fields, gone_on)
            return self._login_page(request, to, complaint, 403) if complaint else gone_on
        except TooOften as error:
            answer = self._login_page(request, "/", str(error), 429)
            answer.headers["retry-after"] = str(max(1, round(error.wait_s + 0.5)))
            return answer
        except Forbidden as error:
            return self._login_page(request, "/", str(error), 403)
        except VmhaError as error:
            return self._login_page(request, "/", str(error), 503)

    async def logout(self, request: Request) -> Response:
        session = self._logins.session_of(request)
        answer = RedirectResponse("/", 303)
        if session is not None:
            try:
                await self._logins.form_of(request, session)
            except Forbidden as error:
                return self._message(request, "Not done", str(error), 403)
            self._logins.log_out(request, answer)
        return answer

    async def act(self, request: Request) -> Response:
        session = self._logins.session_of(request)
        verb = str(request.path_params["verb"])
        if session is None:
            if request.method == "POST":
                return self._message(request, "Not done", "Log in first.", 403)
            to = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"/login?{urlencode({'next': to})}", 303)
        try:
            doing = deed(verb)
            if request.method != "POST":
                return await self._confirmation(request, session, doing, wish_of(verb, request.query_params))
            return await self._do(request, session, doing, verb)
        except Forbidden as error:
            return self._message(request, "Not done", str(error), 403)
        except UnknownName as error:
            return self._message(request, "Not done", str(error), 404)
        except Retryable as error:
            return self._message(request, "The cluster does not answer", f"{error}. Nothing is known to be done.", 503)
        except VmhaError as error:
            return self._message(request, "Not done", str(error), 409)

    async def _do(self, request: Request, session: Session, doing: Deed, verb: str) -> Response:
        fields = await self._logins.form_of(request, session)
        wish = wish_of(verb, fields)
        found = await self._rehearse(wish)
        note = ""
        if fields.get("seen") != digest(found):
            note = "Meanwhile the cluster has changed: this is what would happen now."
        elif found.left and fields.get("all-the-same") != "yes":
            note = "Some vms can not leave: say that it is to be done all the same, or leave it."
        if note:
            return await self._confirmation(request, session, doing, wish, note=note)
        await doing.ask(self._client_of(session), wish)
        session.said = f"{doing.label}: asked for. Here is what becomes of it."
        where = {"vm": path("vm", wish.on), "node": path("node", wish.on)}.get(doing.about, "/")
        return RedirectResponse(where, 303)

    async def _confirmation(
        self, request: Request, session: Session, doing: Deed, wish: Wish, *, note: str = ""
    ) -> Response:
        snapshot = await self._client_of(None).read()
        refused = ""
        found = None
        try:
            found = await asyncio.to_thread(rehearse, self._client_of(session), snapshot, wish)
        except UnknownName:
            raise
        except VmhaError as error:
            refused = str(error)
        body = confirmation(doing, wish, found, snapshot, token=session.token, note=note, refused=refused)
        title = f"{doing.label} {wish.on}".strip()
        code = 409 if note or refused else 200
        return HTMLResponse(self._page(request, title, *body), code)

    async def _rehearse(self, wish: Wish) -> Rehearsal:
        client = self._client_of(None)
        return await asyncio.to_thread(rehearse, client, await client.read(), wish)

    def _client_of(self, session: Session | None) -> OperatorClient:
        """Whatever it writes says who asked."""
        ours = self._client
        author = f"{session.user} (web)" if session else ours.author
        return OperatorClient(ours.store, ours.keys, ours.clock, author=author)

    def _login_page(self, request: Request, to: str, complaint: str = "", code: int = 200) -> Response:
        head = el("header", el("h1", "Log in"), el("p", "To change something. Reading needs no log-in."))
        body = el("section", self._logins.form(request, to=to, complaint=complaint), class_="narrow")
        answer = HTMLResponse(self._page(request, "Log in", head, body), code)
        if not self._logins.why_not():
            self._logins.ready_for_form(request, answer)
        return answer

    def _page(self, request: Request, title: str, *body: Html) -> Html:
        who = self._logins.who(request)
        return pages.page(title, *body, cluster=self._client.keys.cluster, who=who)

    def _message(self, request: Request, title: str, said: str, code: int) -> Response:
        head = el("header", el("h1", title), el("p", said), class_="headline bad")
        return HTMLResponse(self._page(request, title, head), code)


def wish_of(verb: str, fields: Mapping[str, str]) -> Wish:
    def of(key: str, default: str = "") -> str:
        return " ".join(fields.get(key, default).split())

    return Wish(
        verb=verb, on=fields.get("on", ""), to=fields.get("to", ""), reason=of("reason"), mode=of("mode", "starts")
    )
