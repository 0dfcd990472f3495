"""The guard's requests: what is read, and that nonsense is told from a request."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmha.fencing.guard_protocol import Arm, AskStatus, Beat, Disarm, Expire, NonsenseError, Ping, parse_request

ARM = {"op": "arm", "session": "s1", "hold_s": 10, "kill_lead_s": 1.5, "sent_at": 100.25}


@pytest.mark.parametrize(
    ("fields", "request_"),
    [
        (ARM, Arm(session="s1", hold_s=10.0, kill_lead_s=1.5, sent_at=100.25)),
        (
            {**ARM, "watchdog_s": 15, "managed": ["u1", "u2"], "from_the_future": True},
            Arm(
                session="s1",
                hold_s=10.0,
                kill_lead_s=1.5,
                sent_at=100.25,
                watchdog_s=15,
                managed=frozenset({"u1", "u2"}),
            ),
        ),
        ({"op": "beat", "session": "s1", "sent_at": 7}, Beat(session="s1", sent_at=7.0)),
        ({"op": "expire", "session": "s1", "cause": "evicted"}, Expire(session="s1", cause="evicted")),
        ({"op": "disarm", "session": "s1"}, Disarm(session="s1")),
        ({"op": "status"}, AskStatus()),
        ({"op": "ping"}, Ping()),
    ],
)
def test_requests_are_read(fields: dict[str, object], request_: object) -> None:
    assert parse_request(json.dumps(fields).encode()) == request_


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"op": "reboot"}', "'reboot'"),
        (b"{}", "op is 'None'"),
        (json.dumps({**ARM, "hold_s": "10"}).encode(), "hold_s must be a number"),
        (json.dumps({**ARM, "hold_s": True}).encode(), "hold_s must be a number"),
        (json.dumps({**ARM, "sent_at": float("nan")}).encode(), "sent_at must be a finite"),
        (json.dumps({**ARM, "sent_at": 10**400}).encode(), "sent_at must be a finite"),
        (json.dumps({**ARM, "sent_at": -1}).encode(), "not negative"),
        (json.dumps({**ARM, "session": ""}).encode(), "session must be a text"),
        (json.dumps({**ARM, "session": "x" * 600}).encode(), "session must be a text"),
        (json.dumps({**ARM, "watchdog_s": 1.5}).encode(), "watchdog_s must be a whole number"),
        (json.dumps({**ARM, "managed": "u1"}).encode(), "managed must be a list"),
        (json.dumps({**ARM, "managed": [1]}).encode(), "managed must be a list"),
        (b'{"op": "beat"}', "session must be a text"),
    ],
)
def test_nonsense_is_named(line: bytes, says: str) -> None:
    with pytest.raises(NonsenseError) as caught:
        parse_request(line)
    assert says in str(caught.value)


@given(st.binary(max_size=200) | st.recursive(st.none() | st.booleans() | st.text() | st.floats() | st.integers(),
       lambda inner: st.dictionaries(st.sampled_from(["op", "session", "sent_at", "hold_s", "managed"]), inner)
       | st.lists(inner)).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_no_line_does_anything_but_parse_or_be_named_nonsense(line: bytes) -> None:
    words = ""
    try:
        parse_request(line)
    except NonsenseError as error:
        words = str(error)
    assert len(words) < 300
