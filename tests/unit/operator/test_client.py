"""One reading, guarded writes, and changes as they come."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from tests.unit.operator.cluster import Cluster, xml_of
from vmha.model.errors import Refused
from vmha.model.ids import NodeName, VmName
from vmha.model.vm import Desired
from vmha.operator import nodes, vms
from vmha.operator.client import Edit, Reading
from vmha.store.memory_store import MemoryStore
from vmha.store.port import Ambiguous, Compacted, Delete, Listing, Put, Unavailable


async def test_a_reading_holds_the_state_of_the_whole_cluster(cluster: Cluster) -> None:
    cluster.elect()
    cluster.join("h1", "h2")
    await vms.add_vm(cluster.client, "web", xml_of("web"))
    snapshot = await cluster.client.read()
    assert set(snapshot.nodes) == {"h1", "h2"}
    assert set(snapshot.vms) == {"web"}
    assert snapshot.leader is not None
    assert snapshot.leader.value.node == "h1"


async def test_a_reading_leaves_the_journal_alone(cluster: Cluster) -> None:
    cluster.put_raw(cluster.keys.journal("1"), b"not even JSON")
    reading = await cluster.client.reading()
    assert reading.snapshot.problems == {}
    assert reading.modified == {}


async def test_a_second_reading_shows_what_came_what_changed_and_what_went(cluster: Cluster) -> None:
    cluster.join("h1", "h2")
    await vms.add_vm(cluster.client, "web", xml_of("web"))
    await vms.add_vm(cluster.client, "db", xml_of("db"))
    await cluster.client.read()
    other = cluster.new_client("other")
    await vms.add_vm(other, "mail", xml_of("mail"))
    await vms.edit(other, "web", priority=7)
    cluster.delete(cluster.keys.vm_spec(VmName("db")))
    snapshot = await cluster.client.read()
    assert snapshot == await cluster.new_client("third").read()
    assert set(snapshot.vms) == {"web", "mail"}
    assert vms.find_spec(snapshot, "web").value.priority == 7


class CompactedStore(MemoryStore):
    """As often as it is told to, the revision of a listing is compacted away after its first page."""

    times = 0

    async def pages(self, prefix: str, *, without: str = "", timeout_s: float = 10.0) -> AsyncGenerator[Listing, None]:
        listing = await self.list(prefix, without=without, timeout_s=timeout_s)
        for half in (listing.items[::2], listing.items[1::2]):
            yield Listing(revision=listing.revision, items=half)
            if self.times > 0:
                self.times -= 1
                raise Compacted("the revision is not kept any more")


async def test_a_reading_whose_revision_is_compacted_away_begins_anew(cluster: Cluster) -> None:
    cluster.join("h1", "h2")
    await vms.add_vm(cluster.client, "web", xml_of("web"))
    store = cluster.client.store = CompactedStore(cluster.etcd, "compacted")
    store.times = 2
    assert await cluster.client.reading() == await cluster.new_client("other").reading()
    unlucky = cluster.new_client("unlucky")
    unlucky.store = store
    store.times = 1000
    with pytest.raises(Unavailable, match="compacted faster"):
        await unlucky.read()


async def test_what_is_only_imagined_is_in_no_later_reading(cluster: Cluster) -> None:
    await vms.add_vm(cluster.client, "web", xml_of("web"))
    before = await cluster.client.read()
    imagined = await cluster.client.imagine([Delete(cluster.keys.vm_spec(VmName("web")))])
    assert (set(imagined.vms), set(before.vms)) == (set(), {"web"})
    assert await cluster.client.read() == before


async def test_a_value_that_can_not_be_read_is_a_problem_and_not_an_error(cluster: Cluster) -> None:
    cluster.put_raw(cluster.keys.config, b'{"profile": "fast"}')
    snapshot = await cluster.client.read()
    assert cluster.keys.config in snapshot.problems


async def test_a_store_that_does_not_answer_ends_the_reading(cluster: Cluster) -> None:
    cluster.etcd.cut("operator")
    with pytest.raises(Unavailable):
        await cluster.client.read(timeout_s=0.1)


async def test_a_lost_compare_reads_again_and_decides_again(cluster: Cluster) -> None:
    cluster.join("h1")
    seen: list[int] = []

    def decide(reading: Reading) -> Edit[str]:
        seen.append(reading.snapshot.revision)
        if len(seen) == 1:
            cluster.put_raw("/vmha/test/domains/x", b"{}")  # somebody is faster
        key = "/vmha/test/domains/x"
        return Edit(result="mine", ops=[Put(key, b"mine")], compares=[reading.unchanged(key)])

    assert await cluster.client.change(decide) == "mine"
    assert len(seen) == 2
    assert cluster.contents()["/vmha/test/domains/x"] == b"mine"


async def test_an_edit_that_always_loses_is_refused(cluster: Cluster) -> None:
    count = iter(range(100))

    def decide(reading: Reading) -> Edit[None]:
        cluster.put_raw("/vmha/test/domains/x", str(next(count)).encode())
        return Edit(
            result=None,
            ops=[Put("/vmha/test/domains/x", b"mine")],
            compares=[reading.unchanged("/vmha/test/domains/x")],
        )

    with pytest.raises(Refused, match="others are changing"):
        await cluster.client.change(decide)


async def test_a_write_whose_answer_was_lost_is_found_done(cluster: Cluster) -> None:
    await vms.add_vm(cluster.client, "db", xml_of("db"))  # the journal's lease is a write of its own
    cluster.etcd.lose_answer("operator", done=True)
    spec = await vms.add_vm(cluster.client, "web", xml_of("web"))
    assert spec.name == "web"
    assert cluster.keys.vm_spec(VmName("web")) in cluster.contents()


async def test_a_write_that_was_lost_itself_is_not_taken_for_done(cluster: Cluster) -> None:
    await vms.add_vm(cluster.client, "db", xml_of("db"))
    before = cluster.contents()
    cluster.etcd.lose_answer("operator", done=False)
    with pytest.raises(Ambiguous):
        await vms.add_vm(cluster.client, "web", xml_of("web"))
    assert cluster.contents() == before


async def test_two_operators_at_once_lose_nothing(cluster: Cluster) -> None:
    cluster.join("h1")
    await vms.add_vm(cluster.client, "web", xml_of("web"))
    other = cluster.new_client("other")
    await asyncio.gather(
        vms.edit(cluster.client, "web", priority=7),
        vms.set_desired(other, "web", Desired.RUNNING),
        nodes.drain(other, "h1"),
    )
    snapshot = await cluster.client.read()
    spec = vms.find_spec(snapshot, "web").value
    assert (spec.priority, spec.desired) == (7, Desired.RUNNING)


async def test_changes_are_shown_and_beats_and_journal_are_not(cluster: Cluster) -> None:
    cluster.join("h1")
    async with aclosing(cluster.client.snapshots()) as snapshots:
        first = await anext(snapshots)
        assert set(first.nodes) == {"h1"}
        cluster.beat("h1", count=2)
        cluster.tell("1", "something happened")
        cluster.join("h2")
        second = await anext(snapshots)
        assert "h2" in second.nodes
        beat = second.nodes[NodeName("h1")].beat
        assert beat is not None
        assert beat.value.count == 2  # known all the same, once something else is shown


async def test_changes_go_on_after_the_history_was_compacted(cluster: Cluster) -> None:
    cluster.join("h1")
    async with aclosing(cluster.client.snapshots()) as snapshots:
        await anext(snapshots)
        cluster.join("h2")
        cluster.join("h3")
        cluster.etcd.compact()
        async with asyncio.timeout(60):
            while set((await anext(snapshots)).nodes) != {"h1", "h2", "h3"}:
                pass


async def test_the_journal_is_read_in_order_and_followed(cluster: Cluster) -> None:
    cluster.tell("b", "second", at=2.0)
    cluster.tell("a", "first", at=1.0)
    cluster.put_raw(cluster.keys.journal("c"), b"broken")
    entries, revision = await cluster.client.journal()
    assert [entry.text for entry in entries] == ["first", "second"]
    cluster.tell("d", "third", at=3.0)
    async with aclosing(cluster.client.journal_follow(revision)) as more, asyncio.timeout(60):
        assert (await anext(more)).text == "third"
