"""Which QEMU processes of this host are managed guests of this cluster, found without asking libvirtd.

Two sources, joined by process:

1. libvirt's run directory: per running domain ``NAME.pid`` and the status file ``NAME.xml``. Both are written before
   the QEMU program itself begins, replaced by atomic rename, and survive libvirtd. The status file carries the
   domain's metadata; a guest is managed when our tag is in it and names our cluster.
2. /proc: QEMU programs whose ``-uuid`` or ``-name guest=`` is one the guard was told. This finds guests whose status
   file is gone (libvirtd gave them up, or its run directory is another one).

A guest is a process: pid and start time, because a pid alone may have been given to somebody else. What could not be
read is ``unclear``, never absent: a host that has no descriptor or no memory left for one more file of /proc shows
nothing, and everything may run. Guests without our tag that nobody named are left alone.

On a host that swaps, whatever is in another process's memory or in a file of a tmpfs may be on the disk, and reading it
then takes as long as the disk does. So command lines and libvirt's files are read once, and later only asked whether
they are still the same, which the kernel answers out of its own memory.
Standard library only: the guard imports this.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from xml.parsers import expat

from vmha.fencing.names import AWAITS_HANDOVER, LET_GO_ON, TAG_NAMESPACE

LIBVIRT_RUN_DIR = "/run/libvirt/qemu"

# A status file is tens of kilobytes; more than this is none.
MAX_STATUS_BYTES = 16 * 1024 * 1024
MOST_DIGITS = 18  # of an epoch
# libvirtd's child is already in the pid file some milliseconds before it turns into the QEMU program.
LIBVIRT_DAEMONS = ("libvirtd", "virtqemud")
QEMU_NAMES = ("qemu", "kvm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """One managed QEMU process. ``start_ticks`` is its start time as the kernel counts it in /proc/PID/stat.

    ``came_in``: the epoch under which it came in by one of our migrations, if it stands here complete and nobody has
    let it go yet, or if libvirt has itself let it go on.
    """

    uuid: str
    name: str
    pid: int
    start_ticks: int
    vm: str = ""  # by our tag
    came_in: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What one look found. No managed guest runs only when both are empty."""

    guests: tuple[Guest, ...] = ()
    unclear: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.guests and not self.unclear


@dataclass(frozen=True, slots=True, kw_only=True)
class _Domain:
    """What a status file says. ``cluster`` is None without our tag; ``vm`` and ``came_in`` as a guest's."""

    name: str
    uuid: str
    pid: int | None
    cluster: str | None
    vm: str = ""
    came_in: int | None = None


_Identity = tuple[int, int, int]
"""Of a file: another one when it was replaced or written."""


@dataclass(frozen=True, slots=True)
class _Process:
    pid: int
    start_ticks: int
    command: str
    state: str
    threads: int

    @property
    def is_dead(self) -> bool:
        """A zombie without threads: its files and memory are given back. One with threads left has its disk open."""
        return self.state == "X" or (self.state == "Z" and self.threads <= 1)

    def is_same(self, other: "_Process") -> bool:
        """Whether it still is the same program, too: one that begins another is called by that one's name."""
        return (self.start_ticks, self.command) == (other.start_ticks, other.command)


