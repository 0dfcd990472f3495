"""Hooks on a real host: a program of ``hooks_dir`` with the event on its standard input, or a POST with it as its body.

Bounded in every way: a program that does not end in time is killed with all it has started, an address that does not
answer is given up, and of what either says only the first bytes are read. Programs have to lie in a directory of the
host itself: whoever may write the cluster's settings may choose among what the host's owner has put there, and run
nothing else. No redirection is followed, and no proxy asked: the event goes where the settings say, or nowhere.
"""

import asyncio
import contextlib
import hashlib
import hmac
import os
import signal
import stat
import threading
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any

from vmha.hooks.port import Delivered
from vmha.model.hooks import Hook

SAID_BYTES = 500
END_S = 5.0
SECRET_BYTES = 4096

THREADS = 8
"""Posts at once, hung ones included: a thread is held until the system gives its connection up."""


class HostDelivery:
    def __init__(self, hooks_dir: Path) -> None:
        self._hooks_dir = hooks_dir
        self._threads = threading.BoundedSemaphore(THREADS)

    async def deliver(self, hook: Hook, body: bytes) -> Delivered:
        if hook.program is not None:
            return await run_program(self._hooks_dir / hook.program, hook.arguments, body, timeout_s=hook.timeout_s)
        return await self._post(hook, body)

    async def _post(self, hook: Hook, body: bytes) -> Delivered:
        if not self._threads.acquire(blocking=False):
            return Delivered(is_done=False, said=f"{THREADS} posts hang already")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Delivered] = loop.create_future()

        def work() -> None:
            try:
                result = post(hook, body)
            finally:
                self._threads.release()
            with contextlib.suppress(RuntimeError):  # the loop has closed
                loop.call_soon_threadsafe(lambda: None if answer.done() else answer.set_result(result))

        threading.Thread(target=work, name=f"hook-{hook.name}", daemon=True).start()
        try:
            async with asyncio.timeout(hook.timeout_s):
                return await answer
        except TimeoutError:
            return Delivered(is_done=False, said=f"did not answer within {hook.timeout_s:g} s")


def post(hook: Hook, body: bytes) -> Delivered:
    """Blocking. Codes of the 400s, but for "try later" ones, are final."""
    assert hook.webhook
    headers = {"Content-Type": "application/json", "User-Agent": "vmha"}
    try:
        if hook.secret_file is not None:
            signature = hmac.new(_read_secret(hook.secret_file), body, hashlib.sha256).hexdigest()
            headers["X-Vmha-Signature"] = f"sha256={signature}"
        request = urllib.request.Request(hook.webhook, data=body, headers=headers, method="POST")
        with _OPENER.open(request, timeout=hook.timeout_s) as answer:
            answer.read(SAID_BYTES)
            return Delivered(is_done=True, said=f"answered {answer.status}")
    except urllib.error.HTTPError as error:
        with error:
            is_final = 300 <= error.code < 500 and error.code not in (408, 425, 429)
            return Delivered(
                is_done=False, said=f"answered {error.code} {error.reason}"[:SAID_BYTES], is_final=is_final
            )
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        return Delivered(is_done=False, said=f"{type(error).__name__}: {reason}"[:SAID_BYTES])


def _read_secret(path: str) -> bytes:
    with open(path, "rb") as file:
        secret = file.read(SECRET_BYTES).strip()
    if not secret:
        raise ValueError(f"secret_file {path} is empty")
    return secret


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirection)


async def run_program(path: Path, arguments: tuple[str, ...], body: bytes, *, timeout_s: float) -> Delivered:
    """Run it once, in a session of its own, so that what it has started ends with it."""
    if why := _why_not_run(path):
        return Delivered(is_done=False, said=why, is_final=True)
    try:
        process = await asyncio.create_subprocess_exec(
            str(path),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
            cwd="/",
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = f"{path}: {getattr(error, 'strerror', None) or error}"
        return Delivered(is_done=False, said=why, is_final=True)
    try:
        async with asyncio.timeout(timeout_s):
            said = await _converse(process, body)
            code = await process.wait()
    except TimeoutError:
        return Delivered(is_done=False, said=f"did not end within {timeout_s:g} s and was killed", is_final=True)
    finally:
        await _end(process)
    words = said.decode(errors="replace").strip()
    text = f"exit code {code}{f': {words}' if words else ''}"
    return Delivered(is_done=code == 0, said=text, is_final=True)


def _why_not_run(path: Path) -> str:
    """As root runs it: nobody else may have written it."""
    try:
        found = path.stat()
    except OSError as error:
        return f"{path}: {(error.strerror or str(error)).lower()}"
    if not stat.S_ISREG(found.st_mode) or not os.access(path, os.X_OK):
        return f"{path}: is no program that can be run"
    if found.st_mode & stat.S_IWOTH:
        return f"{path}: everybody may write it; it is not run"
    return ""


async def _converse(process: asyncio.subprocess.Process, body: bytes) -> bytes:
    """Hand the event over while listening: a program that reads nothing, or talks without end, blocks neither side."""
    assert process.stdin
    assert process.stdout
    stdin, stdout = process.stdin, process.stdout

    async def tell() -> None:
        with contextlib.suppress(ConnectionError):
            stdin.write(body)
            await stdin.drain()
        stdin.close()
        with contextlib.suppress(ConnectionError):
            await stdin.wait_closed()

    async def listen() -> bytes:
        kept = b""
        while block := await stdout.read(65536):
            kept = (kept + block)[:SAID_BYTES]
        return kept

    telling = asyncio.create_task(tell(), name="hook: tell")
    try:
        return await listen()
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


async def _end(process: asyncio.subprocess.Process) -> None:
    """What is left of it, and of what it has started.

    Its output is read to the end: asyncio takes a process for ended only when its pipes are, and stops reading one that
    talks without end. Whoever has left its session may keep the pipe open: that is not waited for.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    if process.stdin is not None:
        process.stdin.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(END_S):
            await asyncio.gather(process.wait(), _drain(process))


async def _drain(process: asyncio.subprocess.Process) -> None:
    while process.stdout is not None and await process.stdout.read(65536):
        continue
