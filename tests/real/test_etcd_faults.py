"""The etcd adapter against members that are stopped, killed, absent, deaf, or without quorum.

No call may hang: each is given its timeout and, around it, some seconds more; only a hang meets those.
"""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.etcd import RealEtcd, free_ports
from tests.support.relay import Relay
from vmha.model.ids import LeaseId, Revision
from vmha.store.etcd import EtcdStore
from vmha.store.port import Ambiguous, Batch, Created, Modified, Put, Unavailable
from vmha.store.tls_files import TlsFiles

pytestmark = pytest.mark.real

TIMEOUT_S = 1.5
HANGS_S = 5.0
RECOVERY_S = 4.0
SETTLED_S = 15.0

Call = Callable[[EtcdStore], Awaitable[object]]
READS: dict[str, Call] = {
    "get": lambda store: store.get("/f/a", timeout_s=TIMEOUT_S),
    "list": lambda store: store.list("/f/", timeout_s=TIMEOUT_S),
    "keep_alive": lambda store: store.keep_alive(LeaseId(1), timeout_s=TIMEOUT_S),
    "version": lambda store: store.version(timeout_s=TIMEOUT_S),
}
WRITES: dict[str, Call] = {
    "txn": lambda store: store.txn([], [Put("/f/a", b"")], timeout_s=TIMEOUT_S),
    "idempotent txn": lambda store: store.txn([], [Put("/f/a", b"")], timeout_s=TIMEOUT_S, idempotent=True),
    "grant": lambda store: store.grant(30, timeout_s=TIMEOUT_S),
    "revoke": lambda store: store.revoke(LeaseId(1), timeout_s=TIMEOUT_S),
}
CALLS = READS | WRITES


@pytest.fixture
def single() -> Iterator[RealEtcd]:
    with RealEtcd() as etcd:
        yield etcd


@pytest.fixture
def three() -> Iterator[RealEtcd]:
    with RealEtcd(3) as etcd:
        yield etcd


@asynccontextmanager
async def opened(
    endpoints: list[str], *, first: int = 0, tls: TlsFiles | None = None, watch_give_up_s: float = 10.0
) -> AsyncIterator[EtcdStore]:
    store = EtcdStore(endpoints, first=first, tls=tls, watch_give_up_s=watch_give_up_s)
    try:
        yield store
    finally:
        async with asyncio.timeout(5):
            await store.close()


async def outcome(call: Awaitable[object]) -> Exception | None:
    """The error of a call, which must come within its own timeout."""
    async with asyncio.timeout(TIMEOUT_S + HANGS_S):
        try:
            await call
        except (Unavailable, Ambiguous) as error:
            return error
        return None


async def all_outcomes(store: EtcdStore) -> dict[str, Exception | None]:
    found = await asyncio.gather(*(outcome(call(store)) for call in CALLS.values()))
    return dict(zip(CALLS, found, strict=True))


# --- one member


async def test_frozen_member_lets_every_call_fail_within_its_time(single: RealEtcd) -> None:
    async with opened(single.endpoints) as store:
        await store.txn([], [Put("/f/a", b"before")])
        single.freeze(0)
        errors = await all_outcomes(store)
        assert {name: type(error) for name, error in errors.items()} == {
            **dict.fromkeys(READS, Unavailable),
            **dict.fromkeys(WRITES, Ambiguous),
        }
        for error in errors.values():
            assert single.endpoints[0] in str(error)
            assert "within 1.5 s" in str(error)
        single.thaw(0)
        assert await store.get("/f/a", timeout_s=SETTLED_S) is not None


async def test_watch_of_a_frozen_member_gives_up_and_says_so(single: RealEtcd) -> None:
    async with opened(single.endpoints, watch_give_up_s=1.0) as store:
        done = await store.txn([], [Put("/f/a", b"before")])
        async with aclosing(store.watch("/f/", start_revision=done.revision)) as batches:
            await anext(batches)
            single.freeze(0)
            async with asyncio.timeout(SETTLED_S):
                with pytest.raises(Unavailable, match=single.endpoints[0]):
                    await anext(batches)


async def test_nobody_listening_is_surely_not_done_and_named() -> None:
    endpoints = [f"127.0.0.1:{port}" for port in free_ports(2)]
    async with opened(endpoints, watch_give_up_s=0.5) as store:
        errors = await all_outcomes(store)
        assert {type(error) for error in errors.values()} == {Unavailable}
        for error in errors.values():
            assert str(error).startswith(f"no answer from etcd at {', '.join(endpoints)} within 1.5 s")
            assert "Connection refused" in str(error)
        async with asyncio.timeout(SETTLED_S):
            with pytest.raises(Unavailable, match=", ".join(endpoints)):
                await anext(store.watch("/f/", start_revision=Revision(1)))


