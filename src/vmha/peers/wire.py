"""The channel's bytes: a challenge both ways, then frames that only the two ends can make, each good for once.

    server --> nonce                                              (16 bytes, in clear)
    client --> hello {node, to, nonce}   under the cluster's key, bound to the server's nonce
    server --> hello {node, to, nonce}   under the cluster's key, bound to both nonces
    then       question, answer, ...     under keys made of both nonces, one for each direction, with a running number

A frame is length (4 bytes), HMAC-SHA256 (32 bytes), JSON. The key comes from the secret and the cluster's name, so
that clusters that share a secret by mistake do not hear each other. A frame that was recorded is worth nothing on
another connection (nonces), in the other direction (keys), or again on this one (numbers). Nothing is encrypted: what
is said is names and "yes" or "no".
"""

import asyncio
import hashlib
import hmac
import struct
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from vmha.model.errors import VmhaError
from vmha.model.ids import NodeName

T = TypeVar("T")

VERSION = b"vmha-peers-1"
NONCE_BYTES = 16
MAC_BYTES = 32
MAX_BODY_BYTES = 16384
LEAST_SECRET_BYTES = 16


class Garbled(VmhaError):
    """What came is not what the other end of this channel could have sent."""


class Hello:
    """Who speaks, to whom, and the nonce of this side, as it stands in a frame."""

    def __init__(self, node: NodeName, to: NodeName, nonce: bytes) -> None:
        self.node, self.to, self.nonce = node, to, nonce

    def pack(self) -> bytes:
        return b"\n".join((VERSION, self.node.encode(), self.to.encode(), self.nonce.hex().encode()))

    @classmethod
    def unpack(cls, body: bytes) -> "Hello":
        try:
            version, node, to, nonce = body.split(b"\n")
            hello = cls(NodeName(node.decode()), NodeName(to.decode()), bytes.fromhex(nonce.decode()))
        except ValueError as error:
            raise Garbled("its greeting is none") from error
        if version != VERSION:
            raise Garbled(f"it speaks {version[:40]!r} (accepted: {VERSION.decode()})")
        if len(hello.nonce) != NONCE_BYTES:
            raise Garbled("its greeting has no nonce")
        return hello


def cluster_key(secret: bytes, cluster: str) -> bytes:
    return _mac(secret, VERSION, cluster.encode())


def client_hello_mac(key: bytes, server_nonce: bytes, body: bytes) -> bytes:
    return _mac(key, b"client", server_nonce, body)


def server_hello_mac(key: bytes, server_nonce: bytes, client_nonce: bytes, body: bytes) -> bytes:
    return _mac(key, b"server", server_nonce, client_nonce, body)


class Seal:
    """One direction of one connection: makes, or checks, one frame after the other."""

    def __init__(self, key: bytes, direction: bytes, server_nonce: bytes, client_nonce: bytes) -> None:
        self._key = _mac(key, b"frames", direction, server_nonce, client_nonce)
        self._number = 0

    def mac(self, body: bytes) -> bytes:
        self._number += 1
        return _mac(self._key, struct.pack(">Q", self._number), body)


def is_same(mac: bytes, other: bytes) -> bool:
    return hmac.compare_digest(mac, other)


def frame(mac: bytes, body: bytes) -> bytes:
    if len(body) > MAX_BODY_BYTES:
        raise Garbled(f"a message of {len(body)} bytes is too long (accepted: up to {MAX_BODY_BYTES})")
    return struct.pack(">I", len(body)) + mac + body


async def read_frame(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The MAC as it came, unchecked, and the body. The length is looked at before anything of that length is read.

    Raises:
        Garbled: too long.
        asyncio.IncompleteReadError: the other end closed.
    """
    head = await reader.readexactly(4 + MAC_BYTES)
    (length,) = struct.unpack(">I", head[:4])
    if length > MAX_BODY_BYTES:
        raise Garbled(f"it announces {length} bytes (accepted: up to {MAX_BODY_BYTES})")
    return head[4:], await reader.readexactly(length)


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def pack(message: Any) -> bytes:
    return _adapter(type(message)).dump_json(message)


def unpack(kind: Any, body: bytes) -> Any:
    """A message of ``kind`` (a union is told apart by its members' ``kind``)."""
    try:
        return _adapter(kind).validate_json(body)
    except ValidationError as error:
        raise Garbled("its message can not be read") from error


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _mac(key: bytes, *parts: bytes) -> bytes:
    """HMAC over parts whose borders are part of what is signed."""
    code = hmac.new(key, digestmod=hashlib.sha256)
    for part in parts:
        code.update(struct.pack(">I", len(part)) + part)
    return code.digest()
