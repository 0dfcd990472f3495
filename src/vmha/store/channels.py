"""The members of an etcd cluster as one ring: a channel per endpoint, one in use, everybody moves on together.

gRPC's own balancing over several addresses is not used. Measured with three members: after a SIGSTOP of the member in
use, a channel over all addresses stayed there for more than 34 s (14 s with HTTP/2 keepalive), because a connection
that is only silent still counts as good. Here the one who saw the member misbehave says so (``Ring.leave``), and every
later call, watch and renewal uses the next endpoint. Many who complain about the same member move the ring once.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vmha.model.errors import Broken, Rejected
from vmha.store import wire
from vmha.store.port import Unavailable
from vmha.store.tls_files import RenewedFiles, TlsFiles, load_credentials, read_file

Metadata = tuple[tuple[str, str], ...]

HAS_LEADER: Final = (("hasleader", "true"),)
"""Metadata of every request: a member without a leader then answers at once, not after 7 s, and ends its watches."""

_DEFAULT_PORT: Final = 2379
_LAST_WORDS_S: Final = 5.0
_FORMS: Final = "host:port, http://host:port, https://host:port, unix:/path"

_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    # etcd answers pings that come faster than every 5 s with GOAWAY, which breaks every stream of the channel.
    ("grpc.keepalive_time_ms", 6000),
    ("grpc.keepalive_timeout_ms", 2000),
    # Without this one the line above is ignored and a silent connection is kept for 60 s.
    ("grpc.http2.ping_timeout_ms", 2000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1000),  # also the time one connect may take: 20 s by default
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", -1),  # 4 MiB by default: less than one catch-up of a watch
    ("grpc.max_send_message_length", -1),
    # Channels to the same target share a connection otherwise, and with it its fate.
    ("grpc.use_local_subchannel_pool", 1),
    # An `https_proxy` in the environment is meant for the web, not for the cluster's own network.
    ("grpc.enable_http_proxy", 0),
)

_ANOTHER: Final = (
    "if it was restored or built anew, and the other is gone for good: systemctl restart vmha-agent, "
    "on all hosts at the same time"
)

_HOST_PORT: Final = re.compile(r"(?P<host>\[[0-9a-fA-F:.%]+\]|[^\s:/\[\]@]+)(?::(?P<port>\d{1,5}))?/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """For an etcd whose auth is on and that knows its users by passwords, not by their certificates' names."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One member's address. ``name`` is for people, ``target`` for gRPC."""

    name: str
    target: str
    secure: bool


def parse_endpoint(text: str, *, tls: bool) -> Endpoint:
    """Reads one endpoint; ``tls`` says whether TLS files are configured, which decides for forms that leave it open.

    Raises:
        Rejected: not an endpoint, or plain http where TLS is configured.
    """
    scheme, found, rest = text.partition("://")
    if found and scheme not in ("http", "https"):
        raise Rejected(f"etcd endpoint {text!r} has an unknown scheme", accepted=_FORMS)
    if found and scheme == "http" and tls:
        raise Rejected(
            f"etcd endpoint {text!r} is plain http, but TLS files are configured", accepted="https://host:port"
        )
    if not found and text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/"):
            raise Rejected(f"etcd endpoint {text!r} has no absolute path", accepted="unix:/path/to/socket")
        return Endpoint(name=text, target=text, secure=tls)
    match = _HOST_PORT.fullmatch(rest if found else text)
    port = int(match["port"] or _DEFAULT_PORT) if match else 0
    if match is None or not 0 < port < 65536:
        raise Rejected(f"{text!r} is not an etcd endpoint", accepted=_FORMS)
    address = f"{match['host']}:{port}"
    return Endpoint(name=address, target=address, secure=tls if not found else scheme == "https")


def load_login(user: str, password_file: str) -> Login | None:
    """None without a user. The password is the file's first line.

    Raises:
        Rejected: one of the two is missing, or the file cannot be read.
    """
    if bool(user) != bool(password_file):
        raise Rejected("the login to etcd has one of etcd_user and etcd_password_file", accepted="both or none")
    if not user:
        return None
    password = read_file(Path(password_file), "etcd_password_file").decode(errors="replace").partition("\n")[0]
    return Login(user=user, password=password)


class Member:
    """One endpoint with its open channel and stubs, and the token that it gave for the login.

    A token is good at the member that gave it, and only while it is used: after 300 s of rest, or a restart of the
    member, a request with it is refused. Then ``forget_token`` and ``metadata`` make another.
    """

    def __init__(
        self, endpoint: Endpoint, credentials: wire.ChannelCredentials | None, login: Login | None = None
    ) -> None:
        self.name = endpoint.name
        self.endpoint = endpoint
        self._login = login
        self._token: str | None = None
        self._one_login_at_a_time = asyncio.Lock()
        if endpoint.secure:
            assert credentials is not None
            self.channel = wire.secure_channel(endpoint.target, credentials, options=_OPTIONS)
        else:
            self.channel = wire.insecure_channel(endpoint.target, options=_OPTIONS)
        self.kv = wire.KVStub(self.channel)
        self.lease = wire.LeaseStub(self.channel)
        self.watch = wire.WatchStub(self.channel)
        self.maintenance = wire.MaintenanceStub(self.channel)
        self.cluster = wire.ClusterStub(self.channel)
        self.auth = wire.AuthStub(self.channel)

    @property
    def has_login(self) -> bool:
        return self._login is not None

    async def metadata(self, *, timeout_s: float) -> Metadata:
        """What every request carries. Logs in first, where that is needed.

        Raises:
            wire.AioRpcError: the login failed.
        """
        if self._login is None:
            return HAS_LEADER
        async with self._one_login_at_a_time:
            if self._token is None:
                self._token = await self._log_in(self._login, timeout_s)
            return (*HAS_LEADER, ("token", self._token)) if self._token else HAS_LEADER

    def forget_token(self, used: Metadata) -> bool:
        """The member refused a request with this metadata. False: there is no login to try again with."""
        if self._login is None:
            return False
        if dict(used).get("token", "") == self._token:  # else somebody has got another one already
            self._token = None
        return True

    async def _log_in(self, login: Login, timeout_s: float) -> str:
        request = wire.AuthenticateRequest(name=login.user, password=login.password)
        try:
            answer = await self.auth.Authenticate(request, timeout=timeout_s, metadata=HAS_LEADER)
        except wire.AioRpcError as error:
            if "authentication is not enabled" in (error.details() or ""):
                return ""  # auth is off (yet): nobody asks for a token
            raise
        return answer.token


class Ring:
    """Which member is in use. Channels are opened when first needed, inside the running loop, and kept."""

    def __init__(
        self, endpoints: Sequence[str], *, tls: TlsFiles | None = None, login: Login | None = None, first: int = 0
    ) -> None:
        """Reads the endpoints and the TLS files; connects to nothing.

        Args:
            endpoints: In the forms of ``parse_endpoint``; doubles count once.
            tls: Files for TLS, if it is used.
            login: User and password, if etcd wants them.
            first: Where to begin, counted round the ring: spreads many clients over the members.

        Raises:
            Rejected: no endpoint, a malformed one, or unreadable files.
        """
        if isinstance(endpoints, str) or not endpoints:
            raise Rejected("no etcd endpoint is given", accepted=f"a list of {_FORMS}")
        parsed = [parse_endpoint(text, tls=tls is not None) for text in endpoints]
        self._endpoints = list({endpoint.target: endpoint for endpoint in parsed}.values())
        is_secure = any(endpoint.secure for endpoint in self._endpoints)
        self._credentials = load_credentials(tls) if is_secure else None
        self._renewed = RenewedFiles(tls) if tls and is_secure else None
        self.tls = tls
        self._leaving: set[asyncio.Task[None]] = set()
        self._login = login
        self._members: dict[int, Member] = {}
        self._at = first % len(self._endpoints)
        self._cluster_id = 0
        self._moved = asyncio.Event()
        self.closed = False
        self.renewed = 0

    def __len__(self) -> int:
        return len(self._endpoints)

    @property
    def name(self) -> str:
        """The endpoint in use."""
        return self._endpoints[self._at].name

    @property
    def names(self) -> str:
        """All endpoints, for messages."""
        return ", ".join(endpoint.name for endpoint in self._endpoints)

    @property
    def moved(self) -> asyncio.Event:
        """Set once the member that is in use now is left."""
        return self._moved

    def current(self) -> Member:
        """The member in use.

        Raises:
            Unavailable: the ring was closed.
        """
        if self.closed:
            raise Unavailable(f"the connection to etcd at {self.names} is closed")
        self._take_new_files()
        return self._member(self._at)

    def _take_new_files(self) -> None:
        """With new certificates every channel is opened anew. What is in flight on the old ones has time to end."""
        if self._renewed is None or (new := self._renewed.look(asyncio.get_running_loop().time())) is None:
            return
        self._credentials = new
        self.renewed += 1
        for member in self._members.values():
            task = asyncio.create_task(member.channel.close(_LAST_WORDS_S), name=f"etcd: leave {member.name}")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        self._members = {}
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()  # watches go on over the new channels

    def every(self) -> list[Member]:
        """All of them, in the order of the endpoints.

        Raises:
            Unavailable: the ring was closed.
        """
        self.current()
        return [self._member(at) for at in range(len(self._endpoints))]

    def after(self, member: Member) -> Member:
        """The one that comes after it, round the ring.

        Raises:
            Unavailable: the ring was closed.
        """
        self.current()
        at = next((at for at, known in self._members.items() if known is member), self._at)
        return self._member((at + 1) % len(self._endpoints))

    def _member(self, at: int) -> Member:
        member = self._members.get(at)
        if member is None:
            member = self._members[at] = Member(self._endpoints[at], self._credentials, self._login)
        return member

    def leave(self, member: Member) -> None:
        """``member`` misbehaved: everybody goes on to the next one, unless they already have."""
        if len(self._endpoints) > 1 and self._members.get(self._at) is member:
            self._at = (self._at + 1) % len(self._endpoints)
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()

    @property
    def cluster_id(self) -> str:
        """As etcd writes it; '' before the first answer."""
        return f"{self._cluster_id:x}" if self._cluster_id else ""

    def check(self, header: wire.ResponseHeader, member: Member) -> None:
        """All answers must come from one cluster: nothing tells a restored one from a second one beside the first.

        Raises:
            Broken: this answer comes from another one.
        """
        if not header.cluster_id:
            return
        if self._cluster_id and header.cluster_id != self._cluster_id:
            ids = f"cluster {header.cluster_id:x}, not {self._cluster_id:x} like the member asked before"
            self.leave(member)  # else nobody would ever ask those again that are ours
            raise Broken(f"etcd at {member.name} belongs to {ids}; {_ANOTHER}")
        self._cluster_id = header.cluster_id

    async def close(self) -> None:
        """Ends every channel; calls in flight end with an error of the port."""
        self.closed = True
        self._moved.set()
        members, self._members = self._members, {}
        for at in sorted(members):
            await members[at].channel.close()
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
