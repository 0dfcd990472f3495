"""The two worlds of the hypervisor contract: real libvirt hosts, and simulated ones. Each has hosts one and two."""

import asyncio
import contextlib
import os
import signal
import uuid
from pathlib import Path
from typing import Any, Protocol

from tests.support.libvirt import LibvirtHost, LibvirtHosts
from tests.support.waiting import eventually
from vmha.hypervisor.files import HostFiles, LocalFiles
from vmha.hypervisor.port import Hypervisor, HypervisorUnavailable, MigrationOrder, Tag
from vmha.hypervisor.real.adapter import LibvirtHypervisor
from vmha.hypervisor.saved_file import TORN
from vmha.hypervisor.twin import fabric_frozen
from vmha.hypervisor.twin.fabric import SimulatedFabric
from vmha.hypervisor.twin.fabric_state import Defined, Timing
from vmha.hypervisor.twin.simulated import SimulatedHypervisor
from vmha.hypervisor.twin.simulated_files import SavedMemory, SimulatedFiles
from vmha.model import domain_xml
from vmha.model.clock import SystemClock
from vmha.model.domain_xml import parse_domain
from vmha.model.ids import Epoch, VmName
from vmha.model.transport import Transport

CLUSTER = "contract"
SLOW_MIB = 16
DISK_BYTES = 1 << 20  # the BIOS does not boot a virtio disk of one sector
# A guest of one sector: enable the power button, halt until something happens, power off when it was the button.
# It talks to the PIIX4's power management where the BIOS has put it (port 0x600). The second interrupt controller is
# masked: nobody would quiet the interrupt that the button raises, and it would be taken for ever.
POWER_BUTTON_SECTOR = bytes.fromhex(
    "b0ffe6a1 ba0206b80001ef f4ba0006ed f6c401 74f6 ba0406b80020ef ebed".replace(" ", "")
)


AGENT_CHANNEL = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"


def tag(name: str, epoch: int) -> Tag:
    return Tag(cluster=CLUSTER, vm=VmName(name), epoch=Epoch(epoch))


def boot_sector() -> bytes:
    return (POWER_BUTTON_SECTOR.ljust(510, b"\0") + b"\x55\xaa").ljust(DISK_BYTES, b"\0")


def guest_xml(
    name: str, *, epoch: int = 1, uuid: str | None = None, disk: str = "/run/boot.img", agent: bool = False
) -> str:
    """A guest that needs next to nothing, moves its payload slowly, and obeys its power button."""
    xml = f"""<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
      <name>{name}</name>
      <memory unit='MiB'>32</memory>
      <vcpu>1</vcpu>
      <os><type arch='x86_64' machine='pc'>hvm</type></os>
      <features><acpi/></features>
      <devices>
        <emulator>/usr/bin/qemu-system-x86_64</emulator>
        <disk type='file' device='disk'>
          <driver name='qemu' type='raw'/><source file='{disk}'/><target dev='vda' bus='virtio'/><readonly/>
        </disk>
        <controller type='usb' model='none'/>
        <memballoon model='none'/>
        {AGENT_CHANNEL if agent else ""}
      </devices>
      <qemu:commandline>
        <qemu:arg value='-device'/><qemu:arg value='loader,file=/run/payload,addr=0x400000'/>
      </qemu:commandline>
    </domain>"""
    return domain_xml.tagged(
        xml, cluster=CLUSTER, vm=name, epoch=epoch, uuid=uuid or domain_xml.default_uuid(CLUSTER, name)
    )


class HypervisorWorld(Protocol):
    """Two hosts and what is done to them past the port."""

    one: Hypervisor
    two: Hypervisor

    def order(
        self, name: str, *, epoch: int, slow: bool = False, paused: bool = True, timeout_s: float = 60.0
    ) -> MigrationOrder:
        """From one to two; slow takes many seconds if it is let."""

    async def reopen(self) -> None:
        """Both agents restart."""

    async def crash(self, name: str) -> None:
        """Kill its QEMU on host one."""

    async def freeze(self, name: str) -> None:
        """Its QEMU on host one gets no processor time (SIGSTOP)."""

    async def thaw(self, name: str) -> None: ...

    async def cut(self) -> None: ...

    async def sever(self, name: str) -> None:
        """Break the connection of its two QEMUs, in the middle of a post-copy."""

    async def virsh_migrate(self, name: str, *, slow: bool = False) -> None:
        """By hand, from one to two. Slow: returns while it is under way."""

    async def virsh_destroy(self, name: str) -> None:
        """By hand, on one."""

    async def virsh_suspend(self, name: str) -> None:
        """By hand, on two."""

    async def virsh_resume(self, name: str) -> None:
        """By hand, on one."""

    async def restart_libvirtd(self) -> None:
        """On both hosts."""

    files: HostFiles

    async def virsh_define(self, xml: str, *, autostart: bool = False) -> None:
        """On one."""

    async def virsh_managed_save(self, name: str) -> None:
        """On one: of one that is defined there and runs."""

    async def tear(self, path: str) -> None:
        """Make a saved file one whose writing was broken off."""


