"""What faults of etcd do to the guests of a cluster: nothing, while the members that are left can answer in time.

The members are the product's own, on a real etcd of three; their guests are simulated.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar

import pytest

from tests.support.etcd import RealEtcd
from tests.support.members import CONFIG, TIMING, UNHURRIED, RealCluster, real_cluster
from tests.support.until import until
from vmha.cli.status_view import look
from vmha.model.ids import NodeName, VmName
from vmha.model.records import Progress, Verb
from vmha.model.settings import ClusterConfig
from vmha.operator.client import OperatorClient
from vmha.operator.doctor import diagnose
from vmha.operator.requests import submit
from vmha.operator.vms import edit
from vmha.store.port import Ambiguous, NoSpace, Put

pytestmark = pytest.mark.real

T = TypeVar("T")


@pytest.fixture
def three() -> Iterator[RealEtcd]:
    with RealEtcd(3) as etcd:
        yield etcd


@pytest.fixture
def config() -> ClusterConfig:
    return CONFIG


unhurried = pytest.mark.parametrize("config", [UNHURRIED], ids=["unhurried"])


@pytest.fixture
async def cluster(three: RealEtcd, config: ClusterConfig) -> AsyncIterator[RealCluster]:
    """Three nodes, ``web`` at home on n1."""
    async with real_cluster(three, config=config) as running:
        await running.add_running("web", "n1")
        yield running


def sessions(cluster: RealCluster) -> dict[str, object]:
    return {name: node.session for name, node in cluster.nodes.items()}


async def fenced(cluster: RealCluster) -> set[str]:
    return set(map(str, (await cluster.operator.read(timeout_s=10.0)).fenced))


async def beat_again(cluster: RealCluster, *names: str) -> None:
    """Each has committed one more beat: the next fault is one by itself, however long this one was."""
    shown = (await cluster.operator.read(timeout_s=10.0)).nodes
    before = {name: beat.modified for name in names if (beat := shown[NodeName(name)].beat)}

    async def all_have() -> bool:
        nodes = (await cluster.operator.read(timeout_s=10.0)).nodes
        return all((beat := nodes[NodeName(name)].beat) and beat.modified > was for name, was in before.items())

    await until(all_have, what=f"{names} beat again", timeout_s=20.0)


@unhurried
async def test_etcd_leader_paused_for_longer_than_the_leases_fences_nobody_and_ends_no_guest(
    cluster: RealCluster,
) -> None:
    """It comes back and revokes leases that were kept alive elsewhere: suspicion, and never more."""
    before = sessions(cluster)
    for _ in range(2):
        leader = await asyncio.to_thread(cluster.etcd.leader)
        cluster.etcd.freeze(leader)
        await cluster.stays(lambda: cluster.where("web") == ["n1"], TIMING.lease_ttl_s + 2.0, "web on n1")
        cluster.etcd.thaw(leader)
        await cluster.until_online()
    assert sessions(cluster) == before
    assert await fenced(cluster) == set()
    assert cluster.starts("web") == 1


async def test_all_leases_vanish_at_once_and_are_taken_anew(cluster: RealCluster) -> None:
    before = sessions(cluster)
    assert await asyncio.to_thread(cluster.etcd.revoke_all_leases) >= 3
    await cluster.until_online()
    await cluster.until_leader()
    await cluster.stays(lambda: cluster.where("web") == ["n1"], TIMING.dead_after_s, "web on n1")
    assert sessions(cluster) == before
    assert await fenced(cluster) == set()


@unhurried
async def test_lease_extended_by_an_etcd_leader_change_ends_nothing_and_revives_nothing(cluster: RealCluster) -> None:
    """Every change of the leader gives all leases their time anew, that of an agent which is no more among them: its
    node goes by its beats, and its session stays over.
    """
    before = sessions(cluster)
    n1 = cluster.nodes["n1"]
    await n1.stop_agent()
    for _ in range(3):
        leader = await asyncio.to_thread(cluster.etcd.leader)
        cluster.etcd.kill(leader)
        await asyncio.sleep(TIMING.lease_ttl_s / 2)
        cluster.etcd.launch(leader)
        await asyncio.to_thread(cluster.etcd.wait_healthy, leader)
        await beat_again(cluster, "n2", "n3")
    shown = (await cluster.operator.read(timeout_s=10.0)).nodes[NodeName("n1")]
    assert shown.session, "by now its lease would have run out"
    await until(lambda: cluster.where("web") not in ([], ["n1"]), what="web runs elsewhere", timeout_s=30.0)
    assert cluster.starts("web") == 2
    assert await fenced(cluster) == {before["n1"]}
    assert {**sessions(cluster), "n1": before["n1"]} == before
    n1.start_agent()
    await cluster.until_online()
    assert sessions(cluster)["n1"] not in (None, before["n1"])
    assert await fenced(cluster) == {before["n1"]}
    assert len(cluster.where("web")) == 1
    assert cluster.violations() == []


@unhurried
async def test_killed_or_frozen_member_is_left_by_whoever_used_it_and_nobody_loses_its_session(
    cluster: RealCluster,
) -> None:
    before = sessions(cluster)
    for index in range(3):
        (cluster.etcd.kill if index == 0 else cluster.etcd.freeze)(index)
        await cluster.stays(lambda: cluster.where("web") == ["n1"], TIMING.hold_s / 2, "web on n1")
        if index == 0:
            cluster.etcd.launch(index)
            await asyncio.to_thread(cluster.etcd.wait_healthy, index)
        else:
            cluster.etcd.thaw(index)
    await cluster.until_online()
    assert sessions(cluster) == before
    assert await fenced(cluster) == set()


@unhurried
async def test_all_members_down_for_a_moment_end_no_guest(cluster: RealCluster) -> None:
    before = sessions(cluster)
    for index in range(3):
        cluster.etcd.kill(index)
    await cluster.stays(lambda: cluster.where("web") == ["n1"], TIMING.hold_s / 8, "web on n1")
    await asyncio.to_thread(cluster.etcd.start)
    await cluster.until_online()
    assert sessions(cluster) == before
    assert cluster.starts("web") == 1


@unhurried
async def test_compaction_while_a_node_can_not_watch_costs_it_a_listing_and_no_change(cluster: RealCluster) -> None:
    node = cluster.nodes["n3"]
    for relay in node.relays:
        relay.cut()
    await edit(cluster.operator, "web", priority=7)
    cluster.etcd.compact((await cluster.operator.read()).revision)
    for relay in node.relays:
        relay.heal()

    def caught_up() -> bool:
        spec = node.snapshot().vms[VmName("web")].spec
        return spec is not None and spec.value.priority == 7

    await until(caught_up, what="n3 knows what was written and compacted meanwhile")
    await cluster.until_online()
    assert await fenced(cluster) == set()


WRITES = {
    "vm add": b'"recovery":"restart"',
    "assignment": b'"kind":"assign"',
    "claim": b'"kind":"claimed"',
    "observation": b'"state":"running"',
    "beat": b'"boot_id":',
    "lease": b'"pid":',
    "request": b'"verb":"restart"',
    "answer": b'"kind":"request-done"',
    "stop": b'"kind":"stopped"',
    "node status": b'"eligible":true',
}
"""A piece of the request that each kind of write makes, and nobody else's."""


