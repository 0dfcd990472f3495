"""The witness guest's disk: a sparse raw image with the boot sector and room for an hour of ticks."""

from importlib import resources
from pathlib import Path

from vmha.lab.witness.entry import RING_ENTRIES, RING_OFFSET, SECTOR

DISK_SIZE = 17 << 20  # the ring takes 16 MiB and two sectors
assert RING_OFFSET + RING_ENTRIES * SECTOR <= DISK_SIZE


def boot_sector() -> bytes:
    """``tick.asm``, assembled."""
    return resources.files(__package__).joinpath("tick.bin").read_bytes()


def make_disk(path: Path) -> None:
    """Write a fresh disk.

    Raises:
        FileExistsError: there is one already; its ticks are not overwritten.
    """
    with path.open("xb") as file:
        file.truncate(DISK_SIZE)
        file.write(boot_sector())