class QemuProcesses:
    """Looks for managed guests. What was read is remembered until it changes, so that a look is cheap and waits for
    nothing that may have been swapped out."""

    def __init__(self, cluster: str, libvirt_run_dir: str = LIBVIRT_RUN_DIR, proc: str = "/proc") -> None:
        self._cluster = cluster
        self._run_dir = Path(libvirt_run_dir)
        self._proc = Path(proc)
        self._parsed: dict[str, tuple[_Identity, _Domain]] = {}
        self._numbers: dict[str, tuple[_Identity, bytes]] = {}
        self._argvs: dict[int, tuple[_Process, tuple[str, ...]]] = {}
        self._seen: set[int] = set()

    @property
    def run_dir(self) -> Path:
        return self._run_dir

    def scan(self, told: frozenset[str] = frozenset()) -> Scan:
        """Look once. ``told`` holds uuids and names of guests that are managed whatever their metadata says."""
        told = frozenset(word.lower() for word in told)
        guests: dict[int, Guest] = {}
        unclear: list[str] = []
        self._seen.clear()
        self._scan_run_dir(told, guests, unclear)
        if told:
            try:
                self._scan_processes(told, guests)
            except OSError as error:
                unclear.append(f"{self._proc}: {error.strerror}")
        if not unclear:
            self._argvs = {pid: known for pid, known in self._argvs.items() if pid in self._seen}
        return Scan(guests=tuple(guests[pid] for pid in sorted(guests)), unclear=tuple(unclear))

    def still_runs(self, guest: Guest) -> bool:
        """Whether this very process exists and is not dead.

        Raises:
            OSError: it can not be told.
        """
        process = self._read_process(guest.pid)
        return process is not None and process.start_ticks == guest.start_ticks and not process.is_dead

    def _scan_run_dir(self, told: frozenset[str], guests: dict[int, Guest], unclear: list[str]) -> None:
        try:
            names = sorted(os.listdir(self._run_dir))
        except FileNotFoundError:
            self._parsed.clear()
            self._numbers.clear()
            return  # no libvirtd has run since boot
        except OSError as error:
            unclear.append(f"{self._run_dir}: {error.strerror}")
            return
        present = {name for name in names if name.endswith(".xml")}
        self._parsed = {name: parsed for name, parsed in self._parsed.items() if name in present}
        self._numbers = {name: number for name, number in self._numbers.items() if name in present}
        for file_name in sorted(present):
            try:
                domain = self._read_status(file_name)
            except FileNotFoundError:
                continue  # the domain ended between the two reads
            except (OSError, ValueError, expat.ExpatError) as error:
                self._judge_unreadable(file_name, str(error), unclear)
                continue
            if domain.cluster == self._cluster or told & {domain.name.lower(), domain.uuid}:
                for pid in {domain.pid, *self._read_pid(file_name, unclear)} - {None}:
                    self._judge(domain, pid, guests, unclear)  # type: ignore[arg-type]

    def _judge(self, domain: _Domain, pid: int, guests: dict[int, Guest], unclear: list[str]) -> None:
        try:
            process = self._read_process(pid)
            argv = self._argv_of(process)
        except OSError as error:
            unclear.append(f"{domain.name}: process {pid}: {error.strerror}")
            return
        if process is None or process.is_dead:
            return
        if not argv and process.command.startswith("qemu"):
            unclear.append(f"{domain.name}: process {pid} is dying and not gone")
        elif _option(argv, "-uuid") == domain.uuid or _guest_name(argv) == domain.name:
            guests[pid] = Guest(
                uuid=domain.uuid,
                name=domain.name,
                pid=pid,
                start_ticks=process.start_ticks,
                vm=domain.vm,
                came_in=domain.came_in,
            )
        elif argv and os.path.basename(argv[0]) in LIBVIRT_DAEMONS:
            unclear.append(f"{domain.name}: process {pid} is about to become its QEMU")
        # else: the pid was given to another program after the QEMU ended

    def _judge_unreadable(self, file_name: str, error: str, unclear: list[str]) -> None:
        for pid in self._read_pid(file_name, unclear):
            try:
                process = self._read_process(pid)
            except OSError as failure:
                unclear.append(f"{self._run_dir / file_name}: {error}; process {pid}: {failure.strerror}")
                continue
            if process is not None and not process.is_dead:
                unclear.append(f"{self._run_dir / file_name}: {error}; process {pid} runs")

    def _scan_processes(self, told: frozenset[str], guests: dict[int, Guest]) -> None:
        for pid in self._pids():
            if pid in guests:
                continue
            try:
                process = self._read_process(pid)
                argv = self._argv_of(process)
            except PermissionError:
                continue  # hidden from whom may not signal it either
            if process is None or process.is_dead or not _is_qemu(argv):
                continue
            uuid, name = _option(argv, "-uuid"), _guest_name(argv)
            if uuid in told or name.lower() in told:
                guests[pid] = Guest(uuid=uuid, name=name, pid=pid, start_ticks=process.start_ticks)

    def _pids(self) -> Iterator[int]:
        return (int(name) for name in os.listdir(self._proc) if name.isdecimal())

    def _read_status(self, file_name: str) -> _Domain:
        path = self._run_dir / file_name
        identity = _identity_of(path)
        known = self._parsed.get(file_name)
        if known and known[0] == identity:
            return known[1]
        if identity[-1] > MAX_STATUS_BYTES:
            raise ValueError("too large for a status file")
        domain = _parse(path.read_bytes())
        self._parsed[file_name] = (identity, domain)
        return domain

    def _read_pid(self, file_name: str, unclear: list[str]) -> tuple[int, ...]:
        """The one in the pid file, if it names one."""
        path = self._run_dir / f"{file_name.removesuffix('.xml')}.pid"
        try:
            identity = _identity_of(path)
            known = self._numbers.get(file_name)
            text = known[1] if known and known[0] == identity else path.read_bytes()[:32]
        except FileNotFoundError:
            return ()
        except OSError as error:
            unclear.append(f"{path}: {error.strerror}")
            return ()
        self._numbers[file_name] = (identity, text)
        return (int(text),) if text.strip().isdigit() else ()

    def _read_process(self, pid: int) -> _Process | None:
        """None when there is no such process.

        Raises:
            OSError: it can not be told: no descriptor, no memory, no permission.
        """
        try:
            stat = (self._proc / str(pid) / "stat").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The command is in parentheses and may hold blanks and parentheses itself: split after the last one.
        command = stat[stat.index("(") + 1 : stat.rindex(")")]
        fields = stat[stat.rindex(")") + 2 :].split()
        return _Process(pid, int(fields[19]), command, state=fields[0], threads=int(fields[17]))

    def _argv_of(self, process: _Process | None) -> tuple[str, ...]:
        """Its command line, from its own memory if it was not read before. Empty: it has none, or is gone.

        Raises:
            OSError: it can not be told.
        """
        if process is None:
            return ()
        self._seen.add(process.pid)
        known = self._argvs.get(process.pid)
        if known and known[0].is_same(process):
            return known[1]
        try:
            text = (self._proc / str(process.pid) / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return ()
        argv = tuple(word.decode(errors="replace") for word in text.rstrip(b"\0").split(b"\0")) if text else ()
        # A script that is called as QEMU is, and becomes it, keeps its name: it is looked at until it has.
        if argv and (_is_qemu(argv) or not process.command.startswith(QEMU_NAMES)):
            self._argvs[process.pid] = (process, argv if {"-uuid", "-name"} & set(argv) else argv[:1])
        return argv


def _identity_of(path: Path) -> _Identity:
    stat = path.stat()
    return (stat.st_ino, stat.st_mtime_ns, stat.st_size)


def _parse(text: bytes) -> _Domain:
    # libvirtd writes no DOCTYPE; without one there are no entities that could expand.
    if b"<!DOCTYPE" in text:
        raise ValueError("has a DOCTYPE, so libvirtd did not write it")
    status = _Status(text)
    if status.root != "domstatus":
        raise ValueError(f"is <{status.root}>, not <domstatus>")
    if _DOMAIN not in status.attributes:
        raise ValueError("has no <domain>")
    root, tag = status.attributes[_ROOT], status.attributes.get(_TAG)
    pid = root.get("pid", "")
    return _Domain(
        name=status.texts.get(_NAME, ""),
        uuid=status.texts.get(_UUID, "").strip().lower(),
        pid=int(pid) if pid.isdecimal() and int(pid) > 0 else None,
        cluster=None if tag is None else tag.get("cluster", ""),
        vm="" if tag is None else tag.get("name", ""),
        came_in=None if tag is None else _came_in(root, tag),
    )


def _came_in(root: Mapping[str, str], tag: Mapping[str, str]) -> int | None:
    """libvirt says "user" of what our migrations leave standing when all its memory has come, and not before
    (hypervisor/states.py); and how it came of what it has itself let go on.
    """
    state, handover, epoch = (root.get("state"), root.get("reason")), tag.get("handover", ""), tag.get("epoch", "")
    has_come = state == ("paused", "user") if handover in AWAITS_HANDOVER else not handover and state in LET_GO_ON
    is_epoch = epoch.isascii() and epoch.isdecimal() and len(epoch) <= MOST_DIGITS
    return int(epoch) if has_come and is_epoch else None


_SEPARATOR = "\x1f"
_ROOT, _DOMAIN = ("domstatus",), ("domstatus", "domain")
_NAME, _UUID = (*_DOMAIN, "name"), (*_DOMAIN, "uuid")
_TAG = (*_DOMAIN, "metadata", f"{TAG_NAMESPACE}{_SEPARATOR}vm")
_PLACES = frozenset({_ROOT, _DOMAIN, _NAME, _UUID, _TAG})


class _Status:
    """What matters in a status file: the first element at each place, its attributes and its text.

    Not by ElementTree: it refuses a namespace with a ``}``, which libvirt takes. Then a guest that is none of ours
    would be unclear for as long as it runs. What stands between namespace and name here is no character of any XML.
    """

    def __init__(self, text: bytes) -> None:
        self.root = ""
        self.attributes: dict[tuple[str, ...], Mapping[str, str]] = {}
        self.texts: dict[tuple[str, ...], str] = {}
        self._open: list[str] = []
        self._reads: tuple[str, ...] = ()  # the place whose text it is in
        parser = expat.ParserCreate("utf-8", _SEPARATOR)
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._text
        parser.Parse(text, True)

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        self.root = self.root or name
        self._open.append(name)
        self._reads = ()
        if len(self._open) > len(_TAG):
            return
        place = tuple(self._open)
        if place in _PLACES and place not in self.attributes:
            self.attributes[place] = attributes
            self._reads = place if place in (_NAME, _UUID) else ()

    def _end(self, _: str) -> None:
        self._open.pop()
        self._reads = ()

    def _text(self, text: str) -> None:
        if self._reads:
            self.texts[self._reads] = self.texts.get(self._reads, "") + text


def _is_qemu(argv: tuple[str, ...]) -> bool:
    program = os.path.basename(argv[0]) if argv else ""
    return program.startswith("qemu") or program == "kvm"


def _option(argv: tuple[str, ...], name: str) -> str:
    """The word after ``name``, in lower case; empty without one."""
    for word, value in pairwise(argv):
        if word == name:
            return value.lower()
    return ""


def _guest_name(argv: tuple[str, ...]) -> str:
    """The name in ``-name guest=NAME,...``; QEMU writes a comma in a value twice."""
    for word, value in pairwise(argv):
        if word == "-name":
            found = re.match(r"(?:guest=)?((?:[^,]|,,)*)", value)
            return found.group(1).replace(",,", ",") if found else ""
    return ""
