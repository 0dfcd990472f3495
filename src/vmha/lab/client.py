"""Asking a running lab: the other end of ``control``, blocking, for the command line and for tests."""

import json
import os
import socket
from typing import Any

from vmha.lab.layout import LabDir
from vmha.model.errors import Broken, NotThere, Refused, Rejected, Retryable, VmhaError

_FAMILIES: dict[str, type[VmhaError]] = {
    "Retryable": Retryable,
    "Refused": Refused,
    "Rejected": Rejected,
    "NotThere": NotThere,
    "Broken": Broken,
}
_MAX_FDS = 4


class NoLab(Rejected):
    """No lab runs in this directory."""


def ask(lab: LabDir, op: str, *, timeout_s: float = 30.0, **arguments: Any) -> Any:
    """Ask the lab to do ``op`` and return its answer.

    Raises:
        NoLab: none runs there.
        Refused, Rejected, Retryable: as the lab says; Retryable also when it does not answer in time.
    """
    value, fds = ask_with_fds(lab, op, timeout_s=timeout_s, **arguments)
    for fd in fds:
        os.close(fd)
    return value


def ask_with_fds(lab: LabDir, op: str, *, timeout_s: float = 30.0, **arguments: Any) -> tuple[Any, list[int]]:
    """As ``ask``; the file descriptors that came with the answer belong to the caller."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(lab.control))
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            raise NoLab(f"no lab runs in {lab.path}: start one with `vmha lab up`") from error
        except PermissionError as error:
            raise NoLab(f"the lab in {lab.path} belongs to another user") from error
        try:
            connection.sendall(json.dumps({"op": op} | arguments).encode() + b"\n")
            data, fds, _, _ = socket.recv_fds(connection, 1 << 16, _MAX_FDS)
            while more := connection.recv(1 << 16):
                data += more
        except TimeoutError as error:
            raise Retryable(f"the lab in {lab.path} did not answer {op} within {timeout_s:.0f} s") from error
        except OSError as error:
            raise Retryable(f"the lab in {lab.path} ended while it was asked: {error}") from error
    if not data:
        raise Retryable(f"the lab in {lab.path} ended while it was asked to {op}")
    reply = json.loads(data)
    if "error" in reply:
        raise _FAMILIES[reply["family"]](reply["error"])
    return reply["ok"], fds
