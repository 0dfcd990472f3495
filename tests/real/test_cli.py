"""The command line against a real etcd, without agents: definitions, errors, exit codes, and clear words in time."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.etcd import RealEtcd, free_ports
from tests.support.said import Said, Vmha, command_line
from vmha.cli.exits import ExitCode
from vmha.model.ids import NodeName
from vmha.model.keys import Keys, encode
from vmha.model.records import JournalEntry
from vmha.model.vm import NodeSpec
from vmha.operator.client import READ_TIMEOUT_S
from vmha.store.etcd import EtcdStore
from vmha.store.port import Put

pytestmark = pytest.mark.real

PROMISED_S = 5.0
"""What the command line promises when a cluster does not answer."""
DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def etcd() -> Iterator[RealEtcd]:
    with RealEtcd() as running:
        yield running


@pytest.fixture
def vmha(
    etcd: RealEtcd, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Vmha:
    """Runs the command line in this process, on a cluster of this test's own."""
    monkeypatch.setenv("VMHA_ENDPOINTS", etcd.endpoints[0])
    monkeypatch.setenv("VMHA_CLUSTER", request.node.name.replace("[", "-").replace("]", "")[:60])

    return command_line(capfd)


@pytest.fixture
def web(tmp_path: Path) -> Path:
    path = tmp_path / "web.xml"
    path.write_text("<domain type='qemu'>\n  <name>web</name>\n  <memory unit='MiB'>64</memory>\n</domain>\n")
    return path


def join(vmha: Vmha, tmp_path: Path, *nodes: str) -> None:
    """Makes nodes known that have not joined yet."""
    document = tmp_path / "nodes.yaml"
    document.write_text("nodes:\n" + "".join(f"  - name: {node}\n" for node in nodes))
    assert vmha("apply", document).code == 0


def test_status_of_an_empty_cluster(vmha: Vmha) -> None:
    said = vmha("status")
    assert said.code == 0
    assert "no leader" in said.out
    plain = vmha("status", "--json").json
    assert (plain["nodes"], plain["vms"], plain["leader"]) == ([], [], None)


def test_a_vm_from_add_to_remove(vmha: Vmha, web: Path) -> None:
    assert vmha("vm", "add", "web", "--xml", web).code == 0
    (listed,) = vmha("vm", "list", "--json").json
    assert (listed["name"], listed["desired"], listed["memory_mib"]) == ("web", "as-found", 64)
    assert "web" in vmha("vm", "list").out
    shown = vmha("vm", "show", "web", "--json").json
    assert shown["spec"]["xml"] == web.read_text()
    assert vmha("vm", "show", "web", "--xml").out == web.read_text()
    assert "priority:" in vmha("vm", "show", "web").out
    assert "priority: 100 -> 7" in vmha("vm", "edit", "web", "--priority", "7").out
    assert "web is" in vmha("vm", "why", "web").out
    assert vmha("vm", "why", "web", "--json").json["name"] == "web"
    assert vmha("vm", "remove", "web").code == 0
    assert vmha("vm", "list", "--json").json == []


def test_desired_state_is_recorded_and_told(vmha: Vmha, web: Path) -> None:
    vmha("vm", "add", "web", "--xml", web)
    assert vmha("vm", "start", "web", "--no-wait").code == 0
    assert vmha("vm", "show", "web", "--json").json["desired"] == "running"
    assert vmha("vm", "disable", "web").code == 0
    refused = vmha("vm", "start", "web")
    assert refused.code == ExitCode.BAD_INPUT
    assert "vmha vm enable web" in refused.err
    assert vmha("vm", "enable", "web", "--no-wait").code == 0


def test_waiting_in_vain_times_out_and_what_was_asked_for_stands(vmha: Vmha, web: Path) -> None:
    vmha("vm", "add", "web", "--xml", web)
    said = vmha("vm", "start", "web", "--timeout", "0.3")
    assert said.code == ExitCode.TIMED_OUT
    assert "waiting for a leader" in said.err
    assert "goes on" in said.err
    assert vmha("vm", "show", "web", "--json").json["desired"] == "running"


