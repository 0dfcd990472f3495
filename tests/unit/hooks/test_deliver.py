"""Hooks on a real host: real programs and a real HTTP server on the loopback, with all that they can do wrong."""

import asyncio
import hashlib
import hmac
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import MORE_AND_MORE_S, eventually
from vmha.hooks.deliver import SAID_BYTES, HostDelivery
from vmha.hooks.port import Delivered
from vmha.model.hooks import Hook

BODY = json.dumps({"event": "vm-recovered", "vm": "web"}).encode()


def program(folder: Path, text: str, *, mode: int = 0o755) -> HostDelivery:
    file = folder / "tell"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(mode)
    return HostDelivery(folder)


def run(*arguments: str, timeout_s: float = 20.0) -> Hook:
    return Hook.model_validate(
        {"name": "h", "on": ["*"], "exec": "tell", "arguments": arguments, "timeout_s": timeout_s}
    )


# --- programs


async def test_program_gets_the_event_on_its_standard_input_and_its_arguments(tmp_path: Path) -> None:
    told = tmp_path / "told"
    delivery = program(tmp_path, f'cat > {told}; echo "$1" >> {told}')
    assert (await delivery.deliver(run("ops"), BODY)).is_done
    assert told.read_bytes() == BODY + b"ops\n"


async def test_program_sees_nothing_of_the_agents_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMHA_TOKEN", "secret")
    answer = await program(tmp_path, "env; exit 1").deliver(run(), BODY)
    assert "secret" not in answer.said


async def test_program_that_fails_says_why(tmp_path: Path) -> None:
    answer = await program(tmp_path, "echo no route to pager >&2; exit 3").deliver(run(), BODY)
    assert (answer.is_done, answer.is_final) == (False, True)
    assert answer.said == "exit code 3: no route to pager"


async def test_program_that_hangs_is_killed_with_what_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    delivery = program(tmp_path, f"sleep 1000 & echo $! > {pids}; echo $$ >> {pids}; wait")
    for timeout_s in MORE_AND_MORE_S:
        pids.write_text("")
        answer = await delivery.deliver(run(timeout_s=timeout_s), BODY)
        assert f"did not end within {timeout_s:g} s and was killed" in answer.said
        if len(begun := [int(pid) for pid in pids.read_text().split()]) == 2:
            break
    assert len(begun) == 2

    async def all_gone() -> bool:
        return not any(map(_lives, begun))

    assert await eventually(all_gone)


async def test_program_that_reads_nothing_and_talks_without_end_holds_nothing_up(tmp_path: Path) -> None:
    answer = await program(tmp_path, "exec yes").deliver(run(timeout_s=0.5), BODY * 100_000)
    assert not answer.is_done
    garbage = await program(tmp_path, "head -c 1000000 /dev/urandom; exit 1").deliver(run(), BODY)
    assert len(garbage.said) <= SAID_BYTES + 20


@pytest.mark.parametrize(
    ("mode", "said"), [(0o644, "is no program that can be run"), (0o757, "everybody may write it; it is not run")]
)
async def test_program_that_is_none_or_anybodys_is_not_run(tmp_path: Path, mode: int, said: str) -> None:
    answer = await program(tmp_path, "exit 0", mode=mode).deliver(run(), BODY)
    assert (answer.is_done, answer.is_final) == (False, True)
    assert said in answer.said


async def test_program_that_is_missing_or_broken_is_told(tmp_path: Path) -> None:
    assert "no such file" in (await HostDelivery(tmp_path).deliver(run(), BODY)).said
    (tmp_path / "tell").write_text("#!/no/such/interpreter\n")
    (tmp_path / "tell").chmod(0o755)
    assert not (await HostDelivery(tmp_path).deliver(run(), BODY)).is_done


# --- webhooks


class Receiver(BaseHTTPRequestHandler):
    """What it answers is the server's ``answers``, one after another; the last for ever."""

    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.heard.append((self.path, dict(self.headers), body))
        answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
        match answer:
            case "hang":
                server.released.wait()
            case "garbage":
                self.wfile.write(b"\x00\xff not http\r\n\r\n")
            case "close":
                self.close_connection = True
            case int():
                self.send_response(answer)
                if 300 <= answer < 400:
                    self.send_header("Location", f"http://127.0.0.1:{server.server_port}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.heard, server.answers, server.released = [], [200], threading.Event()
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()


def post(server: Any, **fields: Any) -> Hook:
    url = f"http://127.0.0.1:{server.server_port}/told"
    return Hook.model_validate({"name": "h", "on": ["*"], "webhook": url, "timeout_s": 60.0, **fields})


async def deliver(hook: Hook) -> Delivered:
    return await HostDelivery(Path("/nonexistent")).deliver(hook, BODY)


async def test_address_gets_the_event_as_its_body_and_can_check_who_sent_it(server: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    answer = await deliver(post(server, secret_file=str(secret)))
    assert answer == Delivered(is_done=True, said="answered 200")
    ((path, headers, body),) = server.heard
    assert (path, body, headers["Content-Type"]) == ("/told", BODY, "application/json")
    expected = hmac.new(b"s3cret", BODY, hashlib.sha256).hexdigest()
    assert headers["X-Vmha-Signature"] == f"sha256={expected}"
    assert "s3cret" not in str(server.heard) + answer.said


async def test_secret_that_can_not_be_read_sends_nothing(server: Any, tmp_path: Path) -> None:
    answer = await deliver(post(server, secret_file=str(tmp_path / "none")))
    assert not answer.is_done
    assert "No such file" in answer.said
    assert server.heard == []


@pytest.mark.parametrize(
    ("answer", "is_final"), [(500, False), (503, False), (429, False), (404, True), (401, True), (302, True)]
)
async def test_refusals_are_told_and_some_are_final(server: Any, answer: int, is_final: bool) -> None:
    server.answers = [answer]
    told = await deliver(post(server))
    assert (told.is_done, told.is_final) == (False, is_final)
    assert f"answered {answer}" in told.said
    assert [path for path, _, _ in server.heard] == ["/told"]  # no redirection is followed


@pytest.mark.parametrize("answer", ["garbage", "close"])
async def test_answers_that_are_none_are_told_and_tried_again(server: Any, answer: str) -> None:
    server.answers = [answer]
    told = await deliver(post(server))
    assert (told.is_done, told.is_final) == (False, False)
    assert told.said


async def test_address_that_hangs_is_given_up_by_its_deadline(server: Any) -> None:
    server.answers = ["hang"]
    assert not (await deliver(post(server, timeout_s=0.3))).is_done


async def test_address_where_nobody_listens_is_told(server: Any) -> None:
    hook = post(server)
    server.shutdown()
    server.server_close()
    told = await deliver(hook)
    assert "refused" in told.said


async def test_many_hung_posts_take_no_more_threads_than_there_are(server: Any) -> None:
    server.answers = ["hang"]
    delivery = HostDelivery(Path("/nonexistent"))
    told = await asyncio.gather(*(delivery.deliver(post(server, timeout_s=3.0), BODY) for _ in range(12)))
    assert sum("hang already" in one.said for one in told) == 4


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return b" Z " not in Path(f"/proc/{pid}/stat").read_bytes()
