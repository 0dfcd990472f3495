"""What stands before every request: which names this server answers to, how much it takes, what browsers may do.

*Names.* A page of somebody else's whose name suddenly resolves to our address (DNS rebinding) would be read by the
browser as ours. So a Host header has to be an address, a name of this machine, or one that the settings name.
*Sizes.* Nothing that is asked here is long; what is longer is refused before it is read.
*Headers.* No script, style or image but our own files, no frame around us, nothing kept by caches.
"""

import ipaddress
from collections.abc import Iterable

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vmha.web.problems import in_kind

log = structlog.get_logger(__name__)

MOST_BODY_BYTES = 8 * 1024
MOST_PATH_BYTES = 1024
MOST_QUERY_BYTES = 2048

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-store",
}
HSTS = "max-age=31536000"


def is_ours(host: str, names: Iterable[str]) -> bool:
    """Whether a Host header names this server: an address, or one of ``names``."""
    bare = _without_port(host).rstrip(".").lower()
    if bare in {name.lower() for name in names}:
        return True
    try:
        ipaddress.ip_address(bare.strip("[]"))
    except ValueError:
        return False
    return True


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


class Guards:
    """Around the whole application."""

    def __init__(self, app: ASGIApp, *, names: Iterable[str], over_tls: bool) -> None:
        self._app = app
        self._names = frozenset(names)
        self._headers = HEADERS | ({"strict-transport-security": HSTS} if over_tls else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # no web sockets here
        taken = 0

        async def receive_little() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MOST_BODY_BYTES:
                raise TooLarge
            return message

        has_begun = False

        async def send_guarded(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope)
        try:
            await (refusal or self._app)(scope, receive_little, send_guarded)
        except TooLarge:
            await in_kind(scope["path"], 413, "too large")(scope, receive, send_guarded)
        except Exception:
            log.exception("an answer failed", path=scope["path"])
            if has_begun:
                raise
            await in_kind(scope["path"], 500, "this failed; the log of vmha web says more")(
                scope, receive, send_guarded
            )

    def _refusal(self, scope: Scope) -> Response | None:
        headers, where = Headers(scope=scope), scope["path"]
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not is_ours(hosts[0], self._names):
            return in_kind(where, 421, "this server does not answer to that name (setting: web.names)")
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return in_kind(where, 405, "only GET, HEAD and POST", {"allow": "GET, HEAD, POST"})
        if len(scope.get("raw_path") or b"") > MOST_PATH_BYTES or len(scope["query_string"]) > MOST_QUERY_BYTES:
            return in_kind(where, 414, "too long")
        said = headers.get("content-length", "0")
        if not (said.isascii() and said.isdecimal() and len(said) < 20) or int(said) > MOST_BODY_BYTES:
            return in_kind(where, 413, "too large")
        return None


class TooLarge(Exception):
    """More was sent than anything here could mean."""
