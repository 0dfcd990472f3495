"""A small certificate authority in a folder: what it signs with, what is to be trusted, and what it has issued.

    DIR/state.json                         cluster, which authority signs, which are trusted
    DIR/authorities/<number>.pem, .key     each authority there has been; keys 0600
    DIR/authorities/<number>-browsers.*    its twin that signs what dashboards show to browsers, once that is wanted
    DIR/ca.pem                             what everybody trusts now: one authority, or two while they change
    DIR/browsers.pem                       what browsers are to trust
    DIR/issued/<kind>-<name>/              ca.pem, cert.pem, key.pem: what goes to one host or one person

Authorities change in three steps, each followed by handing ``ca.pem`` (and the new certificates) out: ``begin``, both
are trusted and the old one signs; ``switch``, both are trusted and the new one signs; ``finish``, only the new one is
trusted. At no time does anybody show a certificate that somebody else does not yet trust.

What browsers are shown is signed by another authority, which nothing else trusts. For not everybody who is shown a
certificate asks what it is for: libvirt 9 lets anybody in whom its authority has signed, browsers' server or not.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

from vmha.model.errors import Refused, Rejected
from vmha.model.permissions import node_name, operator_name, reader_name, restorer_name
from vmha.pki.certificates import Known, Pair, Wanted, make_authority, read_certificate, sign

CA, CERT, KEY = "ca.pem", "cert.pem", "key.pem"
"""The names of the files that are handed out."""
BROWSERS: Final = "browsers.pem"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")


class Kind(StrEnum):
    ETCD = "etcd"  # a member: server to all clients, server and client among the members
    NODE = "node"  # an agent's etcd client, and libvirt's and QEMU's both ends of migrations
    OPERATOR = "operator"  # the command line
    RESTORE = "restore"  # an operator who puts a backup back
    READER = "reader"  # the command line and the dashboard, looking only
    WEB = "web"  # what a dashboard shows to browsers, who alone trust it
    ROOT = "root"  # etcd's administrator: sets up users and roles, nothing else


class Step(StrEnum):
    BEGIN = "begin"
    SWITCH = "switch"
    FINISH = "finish"


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """One certificate; ``folder`` is what is handed out. ``is_current``: signed by the authority that signs now."""

    kind: str
    name: str
    known: Known
    folder: Path
    is_current: bool


class Authority:
    """The folder. Every change of it is on disk when the method returns, and is never half of one."""

    def __init__(self, folder: Path, state: dict[str, Any]) -> None:
        self.folder = folder
        self._state = state

    @classmethod
    def create(cls, folder: Path, *, cluster: str, now: datetime, days: int) -> Self:
        """Raises ``Refused`` where there is one already."""
        if (folder / "state.json").exists():
            raise Refused(f"{folder}: there is an authority already; vmha pki rotate makes a new one")
        _make_private(folder)
        new = cls(folder, {"schema": 1, "cluster": cluster, "signs": 1, "trusted": [1]})
        new._make(1, now=now, days=days)
        new._save()
        return new

    @classmethod
    def open(cls, folder: Path) -> Self:
        try:
            state = json.loads((folder / "state.json").read_text())
            state["cluster"], state["signs"], state["trusted"]
        except FileNotFoundError as error:
            raise Rejected(f"{folder}: no authority is there", accepted="a folder made by vmha pki init") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Rejected(f"{folder / 'state.json'}: {error}", accepted="as vmha pki init has written it") from error
        return cls(folder, state)

    @property
    def cluster(self) -> str:
        return str(self._state["cluster"])

    @property
    def ca(self) -> Path:
        return self.folder / CA

    @property
    def for_browsers(self) -> Path:
        """There once a dashboard's certificate has been issued."""
        return self.folder / BROWSERS

    @property
    def next_step(self) -> Step:
        """Where a change of authorities stands: the step that comes next."""
        signs, trusted = self._state["signs"], self._state["trusted"]
        if len(trusted) == 1:
            return Step.BEGIN
        return Step.FINISH if signs == max(trusted) else Step.SWITCH

    def rotate(self, step: Step, *, now: datetime, days: int, force: bool = False) -> None:
        """Raises ``Refused`` when it is not that step's turn, or ``finish`` would cut somebody off."""
        if step is not self.next_step:
            raise Refused(f"rotate --{step}: the step that comes next here is --{self.next_step}")
        trusted = self._state["trusted"]
        match step:
            case Step.BEGIN:
                new = max(trusted) + 1
                self._make(new, now=now, days=days)
                self._state["trusted"] = [*trusted, new]
            case Step.SWITCH:
                self._state["signs"] = max(trusted)
            case Step.FINISH:
                old = [f"{one.kind} {one.name}" for one in self.issued() if not one.is_current]
                if old and not force:
                    raise Refused(
                        f"rotate --finish: {', '.join(old)} would be trusted no more: issue them anew first, or --force"
                    )
                self._state["trusted"] = [max(trusted)]
        self._save()

    def issue(self, kind: Kind, name: str, addresses: tuple[str, ...], *, now: datetime, days: int) -> Issued:
        """A new certificate and key; one of before is replaced in this folder.

        Raises:
            Rejected: the name or an address is none, or a server has no address.
        """
        if not _NAME.fullmatch(name):
            raise Rejected(f"name: {name!r}", accepted="letters, digits and _.@-, beginning with a letter or digit")
        if kind in (Kind.ETCD, Kind.NODE, Kind.WEB) and not addresses:
            raise Rejected(
                f"{kind} {name}: no address",
                accepted="--address, once for each IP address and host name by which others reach it",
            )
        signer = self._base(self._state["signs"], kind)
        if kind is Kind.WEB and not signer.with_suffix(".pem").exists():
            self._make_for_browsers(signer, now=now)
        pair = sign(_authority(signer), self._wanted(kind, name, addresses), now=now, days=days)
        folder = self.folder / "issued" / f"{kind}-{name}"
        _make_private(folder)
        write_pair(folder, ca=self._trusted_by_others(kind), pair=pair)
        return self._read(folder)

    def issued(self) -> tuple[Issued, ...]:
        return tuple(self._read(path.parent) for path in sorted(self.folder.glob(f"issued/*/{CERT}")))

    def forget(self, kind: Kind, name: str) -> None:
        """What was issued stays good until it expires: etcd asks for no revocations. Take the user away there."""
        folder = self.folder / "issued" / f"{kind}-{name}"
        if not folder.is_dir():
            raise Rejected(f"{kind} {name}: none was issued", accepted="what vmha pki show lists")
        shutil.rmtree(folder)

    def trusted(self) -> Iterator[tuple[int, Known]]:
        for number in self._state["trusted"]:
            path = self.folder / f"authorities/{number}.pem"
            yield number, read_certificate(path.read_bytes(), where=str(path))

    def _wanted(self, kind: Kind, name: str, addresses: tuple[str, ...]) -> Wanted:
        match kind:
            case Kind.ETCD:
                local = ("localhost", "127.0.0.1", "::1")
                return Wanted(common_name=f"etcd-{name}"[:64], addresses=(*addresses, *local), server=True)
            case Kind.NODE:
                user = node_name(self.cluster, name)
                return Wanted(common_name=user, addresses=(*addresses, name), server=True)
            case Kind.OPERATOR:
                return Wanted(common_name=operator_name(self.cluster), unit=name)
            case Kind.RESTORE:
                return Wanted(common_name=restorer_name(self.cluster), unit=name)
            case Kind.READER:
                return Wanted(common_name=reader_name(self.cluster), unit=name)
            case Kind.WEB:
                return Wanted(common_name=web_name(name), addresses=addresses, server=True, client=False)
            case Kind.ROOT:
                return Wanted(common_name="root", unit=name)

    def _read(self, folder: Path) -> Issued:
        kind, _, name = folder.name.partition("-")
        known = read_certificate((folder / CERT).read_bytes(), where=str(folder / CERT))
        signer = self._base(self._state["signs"], kind).with_suffix(".pem")
        current = signer.exists() and (
            known.authority == read_certificate(signer.read_bytes(), where=str(signer)).authority
        )
        return Issued(kind=kind, name=name, known=known, folder=folder, is_current=current)

    def _base(self, number: int, kind: str) -> Path:
        """Where the authority lies that signs this kind, less the suffix."""
        return self.folder / f"authorities/{number}{'-browsers' if kind == Kind.WEB else ''}"

    def _trusted_by_others(self, kind: str) -> bytes:
        """By whoever is shown a certificate of this kind: all authorities of it that count now."""
        paths = [self._base(number, kind).with_suffix(".pem") for number in self._state["trusted"]]
        return b"".join(path.read_bytes() for path in paths if kind != Kind.WEB or path.exists())

    def _make(self, number: int, *, now: datetime, days: int) -> None:
        name = f"vmha {self.cluster} authority {number}"[:64]
        pair = make_authority(name, now=now, until=now + timedelta(days=days))
        _make_private(self.folder / "authorities")
        _write_authority(self._base(number, ""), pair)

    def _make_for_browsers(self, base: Path, *, now: datetime) -> None:
        """As good for as long as its twin."""
        number = self._state["signs"]
        until = dict(self.trusted())[number].expires
        pair = make_authority(f"vmha {self.cluster} browsers {number}"[:64], now=now, until=until)
        _write_authority(base, pair)
        self._save()

    def _save(self) -> None:
        """The state last: with it the change counts."""
        write_file(self.ca, self._trusted_by_others(""), mode=0o644)
        if for_browsers := self._trusted_by_others(Kind.WEB):
            write_file(self.for_browsers, for_browsers, mode=0o644)
        for cert in self.folder.glob(f"issued/*/{CERT}"):
            kind = cert.parent.name.partition("-")[0]
            write_file(cert.with_name(CA), self._trusted_by_others(kind), mode=0o644)
        write_file(self.folder / "state.json", json.dumps(self._state, indent=2).encode() + b"\n", mode=0o600)


