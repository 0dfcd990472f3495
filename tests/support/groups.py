"""Groups of processes for the kernel's controllers, made for a test and gone after it."""

from contextlib import suppress
from pathlib import Path


def own_group(tree: Path, controller: str) -> Path:
    """Where this process is. In cgroup 2 there is one tree for all controllers, which names none."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    paths = {kind: path for _, kinds, path in lines for kind in kinds.split(",")}
    return tree / paths.get(controller, paths.get("", "")).lstrip("/")


def remove(group: Path, *, to: Path) -> None:
    """Whoever is left goes elsewhere; the kernel keeps a group until its last process has gone."""
    while left := (group / "cgroup.procs").read_text().split():
        for pid in left:
            with suppress(ProcessLookupError):
                (to / "cgroup.procs").write_text(pid)
    group.rmdir()
