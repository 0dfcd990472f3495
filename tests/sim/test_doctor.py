"""A cluster is checked up through etcd alone: its agents look, and answer there."""

from dataclasses import replace
from typing import Any

from tests.support.worlds import Cluster, in_cluster
from vmha.hypervisor.fabric_state import TRAITS, Defined
from vmha.model.ids import NodeName
from vmha.operator.doctor import diagnose
from vmha.policy.doctor import Finding
from vmha.sim.hands import domain_xml

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


def test_agent_that_does_not_answer_is_a_finding_and_keeps_nobody_waiting_for_ever() -> None:
    async def scene(cluster: Cluster) -> list[Finding]:
        cluster.hands.host("n3").freeze()
        return await diagnose(cluster.hands.operator, timeout_s=2.0)

    silent = [one for one in in_cluster(scene) if one.kind == "node-without-answer"]
    assert [one.about for one in silent] == [(NodeName("n3"),)]