def _authority(base: Path) -> Pair:
    try:
        return Pair(cert=base.with_suffix(".pem").read_bytes(), key=base.with_suffix(".key").read_bytes())
    except OSError as error:
        raise Rejected(f"{error.filename}: {error.strerror}", accepted="the authority's key, to sign with") from error


def _write_authority(base: Path, pair: Pair) -> None:
    """The key first: where there is a certificate there is its key."""
    write_file(base.with_suffix(".key"), pair.key, mode=0o600)
    write_file(base.with_suffix(".pem"), pair.cert, mode=0o644)


def web_name(name: str) -> str:
    """What a dashboard's certificate for browsers is called; they go by its addresses."""
    return f"web-{name}"[:64]


def write_pair(folder: Path, *, ca: bytes, pair: Pair) -> None:
    """The three files of a holder, each replaced whole; the key is never readable to others."""
    write_file(folder / CA, ca, mode=0o644)
    write_file(folder / KEY, pair.key, mode=0o600)
    write_file(folder / CERT, pair.cert, mode=0o644)


def write_file(path: Path, content: bytes, *, mode: int, uid: int | None = None, gid: int | None = None) -> None:
    """Replaces the file whole; it has its mode from its first byte on, and its owner before it has its place.

    Root may write so into a folder that is somebody else's: what is changed is the file that was made, whatever the
    folder's owner puts at its name meanwhile.
    """
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        if uid is not None or gid is not None:
            os.fchown(file.fileno(), -1 if uid is None else uid, -1 if gid is None else gid)
        os.fchmod(file.fileno(), mode)  # whatever the umask takes away
    new.rename(path)


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Rejected(f"{folder}: {error.strerror}", accepted="a folder that can be made") from error
