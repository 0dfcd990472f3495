"""Operations asked for once, and waiting for them by watching."""

import asyncio
from collections.abc import Callable

import pytest

from tests.support.until import until
from tests.support.virtual_time import run_virtual
from tests.unit.operator.cluster import Cluster, xml_of
from vmha.model.errors import Rejected
from vmha.model.ids import NodeName, VmName
from vmha.model.records import Candidate, Phase, Progress, Verb
from vmha.model.vm import Desired
from vmha.operator import follow, nodes, vms
from vmha.operator.client import OperatorClient
from vmha.operator.errors import OperationFailed, RefusedByCluster, TimedOut, UnknownName
from vmha.operator.requests import submit
from vmha.store.port import Unavailable


@pytest.fixture
async def running(cluster: Cluster) -> Cluster:
    """Two nodes, a leader, and a vm that runs on h1."""
    cluster.elect()
    cluster.join("h1", "h2")
    await vms.add_vm(cluster.client, "web", xml_of("web"), start=True)
    cluster.run("web", "h1")
    return cluster


async def test_a_request_names_who_asks_for_what_and_when_it_expires(running: Cluster) -> None:
    request = await submit(running.client, Verb.MIGRATE, vm="web", node="h2")
    stored = (await running.client.read()).requests[request.id]
    assert (stored.verb, stored.vm, stored.node, stored.author) == (Verb.MIGRATE, "web", "h2", "operator")
    assert stored.expires_at > stored.asked_at


REFUSED = [
    pytest.param(Verb.MIGRATE, "wbe", "h2", UnknownName, "did you mean web", id="unknown vm"),
    pytest.param(Verb.MIGRATE, "web", "h22", UnknownName, "did you mean h2", id="unknown node"),
    pytest.param(Verb.CONFIRM_OFF, None, None, Rejected, "h1, h2", id="confirming nothing"),
    pytest.param(Verb.MIGRATE, "web", "h3", RefusedByCluster, "h3 is offline", id="node that is down"),
    pytest.param(Verb.RELOCATE, "web", "h4", RefusedByCluster, "h4 is in maintenance", id="drained node"),
    pytest.param(Verb.RESTART, "off", None, RefusedByCluster, "vmha vm start off", id="stopped vm"),
    pytest.param(Verb.CANCEL, "web", None, RefusedByCluster, "not being migrated; it is held on h1", id="no migration"),
    pytest.param(Verb.CANCEL, "wbe", None, UnknownName, "did you mean web", id="cancel for an unknown vm"),
    pytest.param(Verb.CONFIRM_OFF, None, "h22", UnknownName, "did you mean h2", id="confirming an unknown node"),
]


@pytest.mark.parametrize(("verb", "vm", "node", "kind", "said"), REFUSED)
async def test_what_can_not_be_done_is_not_asked_for(
    running: Cluster, verb: Verb, vm: str | None, node: str | None, kind: type[Exception], said: str
) -> None:
    running.join("h3", "h4")
    running.lose_lease("h3")
    running.delete(running.keys.beat(NodeName("h3")))
    await nodes.drain(running.client, "h4")
    await vms.add_vm(running.client, "off", xml_of("off"))
    await vms.set_desired(running.client, "off", Desired.STOPPED)
    before = running.contents()
    with pytest.raises(kind, match=said):
        await submit(running.client, verb, vm=vm, node=node)
    assert running.contents() == before


DEADLINE_S = 60.0


async def waited(client: OperatorClient, goal: follow.Goal, *then: Callable[[], object]) -> tuple[str, list[str]]:
    """Plays the leader, one act after another as soon as somebody who waits was told of the one before.

    Returns the last words, and what was told on the way.
    """
    told: list[str] = []
    task = asyncio.create_task(follow.wait(client, goal, timeout_s=DEADLINE_S, tell=told.append))
    for number, act in enumerate(then, 1):
        await until(lambda number=number: len(told) >= number, what="it is told", timeout_s=DEADLINE_S)  # type: ignore[misc]
        act()
    return await task, told


async def test_waiting_for_a_request_ends_with_its_outcome(running: Cluster) -> None:
    request = await submit(running.client, Verb.MIGRATE, vm="web", node="h2")
    goal = follow.request_ended(running.client, request.id, vm="web")
    text, told = await waited(
        running.client,
        goal,
        lambda: running.answer(request, Progress.RUNNING, "migrating from h1 to h2"),
        lambda: running.answer(request, Progress.DONE, "web runs on h2"),
    )
    assert text == "web runs on h2"
    assert told == ["asked for: migrate to h2; by now web is running on h1", "migrating from h1 to h2"]


async def test_a_request_that_fails_and_one_that_is_refused_are_told_apart(running: Cluster) -> None:
    request = await submit(running.client, Verb.MIGRATE, vm="web", node="h2")
    goal = follow.request_ended(running.client, request.id)
    running.answer(request, Progress.FAILED, "web stays on h1: no route")
    with pytest.raises(OperationFailed, match="no route"):
        await follow.wait(running.client, goal, timeout_s=DEADLINE_S)
    said = Candidate(node=NodeName("h2"), refusal="has 3 MiB free")
    running.answer(request, Progress.REJECTED, "h2 has 3 MiB free", candidates=(said,))
    with pytest.raises(RefusedByCluster) as refused:
        await follow.wait(running.client, goal, timeout_s=DEADLINE_S)
    assert refused.value.candidates == (said,)


