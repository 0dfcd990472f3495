"""clusvcadm's options, texts and exit codes, as far as they need no agents."""

import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from tests.unit.operator.cluster import Cluster, xml_of
from vmha.cli import clusvcadm
from vmha.cli.clusvcadm import Line, UsageError, execute, parse
from vmha.model.ids import NodeName
from vmha.model.records import Phase, SeenState
from vmha.model.vm import Desired
from vmha.operator import vms
from vmha.operator.rgmanager.answers import Answer, find_vm


@pytest.fixture
async def cluster() -> Cluster:
    """h1 and h2 are online, h3 not; web runs on h1, off is stopped, gone disabled, still paused, away departed."""
    made = Cluster()
    made.join("h1", "h2", "h3")
    made.elect()
    made.lose_lease("h3")
    made.delete(made.keys.beat(NodeName("h3")))
    for name, desired in (("web", Desired.RUNNING), ("off", Desired.STOPPED), ("gone", Desired.DISABLED)):
        await vms.add_vm(made.client, name, xml_of(name))
        await vms.set_desired(made.client, name, desired)
    for name in ("still", "away"):
        await vms.add_vm(made.client, name, xml_of(name), start=True)
    made.run("web", "h1")
    made.place("still", "h1")
    made.see("still", "h1", SeenState.PAUSED)
    made.place("away", "h1", phase=Phase.DEPARTED, ended_why="it was migrated to elsewhere")
    return made


async def said(cluster: Cluster, capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = await execute(cluster.client, parse(args))
    told = capsys.readouterr()
    return code, told.out, told.err


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ("-e vm:web", Line(letter="e", group="vm:web")),
        ("-e vm:web -m h2", Line(letter="e", group="vm:web", node="h2")),
        ("-e vm:web -n h2", Line(letter="e", group="vm:web", node="h2")),
        ("-e vm:web -F", Line(letter="e", group="vm:web")),
        ("-m h2 -M web", Line(letter="M", group="web", node="h2")),
        ("-q -r vm:web", Line(letter="r", group="vm:web", is_quiet=True)),
        ("-qd vm:web", Line(letter="d", group="vm:web", is_quiet=True)),
        ("-l", Line(letter="l")),
        ("-S", Line(letter="S")),
        ("-v", Line(letter="v")),
    ],
)
def test_options(args: str, line: Line) -> None:
    assert parse(args.split()) == line


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ("", "usage:"),
        ("-h", "usage:"),
        ("-e", "option -e requires argument"),
        ("-x vm:web", "option -x not recognized"),
        ("-e vm:web -d vm:web", "usage:"),
        ("-e vm:web h2", "usage:"),
        ("-e vm:web -F -m h2", "Cannot use '-F' with '-n' or '-m'"),
        ("-M vm:web", "Migration requires a target cluster member"),
    ],
)
def test_a_line_that_can_not_be_meant_ends_with_1(args: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=text):
        parse(args.split())
    assert clusvcadm.run(args.split()) == 1
    assert text in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer.SUCCESS, 0),
        (Answer.RUNNING, 0),
        (Answer.FAIL, 255),
        (Answer.ABORT, 254),
        (Answer.NO_SERVICE, 252),
        (Answer.AGAIN, 250),
        (Answer.DEPEND, 249),
        (Answer.INVALID, 248),
        (Answer.NO_NODE, 244),
        (Answer.STAYS, 239),
        (Answer.WARNING, 237),
    ],
)
def test_exit_codes_are_rgmanagers(answer: Answer, code: int) -> None:
    assert answer.exit_code == code


@pytest.mark.parametrize(
    ("group", "vm"), [("vm:web", "web"), ("web", "web"), ("service:web", None), ("vm:vm:web", "vm:web"), ("a:b", "a:b")]
)
def test_a_vm_is_named_with_or_without_its_kind(group: str, vm: str | None) -> None:
    assert find_vm(group) == vm


