"""A cluster is checked up through etcd alone: its agents look, and answer there."""

from dataclasses import replace
from typing import Any

from tests.support.worlds import Cluster, in_cluster
from vmha.hypervisor.twin.fabric_state import TRAITS, Defined
from vmha.model.domain_xml import default_uuid
from vmha.model.ids import NodeName
from vmha.model.rules import Rule
from vmha.model.transport import Transport
from vmha.operator import nodes, vms
from vmha.operator.doctor import diagnose
from vmha.policy.telling.doctor import Finding, Severity
from vmha.sim.world.hands import domain_xml
from vmha.sim.world.world import Switch

ALWAYS = {"etcd-members", "node-without-watchdog"}
"""The twin of etcd has one member, and these hosts have no watchdog."""

XML = domain_xml("web", memory_mib=1024, vcpus=1)


async def found(cluster: Cluster) -> list[Finding]:
    return [one for one in await diagnose(cluster.hands.operator) if one.kind not in ALWAYS]


def test_healthy_cluster_answers_without_a_finding_and_leaves_nothing_of_the_question() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        assert await found(cluster) == []
        assert cluster.world.etcd.list(cluster.world.keys.checkup("")).items == ()

    in_cluster(scene)


def test_what_is_wrong_with_hosts_is_found_by_their_agents() -> None:
    async def scene(cluster: Cluster) -> list[tuple[str, tuple[str, ...]]]:
        fabric, operator = cluster.world.fabric, cluster.hands.operator
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        fabric.host("n2").definitions["web"] = Defined(xml=XML, autostart=True)
        fabric.host("n2").traits = replace(TRAITS, cpu="<cpu>older</cpu>")
        fabric.host("n3").transports = frozenset()
        told: list[tuple[str, tuple[str, ...]]] = [(one.kind, one.about) for one in await diagnose(operator)]
        return [one for one in told if one[0] not in ALWAYS]

    told: Any = in_cluster(scene)
    assert ("autostart-mark", ("n2", "web")) in told
    assert ("definition-kept", ("n2", "web")) in told
    assert [about for kind, about in told if kind == "unreachable"] == [("n1", "n3"), ("n2", "n3")]
    assert sorted(about for kind, about in told if kind == "cpu-unfit") == [
        ("n1", "n2"),
        ("n2", "n1"),
        ("n2", "n3"),
        ("n3", "n2"),
    ]


def kinds(found: list[Finding]) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.kind, one.about) for one in found]


def with_needs(*, machine: str, disk: str) -> str:
    xml = XML.replace("<type>hvm</type>", f"<type machine='{machine}'>hvm</type>")
    return xml.replace("</domain>", f"<devices><disk type='file'><source file='{disk}'/></disk></devices></domain>")


def test_a_disk_or_a_machine_type_that_a_vm_needs_is_missed_by_the_agent_of_each_node_that_may_run_it() -> None:
    async def scene(cluster: Cluster) -> tuple[list[Finding], list[Finding], list[Finding]]:
        fabric, operator = cluster.world.fabric, cluster.hands.operator
        fabric.files.held["/disks/web.img"] = ""
        await vms.add_vm(operator, "web", with_needs(machine="pc-9", disk="/disks/web.img"), start=False)
        await cluster.rest()
        for host in ("n1", "n2", "n3"):
            fabric.host(host).traits = replace(TRAITS, machines=("pc", "pc-9"))
        healthy = await found(cluster)
        fabric.files.unseen.add(("n2", "/disks/web.img"))
        fabric.host("n3").traits = TRAITS
        told = await found(cluster)
        await nodes.label(operator, "n1", {"disk": "ssd"})
        await cluster.hands.add_rule(Rule(name="ssd-only", vms=("web",), on={"disk": "ssd"}, hard=True))
        await cluster.rest()
        return healthy, told, await found(cluster)

    healthy, told, kept_off = in_cluster(scene)
    assert healthy == []
    missed = [("machine-missing", ("n3", "web")), ("disk-unseen", ("n2", "web"))]
    assert kinds(told)[:2] == missed
    assert told[0].text == "n3 may run web, and has no machine type pc-9"
    assert told[1].text == "n2 may run web, and does not see /disks/web.img"
    differ = [one for one in told if one.severity is Severity.WARNING]
    assert kinds(differ) == [("machines-differ", (node,)) for node in ("n1", "n2", "n3")]
    assert [one.kind for one in kept_off] == ["machines-differ"] * 3


