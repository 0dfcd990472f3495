"""The twin of ``reaching``: ways between simulated hosts, barred by what these and their links are like."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from vmha.hypervisor.remedies import with_remedy
from vmha.hypervisor.twin.fabric_state import Host
from vmha.hypervisor.ways import FIRST_PORT, LAST_PORT
from vmha.model.checkup import Door
from vmha.model.transport import transport_of

if TYPE_CHECKING:
    from vmha.hypervisor.twin.fabric import SimulatedFabric


class SimulatedWays:
    """See ``ways.Ways``. ``answer``: awaited first, as everything that is asked of a host."""

    def __init__(self, fabric: "SimulatedFabric", host: Host, answer: Callable[[], Awaitable[None]]) -> None:
        self._fabric, self._host, self._answer = fabric, host, answer

    async def try_reach(self, uri: str, *, timeout_s: float) -> str:
        await self._answer()
        target = self._fabric.find_host(uri)
        if target is None:
            return with_remedy("unable to resolve address", uri)
        if not self._is_there(target):
            await asyncio.sleep(timeout_s)
            return with_remedy(f"no answer within {timeout_s:g} s: connection timed out", uri)
        listens = transport_of(uri) in target.transports and target.has_libvirtd
        return "" if listens else with_remedy("Connection refused", uri)

    async def open_door(self, *, for_s: float) -> Door | None:
        await self._answer()
        now = self._fabric.clock.now()
        port = next(
            (port for port in range(LAST_PORT, FIRST_PORT - 1, -1) if self._host.doors.get(port, 0.0) <= now), None
        )
        if port is None:
            return None
        self._host.doors[port] = now + for_s
        trouble = "" if self._host.qemu_authority else "QEMU has no certificates"
        return Door(port=port, encrypts=not trouble, trouble=trouble)

    async def try_door(self, address: str, door: Door, *, encrypted: bool, timeout_s: float) -> str:
        await self._answer()
        if encrypted and not door.encrypts:
            return f"there {door.trouble}" if door.trouble else ""
        target = self._fabric.find_host(f"//{address}")
        if target is None:
            return "name or service not known"
        if not self._is_there(target) or target.shuts_memory_out:
            await asyncio.sleep(timeout_s)
            return f"no answer within {timeout_s:g} s: something on the way drops it"
        if target.doors.get(door.port, 0.0) <= self._fabric.clock.now():
            return "refused, though its agent listens there: something on the way rejects it"
        return why_memory_would_not_pass(self._host, target, encrypted)

    async def whom_tls_lets_in(self) -> str:
        await self._answer()
        return "" if self._host.lists_tls_clients else "no tls_allowed_dn_list in /etc/libvirt/libvirtd.conf"

    async def try_server(self, host: str, port: int, *, timeout_s: float) -> str:
        await self._answer()
        if f"{host}:{port}" not in self._host.lost_servers:
            return ""
        await asyncio.sleep(timeout_s)
        return f"no answer within {timeout_s:g} s"

    def _is_there(self, target: Host) -> bool:
        return target.has_power and self._fabric.reachable(self._host.name, target.name)


def why_memory_would_not_pass(source: Host, target: Host, encrypted: bool) -> str:
    if target.shuts_memory_out:
        return f"unable to connect to server at '{target.name}:{FIRST_PORT}': Connection timed out"
    if encrypted and (not source.qemu_authority or source.qemu_authority != target.qemu_authority):
        return "unable to execute QEMU command 'object-add': the certificate's issuer is unknown"
    return ""