@pytest.mark.parametrize(
    ("args", "code", "out", "err"),
    [
        ("-e vm:web", 0, "Local machine trying to enable vm:web...Service is already running", ""),
        ("-e web", 0, "vm:web is now running on h1", ""),
        ("-e vm:web -m h2", 0, "Warning: vm:web is now running on h1", ""),
        ("-e vm:wbe", 252, "vm:wbe...Service does not exist", "did you mean web"),
        ("-e service:web", 252, "service:web...Service does not exist", "there is no service 'web'"),
        ("-e vm:web -m h4", 1, "'h4' not in membership list", "did you mean"),
        ("-d vm:off", 0, "Local machine disabling vm:off...Success", ""),
        ("-d vm:gone", 0, "Local machine disabling vm:gone...Success", ""),
        ("-s vm:off", 0, "Local machine stopping vm:off...Success", ""),
        ("-s vm:gone", 0, "Local machine stopping vm:gone...Success", ""),
        ("-r vm:gone", 248, "Trying to relocate vm:gone...Invalid operation for resource", "clusvcadm -e vm:gone"),
        ("-r vm:nil", 252, "Service does not exist", "there is no vm 'nil'"),
        ("-R vm:gone", 248, "Local machine trying to restart vm:gone...Invalid operation for resource", "is disabled"),
        ("-M vm:web -m h3", 1, "'h3' is offline", ""),
        ("-M vm:web -m hh", 1, "'hh' not in membership list", ""),
        ("-M vm:off -m h2", 250, "Trying to migrate vm:off to h2...Temporary failure; try again", "off is stopped"),
        ("-M vm:gone -m h2", 250, "Temporary failure; try again", "gone is disabled"),
        ("-Z vm:web", 0, "Local machine freezing vm:web...Success", ""),
        ("-U vm:web", 0, "Local machine unfreezing vm:web...Success", ""),
        ("-Z vm:wbe", 252, "Service does not exist", "did you mean web"),
        ("-c vm:web", 0, "Service is already running", ""),
        ("-c vm:off", 248, "Invalid operation for resource", "no parts"),
        ("-l", 0, "Resource groups locked", ""),
        ("-u", 0, "Resource groups unlocked", ""),
        ("-S", 0, "Resource groups unlocked", ""),
        ("-e vm:still", 0, "Service is already running", ""),
        ("-M vm:still -m h2", 250, "Temporary failure; try again", "still is paused"),
        ("-e vm:away", 254, "vm:away...Aborted; service failed", "vmha vm confirm-gone away"),
        ("-r vm:away", 254, "Aborted; service failed", "away has departed"),
        ("-R vm:away", 254, "Aborted; service failed", "away has departed"),
        ("-M vm:away -m h2", 250, "Temporary failure; try again", "away is departed"),
        ("-d vm:away", 237, "Local machine disabling vm:away...Warning; see system logs", "may run outside"),
        ("-s vm:away", 237, "Warning; see system logs", "vmha vm confirm-gone away"),
    ],
)
async def test_texts_and_exit_codes(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], args: str, code: int, out: str, err: str
) -> None:
    done, told, explained = await said(cluster, capsys, *args.split())
    assert done == code
    assert out in told
    assert err in explained
    assert all(line.startswith("clusvcadm: ") for line in explained.splitlines())


@pytest.mark.parametrize("verb", ["-e", "-d", "-s", "-r", "-R", "-M", "-c"])
async def test_a_frozen_vm_refuses_every_verb_and_nothing_is_written(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    await said(cluster, capsys, "-Z", "vm:web")
    before = cluster.contents()
    target = ["-m", "h2"] if verb == "-M" else []
    code, out, err = await said(cluster, capsys, verb, "vm:web", *target)
    assert (code, "Failure: Service is frozen" in out) == (245, True)
    assert "frozen by operator; lift it with: vmha vm unfreeze web" in err
    assert cluster.contents() == before
    await said(cluster, capsys, "-U", "vm:web")
    assert (await said(cluster, capsys, "-e", "vm:web"))[0] == 0


async def test_the_lock_is_kept_in_the_store_and_refuses_starts_only(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (await said(cluster, capsys, "-S"))[1] == "Resource groups unlocked\n"
    await said(cluster, capsys, "-l")
    code, out, err = await said(cluster, capsys, "-S")
    assert (code, out) == (0, "Resource groups locked\n")
    assert "starts are paused in the whole cluster by operator: locked by clusvcadm" in err
    for args in ("-e vm:off", "-r vm:web"):
        code, out, err = await said(cluster, capsys, *args.split())
        assert (code, "Temporary failure; try again" in out, "vmha resume" in err) == (250, True, True)
    assert (await said(cluster, capsys, "-e", "vm:web"))[0] == 0
    assert (await said(cluster, capsys, "-d", "vm:off"))[0] == 0
    await said(cluster, capsys, "-u")
    assert (await said(cluster, capsys, "-S"))[1] == "Resource groups unlocked\n"


async def test_what_is_refused_changes_nothing(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    before = cluster.contents()
    refused = ("-e vm:wbe", "-e vm:off -m h4", "-r vm:gone", "-M vm:off -m h2", "-M vm:web -m h3")
    for args in refused:
        await said(cluster, capsys, *args.split())
    assert cluster.contents() == before


async def test_quiet_says_nothing_on_standard_output(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = await said(cluster, capsys, "-q", "-e", "vm:web")
    assert (code, out) == (0, "")


async def test_disabling_is_written_down(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    await said(cluster, capsys, "-d", "vm:off")
    spec = vms.find_spec(await cluster.client.read(), "off").value
    assert (spec.desired, spec.desired_why) == (Desired.DISABLED, "disabled by operator")


def test_a_cluster_that_does_not_answer_is_told_as_ever(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMHA_ENDPOINTS", "127.0.0.1:1")
    assert clusvcadm.run(["-e", "vm:web"]) == 1
    told = capsys.readouterr()
    assert told.out == "Could not connect to cluster service\n"
    assert "127.0.0.1:1" in told.err


def test_the_commands_are_installed_under_their_old_names() -> None:
    scripts = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]["scripts"]
    for name in ("clusvcadm", "clustat"):
        module, _, function = scripts[name].partition(":")
        assert callable(getattr(import_module(module), function))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert clusvcadm.run(["-v"]) == 0
    assert "vmha" in capsys.readouterr().out
