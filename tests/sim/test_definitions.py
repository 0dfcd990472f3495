"""A vm whose definition is not kept in etcd: read at each start, by whichever node starts it."""

import pytest

from tests.sim.probes import placement
from tests.support.worlds import Cluster, in_cluster
from vmha.hypervisor.twin.fabric_state import Defined
from vmha.hypervisor.twin.simulated_files import SavedMemory
from vmha.model.domain_xml import default_uuid
from vmha.model.records import Phase, RunEnd
from vmha.model.vm import Desired
from vmha.operator import vms
from vmha.sim.world.hands import domain_xml

FILE = "/gfs/guests/web.xml"
XML = domain_xml("web", memory_mib=3072, vcpus=1)


async def add(cluster: Cluster, **definition: object) -> None:
    await vms.add_vm(cluster.hands.operator, "web", "", start=True, definition=definition)
    await cluster.rest()


def words(cluster: Cluster) -> str:
    found = placement(cluster, "web")
    assert found is not None
    return found.ended_why


def lay_down(cluster: Cluster, text: str, path: str = FILE) -> None:
    cluster.world.fabric.files.held[path] = text


def test_vm_starts_from_its_file_and_its_memory_is_known_from_then_on() -> None:
    async def scene(cluster: Cluster) -> None:
        lay_down(cluster, XML)
        await add(cluster, file=FILE)
        assert len(cluster.where("web")) == 1
        found = placement(cluster, "web")
        assert found is not None
        assert found.memory_mib == 3072

    in_cluster(scene)


def test_file_that_was_changed_counts_from_the_next_start_on() -> None:
    async def scene(cluster: Cluster) -> tuple[str, str]:
        lay_down(cluster, XML)
        await add(cluster, file=FILE)
        before = placement(cluster, "web")
        lay_down(cluster, domain_xml("web", memory_mib=4096, vcpus=2))
        await cluster.hands.restart("web")
        await cluster.rest()
        after = placement(cluster, "web")
        assert before is not None
        assert after is not None
        assert after.memory_mib == 4096
        return before.definition, after.definition

    before, after = in_cluster(scene)
    assert before != after


def test_search_path_takes_the_first_match_name_before_name_xml() -> None:
    async def scene(cluster: Cluster) -> list[int]:
        found = []
        for place, mib in (("/b/web.xml", 1024), ("/b/web", 1025), ("/a/web.xml", 1026)):
            lay_down(cluster, domain_xml("web", memory_mib=mib, vcpus=1), place)
            await add(cluster, path=["/a", "/b"])
            record = placement(cluster, "web")
            assert record is not None
            found.append(record.memory_mib)
            await cluster.hands.stop("web")
            await cluster.rest()
            await cluster.hands.remove("web")
            await cluster.rest()
        return found

    assert in_cluster(scene) == [1024, 1025, 1026]


@pytest.mark.parametrize(
    ("held", "said"),
    [
        pytest.param(None, "was not found: looked for /gfs/guests/web.xml", id="missing"),
        pytest.param("<domain><name>web", "/gfs/guests/web.xml: the domain XML is broken at line 1", id="broken"),
        pytest.param("<!DOCTYPE x [<!ENTITY a 'b'>]><domain/>", "document type declaration", id="entities"),
        pytest.param(XML.replace("<name>web<", "<name>db<"), "its <name> is 'db' (accepted: 'web'", id="another name"),
        pytest.param(
            XML.replace(default_uuid("sim", "web"), default_uuid("sim", "db")), "or tell the cluster: uuid:", id="uuid"
        ),
    ],
)
def test_definition_that_is_not_this_vms_is_a_start_that_fails_in_words(held: str | None, said: str) -> None:
    async def scene(cluster: Cluster) -> None:
        if held is not None:
            lay_down(cluster, held)
        await vms.add_vm(cluster.hands.operator, "web", "", start=True, definition={"file": FILE})
        await cluster.observer.settle(quiet_s=2.0, at_most_s=4.0)
        found = placement(cluster, "web")
        assert found is not None
        assert found.ended is RunEnd.START_FAILED or found.failures
        assert said in (found.failures[-1].error if found.failures else found.ended_why)
        assert cluster.where("web") == []
        lay_down(cluster, XML)  # mended: it starts by itself
        await cluster.observer.settle(quiet_s=20.0, at_most_s=400.0)
        assert len(cluster.where("web")) == 1

    in_cluster(scene)


