"""Who may read, where reading is not for everybody (setting ``web.public``): asked before any page is looked for.

Around all pages, so that one that is added later is behind it too. The way in (log-in, and what its page looks like)
is open; the API asks for itself, by tokens.
"""

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from vmha.web.logins import Logins, here

_OPEN = ("/login", "/logout")
_OPEN_BELOW = ("/static/", "/api/")


class Gate:
    def __init__(self, app: ASGIApp, *, logins: Logins) -> None:
        self._app, self._logins = app, logins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._logins.is_public or _is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        answer = None if self._logins.may_read(request) else _refusal(request)
        await (answer or self._app)(scope, receive, send)


def _is_open(path: str) -> bool:
    return path in _OPEN or path.startswith(_OPEN_BELOW)


def _refusal(request: Request) -> Response:
    is_page = request.method in ("GET", "HEAD") and not request.url.path.startswith("/stream")
    if is_page:
        return RedirectResponse(f"/login?{urlencode({'next': here(request)})}", 303)
    return PlainTextResponse("log in first\n", 403)
