"""Logging in and out: a form, a password that is tried off the event loop, a cookie that no script can read.

Every form repeats a word that another site can not know: of the session, or, before there is one, of a cookie of its
own. A browser that says where a form came from (Sec-Fetch-Site, Origin) is believed when it says: from elsewhere.
"""

import asyncio
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit

import structlog
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from vmha.model.clock import Clock
from vmha.model.errors import Rejected
from vmha.web.html import Html, el, link, name
from vmha.web.passwords import LONGEST, NOBODY
from vmha.web.sessions import LONGEST_S, Session, Sessions
from vmha.web.throttle import Throttle
from vmha.web.users import Users

log = structlog.get_logger(__name__)

MOST_FIELDS = 20
MOST_AT_ONCE = 2
MOST_WAITING = 16
"""Passwords that are tried or wait for it: each takes 32 MiB and a tenth of a second."""


class Forbidden(Exception):
    """A form that was not sent by one of our pages."""


class Logins:
    """``why_not``: why nobody can log in here ('' : they can, if there are users). ``is_public``: reading is free."""

    def __init__(
        self, users: Users, clock: Clock, *, is_secure: bool, why_not: str = "", is_public: bool = True
    ) -> None:
        self._users, self._clock, self._is_secure = users, clock, is_secure
        self._sessions, self._throttle = Sessions(users), Throttle()
        self._trying, self._waiting = asyncio.Semaphore(MOST_AT_ONCE), 0
        self._why_not = why_not
        self.is_public = is_public
        prefix = "__Host-" if is_secure else ""
        self._cookie, self._form_cookie = f"{prefix}vmha", f"{prefix}vmha-form"

    def why_not(self) -> str:
        """Why nobody can log in, in words; '': somebody can."""
        if self._why_not:
            return self._why_not
        try:
            return "" if self._users.all() else "nobody may log in yet: vmha web user add NAME"
        except Rejected as error:
            return str(error)

    def may_read(self, request: Request) -> bool:
        """Asked of a stream that is open, too: it prolongs no session."""
        return self.is_public or self.session_of(request, is_request=False) is not None

    def may_do(self, request: Request) -> bool:
        """Whether verbs are shown: to whoever may do them, or could log in for it."""
        session = self.session_of(request, is_request=False)
        return session.role.may_do if session else not self.why_not()

    def session_of(self, request: Request, *, is_request: bool = True) -> Session | None:
        word = request.cookies.get(self._cookie, "")
        if not word or self._why_not:
            return None
        try:
            return self._sessions.find(word, self._clock.now(), is_request=is_request)
        except Rejected:
            return None

    def who(self, request: Request) -> Html:
        """For the frame of every page."""
        session = self.session_of(request)
        if session is None:
            return Html() if self.why_not() else link(f"/login?{_next(request)}", "Log in")
        token = el("input", type="hidden", name="token", value=session.token)
        said = "" if session.role.may_do else f" ({session.role})"
        return el(
            "form", name(session.user), f"{said} ", token, el("button", "Log out"), method="post", action="/logout"
        )

    async def form_of(self, request: Request, session: Session | None) -> dict[str, str]:
        """The fields of a form of ours. Raises: Forbidden."""
        if not _is_from_here(request.headers):
            raise Forbidden("It was sent by another site.")
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
            raise Forbidden("It is no form.")
        try:
            body = (await request.body()).decode()
            fields = dict(parse_qsl(body, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict"))
        except ValueError as error:
            raise Forbidden("It is no form.") from error
        word = session.token if session else request.cookies.get(self._form_cookie, "")
        if not word or not secrets.compare_digest(fields.get("token", "").encode(errors="replace"), word.encode()):
            raise Forbidden("It is not, or no longer, a form of this page: go back and load it again.")
        return fields

    def ready_for_form(self, request: Request, response: Response) -> None:
        """Gives the browser the word that the log-in form repeats."""
        self._give(response, self._form_cookie, self._form_word(request))

    def form(self, request: Request, *, to: str, complaint: str = "") -> Html:
        if why_not := self.why_not():
            return el("p", why_not, class_="banner bad", role="alert")
        word = el("input", type="hidden", name="token", value=self._form_word(request))
        return el(
            "form",
            el("p", complaint, class_="banner bad", role="alert") if complaint else Html(),
            word,
            el("input", type="hidden", name="next", value=to),
            el("label", "Name", _field("user", "text", "username", autofocus=True), class_="field"),
            el("label", "Password", _field("password", "password", "current-password"), class_="field"),
            el("button", "Log in", class_="primary"),
            method="post",
            action="/login",
            class_="login",
        )

    async def log_in(self, request: Request, fields: Mapping[str, str], response: Response) -> str:
        """Puts the session's cookie on ``response``. Returns why not, or ''. Raises: TooOften."""
        user, password = fields.get("user", "").strip()[:LONGEST], fields.get("password", "")
        address, now = request.client.host if request.client else "", self._clock.now()
        if (wait_s := self._throttle.wait_s(address, user, now)) > 0:
            raise TooOften(wait_s)
        if self._waiting >= MOST_WAITING:
            raise TooOften(1.0)
        self._throttle.tried(address, user, now)
        known = self._users.find(user)
        self._waiting += 1
        try:
            async with self._trying:
                fits = await asyncio.to_thread((known.password if known else NOBODY).fits, password[: LONGEST + 1])
        finally:
            self._waiting -= 1
        if known is None or not fits:
            log.warning("a log-in failed", user=user, address=address)
            return "There is no such user, or the password is another one."
        self._throttle.succeeded(address, user, now)
        log.info("logged in", user=user, address=address)
        self._sessions.end(request.cookies.get(self._cookie, ""))
        word = self._sessions.begin(user, known, now)
        self._give(response, self._cookie, word, int(LONGEST_S))
        self._give(response, self._form_cookie, "", 0)
        return ""

    def log_out(self, request: Request, response: Response) -> None:
        self._sessions.end(request.cookies.get(self._cookie, ""))
        self._give(response, self._cookie, "", 0)

    def _form_word(self, request: Request) -> str:
        held = request.cookies.get(self._form_cookie, "")
        if len(held) == 43 and held.isascii():
            return held
        if not hasattr(request.state, "form_word"):
            request.state.form_word = secrets.token_urlsafe(32)
        return str(request.state.form_word)

    def _give(self, response: Response, cookie: str, value: str, for_s: int | None = None) -> None:
        """``for_s`` None: until the browser is closed; 0: it is taken away."""
        response.set_cookie(
            cookie, value, max_age=for_s, path="/", secure=self._is_secure, httponly=True, samesite="strict"
        )


class TooOften(Exception):
    def __init__(self, wait_s: float) -> None:
        super().__init__(f"Too many attempts: try again in {max(1, round(wait_s + 0.5))} s.")
        self.wait_s = wait_s


def safe_next(said: str) -> str:
    """A page of ours to go on to, whatever a form says."""
    try:
        parts = urlsplit(said)
    except ValueError:
        return "/"
    is_ours = said.startswith("/") and not said.startswith("//") and not parts.scheme and not parts.netloc
    return said if is_ours and said.isascii() and said.isprintable() and "\\" not in said else "/"


def here(request: Request) -> str:
    """What was asked for, to come back to."""
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _next(request: Request) -> str:
    to = here(request)
    return urlencode({"next": "/" if to.startswith("/login") else to})


def _is_from_here(headers: Headers) -> bool:
    said = headers.get("sec-fetch-site")
    if said is not None:
        return said == "same-origin"
    origin = headers.get("origin", "null")  # what browsers say under our referrer policy: nothing
    return origin == "null" or origin.partition("://")[2] == headers.get("host")


def _field(of: str, kind: str, what: str, **more: bool) -> Html:
    return el("input", name=of, type=kind, autocomplete=what, required=True, maxlength=LONGEST, **more)
