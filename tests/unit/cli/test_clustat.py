"""clustat's options, texts, XML and exit codes, on records such as agents and a leader write."""

import asyncio
from time import ctime
from xml.etree.ElementTree import fromstring

import pytest

from tests.support.virtual_time import run_virtual
from tests.unit.operator.cluster import Cluster, xml_of
from vmha.cli import clustat
from vmha.cli.clustat import Line, UsageError, look, parse, render
from vmha.model.ids import NodeName
from vmha.model.records import Phase, Reason, RunEnd, SeenState
from vmha.model.vm import Desired
from vmha.operator import vms
from vmha.operator.holds import freeze
from vmha.operator.rgmanager.answers import RgState, rg_state
from vmha.policy.telling.explain import VmState

NO_NODE = Reason(rule="no-node-can-take-it", text="no node can take it")


@pytest.fixture
async def cluster() -> Cluster:
    """h1 (leads) and h2 are online, h3 is not. A vm in each state that clustat can show."""
    made = Cluster()
    made.join("h1", "h2", "h3")
    made.elect()
    made.lose_lease("h3")
    made.delete(made.keys.beat(NodeName("h3")))
    for name in ("away", "held", "moves", "off", "out", "starts", "stops", "twice", "waits"):
        await vms.add_vm(made.client, name, xml_of(name), start=True)
    await vms.set_desired(made.client, "off", Desired.STOPPED)
    await vms.set_desired(made.client, "out", Desired.DISABLED)
    h1, h2 = NodeName("h1"), NodeName("h2")
    made.place("held", "h1", restarts=(1.0, 2.0), last_node=h2, since=1700000000.0)
    made.see("held", "h1")
    made.place("off", None, last_node=h1)
    made.place("starts", "h1", phase=Phase.ASSIGNED)
    made.place("stops", "h1", phase=Phase.STOPPING)
    made.place("moves", "h1", phase=Phase.MIGRATING, target=h2)
    made.see("moves", "h1", SeenState.RUNNING)
    made.place("away", "h1", phase=Phase.DEPARTED, last_node=h1)
    made.place("waits", None, reason=NO_NODE, last_node=h2, ended=RunEnd.CRASHED)
    made.run("twice", "h1")
    made.see("twice", "h2")
    made.see("stray", "h2")
    return made


async def shown(cluster: Cluster, *args: str, local: str = "h1") -> tuple[str, int]:
    return render(await look(cluster.client, local), parse(args))


async def test_the_screen(cluster: Cluster) -> None:
    text, code = await shown(cluster)
    first, second, *rest = text.splitlines()
    assert code == 0
    assert first.startswith("Cluster Status for test @ ")
    assert second == "Member Status: Quorate"
    assert rest == [
        "",
        " Member Name ID   Status",
        " ------ ---- ---- ------",
        " h1             1 Online, Local, rgmanager",
        " h2             2 Online, rgmanager",
        " h3             3 Offline",
        "",
        " Service Name Owner (Last) State",
        " ------- ---- ----- ------ -----",
        " vm:away      (h1)         failed",
        " vm:held      h1           started",
        " vm:moves     h1           started",
        " vm:off       (h1)         stopped",
        " vm:out       (none)       disabled",
        " vm:starts    h1           starting",
        " vm:stops     h1           stopping",
        " vm:twice     (h1)         failed",
        " vm:waits     (h2)         stopped",
    ]


async def test_xml_has_what_scripts_read(cluster: Cluster) -> None:
    text, code = await shown(cluster, "-x", local="h2")
    root = fromstring(text)
    assert (code, root.tag, root.get("version")) == (0, "clustat", "4.1.1")
    assert [child.tag for child in root] == ["cluster", "quorum", "nodes", "groups"]
    assert root[0].get("name") == "test"
    assert root[1].attrib == {"quorate": "1", "groupmember": "1"}
    nodes = {node.attrib["name"]: node.attrib for node in root.iter("node")}
    assert nodes["h1"] == {
        "name": "h1",
        "state": "1",
        "local": "0",
        "estranged": "0",
        "rgmanager": "1",
        "rgmanager_master": "1",
        "qdisk": "0",
        "nodeid": "0x00000001",
    }
    assert (nodes["h2"]["local"], nodes["h2"]["rgmanager_master"], nodes["h3"]["state"]) == ("1", "0", "0")
    groups = {group.attrib["name"]: group.attrib for group in root.iter("group")}
    assert groups["vm:held"] == {
        "name": "vm:held",
        "state": "112",
        "state_str": "started",
        "flags": "0",
        "flags_str": "",
        "owner": "h1",
        "last_owner": "h2",
        "restarts": "2",
        "last_transition": "1700000000",
        "last_transition_str": ctime(1700000000),
    }
    assert (groups["vm:out"]["owner"], groups["vm:out"]["last_owner"]) == ("none", "none")
    assert "vm:stray" not in groups


async def test_frozen_service_bears_its_flag_in_every_form(cluster: Cluster) -> None:
    await freeze(cluster.client, "held")
    assert "started [Z]" in (await shown(cluster, "-s", "vm:held"))[0]
    assert "  Flags           : frozen (1)" in (await shown(cluster, "-l", "-s", "vm:held"))[0]
    assert 'flags="1" flags_str="frozen"' in (await shown(cluster, "-x", "-s", "vm:held"))[0]


