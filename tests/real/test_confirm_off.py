"""The one question whose wrong answer makes vms run twice, typed on a terminal, against a real etcd without agents."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clusters import KEYS, cluster
from tests.support.etcd import RealEtcd
from tests.support.filled import fill
from tests.support.said import Vmha, command_line
from tests.support.terminal import terminal
from vmha.cli.exits import INTERRUPTED, ExitCode

pytestmark = pytest.mark.real

QUESTION = "Type the node's name to confirm that n1 is powered off: "
END_OF_FILE = "\x04"


@pytest.fixture(scope="module")
def etcd() -> Iterator[RealEtcd]:
    with RealEtcd() as running:
        yield running


@pytest.fixture
def vmha(etcd: RealEtcd, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Vmha:
    monkeypatch.setenv("VMHA_ENDPOINTS", etcd.endpoints[0])
    monkeypatch.setenv("VMHA_CLUSTER", KEYS.cluster)
    fill(etcd, cluster("n1", "n2").running("web", "n1").running("db", "n1").running("mail", "n2"))
    return command_line(capfd)


def asked(vmha: Vmha) -> list[tuple[str, str]]:
    return [(one["verb"], one["node"]) for one in vmha("requests", "--json").json]


def answer(etcd: RealEtcd, typed: str, *, ctrl_c: bool = False) -> tuple[int, str, str]:
    """The exit code, and what was shown before the question and after it."""
    with terminal("node", "confirm-off", "n1", "--no-wait", etcd=etcd, cluster=KEYS.cluster, columns=400) as shown:
        at = shown.until(QUESTION)
        shown.type(typed)
        if ctrl_c:
            shown.process.send_signal(signal.SIGINT)
        code = shown.end()
    assert "Traceback" not in shown.seen
    return code, shown.seen[:at], shown.seen[at:]


def test_question_names_the_vms_and_the_risk_and_the_name_typed_is_the_confirmation(etcd: RealEtcd, vmha: Vmha) -> None:
    code, before, after = answer(etcd, "n1\n")
    assert before.startswith(
        "n1 holds db, web. They are started elsewhere once you confirm that n1 is OFF. If it still runs, they run "
        "twice and their disks are destroyed."
    )
    assert (code, "asked for (request " in after) == (0, True)
    assert asked(vmha) == [("confirm-off", "n1")]


@pytest.mark.parametrize("typed", ["n2", "yes", "y", "N1", "n11", "", "n1 n1"])
def test_anything_else_that_is_typed_does_nothing(etcd: RealEtcd, vmha: Vmha, typed: str) -> None:
    code, _, after = answer(etcd, f"{typed}\n")
    assert f"confirm-off: {typed!r} is not 'n1': nothing was done" in after
    assert code == ExitCode.BAD_INPUT
    assert asked(vmha) == []


def test_whoever_leaves_without_an_answer_has_done_nothing(etcd: RealEtcd, vmha: Vmha) -> None:
    assert answer(etcd, END_OF_FILE)[0] == ExitCode.BAD_INPUT
    assert answer(etcd, "", ctrl_c=True)[0] == INTERRUPTED
    assert answer(etcd, "n1", ctrl_c=True)[0] == INTERRUPTED
    assert asked(vmha) == []


def test_node_that_nobody_knows_is_not_asked_about(etcd: RealEtcd, vmha: Vmha) -> None:
    with terminal("node", "confirm-off", "n9", etcd=etcd, cluster=KEYS.cluster, columns=200) as shown:
        code = shown.end()
    assert (code, "Type the node's name" in shown.seen) == (ExitCode.UNKNOWN_NAME, False)
    assert asked(vmha) == []


def test_whoever_leaves_the_question_of_apply_has_changed_nothing(etcd: RealEtcd, vmha: Vmha, tmp_path: Path) -> None:
    document = tmp_path / "cluster.yaml"
    document.write_text("nodes: [{name: n9, labels: {rack: a}}]\n")
    before = etcd.ctl("get", "", "--prefix", "-w", "json")
    for typed, ctrl_c, code in (("", True, INTERRUPTED), ("y", True, INTERRUPTED), ("n\n", False, ExitCode.DONE)):
        with terminal("apply", str(document), etcd=etcd, cluster=KEYS.cluster) as shown:
            shown.until("Apply? [y/N] ")
            shown.type(typed)
            if ctrl_c:
                shown.process.send_signal(signal.SIGINT)
            assert (shown.end(), "Traceback" in shown.seen) == (code, False), (typed, shown.seen)
    assert etcd.ctl("get", "", "--prefix", "-w", "json") == before
