"""The ways that a guest would need from this host, tried before it has to take them: a port with two adapters.

``reaching.LibvirtWays`` and ``simulated_ways.SimulatedWays`` pass one contract suite. Two connections make a migration:
libvirtd's to the target's (``try_reach``), and beside it QEMU's to a port of the target where nobody listens before
one is under way. So the target opens a *door* there for a while, and the source knocks at it. A guest whose disks are
on the network needs the way to their servers as well, from each host where it may run (``try_server``).
"""

from typing import Protocol

from vmha.model.checkup import Door

FIRST_PORT, LAST_PORT = 49152, 49215
"""Those of QEMU, where libvirt is not told otherwise."""


class Ways(Protocol):
    async def try_reach(self, uri: str, *, timeout_s: float) -> str:
        """Speak to another host's hypervisor as a migration there would. '': it answers; else why not, and a remedy."""

    async def open_door(self, *, for_s: float) -> Door | None:
        """Listen where QEMU would await a guest's memory, for so long. None: no port of its range is free."""

    async def try_door(self, address: str, door: Door, *, encrypted: bool, timeout_s: float) -> str:
        """Knock at another host's door; encrypted: with the certificates that QEMU has for it. '': it was opened."""

    async def whom_tls_lets_in(self) -> str:
        """Whether libvirtd here lists by name whom it lets in by TLS. '': it does; else why it lets in everybody whose
        certificate is of its authority.
        """

    async def try_server(self, host: str, port: int, *, timeout_s: float) -> str:
        """Whether a server of disks takes a connection by TCP, closed without a word. '': it does; else why not."""
