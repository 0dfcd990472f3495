"""Certificate files that are renewed while they are in use: they run out, and who uses them stays for months.

The files are looked at once a second. New ones are taken when they have stood still between two looks and fit each
other: whoever replaces three files one by one does not have the half of them used. Files that do not fit are told once,
and the old ones serve on. What they are taken for is the user's: etcd (store/tls_files.py), browsers
(web/https_files.py).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from vmha.model.errors import Rejected

LOOK_EVERY_S: Final = 1.0

Loaded = TypeVar("Loaded")
_Stamp = tuple[tuple[int, int, int], ...]


class FilesInUse:
    """``what`` they are, for the log; ``files``: those there may be."""

    def __init__(self, what: str, *files: Path | None) -> None:
        self._what = what
        self._files = tuple(file for file in files if file is not None)
        self._used = self._seen = self._stamp()

    def look(self, load: Callable[[], Loaded]) -> Loaded | None:
        """What ``load`` makes of new files, once for each renewal. None: the ones in use are still good.

        Args:
            load: Checks them and takes them into use. It raises ``OSError`` (OpenSSL's are) or ``Rejected`` where they
                are none, or do not fit each other, and then has changed nothing.
        """
        stamp = self._stamp()
        is_still = stamp == self._seen
        self._seen = stamp
        if not is_still or stamp == self._used:
            return None
        self._used = stamp
        import structlog  # here: every command of the command line imports this module, and hardly any stays so long

        log = structlog.get_logger(__name__)
        names = ", ".join(map(str, self._files))
        try:
            loaded = load()
        except (OSError, Rejected) as error:
            log.error("new certificates can not be used: the old ones serve on", of=self._what, why=str(error))
            return None
        log.info("new certificates are in use", of=self._what, files=names)
        return loaded

    def _stamp(self) -> _Stamp:
        found = []
        for file in self._files:
            try:
                of = file.stat()
            except OSError:
                found.append((0, 0, 0))
            else:
                found.append((of.st_ino, of.st_mtime_ns, of.st_size))
        return tuple(found)
