"""Bytes that no peer would send, past the point where they are authenticated: told apart, or refused as garbled."""

import asyncio
import contextlib
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from vmha.peers import wire
from vmha.peers.port import Answer, Request

noise = st.binary(max_size=200) | st.sampled_from([b"[" * 16_000, b'{"kind":' * 2000, b'"' + b"a" * 16_000 + b'"', b""])
json_like = st.recursive(
    st.sampled_from(['"ping"', '"kind"', "null", "1e999", '"\\ud800"', "-1", "true", '"node"']),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: "[" + ",".join(parts) + "]")
        | st.lists(inner, max_size=3).map(lambda parts: "{" + ",".join(f'"kind":{part}' for part in parts) + "}")
    ),
).map(str.encode)


@settings(max_examples=150, deadline=None, database=None)
@given(noise | json_like)
def test_message_is_read_or_garbled(body: bytes) -> None:
    for kind in (Request, Answer):
        with contextlib.suppress(wire.Garbled):
            wire.unpack(kind, body)


@settings(max_examples=150, deadline=None, database=None)
@given(noise | st.lists(st.binary(max_size=40), min_size=3, max_size=5).map(b"\n".join))
def test_greeting_is_read_or_garbled(body: bytes) -> None:
    for text in (body, wire.VERSION + b"\n" + body):
        with contextlib.suppress(wire.Garbled):
            wire.Hello.unpack(text)


@settings(max_examples=60, deadline=None, database=None)
@given(st.integers(min_value=0, max_value=2**32 - 1), st.binary(max_size=80))
def test_frame_is_read_or_refused_before_anything_of_its_length_is(length: int, rest: bytes) -> None:
    async def read() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(struct.pack(">I", length) + rest)
        reader.feed_eof()
        try:
            _, body = await wire.read_frame(reader)
        except (wire.Garbled, asyncio.IncompleteReadError):
            return
        assert len(body) == length <= wire.MAX_BODY_BYTES

    asyncio.run(read())
