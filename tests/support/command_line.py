"""The command line for tests that use it all the time, without its imports: most of what such a call costs.

A process that has imported it forks for each call: what runs is what ``vmha`` or ``vmha lab`` is, with arguments,
environment, directory and streams of its own, and it ends with an exit code. As somebody else, or in another network
namespace, it has to be started for real.
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

VMHA = "vmha"
VMHA_LAB = "vmha lab"

_ROOT = Path(__file__).parents[2]
_MOST = 1 << 20  # bytes of a call: arguments and environment
_starting = threading.Lock()
_served: list[Path] = []


def call(
    program: str,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    stdin: str = "",
    timeout_s: float = 120.0,
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of ``vmha ARGUMENTS`` or ``vmha lab ARGUMENTS``."""
    with (
        tempfile.TemporaryFile("w+") as given,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line,
    ):
        given.write(stdin)
        given.seek(0)
        line.connect(str(_server()))
        asked = json.dumps([program, list(arguments), dict(environment), os.getcwd()]).encode()
        socket.send_fds(line, [asked], [given.fileno(), out.fileno(), err.fileno()])
        line.settimeout(timeout_s)
        pid = int(line.recv(64))
        try:
            code = int(line.recv(64))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise
        out.seek(0)
        err.seek(0)
        return code, out.read(), err.read()


def _server() -> Path:
    """Where it listens; it is started by the first call, and ends with this process."""
    with _starting:
        if not _served:
            path = Path(tempfile.mkdtemp(prefix="vmha-cli-", dir="/tmp")) / "socket"
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            listener.bind(str(path))
            listener.listen(64)
            read, write = os.pipe()
            command = [sys.executable, "-m", "tests.support.command_line", str(listener.fileno()), str(read)]
            process = subprocess.Popen(command, cwd=_ROOT, pass_fds=[listener.fileno(), read], start_new_session=True)
            listener.close()
            os.close(read)
            atexit.register(_end, process, write, path)
            _served.append(path)
        return _served[0]


def _end(process: "subprocess.Popen[bytes]", write: int, path: Path) -> None:
    os.close(write)
    process.wait(timeout=10)
    path.unlink()
    path.parent.rmdir()


# --- the process that has imported it


def _serve(listener: socket.socket, until: int) -> None:
    """Answer calls until whoever started it has gone."""
    for package in ("model", "store", "policy", "operator", "node", "lab", "cli"):
        home = importlib.import_module(f"vmha.{package}")
        for module in pkgutil.walk_packages(home.__path__, f"{home.__name__}."):
            importlib.import_module(module.name)
    gc.freeze()  # what is there is everybody's
    running: dict[int, tuple[int, socket.socket]] = {}  # by pidfd: who runs, and whom to tell
    while until not in (ready := select.select([listener.fileno(), until, *running], [], [])[0]):
        for ended in running.keys() & set(ready):
            pid, line = running.pop(ended)
            os.close(ended)
            _tell(line, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            line.close()
        if listener.fileno() in ready:
            line = listener.accept()[0]
            asked, streams, _, _ = socket.recv_fds(line, _MOST, 3)
            pid = os.fork()
            if pid == 0:
                _become(*json.loads(asked), streams)
            for stream in streams:
                os.close(stream)
            running[os.pidfd_open(pid)] = (pid, line)
            _tell(line, pid)


def _tell(line: socket.socket, number: int) -> None:
    with suppress(OSError):  # who has asked waits no more
        line.send(str(number).encode())


def _become(
    program: str, arguments: list[str], environment: dict[str, str], directory: str, streams: list[int]
) -> NoReturn:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, 1024)  # those that wait for others, and the ways in
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    sys.argv = [program, *arguments]
    code = 70
    try:
        if program == VMHA:
            importlib.import_module("vmha.cli.main").main()
        importlib.import_module("vmha.cli.lab").app(prog_name=VMHA_LAB)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
