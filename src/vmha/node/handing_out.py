"""What joining puts on a host: files that are to be as they are given, a holder's certificate and key among them.

The three files of a holder (``ca.pem``, ``cert.pem``, ``key.pem``) come out of a folder that ``vmha pki issue`` made,
or out of an authority's, which hands out again what it has issued and is good, and issues what is not. They are looked
at whole, and fit each other, before one of them is written.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from vmha.model.errors import Refused, Rejected
from vmha.node.settings import TlsSettings
from vmha.pki.authority import CA, CERT, KEY, Authority, Issued, Kind, write_file
from vmha.pki.certificates import Pair, check_pair

DAYS: Final = 365
RENEWED_BEFORE: Final = timedelta(days=30)
"""One that the authority has issued before is handed out again, unless it expires this soon."""

Owner = tuple[int, int]
"""Numbers of user and group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One that is to be as it says. ``is_new`` False: it is so already. ``owner`` None: whoever writes it."""

    path: Path
    content: bytes
    mode: int
    is_new: bool
    owner: Owner | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who gets a certificate. ``name`` in the authority, ``user`` in etcd; ``option``: by which it was given."""

    kind: Kind
    name: str
    user: str
    addresses: tuple[str, ...] = ()
    owner: Owner | None = None
    option: str = "--certificates"

    @property
    def words(self) -> str:
        return f"{self.user}, of {self.kind} {self.name}"


def file_of(path: Path, content: bytes, mode: int, owner: Owner | None = None) -> File:
    """As it is to be; it is looked whether it is so already."""
    try:
        known = path.stat()
        is_there = path.read_bytes() == content and known.st_mode & 0o777 == mode
        is_there = is_there and owner in (None, (known.st_uid, known.st_gid))
    except OSError:
        is_there = False
    return File(path=path, content=content, mode=mode, is_new=not is_there, owner=owner)


def is_authority(folder: Path) -> bool:
    """Whether it can issue; else it holds what was issued."""
    return (folder / "state.json").exists()


def handed_out(
    folder: Path, holder: Holder, cluster: str, tls: TlsSettings, *, now: datetime, only_look: bool
) -> list[File]:
    """A holder's three files, for where ``tls`` has them. None: the authority would issue them (``only_look``).

    Raises:
        Rejected: they do not fit each other, or are somebody else's, or the authority is another cluster's.
    """
    if is_authority(folder):
        issued = _issue(Authority.open(folder), holder, cluster, now=now, only_look=only_look)
        if issued is None:
            return []
        folder = issued.folder
    try:
        ca, cert, key = ((folder / name).read_bytes() for name in (CA, CERT, KEY))
    except OSError as error:
        raise Rejected(
            f"{holder.option} {folder}: {error.filename}: {error.strerror}",
            accepted=f"{CA}, {CERT} and {KEY} as vmha pki issue makes them, or an authority's folder",
        ) from error
    known = check_pair(Pair(cert=cert, key=key), ca, now=now, where=str(folder))
    if known.common_name != holder.user:
        raise Rejected(
            f"{holder.option} {folder}: the certificate is for {known.common_name}",
            accepted=f"{holder.words} in cluster {cluster}",
        )
    parts = ((tls.ca, ca, 0o644), (tls.key, key, 0o600), (tls.cert, cert, 0o644))
    return [file_of(path, content, mode, holder.owner) for path, content, mode in parts]


def write(files: Iterable[File]) -> None:
    """All of them, in this order; when one can not be written, those before it are as they were.

    Raises:
        Refused: one could not be written.
    """
    undo: list[tuple[Path, File | None]] = []
    for file in files:
        if not file.is_new:
            continue
        try:
            old = _as_it_is(file.path)
            _make_folder(file)
            _put(file)
        except OSError as error:
            for path, before in reversed(undo):
                if before is None:
                    path.unlink(missing_ok=True)
                else:
                    _put(before)
            raise Refused(f"{file.path}: {error.strerror}; nothing was changed") from error
        undo.append((file.path, old))


def _as_it_is(path: Path) -> File | None:
    if not path.exists():
        return None
    known = path.stat()
    owner = (known.st_uid, known.st_gid)
    return File(path=path, content=path.read_bytes(), mode=known.st_mode & 0o777, is_new=False, owner=owner)


def _make_folder(file: File) -> None:
    """Of one that has an owner: it is his as well, and his alone."""
    folder = file.path.parent
    if file.owner is None or folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)
    os.chown(folder, *file.owner)


def _put(file: File) -> None:
    uid, gid = file.owner or (None, None)
    write_file(file.path, file.content, mode=file.mode, uid=uid, gid=gid)


def _issue(authority: Authority, holder: Holder, cluster: str, *, now: datetime, only_look: bool) -> Issued | None:
    if authority.cluster != cluster:
        raise Rejected(f"{holder.option}: an authority of cluster {authority.cluster}", accepted=cluster)
    last_day = max(known.expires for _, known in authority.trusted())  # none is good for longer than its authority
    for one in authority.issued():
        is_good = one.is_current and (one.known.expires - now > RENEWED_BEFORE or one.known.expires >= last_day > now)
        if (
            (one.kind, one.name) == (holder.kind, holder.name)
            and is_good
            and set(holder.addresses) <= set(one.known.addresses)
        ):
            return one
    if only_look:
        return None
    return authority.issue(holder.kind, holder.name, holder.addresses, now=now, days=DAYS)
