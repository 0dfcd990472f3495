"""The compose files keep what their pages promise, as far as it can be read off them; the rest: `make compose-test`."""

from pathlib import Path
from typing import Any

import yaml

from vmha.model.settings import HostShutdown
from vmha.node.container import settings_from

ROOT = Path(__file__).parents[2]
CLUSTER: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
HOST: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose/host-libvirt.yml").read_text())
AGENTS = {name: service for name, service in CLUSTER["services"].items() if name.startswith("agent-")}
MEMBERS = {name: service for name, service in CLUSTER["services"].items() if name.startswith("etcd-")}


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def test_there_are_three_nodes_and_three_members_that_know_each_other() -> None:
    assert len(AGENTS) == len(MEMBERS) == 3
    for name, agent in AGENTS.items():
        settings = settings_from(agent["environment"], agent["hostname"])
        assert settings["node"] == name
        assert settings["endpoints"] == [f"{member}:2379" for member in MEMBERS]
    for name, member in MEMBERS.items():
        settings = member["environment"]
        assert settings["ETCD_INITIAL_CLUSTER"] == ",".join(f"{each}=http://{each}:2380" for each in MEMBERS)
        assert settings["ETCD_NAME"] == member["hostname"] == name
        assert settings["ETCD_PRE_VOTE"] == "true"
        assert settings["ETCD_AUTO_COMPACTION_RETENTION"]


def test_a_node_has_a_volume_of_its_own_and_nothing_in_run_outlives_it() -> None:
    for name, agent in AGENTS.items():
        assert f"{name}:/var/lib/vmha" in agent["volumes"]
        assert "/run" in agent["tmpfs"]


def test_a_node_that_is_stopped_is_given_the_time_to_leave() -> None:
    wanted = HostShutdown()
    init = (ROOT / "agents/container/init").read_text()
    patience = int(init.split("--timeout ")[1].split()[0])
    for agent in AGENTS.values():
        assert seconds(agent["stop_grace_period"]) > patience > wanted.migrate_s + wanted.stop_s


def test_no_container_is_privileged_and_only_the_dashboard_is_published_to_this_machine() -> None:
    for name, service in (*CLUSTER["services"].items(), *HOST["services"].items()):
        assert not service.get("privileged")
        published = ["127.0.0.1:${VMHA_WEB_PORT:-9780}:9780"] if name == "web" else None
        assert service.get("ports") == published


def test_dashboard_is_there_when_it_is_asked_for_and_may_do_nothing_on_its_machine() -> None:
    web = CLUSTER["services"]["web"]
    assert web["profiles"] == ["web"]
    assert (web["user"], web["cap_drop"], web["read_only"]) == ("65534:65534", ["ALL"], True)
    assert web["security_opt"] == ["no-new-privileges:true"]
    assert not web.get("volumes")
    assert web["environment"]["VMHA_ENDPOINTS"].split(",") == [f"{member}:2379" for member in MEMBERS]
    assert "[web]" in (ROOT / "agents/container/Dockerfile").read_text()


def test_a_guard_in_a_container_of_its_own_holds_a_watchdog_and_keeps_its_deadline_on_the_host() -> None:
    guard = HOST["services"]["guard"]
    assert guard["devices"] == ["${VMHA_WATCHDOG_DEVICE:-/dev/watchdog}:/dev/watchdog"]
    assert (guard["pid"], guard["network_mode"], guard["restart"]) == ("host", "none", "always")
    assert "/run:/run:rslave" in guard["volumes"]
    assert {"KILL", "SYS_PTRACE", "IPC_LOCK", "SYS_NICE"} <= set(guard["cap_add"])
    assert "depends_on" not in HOST["services"]["agent"]  # it also runs alone, with the guard as the host's own unit
