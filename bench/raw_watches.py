"""Many watches that cost their side next to nothing: etcd tells each of them everything, and nobody reads it.

Each has a connection of its own and is opened as an agent opens its watch (``store/watching.py``): gRPC over HTTP/2,
the same request. Two things are otherwise. The windows are opened to their largest at the start, so that none has to be
given back; and what comes is thrown away by the kernel, only counted. An agent's client reads it, and tells etcd so:
``scale_watchers`` holds the two against each other where this machine can.

HTTP/2: RFC 9113; its headers, all written out: RFC 7541; gRPC's five bytes before a message:
https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

import contextlib
import resource
import select
import socket
import struct

from vmha.store import wire
from vmha.store.convert import encode_key, prefix_end

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _WINDOW_UPDATE = 0, 1, 4, 8
_ACK, _END_HEADERS = 1, 4
_INITIAL_WINDOW_SIZE = 4
_LARGEST_WINDOW = (1 << 31) - 1
_FIRST_WINDOW = (1 << 16) - 1
_STREAM = 1
_LOOK_S = 10.0
MOST_BYTES = 1 << 20
_nowhere = bytearray(MOST_BYTES)


def opening(authority: str, prefix: str, start_revision: int) -> bytes:
    """All that the client says, at once."""
    create = wire.WatchCreateRequest(
        key=encode_key(prefix), range_end=prefix_end(prefix), start_revision=start_revision, fragment=True
    )
    message = wire.WatchRequest(create_request=create).SerializeToString()
    headers = b"".join(
        (
            b"\x83\x86",  # :method POST, :scheme http
            b"\x04" + _text("/etcdserverpb.Watch/Watch"),  # :path
            b"\x01" + _text(authority),  # :authority
            b"\x0f\x10" + _text("application/grpc"),  # content-type
            b"\x00" + _text("te") + _text("trailers"),
            b"\x00" + _text("hasleader") + _text("true"),
        )
    )
    return b"".join(
        (
            _PREFACE,
            _frame(_SETTINGS, struct.pack(">HI", _INITIAL_WINDOW_SIZE, _LARGEST_WINDOW)),
            _frame(_WINDOW_UPDATE, struct.pack(">I", _LARGEST_WINDOW - _FIRST_WINDOW)),
            _frame(_SETTINGS, b"", flags=_ACK),
            _frame(_HEADERS, headers, flags=_END_HEADERS, stream=_STREAM),
            _frame(_DATA, struct.pack(">BI", 0, len(message)) + message, stream=_STREAM),
        )
    )


def _text(text: str) -> bytes:
    assert len(text) < 127  # one byte of length
    return bytes((len(text),)) + text.encode()


def _frame(kind: int, payload: bytes, *, flags: int = 0, stream: int = 0) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class RawWatches:
    """``told``: bytes that each has been sent so far."""

    def __init__(self, endpoint: str, prefix: str, *, count: int, start_revision: int) -> None:
        host, _, port = endpoint.rpartition(":")
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self._sockets: list[socket.socket] = []
        self.told = [0] * count
        said = opening(endpoint, prefix, start_revision)
        for _ in range(count):
            one = socket.create_connection((host, int(port)), timeout=_LOOK_S)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.sendall(said)
            self._sockets.append(one)

    def wait_opened(self) -> None:
        """Until each has been answered."""
        for one in self._sockets:
            if not select.select([one], [], [], _LOOK_S)[0]:
                raise TimeoutError("etcd does not answer a watch")
            one.setblocking(False)

    def take(self, *, but: int | None = None) -> None:
        """Throw away what has come. What the kernel holds of one is bounded: come again often enough."""
        for at, one in enumerate(self._sockets):
            if at == but:
                continue
            with contextlib.suppress(BlockingIOError):
                # Of TCP the kernel drops it without a copy: tcp(7).
                if not (size := one.recv_into(_nowhere, MOST_BYTES, socket.MSG_TRUNC)):
                    raise ConnectionError("etcd has closed a watch")
                self.told[at] += size

    def read(self, at: int) -> bytes:
        """What has come to one that is not taken from."""
        with contextlib.suppress(BlockingIOError):
            return self._sockets[at].recv(MOST_BYTES)
        return b""

    def close(self) -> None:
        for one in self._sockets:
            one.close()


def messages(stream: bytes) -> list[bytes]:
    """The gRPC messages in a stream of frames."""
    body, at = b"", 0
    while at + 9 <= len(stream):
        size = int.from_bytes(stream[at : at + 3])
        if stream[at + 3] == _DATA:
            body += stream[at + 9 : at + 9 + size]
        at += 9 + size
    found, at = [], 0
    while at + 5 <= len(body):
        size = int.from_bytes(body[at + 1 : at + 5])
        found.append(body[at + 5 : at + 5 + size])
        at += 5 + size
    return found
