"""The addresses of verbs: a confirmation that says what will happen, and the form it holds.

A confirmation is read by whoever is logged in; its form, sent back, does the deed: with the session's token, and only
if the plan is still the one that was read. Who did it is the author of what is written, as ``NAME (web)``.
"""

from collections.abc import Mapping
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from vmha.model.errors import Retryable, VmhaError
from vmha.operator.errors import UnknownName
from vmha.web import pages
from vmha.web.confirmation import confirmation
from vmha.web.guarded import Guarded, NotConfirmed
from vmha.web.html import Html, el, path
from vmha.web.logins import Forbidden, Logins, TooOften, here, safe_next
from vmha.web.sessions import Session
from vmha.web.verbs import Deed, Wish, deed


class Actions:
    def __init__(self, guarded: Guarded, logins: Logins) -> None:
        self._guarded, self._logins = guarded, logins

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
            return RedirectResponse(f"/login?{urlencode({'next': here(request)})}", 303)
        if not session.role.may_do:
            said = f"{session.user} is a {session.role}, and may look at everything. Doing something is for operators."
            return self._message(request, "Not done", said, 403)
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
        all_the_same = fields.get("all-the-same") == "yes"
        try:
            await self._guarded.do(wish, _author(session), seen=fields.get("seen", ""), all_the_same=all_the_same)
        except NotConfirmed as error:
            return await self._confirmation(request, session, doing, wish, note=str(error))
        session.said = f"{doing.label}: asked for. Here is what becomes of it."
        where = {"vm": path("vm", wish.on), "node": path("node", wish.on)}.get(doing.about, "/")
        return RedirectResponse(where, 303)

    async def _confirmation(
        self, request: Request, session: Session, doing: Deed, wish: Wish, *, note: str = ""
    ) -> Response:
        snapshot = await self._guarded.client.read()
        refused = ""
        found = None
        try:
            found = await self._guarded.rehearse(wish, _author(session), snapshot)
        except UnknownName:
            raise
        except VmhaError as error:
            refused = str(error)
        body = confirmation(doing, wish, found, snapshot, token=session.token, note=note, refused=refused)
        title = f"{doing.label} {wish.on}".strip()
        code = 409 if note or refused else 200
        return HTMLResponse(self._page(request, title, *body), code)

    def _login_page(self, request: Request, to: str, complaint: str = "", code: int = 200) -> Response:
        why = "To change something. Reading needs no log-in." if self._logins.is_public else "To read, too."
        head = el("header", el("h1", "Log in"), el("p", why))
        body = el("section", self._logins.form(request, to=to, complaint=complaint), class_="narrow")
        answer = HTMLResponse(self._page(request, "Log in", head, body), code)
        if not self._logins.why_not():
            self._logins.ready_for_form(request, answer)
        return answer

    def _page(self, request: Request, title: str, *body: Html) -> Html:
        who = self._logins.who(request)
        cluster = self._guarded.client.keys.cluster if self._logins.may_read(request) else ""
        return pages.page(title, *body, cluster=cluster, who=who)

    def _message(self, request: Request, title: str, said: str, code: int) -> Response:
        head = el("header", el("h1", title), el("p", said), class_="headline bad")
        return HTMLResponse(self._page(request, title, head), code)


def _author(session: Session) -> str:
    return f"{session.user} (web)"


def wish_of(verb: str, fields: Mapping[str, str]) -> Wish:
    def of(key: str, default: str = "") -> str:
        return " ".join(fields.get(key, default).split())

    return Wish(
        verb=verb, on=fields.get("on", ""), to=fields.get("to", ""), reason=of("reason"), mode=of("mode", "starts")
    )
