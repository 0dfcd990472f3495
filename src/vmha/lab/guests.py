"""Witness guests of a running lab: their disks on the shared storage, and the verdict that puts both oracles together.

The disk tells what the guests wrote; the storage server tells who wrote it and when. Either alone convicts: the disk
of two instances that overwrote each other's ticks, the server of two connections that took turns.
"""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vmha.lab import client
from vmha.lab.layout import LabDir, unknown_name
from vmha.lab.witness.disk import make_disk
from vmha.lab.witness.domain import with_payload, witness_domain_xml
from vmha.lab.witness.verdict import read_disk
from vmha.model.errors import Rejected

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_LEAST_MEMORY_MIB = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A witness guest as it is given to the cluster."""

    name: str
    xml: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessVerdict:
    """What became of a witness guest.

    ``longest_gap_s``: the longest time between two of its writes, on the storage server's clock, since its first tick
    or the last mark; a stop that was asked for counts as well. None when it never wrote since the lab came up.
    ``wrapped``: older ticks than the last hour's are no longer on the disk.
    """

    vm: str
    ran_twice: bool
    boots: int
    ticks: int
    longest_gap_s: float | None
    since_last_tick_s: float | None
    migrations_survived: int
    double_writers: int
    handovers: int
    instances: int
    returns: int
    tick_breaks: int
    foreign: int
    wrapped: bool
    writer: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def sentence(self) -> str:
        if not self.ticks:
            return f"{self.vm}: has not ticked yet"
        judgement = "RAN TWICE" if self.ran_twice else "never two at once"
        parts = [
            f"{self.vm}: {judgement}",
            _count(self.boots, "boot"),
            _count(self.ticks, "tick"),
            f"{_count(self.migrations_survived, 'migration')} survived",
        ]
        if self.longest_gap_s is not None:
            parts.append(f"longest gap {self.longest_gap_s:.2f} s")
        if self.ran_twice:
            parts.append(
                f"(nonces that returned {self.returns}, broken tick orders {self.tick_breaks}, "
                f"foreign heads {self.foreign}, double writers {self.double_writers})"
            )
        if self.wrapped:
            parts.append("(ticks older than an hour are overwritten)")
        return ", ".join(parts)


def add_witness(lab: LabDir, name: str, *, memory_mib: int = 16, payload: Path | None = None) -> Witness:
    """Make the disk of a new witness guest, and its definition. ``payload``: a file to be in its memory as well.

    Raises:
        NoLab: none runs here.
        Rejected: the name can not be one, or is taken, or the memory is too little.
    """
    client.ask(lab, "storage")
    if not _NAME.fullmatch(name):
        raise Rejected(f"{name!r} can not be a vm's name", accepted="letters, digits, and _.- after the first")
    if memory_mib < _LEAST_MEMORY_MIB:
        raise Rejected(f"{memory_mib} MiB are too little", accepted=f"{_LEAST_MEMORY_MIB} or more")
    try:
        make_disk(lab.image(name))
    except FileExistsError:
        raise Rejected(f"there is a witness guest {name!r} already") from None
    xml = witness_domain_xml(name, memory_mib)
    return Witness(name=name, xml=with_payload(xml, payload) if payload else xml)


def list_witnesses(lab: LabDir) -> list[str]:
    """Raises: NoLab."""
    client.ask(lab, "storage")
    return sorted(image.stem for image in lab.storage.glob("*.img"))


def find_witness(lab: LabDir, name: str) -> str:
    """The name itself.

    Raises:
        NoLab: none runs here.
        NotThere: there is no such guest; the message names the near ones.
    """
    known = list_witnesses(lab)
    if name not in known:
        raise unknown_name("witness guest", name, known)
    return name


def remove_witness(lab: LabDir, name: str) -> None:
    """Remove its disk. The guest must no longer run.

    Raises:
        NoLab, Rejected: as ``find_witness``.
    """
    find_witness(lab, name)
    client.ask(lab, "forget", export=name)
    lab.image(name).unlink(missing_ok=True)


def verdict_of(lab: LabDir, name: str, *, mark: bool = False) -> WitnessVerdict:
    """Judge ``name`` now; with ``mark`` the longest gap is measured anew from now on.

    Raises:
        NoLab, Rejected: as ``find_witness``.
    """
    find_witness(lab, name)
    seen: dict[str, Any] = client.ask(lab, "storage").get(name, {})
    disk = read_disk(lab.image(name))
    if mark:
        client.ask(lab, "mark", export=name)
    wrote = bool(seen.get("writes"))
    return WitnessVerdict(
        vm=name,
        ran_twice=disk.ran_twice or bool(seen.get("double_writers")),
        boots=disk.boots,
        ticks=disk.ticks,
        longest_gap_s=seen["longest_gap_s"] if wrote else None,
        since_last_tick_s=seen["since_last_write_s"] if wrote else None,
        migrations_survived=seen.get("migrations_survived", 0),
        double_writers=seen.get("double_writers", 0),
        handovers=seen.get("handovers", 0),
        instances=disk.instances,
        returns=disk.returns,
        tick_breaks=disk.tick_breaks,
        foreign=disk.foreign,
        wrapped=disk.wrapped,
        writer=seen.get("writer", ""),
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