@pytest.mark.parametrize("done", [True, False], ids=["done", "not-done"])
async def test_every_kind_of_write_whose_answer_is_lost_is_done_once(three: RealEtcd, done: bool) -> None:
    """Whether it was done or not the client can not know: nothing may be done twice, and nothing forgotten."""
    async with real_cluster(three) as cluster:
        await cluster.put_operator_behind_relays()
        for node in cluster.nodes.values():
            await node.stop_agent()
        losses = {what: cluster.lose(piece, done=done) for what, piece in WRITES.items()}
        for node in cluster.nodes.values():
            node.start_agent()
        await cluster.until_online()
        domain = await cluster.prefer("n1", "n2")
        await until_clear(lambda: cluster.add_vm("web", failover_domain=domain))
        await cluster.until_runs("web", "n1")
        request = await until_clear(lambda: submit(cluster.operator, Verb.RESTART, vm="web"))

        async def is_answered() -> bool:
            outcome = (await cluster.operator.read()).outcomes.get(request.id)
            return outcome is not None and outcome.progress is Progress.DONE

        await until(is_answered, what="an answer")
        await cluster.until_runs("web", "n1")
        assert [what for what, loss in losses.items() if not loss.has_happened] == []
        assert cluster.starts("web") == 2
        assert [len(await cluster.journal(kind)) for kind in ("assign", "claimed", "stopped")] == [2, 2, 1]
        assert len((await cluster.operator.read()).requests) == 1
        assert await fenced(cluster) == set()