class RealWorld:
    """Real libvirtd and QEMU. ``prepare`` and ``clean`` surround each test; the hosts live longer."""

    def __init__(self, hosts: LibvirtHosts) -> None:
        self.hosts = hosts
        self._by_hand: list[asyncio.subprocess.Process] = []
        for host in (hosts.one, hosts.two):
            host.inside("/run/boot.img").write_bytes(boot_sector())
            host.inside("/run/payload").write_bytes(os.urandom(SLOW_MIB << 20))
        self._make()

    def _make(self) -> None:
        how: dict[str, Any] = {"cluster": CLUSTER, "clock": SystemClock(), "ask_every_s": 0.5, "silent_s": 0.5}
        self.one = LibvirtHypervisor(self.hosts.one.uri, **how)
        self.two = LibvirtHypervisor(self.hosts.two.uri, **how)

    async def prepare(self) -> None:
        await self.one.open()
        await self.two.open()

    files: HostFiles = LocalFiles()

    async def virsh_define(self, xml: str, *, autostart: bool = False) -> None:
        place = self.hosts.one.inside("/run/defined.xml")
        place.write_text(xml)
        await asyncio.to_thread(self.hosts.one.virsh, "define", str(place))
        if autostart:
            await asyncio.to_thread(self.hosts.one.virsh, "autostart", parse_domain(xml).name)

    async def virsh_managed_save(self, name: str) -> None:
        await asyncio.to_thread(self.hosts.one.virsh, "managedsave", name)

    async def tear(self, path: str) -> None:
        await asyncio.to_thread(_tear, Path(path))

    async def is_reachable(self) -> bool:
        """Whether both adapters have a connection."""
        with contextlib.suppress(HypervisorUnavailable):
            await self.one.inventory()
            await self.two.inventory()
            return True
        return False

    async def clean(self) -> None:
        self.hosts.heal()
        for process in self._by_hand:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
        await eventually(self.is_reachable)  # a test that restarts both libvirtds looks at one of them
        for side in (self.one, self.two):
            for view in await side.inventory():
                if view.migrating:
                    await side.abort_migration(view.name)
                await side.destroy(view.name)
            await side.close()
        for host in (self.hosts.one, self.hosts.two):
            for name in host.virsh("list", "--all", "--name").split():
                host.virsh("undefine", name, "--managed-save")

    def order(
        self, name: str, *, epoch: int, slow: bool = False, paused: bool = True, timeout_s: float = 60.0
    ) -> MigrationOrder:
        return MigrationOrder(
            name=name,
            target_uri=self.hosts.two.peer_uri,
            data_uri=self.hosts.two.data_uri,
            tag=tag(name, epoch),
            paused_at_target=paused,
            timeout_s=timeout_s,
            bandwidth_mib_s=2 if slow else None,
        )

    async def reopen(self) -> None:
        await self.one.close()
        await self.two.close()
        self._make()
        await self.prepare()

    async def crash(self, name: str) -> None:
        self.hosts.one.signal_qemu(name, signal.SIGKILL)

    async def freeze(self, name: str) -> None:
        self.hosts.one.signal_qemu(name, signal.SIGSTOP)

    async def thaw(self, name: str) -> None:
        self.hosts.one.signal_qemu(name, signal.SIGCONT)

    async def cut(self) -> None:
        self.hosts.cut()

    async def sever(self, name: str) -> None:
        await asyncio.to_thread(self.hosts.one.virsh, "domjobabort", name, "--postcopy")

    async def virsh_migrate(self, name: str, *, slow: bool = False, post_copy: bool = False) -> None:
        words = ["migrate", "--live", "--p2p", name, self.hosts.two.peer_uri, "--migrateuri", self.hosts.two.data_uri]
        if slow:
            words += ["--bandwidth", "2"]
        if post_copy:
            words += ["--postcopy", "--postcopy-bandwidth", "1"]
        process = await asyncio.create_subprocess_exec("virsh", "-c", self.hosts.one.uri, *words)
        self._by_hand.append(process)
        if not slow:
            assert await process.wait() == 0

    async def virsh_migrate_directly(self, name: str) -> asyncio.subprocess.Process:
        """Slowly, and driven by virsh, which speaks to both sides; returns as it begins."""
        words = ["migrate", "--live", name, self.hosts.two.uri, "--migrateuri", self.hosts.two.data_uri]
        process = await asyncio.create_subprocess_exec("virsh", "-c", self.hosts.one.uri, *words, "--bandwidth", "4")
        self._by_hand.append(process)
        return process

    async def virsh_destroy(self, name: str) -> None:
        await asyncio.to_thread(self.hosts.one.virsh, "destroy", name)

    async def virsh_suspend(self, name: str) -> None:
        await asyncio.to_thread(self.hosts.two.virsh, "suspend", name)

    async def virsh_resume(self, name: str) -> None:
        await asyncio.to_thread(self.hosts.one.virsh, "resume", name)

    async def restart_libvirtd(self) -> None:
        for host in (self.hosts.one, self.hosts.two):
            await asyncio.to_thread(host.restart_libvirtd)


