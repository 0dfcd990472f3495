"""The start gate as a table: who may start a managed vm here, and in which words everybody else is refused."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.support.source import SOURCE
from tests.support.until import until
from vmha.fencing import gate_files
from vmha.fencing.gate import Asked, Known, judge, read_domain, read_known
from vmha.fencing.gate_files import GateFiles, GateUnavailable
from vmha.model.ids import Epoch, SessionId
from vmha.model.settings import GateMode

UUID = "11111111-2222-3333-4444-555555555555"
START, MIGRATE = ("start", "begin"), ("migrate", "begin")
OURS = Asked(name="web", uuid=UUID, tag_cluster="c", tag_epoch=3)
GRANTED = Known(
    cluster="c",
    managed=frozenset({UUID, "web"}),
    granted_epoch=3,
    granted_session="s",
    armed_session="s",
    kill_at=100.0,
)


@pytest.mark.parametrize(
    ("asked", "known", "now", "words"),
    [
        (OURS, GRANTED, 50.0, ""),
        (Asked(name="mine", uuid="x"), GRANTED, 50.0, ""),
        (Asked(name="mine", uuid="x", tag_cluster="another"), GRANTED, 50.0, ""),
        (OURS, GRANTED._replace(granted_epoch=None), 50.0, "use 'vmha vm start web'"),
        (Asked(name="web", uuid="other"), GRANTED._replace(granted_epoch=None), 50.0, "not to be started by hand"),
        (Asked(name="copy", uuid=UUID), GRANTED._replace(granted_epoch=None), 50.0, "not to be started by hand"),
        (OURS._replace(tag_epoch=2), GRANTED, 50.0, "carries epoch 2, granted is 3"),
        (OURS._replace(tag_cluster="", tag_epoch=None), GRANTED, 50.0, "carries epoch None"),
        (OURS, GRANTED, 100.0, "too late"),
        (OURS, GRANTED._replace(armed_session="another"), 50.0, "too late"),
        (OURS, GRANTED._replace(armed_session="", kill_at=0.0), 50.0, "too late"),
        (OURS, GRANTED._replace(granted_epoch=None, coming_in=True), 50.0, ""),
    ],
)
def test_start_of_a_vm(asked: Asked, known: Known, now: float, words: str):
    said = judge(START, asked, known, now)
    assert words in said
    assert bool(said) is bool(words)


def test_managed_vm_may_come_in_by_migration_and_everything_else_is_none_of_its_business():
    shut = GRANTED._replace(granted_epoch=None)
    assert judge(MIGRATE, OURS, shut, 50.0) == ""
    assert judge(("stopped", "end"), OURS, shut, 50.0) == ""
    assert judge(("prepare", "begin"), OURS, shut, 50.0) == "", "the start that follows is the one that is judged"
    assert judge(("reconnect", "begin"), OURS, shut, 50.0) == ""


@pytest.mark.parametrize(
    ("known", "now"),
    [(GRANTED, 100.0), (GRANTED._replace(armed_session="", kill_at=0.0, has_expired=True), 50.0)],
)
def test_managed_vm_does_not_come_in_where_the_guard_would_end_it(known: Known, now: float):
    shut = known._replace(granted_epoch=None)
    assert "this node's session is over" in judge(MIGRATE, OURS, shut, now)
    assert judge(MIGRATE, Asked(name="mine", uuid="x"), shut, now) == ""
    assert judge(MIGRATE, OURS, shut._replace(mode="off"), now) == ""


def test_managed_vm_does_not_come_in_where_no_session_has_begun():
    """A node that has booted and can not commit yet: nothing would end it there, and whoever proves its source empty
    would start it again.
    """
    shut = GRANTED._replace(granted_epoch=None, armed_session="", kill_at=0.0)
    assert "this node has no session" in judge(MIGRATE, OURS, shut, 50.0)
    assert judge(MIGRATE, Asked(name="mine", uuid="x"), shut, 50.0) == ""
    assert judge(MIGRATE, OURS, shut._replace(mode="off"), 50.0) == ""


STRICT = GRANTED._replace(
    granted_epoch=None, mode="strict", expected_epoch=3, expected_session="s", armed_session="s", kill_at=100.0
)


@pytest.mark.parametrize(
    ("asked", "known", "now", "words"),
    [
        (OURS, STRICT, 50.0, ""),
        (OURS._replace(tag_epoch=2), STRICT, 50.0, "is not expected here by migration (gate: strict)"),
        (OURS._replace(tag_cluster="", tag_epoch=None), STRICT, 50.0, "is not expected here"),
        (OURS, STRICT._replace(expected_epoch=None), 50.0, "use 'vmha vm migrate web --to NODE'"),
        (OURS, STRICT, 100.0, "too late"),
        (OURS, STRICT._replace(expected_session="another"), 50.0, "too late"),
        (OURS, STRICT._replace(armed_session="", kill_at=0.0), 50.0, "too late"),
        (OURS, STRICT._replace(mode="off", expected_epoch=None), 50.0, ""),
        (Asked(name="mine", uuid="x"), STRICT._replace(expected_epoch=None), 50.0, ""),
    ],
)
def test_migration_under_a_strict_gate_is_let_in_only_as_vmhas_own(asked: Asked, known: Known, now: float, words: str):
    said = judge(MIGRATE, asked, known, now)
    assert words in said
    assert bool(said) is bool(words)


def test_open_gate_lets_everything_through():
    assert judge(START, OURS, GRANTED._replace(granted_epoch=None, mode="off"), 50.0) == ""


def _xml(*, tag: str = "") -> str:
    return f"<domain><name>web</name><uuid>{UUID}</uuid><metadata>{tag}</metadata></domain>"


TAG = '<vmha:vm xmlns:vmha="https://vmha.dev/xmlns/domain/1" cluster="c" name="web" epoch="3"/>'


class Hook:
    """The hook as libvirt runs it: a process, arguments, XML on standard input."""

    def __init__(self, base: Path) -> None:
        self.run_dir, self.state_dir = base / "run", base / "state"
        self.run_dir.mkdir()
        self.files = GateFiles(self.run_dir, self.state_dir)

    def ask(self, operation: str, xml: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "vmha.fencing.gate", "web", operation, "begin", "-"],
            input=xml,
            env={**SOURCE, "VMHA_RUN_DIR": str(self.run_dir), "VMHA_STATE_DIR": str(self.state_dir)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stderr

    def judge(self, operation: tuple[str, str], xml: str) -> str:
        """The same without a process, a second after its boot."""
        asked = read_domain(xml, "web")
        return judge(operation, asked, read_known(str(self.run_dir), str(self.state_dir), asked), 1.0)

    def arm(self, session: str, *, hold_s: float) -> None:
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        deadline = {"state": "armed", "session": session, "sent_at": now, "hold_s": hold_s, "kill_lead_s": 0.5}
        (self.run_dir / "guard.json").write_text(json.dumps({"deadline": deadline}))


@pytest.fixture
def hook(tmp_path: Path) -> Hook:
    return Hook(tmp_path)


def test_hook_refuses_a_hand_and_lets_a_granted_start_through_once(hook: Hook):
    assert hook.ask("start", _xml())[0] == 0, "nothing is managed here"
    asyncio.run(hook.files.list_managed("c", [UUID, "web"]))
    code, words = hook.ask("start", _xml())
    assert code == 1
    assert "vmha vm start web" in words
    hook.arm("s", hold_s=60.0)
    hook.files.grant(UUID, epoch=Epoch(3), session=SessionId("s"))
    assert hook.ask("start", _xml(tag=TAG))[0] == 0
    hook.files.withdraw(UUID)
    assert hook.ask("start", _xml(tag=TAG))[0] == 1


def test_hook_refuses_a_granted_start_after_the_deadline(hook: Hook):
    asyncio.run(hook.files.list_managed("c", [UUID]))
    hook.files.grant(UUID, epoch=Epoch(3), session=SessionId("s"))
    assert hook.ask("start", _xml(tag=TAG))[0] == 1, "no guard is armed"
    hook.arm("s", hold_s=0.1)
    code, words = hook.ask("start", _xml(tag=TAG))
    assert code == 1
    assert "too late" in words


def test_hook_lets_a_migration_in_and_the_start_that_belongs_to_it_only(hook: Hook):
    asyncio.run(hook.files.list_managed("c", [UUID]))
    code, words = hook.ask("migrate", _xml())
    assert (code, "no session" in words) == (1, True), "nothing is armed here"
    hook.arm("s", hold_s=60.0)
    assert hook.ask("migrate", _xml())[0] == 0
    assert hook.ask("start", _xml())[0] == 0
    assert hook.ask("start", _xml())[0] == 1


def test_migration_that_failed_before_its_start_does_not_open_the_gate_to_a_start_by_hand(hook: Hook):
    asyncio.run(hook.files.list_managed("c", [UUID, "web"]))
    hook.arm("s", hold_s=60.0)
    assert hook.ask("migrate", _xml(tag=TAG))[0] == 0
    assert hook.ask("start", _xml())[0] == 1, "from its file: it bears no mark"
    assert hook.ask("start", _xml(tag=TAG.replace('"3"', '"2"')))[0] == 1, "from a copy of another run"
    assert hook.ask("start", _xml(tag=TAG))[0] == 0, "the one that comes in"


def test_migration_that_failed_long_ago_is_not_fresh_again_when_the_clock_is_set_back(hook: Hook):
    asyncio.run(hook.files.list_managed("c", [UUID, "web"]))
    hook.arm("s1", hold_s=600.0)
    assert hook.ask("migrate", _xml())[0] == 0
    (mark,) = (hook.run_dir / "coming-in").iterdir()
    an_hour_ahead = mark.stat().st_mtime + 3600.0
    os.utime(mark, (an_hour_ahead, an_hour_ahead))
    assert hook.ask("start", _xml())[0] == 1


def test_strict_hook_lets_in_the_migration_that_its_agent_expects_and_the_start_that_belongs_to_it(hook: Hook):
    asyncio.run(hook.files.list_managed("c", [UUID], mode=GateMode.STRICT))
    hook.arm("s", hold_s=60.0)
    assert hook.ask("migrate", _xml(tag=TAG))[0] == 1
    assert hook.ask("start", _xml(tag=TAG))[0] == 1, "a refused migration opens nothing"
    hook.files.expect({UUID: Epoch(3)}, session=SessionId("s"))
    assert hook.ask("migrate", _xml(tag=TAG.replace('"3"', '"2"')))[0] == 1, "made by hand: it has the epoch it had"
    assert hook.ask("migrate", _xml(tag=TAG))[0] == 0
    assert hook.ask("start", _xml(tag=TAG))[0] == 0
    hook.files.expect({}, session=SessionId("s"))
    assert hook.ask("migrate", _xml(tag=TAG))[0] == 1
    hook.files.expect({UUID: Epoch(3)}, session=SessionId("s"))
    hook.files.clear()
    assert hook.ask("migrate", _xml(tag=TAG))[0] == 1, "nothing is expected by an agent that has just begun"


def test_hook_loads_nothing_that_could_call_libvirt_or_cost_time():
    code = "import vmha.fencing.gate, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    ours = {name for name in loaded.stdout.split() if name.startswith("vmha.")}
    assert ours == {"vmha.fencing", "vmha.fencing.gate", "vmha.fencing.names"}
    assert not {"libvirt", "asyncio", "socket"} & set(loaded.stdout.split())


def test_hook_knows_a_tagged_guest_without_any_list(hook: Hook):
    assert hook.ask("start", _xml(tag=TAG))[0] == 1


def test_hook_does_not_stand_in_the_way_of_what_it_can_not_read(hook: Hook):
    assert hook.ask("start", "no xml at all")[0] == 0
    asyncio.run(hook.files.list_managed("c", ["web"]))
    assert hook.ask("start", "no xml at all")[0] == 1, "its name is managed: shut"
    bomb = f'<!DOCTYPE domain [<!ENTITY a "a"><!ENTITY b "{"&a;" * 1000}">]>'
    another = _xml(tag="&b;").replace("<name>web<", "<name>other<")
    assert hook.ask("start", bomb + another)[0] == 1, "what it says of its name counts for nothing"


@pytest.mark.parametrize("epoch", ["²", "٣", "3" * 5000, "-3", "3.0", ""], ids=range(6))
def test_epoch_that_is_none_is_refused_in_words(hook: Hook, epoch: str):
    asyncio.run(hook.files.list_managed("c", [UUID]))
    hook.files.grant(UUID, epoch=Epoch(3), session=SessionId("s"))
    words = hook.judge(START, _xml(tag=TAG.replace('"3"', f'"{epoch}"')))
    assert words == "web carries epoch None, granted is 3: not this start"


ODD = ("", "{", "[" * 100_000, "[]", "null", "3", '"s"', "\x00\xff", '{"deadline": []}', '{"vms": 3, "cluster": "c"}')
NO_TIMES = ("null", "[]", '"soon"', "NaN", "Infinity", "1e999", "9" * 400, "9" * 5000)


@pytest.mark.parametrize("file", ["run/guard.json", f"run/grants/{UUID}", "run/expected.json", "state/managed.json"])
@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_odd_file_lets_no_managed_vm_start_and_is_in_no_other_vms_way(hook: Hook, file: str, text: str):
    asyncio.run(hook.files.list_managed("c", [UUID], mode=GateMode.STRICT))
    for name in ("run/guard.json", f"run/grants/{UUID}", "run/expected.json", file):
        path = hook.run_dir.parent / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="latin-1")
    other = _xml().replace(UUID, UUID.replace("1", "2")).replace("web", "mine")
    for operation in (START, MIGRATE):
        assert hook.judge(operation, _xml(tag=TAG)).startswith("web ")
        assert hook.judge(operation, other) == ""


@pytest.mark.parametrize("field", ["sent_at", "hold_s", "kill_lead_s"])
@pytest.mark.parametrize("value", NO_TIMES, ids=range(len(NO_TIMES)))
def test_deadline_that_is_no_number_is_none(hook: Hook, field: str, value: str):
    asyncio.run(hook.files.list_managed("c", [UUID]))
    hook.files.grant(UUID, epoch=Epoch(3), session=SessionId("s"))
    times = {"sent_at": "1", "hold_s": "10", "kill_lead_s": "0.5"} | {field: value}
    said = ", ".join(f'"{name}": {time}' for name, time in times.items())
    (hook.run_dir / "guard.json").write_text(f'{{"deadline": {{"state": "armed", "session": "s", {said}}}}}')
    assert "too late" in hook.judge(START, _xml(tag=TAG))


async def test_disk_that_stands_still_holds_up_neither_the_agent_nor_its_end(hook: Hook):
    hook.state_dir.mkdir(exist_ok=True)
    pipe = hook.state_dir / "managed.json.new"
    os.mkfifo(pipe)  # to open it for writing waits for a reader, as a hung disk does for its controller
    for _ in range(3):
        with pytest.raises(GateUnavailable, match=r"managed.json: its disk does not answer"):
            await hook.files.list_managed("c", ["web"])
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    pipe.unlink()
    try:
        await until(lambda: is_listed(hook), what="it to be written when the disk is back")
    finally:
        os.close(reader)


async def is_listed(hook: Hook) -> bool:
    try:
        await hook.files.list_managed("c", ["web"])
    except GateUnavailable:
        return False
    return True


async def test_list_that_a_slow_disk_took_late_is_not_what_it_was_before(hook: Hook, monkeypatch: pytest.MonkeyPatch):
    await hook.files.list_managed("c", ["web"])
    wakes, at_once = threading.Event(), gate_files._replace

    def late(path: Path, document: object, *, for_good: bool = False) -> None:
        wakes.wait()
        at_once(path, document, for_good=for_good)

    monkeypatch.setattr(gate_files, "_replace", late)
    with pytest.raises(GateUnavailable, match="its disk does not answer"):
        await hook.files.list_managed("c", ["web", "db"])
    wakes.set()
    await until(lambda: listed(hook) == ["db", "web"], what="it to be written when the disk is back")

    async def is_back() -> bool:
        return await is_listed(hook) and listed(hook) == ["web"]

    await until(is_back, what="what is the cluster's now")


def listed(hook: Hook) -> list[str]:
    return list(json.loads((hook.state_dir / "managed.json").read_text())["vms"])
