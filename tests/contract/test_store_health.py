"""How the store and its members are: the real etcd and its twin in memory, held to the same."""

from tests.contract.conftest import StoreWorld
from vmha.store.memory_store import QUOTA_BYTES


async def test_store_says_how_each_of_its_members_is(world: StoreWorld) -> None:
    health = await world.store.health()
    assert len(health.members) >= 1
    assert health.member_count >= 1
    assert [one.trouble for one in health.members] == [""] * len(health.members)
    assert sum(one.is_leader for one in health.members) <= 1
    assert {one.version for one in health.members} == {await world.store.version()}
    assert {one.quota_bytes for one in health.members} == {QUOTA_BYTES}
    assert health.least_ttl_s >= 1
    assert not health.long_history
    assert health.alarms == ()