async def test_port_that_accepts_and_says_nothing_hangs_no_call() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        endpoint = f"127.0.0.1:{deaf.getsockname()[1]}"
        async with opened([endpoint], watch_give_up_s=0.5) as store:
            errors = await all_outcomes(store)
            for error in errors.values():
                assert isinstance(error, Unavailable | Ambiguous)
                assert endpoint in str(error)
            assert {type(errors[name]) for name in READS} == {Unavailable}
            async with asyncio.timeout(SETTLED_S):
                with pytest.raises(Unavailable, match=endpoint):
                    await anext(store.watch("/f/", start_revision=Revision(1)))


async def test_port_of_another_protocol_hangs_no_call() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    endpoint = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, opened([endpoint]) as store:
        for error in (await all_outcomes(store)).values():
            assert isinstance(error, Unavailable | Ambiguous)
            assert endpoint in str(error)


async def test_restarted_member_is_found_again(single: RealEtcd) -> None:
    async with opened(single.endpoints) as store:
        await store.txn([], [Put("/f/a", b"kept")])
        lease = await store.grant(30)
        assert await store.keep_alive(lease.id) == 30
        single.kill(0)
        single.launch(0)
        kv = await store.get("/f/a", timeout_s=SETTLED_S)
        assert kv is not None
        assert kv.value == b"kept"
        assert await store.keep_alive(lease.id, timeout_s=SETTLED_S) == 30


async def test_unix_socket_works_as_endpoint(single: RealEtcd, tmp_path: Path) -> None:
    path = tmp_path / "etcd.sock"
    host, port = single.endpoints[0].split(":")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, forth), pump(back, writer))

    async with await asyncio.start_unix_server(relay, path), opened([f"unix:{path}"]) as store:
        done = await store.txn([], [Put("/f/a", b"through a socket")])
        kv = await store.get("/f/a")
        assert kv is not None
        assert kv.mod_revision == done.revision
        assert store.endpoint == f"unix:{path}"