def test_server_of_a_vms_disk_is_tried_by_each_node_that_may_run_it_and_by_no_other() -> None:
    source = "<source protocol='nbd' name='web'><host name='10.0.0.99' port='10810'/></source>"
    xml = XML.replace("</domain>", f"<devices><disk type='network'>{source}</disk></devices></domain>")

    async def scene(cluster: Cluster) -> tuple[list[Finding], list[Finding], list[Finding]]:
        fabric, operator = cluster.world.fabric, cluster.hands.operator
        await vms.add_vm(operator, "web", xml, start=False)
        await cluster.rest()
        healthy = await found(cluster)
        for host in ("n2", "n3"):
            fabric.host(host).lost_servers.add("10.0.0.99:10810")
        told = await found(cluster)
        await nodes.label(operator, "n1", {"disk": "ssd"})
        await nodes.label(operator, "n2", {"disk": "ssd"})
        await cluster.hands.add_rule(Rule(name="ssd-only", vms=("web",), on={"disk": "ssd"}, hard=True))
        await cluster.rest()
        return healthy, told, await found(cluster)

    healthy, told, kept_off = in_cluster(scene)
    assert healthy == []
    assert kinds(told) == [("disk-unserved", (node, "10.0.0.99:10810", "web")) for node in ("n2", "n3")]
    assert told[0].text == "n2 may run web, and does not reach the disks at 10.0.0.99:10810 (nbd): no answer within 3 s"
    assert kinds(kept_off) == [("disk-unserved", ("n2", "10.0.0.99:10810", "web"))]


def test_host_whose_libvirtd_lists_no_names_is_told_of_once_a_vm_would_come_to_it_by_tls() -> None:
    async def scene(cluster: Cluster) -> tuple[list[Finding], list[Finding]]:
        cluster.world.fabric.host("n2").lists_tls_clients = False
        before = await found(cluster)
        await vms.add_vm(cluster.hands.operator, "web", XML, migration={"transport": "tls"})
        await cluster.rest()
        return before, await found(cluster)

    before, told = in_cluster(scene)
    assert before == []
    assert kinds(told) == [("tls-lets-all-in", ("n2",))]


def test_a_host_without_kvm_and_one_whose_clock_is_off_are_found_by_what_their_agents_say() -> None:
    async def scene(cluster: Cluster) -> list[Finding]:
        fabric = cluster.world.fabric
        for host in ("n1", "n2"):
            fabric.host(host).traits = replace(TRAITS, kind="kvm")
        cluster.hands.host("n1").clock.jump(40.0)
        cluster.hands.host("n2").clock.jump(-7.0)
        return await found(cluster)

    told = in_cluster(scene)
    assert kinds(told) == [("kinds-differ", ("n3",)), ("clock-off", ("n1",)), ("clock-off", ("n2",))]
    assert told[0].text == "n3 has no KVM (qemu), and others have"
    ahead, behind = told[1].text, told[2].text
    assert ahead.startswith(("the clock of n1 is 39.", "the clock of n1 is 40."))
    assert " s ahead of " in ahead
    assert behind.startswith(("the clock of n2 is 6.", "the clock of n2 is 7."))
    assert " s behind " in behind


def test_strange_domains_of_a_vms_name_or_uuid_are_found_on_their_hosts() -> None:
    async def scene(cluster: Cluster) -> tuple[list[Finding], list[str]]:
        fabric = cluster.world.fabric
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        (home,) = cluster.where("web")
        first, second = (name for name in ("n1", "n2", "n3") if name != home)
        of_name = XML.replace(default_uuid("sim", "web"), default_uuid("elsewhere", "web"))
        fabric.host(first).definitions["web"] = Defined(xml=of_name)
        fabric.host(second).definitions["copy"] = Defined(xml=XML.replace("<name>web", "<name>copy"))
        return await found(cluster), [first, second]

    told, (first, second) = in_cluster(scene)
    assert kinds(told) == [("name-clash", (first, "web")), ("uuid-clash", (second, "web"))]
    assert default_uuid("elsewhere", "web") in told[0].text
    assert told[1].text == f"{second} has a domain copy with the uuid of web"