async def test_waiting_for_a_start_shows_what_happens(running: Cluster) -> None:
    await vms.add_vm(running.client, "db", xml_of("db"), start=True)
    goal = follow.vm_is(running.client, "db", Desired.RUNNING)
    text, told = await waited(
        running.client,
        goal,
        lambda: running.place("db", "h2", phase=Phase.ASSIGNED),
        lambda: running.run("db", "h2"),
    )
    assert text == "db is running on h2"
    assert told[:2] == ["db is starting", "db is starting on h2"]


async def test_waiting_for_a_stop_ends_when_it_is_stopped(running: Cluster) -> None:
    await vms.set_desired(running.client, "web", Desired.STOPPED)
    goal = follow.vm_is(running.client, "web", Desired.STOPPED)
    text, _ = await waited(running.client, goal, lambda: running.place("web", None))
    assert text == "web is stopped"


async def test_somebody_elses_wish_ends_the_waiting(running: Cluster) -> None:
    await vms.add_vm(running.client, "db", xml_of("db"), start=True)
    goal = follow.vm_is(running.client, "db", Desired.RUNNING)
    other = running.new_client("other")
    told: list[str] = []
    task = asyncio.create_task(follow.wait(running.client, goal, timeout_s=DEADLINE_S, tell=told.append))
    await until(lambda: bool(told), what="it is waited for", timeout_s=DEADLINE_S)
    await vms.set_desired(other, "db", Desired.DISABLED)
    with pytest.raises(OperationFailed, match="to be disabled now: disabled by other"):
        await task


async def test_a_vm_removed_meanwhile_ends_the_waiting(running: Cluster) -> None:
    goal = follow.vm_is(running.client, "db", Desired.RUNNING)
    with pytest.raises(OperationFailed, match="removed"):
        await follow.wait(running.client, goal, timeout_s=DEADLINE_S)


async def test_a_vm_that_has_departed_is_not_waited_for(running: Cluster) -> None:
    running.place("web", "h1", phase=Phase.DEPARTED, ended_why="somebody migrated it away from h1")
    goal = follow.vm_is(running.client, "web", Desired.RUNNING)
    with pytest.raises(RefusedByCluster, match=r"migrated it away from h1 \(vmha vm confirm-gone web\)"):
        await follow.wait(running.client, goal, timeout_s=DEADLINE_S)


async def test_a_node_is_drained_when_it_holds_nothing(running: Cluster) -> None:
    await nodes.drain(running.client, "h1")
    text, told = await waited(running.client, follow.node_is_drained("h1"), lambda: running.run("web", "h2"))
    assert text == "h1 is drained"
    assert told == ["1 still on h1: web"]


def test_without_a_leader_the_waiting_says_so() -> None:
    async def scenario() -> None:
        cluster = Cluster()
        cluster.join("h1")
        await vms.add_vm(cluster.client, "web", xml_of("web"), start=True)
        cluster.run("web", "h1")
        request = await submit(cluster.client, Verb.RESTART, vm="web")
        cluster.client.clock = LoopClock()
        with pytest.raises(TimedOut, match=r"not done within 5 s, and goes on: waiting for a leader"):
            await follow.wait(cluster.client, follow.request_ended(cluster.client, request.id), timeout_s=5.0)

    run_virtual(scenario())


def test_a_store_that_comes_back_is_waited_for_and_one_that_does_not_is_told() -> None:
    async def scenario() -> None:
        cluster = Cluster()
        cluster.elect()
        cluster.join("h1")
        await vms.add_vm(cluster.client, "web", xml_of("web"), start=True)
        goal = follow.vm_is(cluster.client, "web", Desired.RUNNING)
        cluster.client.clock = LoopClock()
        told: list[str] = []
        task = asyncio.ensure_future(follow.wait(cluster.client, goal, timeout_s=120, tell=told.append))
        await asyncio.sleep(1)
        cluster.etcd.cut("operator")
        await asyncio.sleep(30)
        cluster.etcd.heal("operator")
        cluster.run("web", "h1")
        assert await task == "web is running on h1"
        assert any("trying again" in text for text in told)
        cluster.etcd.cut("operator")
        with pytest.raises(Unavailable):
            await follow.wait(cluster.client, goal, timeout_s=60)

    run_virtual(scenario())


class LoopClock:
    """The event loop's time, so that virtual time passes for deadlines too."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        return asyncio.get_running_loop().time()


async def test_a_vm_name_is_taken_whole(running: Cluster) -> None:
    await vms.add_vm(running.client, "web2", xml_of("web2"), start=True)
    running.run("web2", "h2")
    summary = follow.vm_is(running.client, "web", Desired.RUNNING)(await running.client.read())
    assert summary.text == "web is running on h1"
    assert VmName("web2") in (await running.client.read()).vms


@pytest.mark.parametrize("steps", range(12))
def test_whoever_gives_up_in_the_instant_of_a_change_has_given_up(steps: int) -> None:
    """So many steps of the loop after the change has come: by the last of them it is told."""

    async def scenario() -> None:
        cluster = Cluster()
        cluster.elect()
        cluster.join("h1")
        await vms.add_vm(cluster.client, "web", xml_of("web"), start=True)
        cluster.client.clock = LoopClock()
        told: list[str] = []
        goal = follow.vm_is(cluster.client, "web", Desired.RUNNING)
        task = asyncio.create_task(follow.wait(cluster.client, goal, timeout_s=120, tell=told.append))
        await until(lambda: bool(told), what="it is waited for")
        cluster.place("web", "h1", phase=Phase.ASSIGNED)
        await asyncio.sleep(cluster.etcd.delay_s("operator"))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(scenario())