async def test_tls_with_client_certificates_works_and_names_what_is_wrong(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    cert, key = authority.issue("agent", usage="clientAuth")
    other_cert, other_key = stranger.issue("agent", usage="clientAuth")
    with RealEtcd(tls=authority) as etcd:
        ours = TlsFiles(ca=authority.ca, cert=cert, key=key)
        for form in ("127.0.0.1:{}", "https://127.0.0.1:{}", "https://localhost:{}"):
            endpoint = form.format(etcd.endpoints[0].split(":")[1])
            async with opened([endpoint], tls=ours) as store:
                assert (await store.txn([], [Put("/f/a", b"")])).succeeded
        for wrong in (
            None,
            TlsFiles(ca=stranger.ca, cert=cert, key=key),
            TlsFiles(ca=authority.ca, cert=other_cert, key=other_key),
            TlsFiles(ca=authority.ca),
        ):
            async with opened([etcd.endpoints[0]], tls=wrong) as store:
                error = await outcome(store.get("/f/a", timeout_s=TIMEOUT_S))
                assert etcd.endpoints[0] in str(error)
                assert wrong is None or wrong.ca == authority.ca or "CERTIFICATE_VERIFY_FAILED" in str(error)


# --- three members


async def test_calls_go_on_after_the_member_in_use_froze(three: RealEtcd) -> None:
    follower = next(index for index in range(3) if index != three.leader())
    async with opened(three.endpoints, first=follower) as store:
        await store.txn([], [Put("/f/a", b"1")])
        lease = await store.grant(30)
        three.freeze(follower)
        assert await store.get("/f/a", timeout_s=RECOVERY_S) is not None
        done = await store.txn(
            [Created("/f/b", Revision(0))], [Put("/f/b", b"")], timeout_s=RECOVERY_S, idempotent=True
        )
        assert done.succeeded
        assert await store.keep_alive(lease.id, timeout_s=RECOVERY_S) == 30
        assert store.endpoint != three.endpoints[follower]


async def test_calls_go_on_after_the_leader_froze_while_in_use(three: RealEtcd) -> None:
    leader = three.leader()
    async with opened(three.endpoints, first=leader) as store:
        await store.txn([], [Put("/f/a", b"1")])
        three.freeze(leader)
        done = await store.txn([], [Put("/f/b", b"")], timeout_s=RECOVERY_S, idempotent=True)
        assert done.succeeded
        assert await store.get("/f/a", timeout_s=RECOVERY_S) is not None


async def test_slow_members_are_waited_for_and_nobody_goes_from_one_to_the_next(three: RealEtcd) -> None:
    """Slower than the patience with a frozen one: the answers of those asked first count as long as the call lasts."""
    relays = [Relay(int(endpoint.rpartition(":")[2])) for endpoint in three.endpoints]
    for relay in relays:
        await relay.start()
    async with opened([relay.endpoint for relay in relays]) as store:
        first = await store.txn([], [Put("/f/a", b"1")])
        lease = await store.grant(30)
        for relay in relays:
            relay.delay_s = 1.3
        done = await store.txn(
            [Modified("/f/a", first.revision)], [Put("/f/a", b"2")], timeout_s=RECOVERY_S, idempotent=True
        )
        assert done.succeeded or done.found["/f/a"] == await store.get("/f/a", timeout_s=RECOVERY_S)
        assert await store.keep_alive(lease.id, timeout_s=RECOVERY_S) == 30
        async with asyncio.timeout(SETTLED_S), aclosing(store.watch("/f/", start_revision=first.revision)) as batches:
            assert (await anext(batches)).revision == first.revision
        assert store.endpoint == relays[0].endpoint
    for relay in relays:
        await relay.stop()


async def test_renewals_go_on_after_the_member_in_use_froze(three: RealEtcd) -> None:
    follower = next(index for index in range(3) if index != three.leader())
    async with opened(three.endpoints, first=follower) as store:
        lease = await store.grant(30)
        assert await store.keep_alive(lease.id) == 30
        three.freeze(follower)
        assert await store.keep_alive(lease.id, timeout_s=RECOVERY_S) == 30


async def test_watch_goes_on_after_the_member_in_use_froze(three: RealEtcd) -> None:
    follower = next(index for index in range(3) if index != three.leader())
    async with (
        opened(three.endpoints, first=follower) as watcher,
        opened(three.endpoints, first=follower + 1) as writer,
    ):
        first = await writer.txn([], [Put("/f/a", b"1")])
        async with aclosing(watcher.watch("/f/", start_revision=first.revision)) as batches:
            await anext(batches)
            three.freeze(follower)
            second = await writer.txn([], [Put("/f/a", b"2")])
            async with asyncio.timeout(SETTLED_S):
                assert (await anext(batches)).revision == second.revision


async def test_watch_misses_nothing_when_the_leader_is_killed(three: RealEtcd) -> None:
    leader = three.leader()
    async with opened(three.endpoints, first=leader) as watcher, opened(three.endpoints, first=leader) as writer:
        start = await writer.txn([], [Put("/f/start", b"")])
        seen: list[Batch] = []

        async def follow() -> None:
            async with aclosing(watcher.watch("/f/", start_revision=start.revision)) as batches:
                async for batch in batches:
                    seen.append(batch)
                    if any(change.key == "/f/end" for change in batch.changes):
                        return

        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            tasks.create_task(follow())
            for count in range(300):
                if count == 100:
                    three.kill(leader)
                value = b"%d" % count
                await writer.txn([], [Put("/f/one", value), Put("/f/two", value)], timeout_s=SETTLED_S, idempotent=True)
            await writer.txn([], [Put("/f/end", b"")], timeout_s=SETTLED_S, idempotent=True)
        listing = await writer.list("/f/")

    revisions = [batch.revision for batch in seen]
    assert revisions == list(range(start.revision, seen[-1].revision + 1))  # nobody else writes to this cluster
    pairs = [[change.kv and change.kv.value for change in batch.changes] for batch in seen[1:-1]]
    assert all(one == two for one, two in pairs)
    assert sorted({int(one or b"") for one, _ in pairs}) == list(range(300))
    last = {change.key: change.kv for batch in seen for change in batch.changes}
    assert sorted(last.values(), key=lambda kv: kv.key if kv else "") == list(listing.items)


async def test_lost_quorum_is_said_and_mended_by_its_return(three: RealEtcd) -> None:
    async with opened(three.endpoints) as store:
        await store.txn([], [Put("/f/a", b"1")])
        three.kill(1)
        three.kill(2)
        error: Exception | None = None
        async with asyncio.timeout(SETTLED_S):
            while not isinstance(error, Unavailable):
                error = await outcome(store.txn([], [Put("/f/a", b"2")], timeout_s=TIMEOUT_S))
        assert three.endpoints[0] in str(error)
        three.launch(1)
        assert (await store.txn([], [Put("/f/a", b"3")], timeout_s=SETTLED_S, idempotent=True)).succeeded


async def test_write_that_is_not_repeatable_is_never_committed_twice(three: RealEtcd) -> None:
    """A writer that counts its certain and its unclear writes, while members freeze and thaw under it."""
    async with opened(three.endpoints) as store:
        start = await store.txn([], [Put("/f/count", b"")])
        certain = unclear = 0
        for round_ in range(6):
            frozen = round_ % 3
            three.freeze(frozen)
            thaw = threading.Timer(0.4, three.thaw, (frozen,))
            thaw.start()
            for _ in range(20):
                try:
                    await store.txn([], [Put("/f/count", b"")], timeout_s=2.0)
                    certain += 1
                except Ambiguous:
                    unclear += 1
                except Unavailable:
                    pass
            thaw.join()
        kv = await store.get("/f/count", timeout_s=SETTLED_S)
    assert kv is not None
    assert certain <= kv.mod_revision - start.revision <= certain + unclear
