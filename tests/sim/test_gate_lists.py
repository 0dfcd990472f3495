"""What a start gate is told of migrations that the cluster itself sends to its node."""

import asyncio

from tests.sim.probes import add_running, placement
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.domain_xml import default_uuid
from vmha.model.records import Phase


def test_migration_that_begins_while_its_target_is_busy_with_the_store_is_expected_there_all_the_same() -> None:
    """Under a strict gate libvirt would refuse it else, until the agent comes by all vms again."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        target = cluster.hands.host("n2")
        assert target.member
        account = target.member.agent.account
        publish, busy = account.publish, asyncio.Event()

        async def publish_slowly() -> None:
            busy.set()
            await asyncio.sleep(0.3)
            await publish()

        account.publish = publish_slowly  # type: ignore[method-assign]
        target.member.agent.session_changed()
        await busy.wait()
        await cluster.hands.migrate("web", to="n2")
        uuid = default_uuid("sim", "web")
        await until(lambda: uuid in target.gate.expected, what="it to be expected", timeout_s=2.0)

    in_cluster(scene)


def test_migration_that_failed_while_its_target_was_busy_with_the_store_is_not_expected_there_any_more() -> None:
    """A guest that a hand sends there later, under the same epoch, would be let in."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        target = cluster.hands.host("n2")
        assert target.member
        account = target.member.agent.account
        publish = account.publish

        async def publish_slowly() -> None:
            await asyncio.sleep(0.3)
            await publish()

        account.publish = publish_slowly  # type: ignore[method-assign]
        cluster.world.fabric.fail_migration("web")
        await cluster.hands.migrate("web", to="n2")
        uuid = default_uuid("sim", "web")
        await until(lambda: uuid in target.gate.expected, what="it to be expected", timeout_s=2.0)
        await until(lambda: has_failed(cluster), what="it to fail")
        await until(lambda: uuid not in target.gate.expected, what="it not to be expected", timeout_s=30.0)

    in_cluster(scene)


def has_failed(cluster: Cluster) -> bool:
    held = placement(cluster, "web")
    return held is not None and held.phase is Phase.HELD and bool(held.failures)