@pytest.mark.parametrize(
    "args",
    [
        ("vm", "show", "wbe"),
        ("vm", "start", "wbe"),
        ("vm", "stop", "wbe"),
        ("vm", "remove", "wbe"),
        ("vm", "why", "wbe"),
        ("vm", "edit", "wbe", "--priority", "1"),
        ("vm", "restart", "wbe"),
        ("vm", "migrate", "wbe", "--to", "node1"),
        ("events", "--vm", "wbe"),
        ("events", "--node", "nod1"),
        ("node", "show", "nod1"),
        ("node", "drain", "nod1"),
        ("node", "undrain", "nod1"),
        ("node", "confirm-off", "nod1", "--yes"),
        ("domain", "remove", "hoem"),
        ("service", "show", "shp"),
        ("service", "start", "shp"),
        ("service", "migrate", "shp", "--to", "node1"),
        ("service", "restart", "shp"),
        ("service", "relocate", "shp"),
        ("service", "freeze", "shp"),
        ("service", "unfreeze", "shp"),
        ("service", "why", "shp"),
        ("service", "remove", "shp"),
        ("service", "add", "other", "--vm", "wbe"),
    ],
)
def test_an_unknown_name_suggests_the_near_ones_and_does_nothing(
    vmha: Vmha, web: Path, tmp_path: Path, args: tuple[str, ...]
) -> None:
    join(vmha, tmp_path, "node1", "node2")
    vmha("vm", "add", "web", "--xml", web, "--start", "--no-wait")
    vmha("domain", "add", "home", "--member", "node1:1", "--ordered")
    vmha("service", "add", "shop", "--vm", "web")
    before = vmha("status", "--json").json
    said = vmha(*args)
    assert said.code == ExitCode.UNKNOWN_NAME
    assert "did you mean" in said.err
    after = vmha("status", "--json").json
    before.pop("revision"), after.pop("revision")
    assert after == before
    assert vmha("requests", "--json").json == []


def test_a_node_that_is_down_is_refused_at_once(vmha: Vmha, web: Path, tmp_path: Path) -> None:
    join(vmha, tmp_path, "node1")
    vmha("vm", "add", "web", "--xml", web, "--start", "--no-wait")
    said = vmha("vm", "migrate", "web", "--to", "node1")
    assert said.code == ExitCode.REFUSED
    assert "node1 is offline" in said.err


def test_broken_xml_names_file_and_line_and_writes_nothing(vmha: Vmha, tmp_path: Path) -> None:
    bad = tmp_path / "bad.xml"
    bad.write_text("<domain>\n<name>web</nam>")
    said = vmha("vm", "add", "web", "--xml", bad)
    assert said.code == ExitCode.BAD_INPUT
    assert str(bad) in said.err
    assert "line 2" in said.err
    assert vmha("vm", "add", "web", "--xml", tmp_path / "none.xml").code == ExitCode.BAD_INPUT
    assert vmha("vm", "list", "--json").json == []


def test_failover_domains_from_add_to_remove(vmha: Vmha, web: Path, tmp_path: Path) -> None:
    join(vmha, tmp_path, "h1", "h2")
    assert vmha("domain", "add", "home", "--member", "h1:1", "--member", "h2:2", "--ordered").code == 0
    assert vmha("domain", "add", "away", "--member", "h9").code == ExitCode.BAD_INPUT
    assert vmha("domain", "add", "away", "--member", "h1:x").code == ExitCode.BAD_INPUT
    assert vmha("vm", "add", "web", "--xml", web, "--node-preference", "h2,h1").code == 0
    domains = {domain["name"]: domain for domain in vmha("domain", "list", "--json").json}
    assert domains["web"]["vms"] == ["web"]
    assert "h1:1 h2:2" in vmha("domain", "list").out
    assert vmha("domain", "remove", "web").code == ExitCode.BAD_INPUT
    assert vmha("domain", "remove", "home").code == 0