async def until_clear(ask: Callable[[], Awaitable[T]]) -> T:
    """As a person does who is told that a write may or may not be done: ask again."""
    for _ in range(3):
        try:
            return await ask()
        except Ambiguous as unclear:
            said = str(unclear)
        assert "may or may not be done" in said
    raise AssertionError("it never got clear")


@pytest.mark.parametrize("done", [True, False], ids=["done", "not-done"])
async def test_eviction_whose_answer_is_lost_recovers_once(cluster: RealCluster, done: bool) -> None:
    session = cluster.nodes["n1"].session
    loss = cluster.lose(b'"kind":"fenced"', done=done)
    recovery = cluster.lose(b'"kind":"recover"', done=done)
    for relay in cluster.nodes["n1"].relays:
        relay.cut()
    await cluster.until_runs("web", "n2", timeout_s=30.0)
    assert loss.has_happened
    assert recovery.has_happened
    assert await fenced(cluster) == {session}
    assert [len(await cluster.journal(kind)) for kind in ("fenced", "recover", "claimed")] == [1, 1, 2]
    assert cluster.starts("web") == 2


async def until_settled(cluster: RealCluster) -> None:
    async def is_settled() -> bool:
        history = (await cluster.operator.read(timeout_s=10.0)).history
        return history is not None and history.value.settled

    await until(is_settled, what="the restored store is settled", timeout_s=60.0)


async def connect_anew(cluster: RealCluster) -> None:
    """The operator, who has not been told which etcd there was: as each command is."""
    await cluster.store.close()
    cluster.store = cluster.open_store(cluster.etcd.endpoints)
    cluster.operator = OperatorClient(cluster.store, cluster.keys, cluster.clock, author="operator")


@unhurried
async def test_restore_from_a_backup_under_running_nodes_ends_no_guest_and_starts_no_second_one(
    cluster: RealCluster,
) -> None:
    """etcd goes on at an earlier revision under the same cluster id: nobody is told, everybody finds out."""
    backup = cluster.etcd.back_up()
    await submit(cluster.operator, Verb.MIGRATE, vm="web", node="n2")
    await cluster.until_runs("web", "n2")
    before = sessions(cluster)
    await asyncio.to_thread(cluster.etcd.restore, backup)
    await until_settled(cluster)
    await cluster.until_runs("web", "n2")
    assert sessions(cluster) == before
    assert cluster.starts("web") == 1
    assert {entry.kind for entry in await cluster.journal()} >= {"store-went-back", "history-settled"}


async def test_restore_under_another_cluster_id_is_refused_and_named_and_agents_that_are_restarted_go_on(
    cluster: RealCluster,
) -> None:
    """No agent can tell it from a second cluster beside the first: that is a human's word to give."""
    before = cluster.store.cluster_id
    backup = cluster.etcd.back_up()
    await asyncio.to_thread(cluster.etcd.restore, backup, token="another")
    await until(lambda: cluster.where("web") == [], what="its guard's deadline", timeout_s=3 * TIMING.hold_s)
    await connect_anew(cluster)

    async def is_named() -> bool:
        warnings = (await look(cluster.operator)).warnings
        ids = f"had etcd cluster {before}, and this is {cluster.store.cluster_id}"
        return any(f"n1, n2, n3 {ids}" in one and "systemctl restart vmha-agent" in one for one in warnings)

    await until(is_named, what="status names it", timeout_s=30.0)
    found = await diagnose(cluster.operator, timeout_s=0.5)
    assert [one.about for one in found if one.kind == "node-at-another-etcd"] == [("n1", "n2", "n3")]
    assert not [one for one in found if one.kind == "node-silent"]
    for node in cluster.nodes.values():
        await node.stop_agent()
        node.start_agent()
    await cluster.until_online(timeout_s=40.0)
    await until(lambda: len(cluster.where("web")) == 1, what="web runs again", timeout_s=40.0)
    assert not any("had etcd cluster" in one for one in (await look(cluster.operator)).warnings)


