"""Where a host is reached: by which address it goes to etcd, and what that may cost."""

import socket
import threading

import pytest

from vmha.node.address import own_address


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        ("127.0.0.1:2379", "127.0.0.1"),
        ("http://127.0.0.1:2379", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]:2379", "::1"),
        ("https://[::1]:2379", "::1"),
    ],
)
async def test_endpoint_of_either_family_in_every_form_tells_the_own_address(endpoint: str, address: str) -> None:
    assert await own_address([endpoint]) == address


async def test_what_tells_nothing_is_passed_over_and_the_name_is_what_is_left() -> None:
    assert await own_address(["unix:/run/etcd.sock", "127.0.0.1:2379"]) == "127.0.0.1"
    assert await own_address(["unix:/run/etcd.sock"]) == socket.gethostname()


async def test_names_that_nobody_answers_for_do_not_keep_a_session_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver of a site whose name servers are gone takes half a minute to say so."""
    hangs = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: hangs.wait(60.0) or [])
    try:
        assert await own_address(["etcd1.example:2379"], names_time_s=0.1) == socket.gethostname()
    finally:
        hangs.set()