def test_a_service_from_add_to_remove(vmha: Vmha, web: Path) -> None:
    vmha("vm", "add", "web", "--xml", web)
    assert vmha("service", "list").out.startswith("No service yet")
    assert vmha("service", "add", "shop", "--vm", "web", "--recovery", "disable").code == ExitCode.BAD_INPUT
    assert vmha("service", "add", "shop", "--vm", "web", "--recovery", "relocate").out == "service shop: web\n"
    (listed,) = vmha("service", "list", "--json").json
    assert (listed["name"], listed["state"], listed["recovery"]) == ("shop", "stopped", "relocate")
    assert "shop" in vmha("service", "list").out
    assert vmha("service", "start", "shop", "--no-wait").out == "service shop is to be running: web\n"
    assert vmha("vm", "show", "web", "--json").json["desired"] == "running"
    assert vmha("service", "stop", "shop").out == "service shop is stopped\n"
    assert vmha("service", "disable", "shop").out == "service shop is disabled\n"
    assert "vmha service enable shop" in vmha("service", "start", "shop").err
    assert vmha("service", "enable", "shop", "--no-wait").code == 0
    assert vmha("service", "show", "shop", "--json").json["vms"][0]["desired"] == "running"
    assert "1. web is" in vmha("service", "show", "shop").out
    assert vmha("service", "migrate", "shop", "--timeout", "0.3").code == ExitCode.TIMED_OUT
    assert vmha("service", "migrate", "shop", "--cancel", "--timeout", "0.3").code == ExitCode.TIMED_OUT
    assert vmha("service", "migrate", "shop", "--cancel", "--to", "nowhere").code == ExitCode.BAD_INPUT
    assert vmha("service", "restart", "shop", "--kind", "gently").code == ExitCode.BAD_INPUT
    assert "asked for (1 requests" in vmha("service", "restart", "shop", "--no-wait").out
    assert vmha("service", "relocate", "shop", "--to", "nowhere").code == ExitCode.UNKNOWN_NAME
    assert "frozen for 2h: web" in vmha("service", "freeze", "shop", "--reason", "tests", "--for", "2h").out
    assert "tests" in vmha("service", "restart", "shop").err
    assert list(vmha("service", "why", "shop", "--json").json["why"]) == ["web"]
    assert "web" in vmha("service", "why", "shop").out
    assert "web is not frozen any more" in vmha("service", "unfreeze", "shop").out
    assert vmha("service", "unfreeze", "shop").out == "no vm of service shop is frozen\n"
    assert vmha("service", "start", "shop", "--on", "nowhere").code == ExitCode.UNKNOWN_NAME
    assert vmha("service", "remove", "shop").code == 0
    assert vmha("service", "list", "--json").json == []


def test_rules_and_labels_from_add_to_remove(vmha: Vmha, web: Path, tmp_path: Path) -> None:
    join(vmha, tmp_path, "h1", "h2")
    vmha("vm", "add", "web", "--xml", web)
    assert vmha("rule", "list").out.startswith("No rule yet")
    assert vmha("rule", "add", "far", "--apart", "web", "--apart", "wob", "--hard").code == ExitCode.BAD_INPUT
    said = vmha("rule", "add", "near", "--together", "web", "--together", "db", "--hard")
    assert (said.code, "vmha service add" in said.err) == (ExitCode.BAD_INPUT, True)
    assert "accepted: LABEL=VALUE" in vmha("rule", "add", "ssd", "--vm", "web", "--on", "disk").err
    said = vmha("rule", "add", "ssd", "--vm", "web", "--on", "disk=ssd", "--off", "rack=b", "--hard")
    assert said.out.splitlines()[0] == "rule ssd: web on nodes labelled disk=ssd and off nodes labelled rack=b"
    assert "there is no such node" in said.out
    assert vmha("node", "label", "h1", "disk=ssd", "rack=a").out == "h1: disk=ssd, rack=a\n"
    assert "disk=ssd" in vmha("node", "show", "h1").out
    (listed,) = vmha("rule", "list", "--json").json
    assert (listed["name"], listed["hard"], listed["on"], listed["broken"]) == ("ssd", True, {"disk": "ssd"}, [])
    assert "holds" in vmha("rule", "list").out
    assert "web: nowhere" in vmha("rule", "show", "ssd").out
    assert vmha("node", "label", "h1", "--remove", "rack").out == "h1: disk=ssd\n"
    assert "rule ssd still names it" in vmha("vm", "remove", "web").out
    assert vmha("rule", "show", "sssd").code == ExitCode.UNKNOWN_NAME
    assert vmha("rule", "remove", "ssd").code == 0
    assert vmha("rule", "list", "--json").json == []