class SimulatedWorld:
    """The twin, in a hurry: its times are those of a host a hundred times as fast."""

    def __init__(self) -> None:
        timing = Timing(
            start_s=0.01,
            shutdown_s=0.02,
            destroy_s=0.01,
            migration_s=0.02,
            refusal_s=0.005,
            save_s=0.02,
            cut_noticed_s=0.1,
            silent_s=0.1,
        )
        self._is_cut = False
        self.fabric = SimulatedFabric(SystemClock(), timing=timing, reachable=lambda *_: not self._is_cut)
        self.files: HostFiles = SimulatedFiles(self.fabric.files)
        self.fabric.add_host("one", addresses=["10.0.0.1"])
        self.fabric.add_host("two", addresses=["10.0.0.2"]).transports = frozenset({Transport.TCP})
        self._make()

    def _make(self) -> None:
        self.one = SimulatedHypervisor(self.fabric, "one")
        self.two = SimulatedHypervisor(self.fabric, "two")

    async def prepare(self) -> None:
        await self.one.open()
        await self.two.open()

    async def clean(self) -> None:
        await self.one.close()
        await self.two.close()

    def order(
        self, name: str, *, epoch: int, slow: bool = False, paused: bool = True, timeout_s: float = 60.0
    ) -> MigrationOrder:
        self._set_pace(name, slow)
        return MigrationOrder(
            name=name,
            target_uri="qemu+tcp://10.0.0.2/system",
            data_uri="tcp://10.0.0.2",
            tag=tag(name, epoch),
            paused_at_target=paused,
            timeout_s=timeout_s,
        )

    async def virsh_define(self, xml: str, *, autostart: bool = False) -> None:
        defined = Defined(xml=xml, autostart=autostart)
        self.fabric.host("one").definitions[domain_xml.parse_domain(xml).name] = defined

    async def virsh_managed_save(self, name: str) -> None:
        self.fabric.host("one").definitions[name].managed_save = True
        self.fabric.virsh_destroy(name, "one")

    async def tear(self, path: str) -> None:
        held = self.fabric.files.held[path]
        assert isinstance(held, SavedMemory)
        held.is_complete = False

    async def reopen(self) -> None:
        await self.clean()
        self._make()
        await self.prepare()

    async def crash(self, name: str) -> None:
        self.fabric.crash(name, host="one")

    async def freeze(self, name: str) -> None:
        fabric_frozen.freeze(self.fabric, name, "one")

    async def thaw(self, name: str) -> None:
        fabric_frozen.thaw(self.fabric, name, "one")

    async def cut(self) -> None:
        self._is_cut = True

    async def sever(self, name: str) -> None:
        migration = self.fabric.host("one").guests[name].migration
        assert migration is not None
        self.fabric.break_migration(migration, "connection reset by peer")

    async def virsh_migrate(self, name: str, *, slow: bool = False) -> None:
        self._set_pace(name, slow)
        self.fabric.virsh_migrate(name, "one", "two")

    async def virsh_destroy(self, name: str) -> None:
        self.fabric.virsh_destroy(name, "one")

    async def virsh_suspend(self, name: str) -> None:
        self.fabric.virsh_suspend(name, "two")

    async def virsh_resume(self, name: str) -> None:
        self.fabric.virsh_resume(name, "one")

    async def restart_libvirtd(self) -> None:
        for host in ("one", "two"):
            self.fabric.stop_libvirtd(host)
        for host in ("one", "two"):
            self.fabric.start_libvirtd(host)

    def _set_pace(self, name: str, slow: bool) -> None:
        self.fabric.set_migration_time(name, 1.0 if slow else self.fabric.timing.migration_s)


def _tear(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(TORN)


def fresh_uuid() -> str:
    return str(uuid.uuid1())


def add_slow_hook(host: LibvirtHost, seconds: int) -> Path:
    """A hook that holds up every start on ``host``; counts once libvirtd has been restarted."""
    hook = host.inside("/etc/libvirt/hooks/qemu")
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\n[ $2 = start ] && sleep {seconds}\nexit 0\n")
    hook.chmod(0o755)
    return hook