async def test_long_form(cluster: Cluster) -> None:
    text, _ = await shown(cluster, "-l", "-s", "vm:held")
    assert text.splitlines()[3:] == [
        "Service Name      : vm:held",
        "  Current State   : started (112)",
        "  Flags           : none (0)",
        "  Owner           : h1",
        "  Last Owner      : h2",
        f"  Last Transition : {ctime(1700000000)}",
    ]


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ("-s vm:held", 0),
        ("-s held", 0),
        ("-s vm:moves", 0),
        ("-s vm:starts", 0),
        ("-s vm:stops", 0),
        ("-s vm:off", 110),
        ("-s vm:waits", 110),
        ("-s vm:away", 114),
        ("-s vm:twice", 114),
        ("-s vm:out", 119),
        ("-s vm:none", 255),
        ("-s service:held", 255),
        ("-s vm:out -x", 119),
        ("-m h1", 0),
        ("-m h3", 1),
        ("-m h9", 255),
        ("-m h3 -x", 1),
        ("-Q", 0),
        ("-f", 0),
        ("-I", 0),
    ],
)
async def test_exit_codes(cluster: Cluster, args: str, code: int) -> None:
    assert (await shown(cluster, *args.split()))[1] == code


async def test_one_service_or_member_is_shown_alone(cluster: Cluster) -> None:
    assert [line.split()[0] for line in (await shown(cluster, "-s", "held"))[0].splitlines()[2:]] == ["vm:held"]
    assert [line.split()[0] for line in (await shown(cluster, "-m", "h2"))[0].splitlines()[2:]] == ["h2"]
    root = fromstring((await shown(cluster, "-x", "-s", "held"))[0])
    assert [group.get("name") for group in root.iter("group")] == ["vm:held"]


async def test_the_local_node_has_an_id(cluster: Cluster) -> None:
    assert await shown(cluster, "-I", local="h2") == ("0x00000002", 0)
    assert await shown(cluster, "-I", local="elsewhere") == ("", 255)


async def test_quorum_is_an_exit_code_and_no_words(cluster: Cluster) -> None:
    assert await shown(cluster, "-Q") == ("", 0)


async def test_names_are_escaped_in_xml() -> None:
    made = Cluster()
    await vms.add_vm(made.client, "a:b+c", xml_of("a:b+c"))
    text, _ = await shown(made, "-x")
    assert [group.get("name") for group in fromstring(text).iter("group")] == ["vm:a:b+c"]


async def test_an_empty_cluster_has_members_and_no_services() -> None:
    made = Cluster()
    made.join("h1")
    text, code = await shown(made)
    assert code == 0
    assert "Service Name" not in text


def test_it_is_shown_again_and_again(capsys: pytest.CaptureFixture[str]) -> None:
    async def two_screens() -> str:
        made = Cluster()
        made.join("h1")
        showing = asyncio.create_task(clustat._show(made.client, parse(["-i", "5"])), name="clustat -i")
        await asyncio.sleep(1.0)
        first = capsys.readouterr().out
        made.join("h2")
        await asyncio.sleep(5.0)
        showing.cancel()
        await asyncio.wait([showing])
        return first + "=====" + capsys.readouterr().out

    first, second = run_virtual(two_screens()).split("=====")
    assert ("h1" in first, "h2" in first) == (True, False)
    assert "h2" in second


def test_every_state_of_a_vm_has_one_of_rgmanagers() -> None:
    assert {state: rg_state(state).word for state in VmState} == {
        VmState.RUNNING: "started",
        VmState.PAUSED: "started",
        VmState.STARTING: "starting",
        VmState.STOPPING: "stopping",
        VmState.MIGRATING: "started",
        VmState.UNKNOWN: "started",
        VmState.RECOVERING: "recovering",
        VmState.WAITING: "stopped",
        VmState.STOPPED: "stopped",
        VmState.DISABLED: "disabled",
        VmState.DEPARTED: "failed",
        VmState.UNMANAGED: "started",
        VmState.DUPLICATE: "failed",
    }
    numbers = {"stopped": 110, "starting": 111, "started": 112, "stopping": 113, "failed": 114}
    assert {state.word: int(state) for state in RgState} == {**numbers, "recovering": 118, "disabled": 119}


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ("", Line()),
        ("-i 5 -l", Line(every_s=5, is_long=True)),
        ("-x", Line(is_xml=True)),
        ("-m h1", Line(member="h1")),
        ("-s vm:web", Line(service="vm:web")),
        ("-f", Line()),
    ],
)
def test_options(args: str, line: Line) -> None:
    assert parse(args.split()) == line


@pytest.mark.parametrize("args", ["-h", "-i", "-i 0", "-i soon", "-i 5 -x", "-z", "more"])
def test_a_line_that_can_not_be_meant_ends_with_1(args: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError):
        parse(args.split())
    assert clustat.run(args.split()) == 1
    assert capsys.readouterr().out


def test_a_cluster_that_does_not_answer_is_told_and_is_not_quorate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMHA_ENDPOINTS", "127.0.0.1:1")
    assert clustat.run([]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "127.0.0.1:1" in told.err
    assert clustat.run(["-Q"]) == 1
    assert capsys.readouterr() == ("", "")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert clustat.run(["-v"]) == 0
    assert "vmha" in capsys.readouterr().out