def test_drain_without_vms_is_done_at_once(vmha: Vmha, tmp_path: Path) -> None:
    join(vmha, tmp_path, "h1")
    assert vmha("node", "drain", "h1", "--why", "new memory").code == 0
    shown = vmha("node", "show", "h1", "--json").json
    assert shown["maintenance"] is True
    assert "new memory" in shown["maintenance_why"]
    assert vmha("node", "undrain", "h1").code == 0
    assert vmha("node", "list", "--json").json[0]["maintenance"] is False
    assert "h1" in vmha("node", "show", "h1").out


def test_confirming_a_node_off_needs_somebody_to_confirm(vmha: Vmha, tmp_path: Path) -> None:
    join(vmha, tmp_path, "h1")
    said = vmha("node", "confirm-off", "h1")
    assert said.code == ExitCode.BAD_INPUT
    assert "run twice" in said.err
    assert "--yes" in said.err
    assert vmha("requests", "--json").json == []
    assert vmha("node", "confirm-off", "h1", "--yes", "--no-wait").code == 0
    (request,) = vmha("requests", "--json").json
    assert (request["verb"], request["node"]) == ("confirm-off", "h1")


def test_apply_shows_a_diff_applies_it_and_export_brings_it_back(vmha: Vmha, web: Path, tmp_path: Path) -> None:
    document = tmp_path / "cluster.yaml"
    document.write_text("vms:\n  - name: web\n    xml_file: web.xml\n    priority: 7\n")
    dry = vmha("apply", document, "--dry-run")
    assert dry.code == 0
    assert "+ vm web" in dry.out
    assert "nothing was written" in dry.out
    assert vmha("vm", "list", "--json").json == []
    assert vmha("apply", document, "--json").json["applied"] is True
    document.write_text("vms:\n  - name: web\n    xml_file: web.xml\n    priority: 9\n")
    assert "priority: 7 -> 9" in vmha("apply", document).out
    exported = tmp_path / "exported.yaml"
    assert vmha("export", exported).code == 0
    assert vmha("apply", exported, "--prune").out.strip() == "2 unchanged"
    assert "vms" in vmha("apply", "--schema").json["properties"]


def test_a_bad_document_is_refused_with_file_and_line(vmha: Vmha, tmp_path: Path) -> None:
    document = tmp_path / "cluster.yaml"
    document.write_text("vms:\n  - name: web\n    xml: <domain/>\n    colour: red\n")
    said = vmha("apply", document)
    assert said.code == ExitCode.BAD_INPUT
    assert f"{document}:4: vms[web].colour: unknown key" in said.err


def test_settings_are_shown(vmha: Vmha, tmp_path: Path) -> None:
    document = tmp_path / "cluster.yaml"
    document.write_text("config: {profile: tuned}")
    assert vmha("apply", document).code == 0
    assert vmha("config", "show", "--json").json["timing_in_force"]["hold_s"] == 4.0
    assert "tuned" in vmha("config", "show").out


