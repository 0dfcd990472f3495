"""The lab's control socket, and what its verbs do with an answer that is an error."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vmha.cli.exits import ExitCode
from vmha.cli.main import run
from vmha.lab import client
from vmha.lab.control import Answer, ControlServer
from vmha.lab.layout import LabDir, LabSpec, Tier, find_link, find_node
from vmha.model.errors import NotThere, Rejected


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[LabDir]:
    """A control socket that knows the machines of a lab, and nothing behind it."""
    there = LabDir(tmp_path)
    there.storage.mkdir()
    there.image("web").touch()
    spec = LabSpec(
        dir=str(tmp_path),
        hosts=2,
        etcd=1,
        tier=Tier.USER,
        python="/opt/python",
        python_path=(),
        visible=(),
        agents=True,
    )

    async def handle(request: dict[str, Any]) -> Answer:
        if request["op"] == "storage":
            return Answer(value={"web": {}})
        node = find_node(spec, request["node"])
        find_link(node, request.get("link", "lan"))
        return Answer(value=None)

    loop = asyncio.new_event_loop()

    async def serve() -> None:
        ControlServer(handle).start(there.control)

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(serve(), loop).result(timeout=30)
    yield there
    loop.call_soon_threadsafe(loop.stop)
    thread.join(timeout=30)
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_errors_keep_their_family_over_the_socket(lab: LabDir) -> None:
    with pytest.raises(NotThere, match="no node 'h22': did you mean h2"):
        client.ask(lab, "kill", node="h22")
    with pytest.raises(Rejected, match="has no link") as refused:
        client.ask(lab, "cut", node="etcd-1", link="storage")
    assert not isinstance(refused.value, NotThere)


@pytest.mark.parametrize(
    "line",
    [
        ["kill", "h22"],
        ["start", "h22"],
        ["freeze", "h22"],
        ["thaw", "h22"],
        ["cut", "h22"],
        ["heal", "h22"],
        ["exec", "h22", "--", "true"],
        ["verdict", "wbe"],
        ["vm", "remove", "wbe"],
    ],
)
def test_unknown_name_is_an_unknown_name_in_the_lab_as_well(
    lab: LabDir, line: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMHA_LAB", str(lab.path))
    assert run(["lab", *line]) == ExitCode.UNKNOWN_NAME
    assert "did you mean" in capsys.readouterr().err


def test_other_bad_input_stays_bad_input(lab: LabDir, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "cut", "etcd-1", "--link", "storage", "--dir", str(lab.path)]) == ExitCode.BAD_INPUT
    assert "accepted: lan" in capsys.readouterr().err