async def test_agents_that_are_restarted_in_time_keep_their_guests_in_an_etcd_of_another_id(
    cluster: RealCluster,
) -> None:
    """As in one of the same id: what their guards count is taken up, and put on record."""
    before = sessions(cluster)
    backup = cluster.etcd.back_up()
    await submit(cluster.operator, Verb.MIGRATE, vm="web", node="n2")
    await cluster.until_runs("web", "n2")
    await asyncio.to_thread(cluster.etcd.restore, backup, token="another")
    for node in cluster.nodes.values():
        await node.stop_agent()
        node.start_agent()
    await connect_anew(cluster)
    await until_settled(cluster)
    await cluster.until_runs("web", "n2")
    assert sessions(cluster) == before
    assert cluster.starts("web") == 1


async def write_without_end(cluster: RealCluster) -> None:
    for _ in range(200):
        await cluster.store.txn([], [Put("/else/where", b"x" * 1_000_000)])


async def test_etcd_without_space_is_said_in_words_with_its_remedy_and_life_goes_on_after_the_cure() -> None:
    with RealEtcd(options={"quota-backend-bytes": str(4 * 1024 * 1024)}) as etcd:
        async with real_cluster(etcd, nodes=2) as cluster:
            await cluster.add_running("web", "n1")
            with pytest.raises(NoSpace, match=r"etcdctl compact, defrag and alarm disarm"):
                await write_without_end(cluster)
            shown = await look(cluster.operator)
            assert "alarm NOSPACE" in shown.warnings[0]
            # Beats are writes: law 3 holds, as when etcd is away (without failsafe).
            await until(lambda: cluster.where("web") == [], what="its guest ends by its deadline")
            etcd.compact((await cluster.operator.read()).revision)
            etcd.ctl("defrag")
            etcd.ctl("alarm", "disarm")
            await cluster.until_online()
            await cluster.until_runs("web", "n1", timeout_s=30.0)
            assert not any("NOSPACE" in warning for warning in (await look(cluster.operator)).warnings)


async def test_etcd_that_takes_a_quarter_of_the_hold_for_every_call_ends_nothing_and_still_serves(
    cluster: RealCluster,
) -> None:
    before, term = sessions(cluster), cluster.leaders()
    for node in cluster.nodes.values():
        for relay in node.relays:
            relay.delay_s = TIMING.hold_s / 4
    await cluster.stays(lambda: cluster.where("web") == ["n1"], TIMING.dead_after_s * 1.5, "web on n1")
    assert cluster.leaders() == term
    asked = await submit(cluster.operator, Verb.RELOCATE, vm="web", node="n2")
    await cluster.until_runs("web", "n2", timeout_s=60.0)
    outcome = (await cluster.operator.read()).outcomes[asked.id]
    assert outcome.progress in (Progress.RUNNING, Progress.DONE)
    assert sessions(cluster) == before
    assert await fenced(cluster) == set()
    assert cluster.starts("web") == 2  # at first, and where it was relocated to


async def test_etcd_slower_than_that_is_as_none_and_guests_run_again_when_it_is_itself(cluster: RealCluster) -> None:
    """Law 3: to a node it is as if there were none. All goes on when it is itself again."""
    for node in cluster.nodes.values():
        for relay in node.relays:
            relay.delay_s = TIMING.hold_s * 1.5
    await until(lambda: cluster.where("web") == [], what="the guard ended web", timeout_s=20.0)
    for node in cluster.nodes.values():
        for relay in node.relays:
            relay.delay_s = 0.0
    await cluster.until_online(timeout_s=40.0)
    await until(lambda: len(cluster.where("web")) == 1, what="web runs again", timeout_s=40.0)
