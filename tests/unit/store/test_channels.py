"""Endpoints as administrators write them, and the ring that moves on when a member misbehaves."""

from pathlib import Path

import pytest

from vmha.model.errors import Broken, Rejected
from vmha.store import wire
from vmha.store.channels import Endpoint, Ring, parse_endpoint
from vmha.store.etcd import EtcdStore
from vmha.store.port import Unavailable
from vmha.store.tls_files import TlsFiles


@pytest.mark.parametrize(
    ("text", "tls", "name", "target", "secure"),
    [
        ("10.0.0.1:2379", False, "10.0.0.1:2379", "10.0.0.1:2379", False),
        ("10.0.0.1:2379", True, "10.0.0.1:2379", "10.0.0.1:2379", True),
        ("etcd-1.example", False, "etcd-1.example:2379", "etcd-1.example:2379", False),
        ("http://etcd-1:4001", False, "etcd-1:4001", "etcd-1:4001", False),
        ("http://etcd-1:4001/", False, "etcd-1:4001", "etcd-1:4001", False),
        ("https://etcd-1", False, "etcd-1:2379", "etcd-1:2379", True),
        ("https://etcd-1", True, "etcd-1:2379", "etcd-1:2379", True),
        ("[fd00::1]:2379", False, "[fd00::1]:2379", "[fd00::1]:2379", False),
        ("https://[fd00::1]", False, "[fd00::1]:2379", "[fd00::1]:2379", True),
        ("unix:/run/etcd.sock", False, "unix:/run/etcd.sock", "unix:/run/etcd.sock", False),
    ],
)
def test_endpoint_forms_are_understood(text: str, tls: bool, name: str, target: str, secure: bool) -> None:
    assert parse_endpoint(text, tls=tls) == Endpoint(name=name, target=target, secure=secure)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":2379",
        "etcd-1:port",
        "etcd-1:0",
        "etcd-1:70000",
        "etcd-1:2379/v3",
        "fd00::1:2379",
        "ftp://etcd-1:2379",
        "user@etcd-1:2379",
        "etcd-1, etcd-2",
        "unix:relative.sock",
    ],
)
def test_malformed_endpoint_is_rejected_with_the_accepted_forms(text: str) -> None:
    with pytest.raises(Rejected, match="accepted"):
        parse_endpoint(text, tls=False)


def test_plain_http_beside_tls_files_is_rejected_rather_than_obeyed() -> None:
    with pytest.raises(Rejected, match="plain http"):
        parse_endpoint("http://etcd-1:2379", tls=True)


def test_no_endpoint_is_rejected() -> None:
    none: list[str] = []
    for endpoints in (none, "10.0.0.1:2379"):
        with pytest.raises(Rejected):
            Ring(endpoints)


def test_unreadable_tls_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match=r"absent\.crt: No such file"):
        EtcdStore(["etcd-1:2379"], tls=TlsFiles(ca=tmp_path / "absent.crt"))


def test_certificate_without_its_key_is_rejected(tmp_path: Path) -> None:
    file = tmp_path / "agent.crt"
    file.write_text("")
    with pytest.raises(Rejected, match="one of certificate and key"):
        Ring(["etcd-1:2379"], tls=TlsFiles(ca=file, cert=file))


async def test_many_who_complain_about_one_member_move_the_ring_once() -> None:
    ring = Ring(["a:1", "b:1", "c:1"])
    member, moved = ring.current(), ring.moved
    for _ in range(5):
        ring.leave(member)
    assert ring.name == "b:1"
    assert moved.is_set()
    assert not ring.moved.is_set()
    await ring.close()


async def test_ring_goes_round_and_comes_back_to_the_same_channel() -> None:
    ring = Ring(["a:1", "b:1", "a:1"])
    first = ring.current()
    ring.leave(first)
    ring.leave(ring.current())
    assert ring.current() is first
    assert ring.names == "a:1, b:1"
    await ring.close()


async def test_only_member_is_never_left() -> None:
    ring = Ring(["a:1"])
    ring.leave(ring.current())
    assert not ring.moved.is_set()
    await ring.close()


async def test_member_of_another_cluster_is_not_believed_and_not_stayed_with() -> None:
    """One that was begun anew by itself, say: the others answer still, or again."""
    ring = Ring(["a:1", "b:1", "c:1"])
    ring.check(wire.ResponseHeader(cluster_id=1), ring.current())
    ring.leave(ring.current())
    with pytest.raises(Broken, match=r"b:1 belongs to cluster 2, not 1.*systemctl restart vmha-agent"):
        ring.check(wire.ResponseHeader(cluster_id=2), ring.current())
    assert ring.cluster_id == "1", "it keeps to that one"
    assert ring.name == "c:1"
    await ring.close()


def test_clients_may_begin_at_different_members() -> None:
    names = [Ring(["a:1", "b:1", "c:1"], first=first).name for first in range(4)]
    assert names == ["a:1", "b:1", "c:1", "a:1"]


async def test_closed_ring_gives_no_member() -> None:
    ring = Ring(["a:1"])
    await ring.close()
    with pytest.raises(Unavailable, match="a:1 is closed"):
        ring.current()
