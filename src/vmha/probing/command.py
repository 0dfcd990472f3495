"""A probe that is a program of the node: exit code 0 is healthy, any other is not, its last line says why.

* It gets a session and process group of its own; when it ends, or its time is over, the whole group is killed, so that
  what it has left running in the background goes with it.
* A shell is used only where the definition says so.
* A program that is missing, or may not be executed, says nothing about the guest: that is no answer, not a bad one. So
  with a shell's 126 and 127, which say the same of what its line names.
* Of what it prints the last line is kept; the rest is read and thrown away, however much it is.
"""

import asyncio
import contextlib
import os
import signal

from vmha.policy.at_node.health import Answer
from vmha.probing.port import Question, Reply

KEPT_BYTES = 4096
LONGEST_TEXT = 200
REAPED_S = 5.0
"""A program that the kernel holds in a call can not be ended; the next question does not wait for it."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NOT_RUN = (126, 127)


async def ask_command(question: Question) -> Reply:
    probe = question.probe
    words = ("/bin/sh", "-c", *probe.command) if probe.shell else probe.command
    with Tail() as tail:
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=tail.written_to,
                stderr=tail.written_to,
                env=environment(question),
                cwd="/",
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            what = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
            return Reply(Answer.NONE, f"{words[0]} can not be run on {question.node}: {what}")
        tail.begin()
        try:
            async with asyncio.timeout(probe.timeout_s):
                code = await process.wait()
        except TimeoutError:
            return Reply(Answer.BAD, f"{words[0]} did not end within {probe.timeout_s:g} s and was killed")
        finally:
            await _kill(process)
        return _reply(code, tail.last_line(), is_shell=probe.shell)


async def _kill(process: asyncio.subprocess.Process) -> None:
    """The whole group: also what a program that has ended left behind. The kernel keeps its id while one is in it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(REAPED_S):
            await process.wait()


def environment(question: Question) -> dict[str, str]:
    return {
        "PATH": PATH,
        "LC_ALL": "C",
        "VMHA_VM": question.vm,
        "VMHA_UUID": question.uuid,
        "VMHA_NODE": question.node,
        "VMHA_PROBE": question.probe.title,
    }


def _reply(code: int, said: str, *, is_shell: bool) -> Reply:
    if code == 0:
        return Reply(Answer.GOOD, said)
    why = f"ended by signal {-code}" if code < 0 else f"exit code {code}"
    text = f"{why}: {said}" if said else why
    return Reply(Answer.NONE if is_shell and code in _NOT_RUN else Answer.BAD, text)


class Tail:
    """The end of what was printed, read from a pipe as it comes.

    A pipe of our own: what has left the group with a session of its own may hold it open, and is not waited for.
    """

    def __enter__(self) -> "Tail":
        self._bytes = b""
        self._reads, self.written_to = os.pipe()
        self._is_open = False
        os.set_blocking(self._reads, False)
        return self

    def begin(self) -> None:
        os.close(self.written_to)  # the program has its own
        self._is_open = True
        asyncio.get_running_loop().add_reader(self._reads, self._take)

    def __exit__(self, *_: object) -> None:
        if self._is_open:
            asyncio.get_running_loop().remove_reader(self._reads)
        else:
            os.close(self.written_to)
        os.close(self._reads)

    def _take(self) -> None:
        try:
            chunk = os.read(self._reads, 1 << 16)
        except BlockingIOError:
            return
        self._bytes = (self._bytes + chunk)[-KEPT_BYTES:]
        if not chunk:
            asyncio.get_running_loop().remove_reader(self._reads)

    def last_line(self) -> str:
        self._take()  # what it said last
        lines = self._bytes.decode(errors="replace").split("\n")
        printable = ("".join(c if c.isprintable() else "?" for c in line.strip()) for line in reversed(lines))
        return next((line for line in printable if line), "")[:LONGEST_TEXT]
