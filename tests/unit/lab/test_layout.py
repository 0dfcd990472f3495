"""Names, addresses, plans and requirements of a lab: everything that is decided before a process starts."""

import subprocess
import tomllib
from pathlib import Path

import pytest

from vmha.lab import fence_program, launch, layout
from vmha.lab.boxplan import BoxPlan, plan_box
from vmha.lab.hostfiles import vmha_toml
from vmha.lab.layout import LabSpec, Link, Tier, find_link, find_node
from vmha.lab.requirements import require_packages
from vmha.model.errors import Rejected


def spec(hosts: int = 3, etcd: int = 3, *, agents: bool = True) -> LabSpec:
    return LabSpec(
        dir="/lab",
        hosts=hosts,
        etcd=etcd,
        tier=Tier.USER,
        python="/opt/python",
        python_path=("/src",),
        visible=("/src",),
        agents=agents,
    )


def test_a_spec_survives_being_written_down() -> None:
    assert LabSpec.from_json(spec().to_json()) == spec()


def test_every_machine_has_addresses_and_cards_of_its_own() -> None:
    nodes = spec().nodes
    assert [node.name for node in nodes] == ["h1", "h2", "h3", "etcd-1", "etcd-2", "etcd-3"]
    assert len({node.address for node in nodes}) == len(nodes)
    assert len({node.mac(link) for node in nodes for link in Link}) == 2 * len(nodes)
    assert spec().etcd_endpoints == ("10.97.0.201:2379", "10.97.0.202:2379", "10.97.0.203:2379")


def test_unknown_names_are_rejected_with_what_is_near() -> None:
    assert find_node(spec(), "h2").address == "10.97.0.2"
    with pytest.raises(Rejected, match="did you mean etcd-1"):
        find_node(spec(), "etcd1")
    with pytest.raises(Rejected, match="there are h1"):
        find_node(spec(1, 1), "zzz")
    with pytest.raises(Rejected, match="accepted: lan"):
        find_link(find_node(spec(), "etcd-1"), "storage")


def test_a_plan_survives_being_written_down_and_starts_the_agent_last() -> None:
    plan = plan_box(spec(), find_node(spec(), "h1"), "boot")
    assert BoxPlan.from_json(plan.to_json()) == plan
    assert [service.name for service in plan.services] == ["libvirtd", "guard", "agent"]
    assert [service.name for service in plan_box(spec(agents=False), find_node(spec(), "h1"), "b").services] == [
        "libvirtd"
    ]
    assert plan.environment["ETCDCTL_ENDPOINTS"].count("2379") == 3


def test_etcd_members_know_each_other() -> None:
    (service,) = plan_box(spec(), find_node(spec(), "etcd-2"), "boot").services
    assert "--name=etcd-2" in service.argv
    assert any(word.startswith("--initial-cluster=") and word.count("http") == 3 for word in service.argv)


def test_the_agents_configuration_is_complete() -> None:
    config = tomllib.loads(vmha_toml(spec(), find_node(spec(), "h2")))
    assert (config["node"], config["address"], config["cluster"]) == ("h2", "10.97.0.2", "lab")
    assert config["endpoints"] == list(spec().etcd_endpoints)


def test_missing_packages_are_named_in_one_line_with_the_command_that_installs_them() -> None:
    with pytest.raises(Rejected) as caught:
        require_packages(lambda program: None if program in ("etcd", "virsh") else f"/usr/bin/{program}")
    words = str(caught.value)
    assert words.startswith("missing libvirt-clients, etcd-server: apt-get install")
    assert "\n" not in words


@pytest.mark.parametrize(
    ("hosts", "etcd", "path", "words"),
    [(0, 1, "/lab", "1 to 100"), (3, 2, "/lab", "1 or 3"), (3, 1, "/" + "x" * 100, "too long")],
)
def test_an_impossible_lab_is_rejected(hosts: int, etcd: int, path: str, words: str) -> None:
    with pytest.raises(Rejected, match=words):
        launch.make_spec(Path(path), hosts=hosts, etcd=etcd, profile="default", agents=True)


def test_the_fence_program_knows_where_the_power_switch_is() -> None:
    assert (fence_program.DEFAULT_ADDRESS, fence_program.DEFAULT_PORT) == (layout.SWITCH_ADDRESS, layout.SWITCH_PORT)


def test_the_shipped_fence_program_is_that_module_and_starts_by_its_path_alone() -> None:
    program = Path(__file__).parents[3] / "agents/fence/fence_vmha_lab"
    done = subprocess.run([program, "-o", "metadata"], capture_output=True, text=True, timeout=120, check=True, cwd="/")
    assert 'name="fence_vmha_lab"' in done.stdout
    failed = subprocess.run([program], input="action=off\n", capture_output=True, text=True, timeout=120, check=False)
    assert (failed.returncode, failed.stderr) == (1, "fence_vmha_lab: plug is missing: which host?\n")


def test_fence_options_come_in_both_forms() -> None:
    lines = ["action=off\n", "ipaddr=10.0.0.1\n", "port=h2\n", "# a comment\n", "unknown=1\n"]
    assert fence_program.parse_lines(lines) == {"action": "off", "ip": "10.0.0.1", "plug": "h2"}
    arguments = ["-o", "off", "--ip=10.0.0.1", "--plug", "h2"]
    assert fence_program.parse_arguments(arguments) == fence_program.parse_lines(lines)
    with pytest.raises(fence_program.FenceError, match="--bogus"):
        fence_program.parse_arguments(["--bogus"])


def test_fence_metadata_is_xml_with_all_actions(capsys: pytest.CaptureFixture[str]) -> None:
    from defusedxml import ElementTree

    assert fence_program.act({"action": "metadata"}) == 0
    root = ElementTree.fromstring(capsys.readouterr().out)
    assert {action.get("name") for action in root.iter("action")} >= {"on", "off", "reboot", "status", "monitor"}
