"""How a vm's health is asked for: probes, as an operator writes them, and what is done about one that fails.

A probe asks one thing, from the node that runs the guest: a program of that node, a TCP port, a web address, or the
guest's own agent. What the answers mean is decided in ``policy.at_node.health``.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, model_validator

from vmha.model.document import NAME_PATTERN, Document

MOST_PROBES = 8
"""Of one vm: each costs its node a program or a connection, again and again."""

Argument = Annotated[str, StringConstraints(min_length=1)]
_TCP = re.compile(r"^(?:\[(?P<six>[^\]]+)\]|(?P<host>[^\s:\[\]]+)):(?P<port>\d{1,5})$")


class ProbeKind(StrEnum):
    COMMAND = "command"
    TCP = "tcp"
    HTTP = "http"
    AGENT = "agent"


class Probe(Document):
    """One question, and how often it may go wrong. Exactly one of ``command``, ``tcp``, ``http``, ``agent``."""

    name: Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=63)] | None = Field(
        default=None, description="What it is called in reasons; its kind if left out."
    )
    command: tuple[Argument, ...] = Field(
        default=(), description="Program of the node and its arguments; exit code 0 is healthy."
    )
    shell: bool = Field(default=False, description="The one word of command is a line for /bin/sh.")
    tcp: str | None = Field(default=None, description="host:port that takes a connection.")
    http: str | None = Field(default=None, description="http(s) address that answers with a status from 200 to 399.")
    insecure: bool = Field(default=False, description="Believe any certificate of an https address.")
    agent: bool = Field(default=False, description="The QEMU guest agent answers a ping.")
    interval_s: Annotated[float, Field(ge=0.5, le=86400)] = 10.0
    timeout_s: Annotated[float, Field(ge=0.1, le=3600)] = 5.0
    initial_delay_s: Annotated[float, Field(ge=0, le=86400)] = Field(default=0.0, description="Before the first one.")
    start_timeout_s: Annotated[float, Field(ge=1, le=86400)] = Field(
        default=300.0, description="A guest that boots has so long to answer for the first time."
    )
    failures: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=3, description="So many in a row are too many; 0: not counted."
    )
    max_failures: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=0, description="More than so many within failure_window_s are too many; 0: not counted."
    )
    failure_window_s: Annotated[float, Field(ge=0, le=604800)] = 0.0
    start_gate: bool = Field(default=False, description="Started only when it has answered; else the start failed.")
    readiness: bool = Field(default=True, description="What depends on the vm waits for it.")
    liveness: bool = Field(default=True, description="Failing, the guest is ended and recovered as if it had crashed.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for complaint in self._complaints():
            raise ValueError(complaint)
        return self

    def _complaints(self) -> Iterator[str]:
        given = [
            kind
            for kind, value in (
                ("command", self.command),
                ("tcp", self.tcp),
                ("http", self.http),
                ("agent", self.agent),
            )
            if value
        ]
        if len(given) != 1:
            said = " and ".join(given) if given else "nothing to ask"
            yield f"{said} (accepted: exactly one of command, tcp, http, agent)"
        if self.shell and len(self.command) != 1:
            yield f"shell: true with {len(self.command)} words of command (accepted: one, the line for the shell)"
        if self.command and not self.shell and not self.command[0].startswith("/"):
            yield f"command: {self.command[0]!r} (accepted: the program's whole path, or shell: true)"
        if self.tcp and not ((found := _TCP.match(self.tcp)) and 0 < int(found["port"]) < 65536):
            yield f"tcp: {self.tcp!r} (accepted: host:port, [address]:port)"
        if self.http and not _is_address(self.http):
            yield f"http: {self.http!r} (accepted: http://host[:port]/path, https://...)"
        if bool(self.max_failures) != bool(self.failure_window_s):
            yield "max_failures and failure_window_s belong together (accepted: both, or neither)"
        if not (self.failures or self.max_failures):
            yield "failures: 0 without max_failures (accepted: one of them above 0)"
        if not (self.start_gate or self.readiness or self.liveness):
            yield "it is for nothing (accepted: at least one of start_gate, readiness, liveness)"

    @property
    def kind(self) -> ProbeKind:
        if self.command:
            return ProbeKind.COMMAND
        return ProbeKind.TCP if self.tcp else ProbeKind.HTTP if self.http else ProbeKind.AGENT

    @property
    def title(self) -> str:
        return self.name or self.kind

    @property
    def address(self) -> tuple[str, int]:
        """Of a TCP probe."""
        found = _TCP.match(self.tcp or "")
        assert found
        return found["six"] or found["host"], int(found["port"])

    def __str__(self) -> str:
        what = {"command": " ".join(self.command), "tcp": self.tcp, "http": self.http, "agent": "ping"}[self.kind]
        purposes = [word for word in ("start_gate", "readiness", "liveness") if getattr(self, word)]
        return f"{self.title} ({self.kind}: {what}; every {self.interval_s:g} s; {', '.join(purposes)})"


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def named_once(probes: tuple[Probe, ...]) -> tuple[Probe, ...]:
    titles = [probe.title for probe in probes]
    twice = sorted({title for title in titles if titles.count(title) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)}: named twice (accepted: each probe with a name of its own)")
    if len(probes) > MOST_PROBES:
        raise ValueError(f"{len(probes)} probes (accepted: at most {MOST_PROBES})")
    return probes
