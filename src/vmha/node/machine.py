"""Which machine this is, in a word that another machine does not have: also one that was cloned from it.

A disk that is copied takes its machine id with it, and there are boards whose firmware all says one uuid. What two
machines on a network can not have in common, if either is to be heard, is their network cards' addresses.
"""

import contextlib
from pathlib import Path

from vmha.model.digest import digest

ID_FILES = (Path("/etc/machine-id"), Path("/sys/class/dmi/id/product_uuid"))
NETWORK = Path("/sys/class/net")


def read_host(id_files: tuple[Path, ...] = ID_FILES, network: Path = NETWORK) -> str:
    """The same at each boot of a machine, as long as its cards are the same. After a change of cards the machine is
    another one to the cluster until its last session is over.
    """
    found = []
    for path in id_files:
        with contextlib.suppress(OSError):
            found.append(path.read_text().strip())
    cards = _cards(network)
    return "/".join([*found, digest(" ".join(cards))] if cards else found)


def _cards(network: Path) -> list[str]:
    """Addresses of real cards, as they were made: not of bridges, bonds, guests' taps, or parts of a card."""
    found = set()
    with contextlib.suppress(OSError):
        for card in network.iterdir():
            if not (card / "device").exists() or (card / "device" / "physfn").exists():
                continue
            for name in ("bonding_slave/perm_hwaddr", "address"):  # in a bond all have the bond's
                with contextlib.suppress(OSError):
                    found.add((card / name).read_text().strip().lower())
                    break
    return sorted(found - {""})