def test_events_of_an_empty_journal(vmha: Vmha) -> None:
    assert vmha("events").out == ""
    assert vmha("events", "--json").json == []


def environ_of(endpoint: str) -> dict[str, str]:
    return {**os.environ, "VMHA_ENDPOINTS": endpoint, "VMHA_CLUSTER": "c"}


def vmha_process(*args: str, endpoint: str) -> Said:
    """As a user runs it: a process of its own, which ends long before pytest's patience does."""
    command = [sys.executable, "-m", "vmha", *args]
    done = subprocess.run(
        command, env=environ_of(endpoint), capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )
    return Said(done.returncode, done.stdout, done.stderr)


def test_the_time_given_to_a_silent_cluster_leaves_room_below_what_is_promised() -> None:
    assert READ_TIMEOUT_S <= PROMISED_S - 2


@pytest.mark.parametrize("args", [("status",), ("vm", "start", "web"), ("node", "list")])
def test_nobody_listening_is_told_in_one_line(args: tuple[str, ...]) -> None:
    endpoint = f"127.0.0.1:{free_ports(1)[0]}"
    said = vmha_process(*args, endpoint=endpoint)
    assert said.code == ExitCode.UNREACHABLE
    (line,) = said.err.splitlines()
    assert endpoint in line
    assert "$VMHA_ENDPOINTS" in line
    assert "etcdctl" in line
    assert f"within {READ_TIMEOUT_S:.1f} s" in line


def test_an_etcd_that_hangs_is_told_in_one_line() -> None:
    with RealEtcd() as etcd:
        etcd.freeze(0)
        said = vmha_process("status", endpoint=etcd.endpoints[0])
        etcd.thaw(0)
    assert said.code == ExitCode.UNREACHABLE
    (line,) = said.err.splitlines()
    assert etcd.endpoints[0] in line
    assert "etcdctl" in line


def test_a_reader_that_goes_away_is_no_traceback(etcd: RealEtcd) -> None:
    command = f"{sys.executable} -m vmha status --endpoints {etcd.endpoints[0]} | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert "Traceback" not in done.stderr


@contextmanager
def staying(*args: str, endpoint: str) -> Iterator[Callable[[], str]]:
    """A verb that stays; gives a function that reads its next line, and ends it afterwards, whatever happens."""
    command = [sys.executable, "-m", "vmha", *args]
    with subprocess.Popen(command, env=environ_of(endpoint), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        stuck = threading.Timer(DEADLINE_S, process.kill)
        stuck.start()
        try:
            yield process.stdout.readline
        finally:
            stuck.cancel()
            process.send_signal(signal.SIGINT)
            process.wait(DEADLINE_S)


def test_a_watched_status_shows_every_change(etcd: RealEtcd) -> None:
    with staying("status", "--watch", "--json", endpoint=etcd.endpoints[0]) as next_line:
        assert json.loads(next_line())["nodes"] == []
        asyncio.run(put(etcd, Keys("c").node_spec(NodeName("h1")), NodeSpec(name="h1")))
        assert [node["name"] for node in json.loads(next_line())["nodes"]] == ["h1"]


def test_followed_events_are_shown_as_they_happen(etcd: RealEtcd) -> None:
    def entry(id: str) -> JournalEntry:
        return JournalEntry(id=id, at=1.0, by=NodeName("h1"), kind="VmStarted", text=f"text {id}")

    asyncio.run(put(etcd, Keys("c").journal("1"), entry("1")))
    with staying("events", "-f", "--json", endpoint=etcd.endpoints[0]) as next_line:
        assert json.loads(next_line())["text"] == "text 1"
        asyncio.run(put(etcd, Keys("c").journal("2"), entry("2")))
        assert json.loads(next_line())["text"] == "text 2"


async def put(etcd: RealEtcd, key: str, record: Any) -> None:
    store = EtcdStore(etcd.endpoints)
    try:
        await store.txn([], [Put(key, encode(record))])
    finally:
        await store.close()