def test_barred_ways_of_a_guests_memory_and_of_vms_with_a_transport_of_their_own_are_found() -> None:
    async def scene(cluster: Cluster) -> list[Finding]:
        fabric = cluster.world.fabric
        for name, how in (("plain", {}), ("secret", {"transport": "tls"}), ("shell", {"transport": "ssh"})):
            await cluster.hands.add(name, memory_mib=1024, vcpus=1, start=True, migration=how)
        await cluster.rest()
        assert await found(cluster) == []
        fabric.host("n1").qemu_authority = "another"
        fabric.host("n2").shuts_memory_out = True
        fabric.host("n3").transports = frozenset({Transport.TCP, Transport.TLS})
        return await found(cluster)

    told = in_cluster(scene)
    of = {kind: [one.about for one in told if one.kind == kind] for kind in ("way-barred", "ports-shut")}
    assert of["way-barred"] == [("n1", "n3", "shell"), ("n2", "n3", "shell")]
    assert of["ports-shut"] == [("n1", "n2"), ("n3", "n2")]
    distrust = [one.about for one in told if one.kind == "qemu-distrusts"]
    assert distrust == [("n1", "n3"), ("n2", "n1"), ("n3", "n1")]
    assert {one.kind for one in told} == {"way-barred", "ports-shut", "qemu-distrusts"}


def test_vms_that_all_go_tunnelled_need_no_port_of_qemus() -> None:
    async def scene(cluster: Cluster) -> list[Finding]:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True, migration={"tunnelled": True})
        await cluster.rest()
        cluster.world.fabric.host("n2").shuts_memory_out = True
        return await found(cluster)

    assert in_cluster(scene) == []


def test_agent_that_does_not_answer_is_a_finding_and_keeps_nobody_waiting_for_ever() -> None:
    async def scene(cluster: Cluster) -> list[Finding]:
        cluster.hands.host("n3").freeze()
        return await diagnose(cluster.hands.operator, timeout_s=2.0)

    silent = [one for one in in_cluster(scene) if one.kind == "node-without-answer"]
    assert [one.about for one in silent] == [(NodeName("n3"),)]


def test_a_store_without_space_is_told_of_and_not_that_the_agents_keep_silent() -> None:
    async def scene(cluster: Cluster) -> list[Finding]:
        cluster.world.etcd.full = True
        return await found(cluster)

    (alarm,) = in_cluster(scene)
    assert (alarm.kind, alarm.text) == ("etcd-alarm", "etcd has raised the alarm NOSPACE")


def test_fence_devices_are_asked_and_each_that_would_not_do_its_work_is_found() -> None:
    async def scene(cluster: Cluster) -> list[list[tuple[str, tuple[str, ...]]]]:
        world, hands = cluster.world, cluster.hands
        for number in range(1, 6):
            await hands.register(f"n{number}", fence=True)

        async def told(here: str | None = "n1") -> list[tuple[str, tuple[str, ...]]]:
            ask = world.fence_devices.ask_devices
            found = await diagnose(hands.operator, ask_devices=ask, here=here)
            return [(one.kind, one.about) for one in found if one.kind not in ALWAYS]

        healthy = await told()
        n1, n2, n3, n4, n5 = world.hosts
        world.lying_switches.add(n1)
        world.broken_switches.add(n2)
        world.switches |= {n3: Switch.BABBLES, n4: Switch.MISSING, n5: Switch.HANGS}
        return [healthy, await told(), await told("a desk"), await told(None)]

    healthy, broken, desk, told_to = in_cluster(scene, nodes=5)
    assert healthy == []
    kinds = ("fence-says-off", "fence-missing", "fence-hangs", "fence-garbles", "fence-fails")
    assert broken == list(zip(kinds, [("n1",), ("n4",), ("n5",), ("n3",), ("n2",)], strict=True))
    assert [kind for kind, _ in desk] == ["fence-not-asked"]
    assert told_to == broken


def test_device_of_a_node_that_loses_its_power_meanwhile_is_not_accused() -> None:
    async def scene(cluster: Cluster) -> list[Finding]:
        await cluster.hands.register("n3", fence=True)
        device = cluster.world.fence_devices

        async def ask(nodes: Any) -> Any:
            cluster.world.hosts[NodeName("n3")].power_off()
            await cluster.rest()
            return await device.ask_devices(nodes)

        return list(await diagnose(cluster.hands.operator, ask_devices=ask))

    assert [one for one in in_cluster(scene) if one.kind.startswith("fence-")] == []
