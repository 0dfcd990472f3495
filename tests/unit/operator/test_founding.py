"""Setting a cluster up: once, on an etcd that is fit, with what could be better told."""

import pytest

from tests.unit.operator.cluster import Cluster
from vmha.model.records import Hand
from vmha.model.settings import ClusterConfig, Profile
from vmha.model.store_health import MemberHealth, StoreHealth
from vmha.operator.errors import RefusedByCluster
from vmha.operator.events import Wanted, past
from vmha.operator.founding import ELSEWHERE, found
from vmha.policy.telling.doctor import Severity
from vmha.store.memory_store import MemoryStore
from vmha.store.port import Denied, KeyValue

TUNED = ClusterConfig(profile=Profile.TUNED)


class Told(MemoryStore):
    """A store that says this of itself; ``guarded``: with roles."""

    says = StoreHealth(members=(MemberHealth(endpoint="a"),))
    guarded = False

    async def health(self, *, timeout_s: float = 3.0) -> StoreHealth:
        return self.says

    async def get(self, key: str, *, timeout_s: float = 5.0) -> KeyValue | None:
        if self.guarded and key == ELSEWHERE:
            raise Denied("permission denied")
        return await super().get(key, timeout_s=timeout_s)


def told_cluster(says: StoreHealth, *, guarded: bool = True) -> Cluster:
    cluster = Cluster()
    store = Told(cluster.etcd, "told")
    store.says, store.guarded = says, guarded
    cluster.client.store = store
    return cluster


THREE = StoreHealth(members=tuple(MemberHealth(endpoint=name) for name in "abc"), member_count=3)


async def test_settings_are_written_once_and_never_over_others() -> None:
    cluster = told_cluster(THREE)
    founded = await found(cluster.client, TUNED)
    assert (founded.is_written, founded.findings) == (True, ())
    assert (await cluster.client.read()).config.profile is Profile.TUNED
    entries, _ = await past(cluster.client, Wanted())
    told = [(entry.kind, entry.text, entry.hand) for entry in entries]
    by = Hand(author="operator")
    assert told == [("founded", f"cluster {cluster.keys.cluster} is set up by operator with profile tuned", by)]
    with pytest.raises(RefusedByCluster, match="has settings already"):
        await found(cluster.client, ClusterConfig())
    assert (await cluster.client.read()).config.profile is Profile.TUNED


async def test_what_could_be_better_is_told_and_in_nobodys_way() -> None:
    one = StoreHealth(members=(MemberHealth(endpoint="a"),), member_count=1, least_ttl_s=9)
    cluster = told_cluster(one, guarded=False)
    founded = await found(cluster.client, TUNED)
    assert founded.is_written
    assert {finding.kind for finding in founded.findings} == {"etcd-members", "etcd-slow-elections", "etcd-open"}


@pytest.mark.parametrize(
    "says",
    [
        StoreHealth(members=(MemberHealth(endpoint="a", trouble="no answer"),)),
        StoreHealth(members=(MemberHealth(endpoint="a"),), alarms=("NOSPACE",)),
        StoreHealth(members=(MemberHealth(endpoint="a", version="3.5.2"),)),
    ],
    ids=["a member down", "an alarm", "a version that loses data"],
)
async def test_an_etcd_that_is_not_fit_is_refused_with_its_remedy_and_nothing_is_written(says: StoreHealth) -> None:
    cluster = told_cluster(says)
    with pytest.raises(RefusedByCluster, match=r"is not set up: .*\("):
        await found(cluster.client, TUNED)
    assert cluster.contents() == {}


async def test_member_that_does_not_tell_its_quota_is_named() -> None:
    members = (MemberHealth(endpoint="a", quota_bytes=4 << 30), MemberHealth(endpoint="b"), MemberHealth(endpoint="c"))
    founded = await found(told_cluster(StoreHealth(members=members, member_count=3)).client, TUNED)
    assert (founded.findings, founded.quota_unknown) == ((), ("b", "c"))


async def test_looking_writes_nothing_also_where_there_are_settings() -> None:
    cluster = told_cluster(StoreHealth(members=(MemberHealth(endpoint="a", trouble="no answer"),)))
    founded = await found(cluster.client, TUNED, only_look=True)
    assert not founded.is_written
    assert founded.findings[0].severity is Severity.ERROR
    assert cluster.contents() == {}
