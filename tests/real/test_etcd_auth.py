"""etcd with auth on: users by password, whose tokens expire, and users by their certificate's name, who need none."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.etcd import RealEtcd
from tests.support.members import real_cluster
from tests.support.until import until
from vmha.model.ids import Revision
from vmha.store.channels import Login
from vmha.store.etcd import EtcdStore
from vmha.store.port import Denied, Put
from vmha.store.tls_files import TlsFiles

pytestmark = pytest.mark.real

ROOT = "root:rootpw"
TOKEN_ENDS = "deleted a simple token"
LOGIN = Login(user="agent", password="agentpw")


def add_users(etcd: RealEtcd) -> None:
    """``root``, as etcd demands, and ``agent`` for everything below /vmha/ and /f/."""
    etcd.ctl("user", "add", ROOT)
    etcd.ctl("user", "grant-role", "root", "root")
    etcd.ctl("role", "add", "vmha")
    for prefix in ("/vmha/", "/f/"):
        etcd.ctl("role", "grant-permission", "vmha", "--prefix=true", "readwrite", prefix)
    etcd.ctl("user", "add", "agent:agentpw")
    etcd.ctl("user", "grant-role", "agent", "vmha")


@pytest.fixture
def etcd() -> Iterator[RealEtcd]:
    """Tokens live for a second there, used or not; auth is not switched on yet."""
    with RealEtcd(options={"auth-token-ttl": "1"}) as running:
        add_users(running)
        yield running


@asynccontextmanager
async def opened(etcd: RealEtcd, login: Login | None) -> AsyncIterator[EtcdStore]:
    store = EtcdStore(etcd.endpoints, login=login)
    try:
        yield store
    finally:
        await store.close()


async def test_login_works_before_auth_is_on_when_it_is_switched_on_and_after_the_member_forgot_its_tokens(
    etcd: RealEtcd,
) -> None:
    async with opened(etcd, LOGIN) as store:
        assert (await store.txn([], [Put("/f/a", b"1")])).succeeded
        lease = await store.grant(30)
        etcd.ctl("auth", "enable")
        assert (await store.txn([], [Put("/f/a", b"2")])).succeeded
        etcd.kill(0)  # it forgets every token
        etcd.launch(0)
        assert (await store.txn([], [Put("/f/a", b"3")], timeout_s=10.0, idempotent=True)).succeeded
        assert await store.keep_alive(lease.id, timeout_s=10.0) == 30
        etcd.kill(0)
        etcd.launch(0)
        async with asyncio.timeout(20), aclosing(store.watch("/f/", start_revision=Revision(1))) as batches:
            assert (await anext(batches)).changes[0].key == "/f/a"


async def test_expired_token_costs_a_login_and_no_write(etcd: RealEtcd) -> None:
    etcd.ctl("auth", "enable")
    given = etcd.log_of(0).count(TOKEN_ENDS)
    async with opened(etcd, LOGIN) as store:
        assert (await store.txn([], [Put("/f/a", b"1")])).succeeded
        # To ask with a token would be to keep it; that it is no more is in the log alone.
        await until(lambda: etcd.log_of(0).count(TOKEN_ENDS) > given, what="its token has expired")
        assert (await store.txn([], [Put("/f/a", b"2")])).succeeded


@pytest.mark.parametrize(
    ("login", "says"),
    [(None, "user name is empty"), (Login(user="agent", password="wrong"), "authentication failed")],
    ids=["no login", "wrong password"],
)
async def test_refused_login_is_denied_in_words(etcd: RealEtcd, login: Login | None, says: str) -> None:
    etcd.ctl("auth", "enable")
    async with opened(etcd, login) as store:
        watching = anext(store.watch("/f/", start_revision=Revision(1)))
        for call in (store.get("/f/a"), store.txn([], [Put("/f/a", b"")]), watching):
            with pytest.raises(Denied, match=f"{says}|permission denied") as raised:
                await call
            assert etcd.endpoints[0] in str(raised.value)


async def test_what_the_role_does_not_grant_is_denied_in_words(etcd: RealEtcd) -> None:
    etcd.ctl("auth", "enable")
    async with opened(etcd, LOGIN) as store:
        with pytest.raises(Denied, match="permission denied"):
            await store.txn([], [Put("/elsewhere", b"")])


async def test_auth_switched_on_under_running_nodes_is_said_and_they_go_on_once_they_may(etcd: RealEtcd) -> None:
    """They have no login: each call is denied, none crashes, and guests end by their deadline as without etcd."""
    async with real_cluster(etcd, nodes=1) as cluster:
        await cluster.add_running("web", "n1")
        etcd.ctl("auth", "enable")
        await until(lambda: cluster.where("web") == [], what="its guest ends by law 3")
        assert cluster.crashes() == []
        with pytest.raises(Denied, match=r"user name is empty|permission denied"):
            await cluster.operator.read()
        etcd.ctl("auth", "disable", user=ROOT)
        await cluster.until_runs("web", "n1", timeout_s=30.0)


async def test_user_by_certificate_needs_no_password_and_no_token(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certs = {name: authority.issue(name, usage="clientAuth") for name in ("agent", "stranger", "root")}
    with RealEtcd(tls=authority, options={"auth-token-ttl": "1"}) as etcd:

        def tls(name: str) -> TlsFiles:
            return TlsFiles(ca=authority.ca, cert=certs[name][0], key=certs[name][1])

        cert, key = certs["root"]
        as_root = (f"--cacert={authority.ca}", f"--cert={cert}", f"--key={key}")
        for command in (
            ("user", "add", "root", "--no-password"),
            ("user", "grant-role", "root", "root"),
            ("role", "add", "vmha"),
            ("role", "grant-permission", "vmha", "--prefix=true", "readwrite", "/f/"),
            ("user", "add", "agent", "--no-password"),
            ("user", "grant-role", "agent", "vmha"),
            ("auth", "enable"),
        ):
            etcd.ctl(*command, *as_root)
        store, stranger = (EtcdStore(etcd.endpoints, tls=tls(name)) for name in ("agent", "stranger"))
        try:
            assert (await store.txn([], [Put("/f/a", b"1")])).succeeded
            etcd.kill(0)
            etcd.launch(0)
            assert (await store.txn([], [Put("/f/a", b"2")], timeout_s=10.0, idempotent=True)).succeeded
            with pytest.raises(Denied, match="permission denied"):
                await stranger.get("/f/a", timeout_s=10.0)
        finally:
            await store.close()
            await stranger.close()
