"""A hypervisor that refuses the same thing again and again is asked ever more seldom, and the vm says what it is."""

from structlog.typing import EventDict

from tests.sim.probes import add_running, see_at_once
from tests.sim.test_causes_in_the_log import listening
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.hypervisor.port import DomainState
from vmha.hypervisor.twin.fabric_state import Leg
from vmha.model.ids import NodeName, VmName

SOURCE, TARGET = "n1", "n2"
TRIES = 60


def tries(told: list[EventDict]) -> list[EventDict]:
    return [line for line in told if line["event"] == "decided again"]


def has_switched(cluster: Cluster) -> bool:
    guest = cluster.world.fabric.host(SOURCE).guests.get("web")
    return guest is not None and guest.migration is not None and guest.migration.leg is Leg.ARRIVED


def shown(cluster: Cluster) -> str:
    seen = cluster.observer.snapshot.vms[VmName("web")].seen
    return seen[NodeName(SOURCE)].progress if NodeName(SOURCE) in seen else ""


def test_guest_that_stands_at_its_source_and_can_not_be_let_go_on_is_tried_once_a_second_and_shows_why() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=(SOURCE, TARGET, "n3"))
        await cluster.hands.migrate("web", TARGET)
        await see_at_once(lambda: has_switched(cluster) or None)
        cluster.world.fabric.refuse_to_resume("web", host=SOURCE)
        cluster.world.fabric.stop_libvirtd(SOURCE)
        cluster.world.fabric.crash("web", host=TARGET)
        cluster.world.fabric.start_libvirtd(SOURCE)
        begun = cluster.world.clock.now()
        with listening() as told:
            await until(lambda: len(tries(told)) >= TRIES, what="it is tried on and on", timeout_s=2.0 * TRIES)
        assert cluster.world.fabric.instances("web") == [(SOURCE, DomainState.OUTGOING)]
        assert cluster.world.clock.now() - begun > TRIES - 10, "about once a second, but for the first few"
        assert "resume-and-keep is refused" in shown(cluster)
        assert "write lock" in shown(cluster)
        cluster.world.fabric.refuse_to_resume("web", host=SOURCE, refuses=False)
        await until(lambda: cluster.where("web") == [SOURCE], what="it goes on", timeout_s=5.0)
        await until(lambda: shown(cluster) == "", what="nothing is told of it any more", timeout_s=5.0)
        assert cluster.violations() == []

    in_cluster(scene)