def test_file_system_that_does_not_answer_fails_the_start_and_is_tried_again() -> None:
    async def scene(cluster: Cluster) -> None:
        lay_down(cluster, XML)
        cluster.world.fabric.files.broken.add(FILE)
        await vms.add_vm(cluster.hands.operator, "web", "", start=True, definition={"file": FILE})
        await cluster.observer.settle(quiet_s=2.0, at_most_s=4.0)
        found = placement(cluster, "web")
        assert found is not None
        assert "has not answered" in found.failures[-1].error
        cluster.world.fabric.files.broken.clear()
        await cluster.observer.settle(quiet_s=20.0, at_most_s=400.0)
        assert len(cluster.where("web")) == 1

    in_cluster(scene)


def test_persistent_definition_of_the_host_is_started_as_ours_recovered_and_left_as_it_was() -> None:
    async def scene(cluster: Cluster) -> None:
        for host in ("n1", "n2", "n3"):
            cluster.world.fabric.host(host).definitions["web"] = Defined(xml=XML)
        await add(cluster, persistent=True)
        first = cluster.where("web")
        guest = cluster.hands.find_guest("web")
        assert guest is not None
        assert guest.tag is not None
        await cluster.hands.migrate("web", next(n for n in ("n1", "n2", "n3") if [n] != first))
        await cluster.rest()
        second = cluster.where("web")
        assert second != first
        cluster.hands.host(second[0]).power_off()
        await cluster.observer.settle(quiet_s=20.0, at_most_s=400.0)
        assert len(cluster.where("web")) == 1
        assert cluster.where("web") != second
        for host in ("n1", "n2", "n3"):
            assert cluster.world.fabric.host(host).definitions["web"] == Defined(xml=XML)
        assert cluster.violations() == []

    in_cluster(scene)


def test_node_without_the_persistent_definition_fails_and_another_one_starts_it() -> None:
    async def scene(cluster: Cluster) -> None:
        cluster.world.fabric.host("n3").definitions["web"] = Defined(xml=XML)
        await vms.add_vm(cluster.hands.operator, "web", "", start=True, definition={"persistent": True})
        await cluster.observer.settle(quiet_s=20.0, at_most_s=400.0)
        assert cluster.where("web") == ["n3"]

    in_cluster(scene)


def test_guest_that_runs_already_is_adopted_whether_its_definition_can_be_read_or_not() -> None:
    async def scene(cluster: Cluster) -> None:
        cluster.world.fabric.virsh_start(XML, "n2")
        await vms.add_vm(cluster.hands.operator, "web", "", definition={"file": "/gfs/nowhere"})
        await cluster.rest()
        found = placement(cluster, "web")
        assert found is not None
        assert (found.phase, found.node) == (Phase.HELD, "n2")

    in_cluster(scene)


def test_memory_learned_by_the_first_start_keeps_the_vm_off_a_node_that_is_full() -> None:
    async def scene(cluster: Cluster) -> None:
        lay_down(cluster, domain_xml("web", memory_mib=14000, vcpus=1))
        await add(cluster, file=FILE)
        holder = cluster.where("web")[0]
        await vms.set_desired(cluster.hands.operator, "web", Desired.STOPPED)
        await cluster.rest()
        for number, _ in enumerate(("n1", "n2", "n3"), start=1):
            await cluster.hands.add(f"big{number}", memory_mib=9000, vcpus=1, start=True)
        await cluster.rest()
        await cluster.hands.start("web")
        await cluster.rest()
        assert cluster.where("web") == []
        found = placement(cluster, "web")
        assert found is not None
        assert "the vm needs 14000" in found.reason.text
        assert holder

    in_cluster(scene)


def test_saved_memory_is_no_definition() -> None:
    async def scene(cluster: Cluster) -> None:
        lay_down(cluster, XML)
        await add(cluster, file=FILE)
        guest = cluster.hands.find_guest("web")
        assert guest is not None
        cluster.world.fabric.files.held[FILE] = SavedMemory(xml=XML, memory=guest.memory, runs=1)
        await cluster.hands.restart("web")
        await cluster.observer.settle(quiet_s=2.0, at_most_s=10.0)
        assert cluster.where("web") == []

    in_cluster(scene)
