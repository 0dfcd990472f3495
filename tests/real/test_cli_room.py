"""The command line about room, against a real etcd that holds the records of a cluster: no agent runs."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clusters import KEYS, Book, cluster
from tests.support.etcd import RealEtcd
from tests.support.filled import fill
from tests.support.said import Vmha, command_line
from tests.support.terminal import terminal
from vmha.cli.exits import INTERRUPTED, ExitCode
from vmha.model.ids import Epoch, NodeName
from vmha.model.records import RunEnd
from vmha.model.vm import Desired

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def etcd() -> Iterator[RealEtcd]:
    with RealEtcd() as running:
        yield running


@pytest.fixture
def vmha(etcd: RealEtcd, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Vmha:
    """Runs the command line in this process, on the cluster that ``fill`` has put there."""
    monkeypatch.setenv("VMHA_ENDPOINTS", etcd.endpoints[0])
    monkeypatch.setenv("VMHA_CLUSTER", KEYS.cluster)

    return command_line(capfd)


def test_what_a_start_costs_of_surviving_a_loss_is_a_warning_for_people_and_data_for_programs(
    etcd: RealEtcd, vmha: Vmha
) -> None:
    book = cluster("n1", "n2", memory_mib=1000).running("web", "n1", memory_mib=300).running("db", "n2", memory_mib=300)
    fill(etcd, book.ended("log", "n1", RunEnd.ASKED).vm("log", memory_mib=500, desired=Desired.STOPPED))
    assert vmha("status").out.splitlines()[1] == "survives the loss of any one node"
    started = vmha("vm", "start", "log", "--no-wait")
    assert (started.code, started.out) == (0, "log is to be running\n")
    assert "warning: with this the cluster would not survive the loss of n1: web would not come back" in started.err
    again = vmha("vm", "start", "log", "--no-wait", "--json")
    assert (again.json["vm"], len(again.json["warnings"]), again.err) == ("log", 1, "")


def test_what_a_document_costs_is_told_before_it_is_applied(etcd: RealEtcd, vmha: Vmha, tmp_path: Path) -> None:
    fill(etcd, cluster("n1", "n2", memory_mib=1000).running("web", "n1", memory_mib=300))
    document = tmp_path / "more.yaml"
    xml = "<domain type='qemu'><name>more</name><memory unit='MiB'>900</memory></domain>"
    document.write_text(f'vms: [{{name: more, desired: running, xml: "{xml}"}}]\n')
    shown = vmha("apply", document, "--dry-run")
    assert shown.code == 0
    assert "warning: with this the cluster would not survive the loss of n1: web would not come back" in shown.err
    assert len(vmha("apply", document, "--json").json["warnings"]) == 1


def test_a_drain_that_leaves_something_behind_is_refused_in_words_until_it_is_forced(
    etcd: RealEtcd, vmha: Vmha
) -> None:
    book = cluster("n1", "n2", memory_mib=1000).running("big", "n1", memory_mib=900).running("web", "n1")
    fill(etcd, book.running("db", "n2", memory_mib=300).running("cold", "n1").freeze("cold"))
    said = vmha("node", "drain", "n1")
    assert said.code == ExitCode.REFUSED
    assert "2 vms can not leave n1:" in said.err
    assert "n2 has 699 MiB free of 1000, the vm needs 900" in said.err or "n2 has 700 MiB free" in said.err
    assert "cold: it is frozen by ann" in said.err
    assert vmha("node", "list", "--json").json[0]["maintenance"] is False
    forced = vmha("node", "drain", "n1", "--force", "--no-wait", "--json")
    assert forced.code == 0
    assert [one["vm"] for one in forced.json["cannot_leave"]] == ["big", "cold"]
    assert vmha("node", "list", "--json").json[0]["maintenance"] is True


def test_undrain_asks_for_what_the_drain_took_away_only_if_it_is_to(etcd: RealEtcd, vmha: Vmha) -> None:
    def drained() -> Book:
        book = cluster("n1", "n2").node("n1", spec={"maintenance": True}).running("db", "n2").vm("web")
        return book.placed("web", "n2", drained_from=NodeName("n1")).seen("n2", "web", epoch=Epoch(1))

    fill(etcd, drained())
    assert vmha("node", "undrain", "n1").out == "n1 may receive vms again\n"
    assert vmha("requests", "--json").json == []
    fill(etcd, drained())
    assert vmha("node", "undrain", "n1", "--return", "--no-wait", "--json").json["asked"] == ["web"]
    (request,) = vmha("requests", "--json").json
    assert (request["verb"], request["vm"], request["node"]) == ("migrate", "web", "n1")


def test_rebalance_says_what_would_move_asks_for_it_and_says_when_nothing_would(etcd: RealEtcd, vmha: Vmha) -> None:
    book = cluster("n1", "n2", memory_mib=1000).running("web", "n1", memory_mib=500).running("db", "n1", memory_mib=300)
    fill(etcd, book)
    said = vmha("rebalance", "now", "--dry-run")
    assert (said.code, said.out) == (0, "db: n1 to n2: n1 is 80 % full and n2 0 %; then 50 % and 30 %\n")
    (shift,) = vmha("rebalance", "now", "--dry-run", "--json").json
    assert (shift["vm"], shift["source"], shift["target"], shift["source_before"]) == ("db", "n1", "n2", 80.0)
    assert vmha("requests", "--json").json == []  # that was dry
    asked = vmha("rebalance", "now", "--no-wait")
    assert asked.out.startswith("db: to n2 (request ")
    assert [one["vm"] for one in vmha("requests", "--json").json] == ["db"]
    fill(etcd, cluster("n1", "n2", memory_mib=1000).running("web", "n1", memory_mib=500))
    assert vmha("rebalance", "now").out.startswith("no node is so full")


def test_plan_with_a_document_tells_what_would_be_started_and_what_would_not_and_writes_nothing(
    etcd: RealEtcd, vmha: Vmha, tmp_path: Path
) -> None:
    fill(etcd, cluster("n1", "n2", memory_mib=1000).running("web", "n1", memory_mib=300))
    document = tmp_path / "more.yaml"
    xml = "<domain type='qemu'><name>{}</name><memory unit='MiB'>{}</memory></domain>"
    more = f'{{name: more, desired: running, xml: "{xml.format("more", 500)}"}}'
    document.write_text(f"vms: [{more}]\n")
    told = vmha("plan", "--with", document)
    assert told.code == 0, told
    assert "more" in told.out
    assert "n2" in told.out
    huge = f'{{name: huge, desired: running, xml: "{xml.format("huge", 2000)}"}}'
    document.write_text(f"vms: [{more}, {huge}]\n")
    told = vmha("plan", "--with", document)
    assert told.code == 1, told
    assert "huge" in told.out
    assert vmha("plan", "--with", document, "--if", "node n2 lost", "--json").code == 1
    document.write_text("vms: [{name: more}]\n")
    wrong = vmha("plan", "--with", document)
    assert wrong.code == ExitCode.BAD_INPUT
    assert f"{document}:1" in wrong.err
    assert [vm["name"] for vm in vmha("vm", "list", "--json").json] == ["web"]


@pytest.mark.parametrize("answer", ["y", "n"])
def test_ctrl_c_asks_whether_the_drain_is_to_be_called_off_and_does_what_is_answered(
    etcd: RealEtcd, vmha: Vmha, answer: str
) -> None:
    fill(etcd, cluster("n1", "n2").running("web", "n1"))
    with terminal("node", "drain", "n1", etcd=etcd, cluster=KEYS.cluster, columns=200) as shown:
        shown.until("1 still on n1: web")
        shown.process.send_signal(signal.SIGINT)
        shown.until("n1 is still being drained.")
        shown.until("Call it off? What has left stays there. [y/N] ")
        shown.type(f"{answer}\n")
        code = shown.end()
    assert "Traceback" not in shown.seen
    is_off = answer == "y"
    said = (
        "bring back what has left with: vmha node undrain n1 --return" if is_off else "It goes on; call it off with: "
    )
    assert said in shown.seen
    assert code == (0 if is_off else INTERRUPTED)
    assert vmha("node", "list", "--json").json[0]["maintenance"] is not is_off
    assert vmha("requests", "--json").json == []  # no vm was asked to go anywhere, or to come back
