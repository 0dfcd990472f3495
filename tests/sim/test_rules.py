"""Placement rules with the real agents and leader."""

from tests.sim.probes import answered, placement, runs_on
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.records import Phase, Progress
from vmha.model.rules import Rule
from vmha.operator import nodes
from vmha.operator.overview import overview
from vmha.operator.rules import remove_rule
from vmha.sim.drawing.draw import Options, draw
from vmha.sim.play import play
from vmha.sim.quiet import silence_logs
from vmha.sim.scenario_file import load_scenario

APART = Rule(name="web-apart", apart=("a", "b"), hard=True)


async def two_apart(cluster: Cluster, *, rule: Rule = APART) -> None:
    """a and b run, on two nodes."""
    for name in ("a", "b"):
        await cluster.hands.add(name, memory_mib=1024, vcpus=1)
    await cluster.hands.add_rule(rule)
    for name in ("a", "b"):
        await cluster.hands.start(name)
    await cluster.rest()
    assert len({*cluster.where("a"), *cluster.where("b")}) == 2


def warnings(cluster: Cluster) -> list[str]:
    shown = overview(cluster.observer.snapshot, cluster="sim", wall=cluster.world.clock.wall())
    return [line for line in shown.warnings if "rule" in line]


def test_vm_of_a_lost_node_waits_rather_than_run_beside_the_one_it_is_to_be_apart_from() -> None:
    async def scene(cluster: Cluster) -> None:
        await two_apart(cluster)
        (home,), (other,) = cluster.where("a"), cluster.where("b")
        cluster.hands.host(home).power_off()

        def waits() -> bool:
            held = placement(cluster, "a")
            return held is not None and f"{other} runs b, which rule web-apart keeps apart from a" in held.reason.text

        await until(waits, what="a waits, and says for which rule", timeout_s=60.0)
        await cluster.rest()
        assert (cluster.where("a"), cluster.where("b")) == ([], [other])
        cluster.hands.host(home).power_on()
        await runs_on(cluster, "a", home, timeout_s=60.0)
        await cluster.rest()
        assert cluster.violations() == []

    in_cluster(scene, nodes=2)


def test_drained_node_keeps_the_vm_that_could_only_go_beside_the_other_until_the_rule_is_gone() -> None:
    async def scene(cluster: Cluster) -> None:
        await two_apart(cluster)
        (home,), (other,) = cluster.where("a"), cluster.where("b")
        await cluster.hands.drain(home)
        await cluster.rest()
        assert cluster.where("a") == [home]
        await remove_rule(cluster.hands.operator, "web-apart")
        await runs_on(cluster, "a", other, timeout_s=30.0)
        await cluster.rest()
        assert cluster.violations() == []

    in_cluster(scene, nodes=2)


def test_vms_that_a_hand_has_brought_together_stay_and_status_says_so_until_they_part() -> None:
    async def scene(cluster: Cluster) -> None:
        await two_apart(cluster)
        (other,) = cluster.where("b")
        cluster.hands.virsh_migrate("a", other)
        await runs_on(cluster, "a", other, timeout_s=20.0)
        await cluster.rest()
        assert (cluster.where("a"), cluster.where("b")) == ([other], [other])
        assert f"rule web-apart keeps a and b apart, and they are on {other} together" in warnings(cluster)[0]
        request = await cluster.hands.migrate("b", None)
        assert (await answered(cluster, request.id, timeout_s=60.0)).progress is Progress.DONE
        await cluster.rest()
        assert warnings(cluster) == []
        request = await cluster.hands.migrate("b", other)
        refused = await answered(cluster, request.id, timeout_s=60.0)
        assert refused.progress is Progress.REJECTED
        assert "which rule web-apart keeps apart from b" in refused.text
        assert cluster.violations() == []

    in_cluster(scene)


def test_soft_rule_keeps_nothing_down_and_a_vm_does_not_come_back_for_it() -> None:
    async def scene(cluster: Cluster) -> None:
        await two_apart(cluster, rule=APART.model_copy(update={"hard": False}))
        (home,), (other,) = cluster.where("a"), cluster.where("b")
        cluster.hands.host(home).power_off()
        await runs_on(cluster, "a", other, timeout_s=60.0)
        cluster.hands.host(home).power_on()
        await cluster.rest()
        assert (cluster.where("a"), cluster.where("b")) == ([other], [other])
        assert warnings(cluster) == []

    in_cluster(scene, nodes=2)


def test_vm_waits_for_a_node_with_its_labels_and_starts_when_one_gets_them() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add("db", memory_mib=1024, vcpus=1)
        await cluster.hands.add_rule(Rule(name="ssd-only", vms=("db",), on={"disk": "ssd"}, hard=True))
        await cluster.hands.start("db")
        await cluster.rest()
        held = placement(cluster, "db")
        assert held is not None
        assert held.phase is Phase.STOPPED
        assert "n3 is not labelled disk=ssd, which rule ssd-only asks for db" in held.reason.text
        await nodes.label(cluster.hands.operator, "n3", {"disk": "ssd"})
        await runs_on(cluster, "db", "n3", timeout_s=20.0)
        await nodes.label(cluster.hands.operator, "n3", {"disk": "hdd"})
        await cluster.rest()
        assert cluster.where("db") == ["n3"]  # an edit moves nothing
        assert cluster.violations() == []

    in_cluster(scene)


SCENARIO = """
nodes: [{name: n1, labels: {disk: hdd}}, {name: n2, labels: {disk: ssd}}]
vms: [{name: db}, {name: web}, {name: web2}]
rules:
  - {name: ssd-only, vms: [db], on: {disk: ssd}, hard: true}
  - {name: far, apart: [web, web2], hard: true}
"""


def test_scenario_has_rules_and_labels() -> None:
    silence_logs()
    played = play(load_scenario(SCENARIO, file="s.yaml"))
    held = {name: vm.placement.value.node for name, vm in played.snapshot.vms.items() if vm.placement}
    assert held["db"] == "n2"
    assert {held["web"], held["web2"]} == {"n1", "n2"}


def test_lives_are_drawn_with_rules_of_every_kind() -> None:
    rules = [rule for seed in range(1, 200) for rule in draw(seed, Options(steps=0)).rules]
    assert {(rule.kind, rule.hard) for rule in rules} == {
        ("apart", True),
        ("apart", False),
        ("vms", True),
        ("vms", False),
        ("together", False),
    }
