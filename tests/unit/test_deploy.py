"""What ``deploy`` gives an administrator to copy: settings that are accepted, units that start what exists."""

import configparser
import importlib.util
import re
from pathlib import Path

import pytest
import typer

from vmha.cli.root import app
from vmha.fencing.guard import read_settings as read_guard_settings
from vmha.model.settings import HostShutdown
from vmha.model.web import WebSettings
from vmha.node.settings import NodeSettings, read_settings

DEPLOY = Path(__file__).parents[2] / "deploy"
SAMPLE = DEPLOY / "vmha.toml"
UNITS = {path.stem: path for path in (DEPLOY / "systemd").glob("*.service")}


def unit(name: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNITS[name])
    return parser["Service"]


def test_the_sample_settings_are_accepted_and_name_every_setting() -> None:
    settings = read_settings(SAMPLE)
    assert settings.model_fields_set == set(NodeSettings.model_fields)


def test_agent_and_guard_read_the_same_things_from_one_file() -> None:
    agent, guard = read_settings(SAMPLE), read_guard_settings(["--config", str(SAMPLE)])
    assert (guard.cluster, guard.node, guard.run_dir) == (agent.cluster, agent.node, agent.run_dir)
    assert (guard.watchdog, guard.libvirt_run_dir) == (agent.watchdog, str(agent.libvirt_run_dir))


def test_the_units_start_programs_that_exist() -> None:
    words = unit("vmha-guard")["ExecStart"].split()
    assert importlib.util.find_spec(words[words.index("-m") + 1])
    verb = unit("vmha-agent")["ExecStart"].split()[1]
    assert typer.main.get_command(app).get_command(None, verb)  # type: ignore[arg-type, attr-defined]


def test_the_agents_unit_takes_leave_when_the_host_stops_and_is_given_the_time_for_it() -> None:
    service, wanted = unit("vmha-agent"), HostShutdown()
    command = service["ExecStop"].split()
    assert "--if-host-stops" in command
    assert typer.main.get_command(app).get_command(None, command[1])  # type: ignore[arg-type, attr-defined]
    assert int(service["TimeoutStopSec"].removesuffix("s")) > 180 > wanted.migrate_s + wanted.stop_s


@pytest.mark.parametrize("name", ["vmha-agent", "vmha-guard"])
def test_a_unit_comes_back_and_keeps_what_it_had_in_run(name: str) -> None:
    service = unit(name)
    assert service["Restart"] == "always"
    assert service["RuntimeDirectory"] == read_settings(SAMPLE).run_dir.name
    assert service["RuntimeDirectoryPreserve"] == "yes"
    assert "StartLimitIntervalSec=0" in UNITS[name].read_text()


def test_the_dashboards_unit_comes_back_and_is_nobody_who_could_harm_a_guest() -> None:
    service = unit("vmha-web")
    assert service["Restart"] == "always"
    assert "StartLimitIntervalSec=0" in UNITS["vmha-web"].read_text()
    verb = service["ExecStart"].split()[1]
    assert typer.main.get_command(app).get_command(None, verb)  # type: ignore[arg-type, attr-defined]
    assert service["User"] == "vmha-web"
    assert f"u {service['User']} " in (DEPLOY / "systemd/vmha-web.sysusers").read_text()
    assert (service["CapabilityBoundingSet"], service["AmbientCapabilities"]) == ("", "")
    assert (service["NoNewPrivileges"], service["ProtectSystem"]) == ("yes", "strict")
    assert int(service["Nice"]) > int(unit("vmha-agent")["Nice"])
    assert WebSettings().users.parent == Path("/etc/vmha/web")
    assert "/etc/vmha" not in service["InaccessiblePaths"]


def test_the_guards_unit_leaves_it_what_it_needs_to_kill_for_good() -> None:
    allowed = unit("vmha-guard")["CapabilityBoundingSet"].split()
    assert {"CAP_KILL", "CAP_SYS_PTRACE", "CAP_IPC_LOCK", "CAP_SYS_NICE", "CAP_SYS_RESOURCE"} <= set(allowed)
    assert unit("vmha-guard")["LimitMEMLOCK"] == "infinity"
    assert unit("vmha-guard")["OOMScoreAdjust"] == "-1000"


def test_the_etcd_sample_sets_what_is_no_matter_of_taste() -> None:
    lines = (DEPLOY / "etcd" / "etcd.default").read_text()
    values = dict(re.findall(r'^(ETCD_\w+)="(.*)"$', lines, re.MULTILINE))
    assert values["ETCD_PRE_VOTE"] == "true"
    assert values["ETCD_AUTO_COMPACTION_RETENTION"]
    assert values["ETCD_CLIENT_CERT_AUTH"] == "true"
