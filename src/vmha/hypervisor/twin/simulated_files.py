"""The twin of ``files``: one file system that every host of a simulated world has mounted.

What stands in it is text, or a guest's memory as the fabric wrote it. ``broken`` names what does not answer, ``unseen``
what a host does not see: its mount is missing.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vmha.hypervisor.files import FileTrouble
from vmha.hypervisor.saved_file import COMPLETE, TORN

if TYPE_CHECKING:
    from vmha.hypervisor.twin.fabric_state import Memory


@dataclass(slots=True, kw_only=True)
class SavedMemory:
    """A file with a guest's memory. ``runs``: how often the vm had begun to run when it was made."""

    xml: str
    memory: "Memory"
    runs: int
    is_complete: bool = False


@dataclass(slots=True)
class SharedFiles:
    """The disk."""

    held: dict[str, str | SavedMemory] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    unseen: set[tuple[str, str]] = field(default_factory=set)  # by host and path
    runs: dict[str, int] = field(default_factory=dict)  # how often each vm has begun to run, and write to its disk


class SimulatedFiles:
    """One host's view of it."""

    def __init__(self, shared: SharedFiles, host: str = "") -> None:
        self._shared, self._host = shared, host

    async def read_definition(self, path: str) -> str | None:
        found = self._find(path)
        if isinstance(found, SavedMemory):
            raise FileTrouble(f"{path}: is not UTF-8 text: byte 0")
        return found

    async def head(self, path: str, size: int) -> bytes:
        found = self._find(path)
        if isinstance(found, SavedMemory):
            return (COMPLETE if found.is_complete else TORN)[:size]
        return found.encode()[:size] if found else b""

    async def is_there(self, path: str) -> bool:
        return self._find(path) is not None

    async def rename(self, path: str, new: str) -> None:
        if self._find(path) is None:
            raise FileTrouble(f"{path}: no such file or directory")
        self._shared.held[new] = self._shared.held.pop(path)

    async def remove(self, path: str) -> None:
        if self._find(path) is not None:
            del self._shared.held[path]

    def _find(self, path: str) -> str | SavedMemory | None:
        if path in self._shared.broken:
            raise FileTrouble(f"{path}: its file system has not answered for 10 s")
        return None if (self._host, path) in self._shared.unseen else self._shared.held.get(path)
