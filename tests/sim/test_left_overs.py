"""What hosts keep of managed vms beside the cluster: told, in status and journal, and left as it is."""

from tests.sim.test_saved_state import told
from tests.support.worlds import Cluster, in_cluster
from vmha.hypervisor.twin.fabric_state import Defined
from vmha.model.domain_xml import default_uuid
from vmha.model.ids import NodeName
from vmha.operator import vms
from vmha.operator.node_why import sentences as node_sentences
from vmha.operator.node_why import why_node
from vmha.operator.overview import overview
from vmha.operator.why import sentences, why
from vmha.sim.world.hands import domain_xml

XML = domain_xml("web", memory_mib=1024, vcpus=1)
LOOKED_S = 40.0


async def warnings(cluster: Cluster) -> str:
    snapshot = await cluster.hands.operator.read()
    return "\n".join(overview(snapshot, cluster="sim", wall=cluster.world.clock.wall()).warnings)


async def look(cluster: Cluster) -> None:
    await cluster.observer.settle(quiet_s=LOOKED_S, at_most_s=200.0)


def test_definition_autostart_mark_and_managed_save_are_told_once_and_left() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        left = Defined(xml=XML, autostart=True, managed_save=True)
        cluster.world.fabric.host("n2").definitions["web"] = left
        await look(cluster)
        said = await warnings(cluster)
        for words in ("persistent definition of web", "autostart mark on web", "managed save of web"):
            assert f"n2's libvirt {'has an' if 'autostart' in words else 'keeps a'} {words}" in said
        assert len(told(cluster, "left-over")) == 3
        snapshot, wall = await cluster.hands.operator.read(), cluster.world.clock.wall()
        assert any("virsh undefine web" in line for line in sentences(why(snapshot, "web", wall=wall)))
        assert any(
            "virsh undefine web" in line for line in node_sentences(why_node(snapshot, "n2", wall=wall), wall=wall)
        )
        assert why_node(snapshot, "n1", wall=wall).remarks == ()
        cluster.hands.host("n2").kill_agent()
        await look(cluster)
        assert len(told(cluster, "left-over")) == 3
        assert cluster.world.fabric.host("n2").definitions == {"web": left}
        cluster.world.fabric.host("n2").definitions.clear()
        await look(cluster)
        assert "libvirt" not in await warnings(cluster)

    in_cluster(scene)


def test_definition_of_the_name_under_another_uuid_fails_the_start_in_words_and_another_node_takes_it() -> None:
    async def scene(cluster: Cluster) -> None:
        other = XML.replace(default_uuid("sim", "web"), default_uuid("sim", "other"))
        for host in ("n1", "n2"):
            cluster.world.fabric.host(host).definitions["web"] = Defined(xml=other)
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await look(cluster)
        assert cluster.where("web") == ["n3"]
        assert "can neither start there nor migrate there (virsh undefine web)" in await warnings(cluster)
        assert "is already defined with uuid" in told(cluster, "start-failed")[0]

    in_cluster(scene)


def test_hosts_whose_definitions_differ_are_told_apart() -> None:
    async def scene(cluster: Cluster) -> None:
        for host in ("n1", "n2"):
            cluster.world.fabric.host(host).definitions["web"] = Defined(xml=XML)
        await vms.add_vm(cluster.hands.operator, "web", "", definition={"persistent": True})
        await look(cluster)
        assert "web can not start on n3: no persistent definition of it there" in await warnings(cluster)
        cluster.world.fabric.host("n3").definitions["web"] = Defined(xml=XML.replace("1024", "2048"))
        await look(cluster)
        said = await warnings(cluster)
        assert "the persistent definitions of web differ between the nodes (n1, n2; n3)" in said
        assert "keeps a persistent definition" not in said
        cluster.world.fabric.host("n3").definitions["web"] = Defined(xml=XML)
        await look(cluster)
        assert await warnings(cluster) == ""
        assert cluster.world.hosts[NodeName("n3")].has_power

    in_cluster(scene)
