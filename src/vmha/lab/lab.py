"""Pid 1 of the lab: owns the bridges, the machines, the shared storage, the power switch and the control socket.

It lives in the lab's own namespaces. When it dies, the kernel kills every machine and removes every bridge, cable and
mount; when the supervisor dies, it dies. Its event loop is also the clock of the hosts' watchdogs, so nothing here
blocks, and a loop that stood still anyway is put on record (``lab-stall``): timings of that stretch prove nothing.
"""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vmha.lab import network
from vmha.lab.control import Answer, ControlServer
from vmha.lab.forward import Forwarder, Target
from vmha.lab.freezer import CgroupFreezer, SignalFreezer, find_cgroup_root
from vmha.lab.journal import Journal
from vmha.lab.layout import (
    ETCD_CLIENT_PORT,
    STORAGE_ADDRESS,
    STORAGE_PORT,
    SWITCH_ADDRESS,
    SWITCH_PORT,
    Kind,
    LabDir,
    LabSpec,
    Link,
    Tier,
    find_link,
    find_node,
)
from vmha.lab.machine import Machine, MachineFailed, Power
from vmha.lab.nbd import StorageServer
from vmha.lab.switch import PowerSwitch
from vmha.model.clock import SystemClock
from vmha.model.errors import Rejected, VmhaError

_READY_TIMEOUT_S = 60.0
_READY_POLL_S = 0.02
_PROBE_TIMEOUT_S = 0.3
_STALL_LOOK_S = 0.2
_STALL_S = 0.5

Tell = Callable[[dict[str, Any]], None]


class Lab:
    """Everything that runs in pid 1."""

    def __init__(self, spec: LabSpec, tell: Tell) -> None:
        """``tell`` reports the progress of the start to whoever asked for the lab."""
        self._spec = spec
        self._dir = LabDir(Path(spec.dir))
        self._tell = tell
        self._clock = SystemClock()
        self._journal = Journal(self._dir.events, self._clock)
        self._has_fuse = os.access("/dev/fuse", os.R_OK | os.W_OK)
        self._cgroups = self._make_cgroup()
        self._machines = {node.name: self._make_machine(node.name) for node in spec.nodes}
        names = {node.storage_address: node.name for node in spec.host_specs}
        self._storage = StorageServer(
            self._dir.storage,
            journal=self._journal,
            clock=self._clock,
            host_name=lambda address: names.get(address, address),
        )
        self._forwarder = Forwarder(self._etcd_targets)
        self._switch = PowerSwitch({node.name: self._machines[node.name] for node in spec.host_specs}, self._storage)
        self._control = ControlServer(self._handle)
        self._stop = asyncio.Event()
        self._stalls = 0
        self._ops: dict[str, Callable[[dict[str, Any]], Awaitable[Answer]]] = {
            "status": self._status,
            "kill": self._kill,
            "start": self._start,
            "cut": self._cut,
            "heal": self._heal,
            "freeze": self._freeze,
            "thaw": self._thaw,
            "enter": self._enter,
            "storage": self._storage_report,
            "mark": self._storage_mark,
            "forget": self._storage_forget,
            "down": self._down,
        }

    async def run(self, lifeline_fd: int) -> None:
        """Bring the lab up, then serve until it is asked to end or ``lifeline_fd`` says that the supervisor died."""
        asyncio.get_running_loop().add_reader(lifeline_fd, self._stop.set)
        await network.build_bridges()
        await self._storage.start(STORAGE_ADDRESS, STORAGE_PORT)
        await self._switch.start(SWITCH_ADDRESS, SWITCH_PORT)
        await self._power_everything_on()
        self._dir.etcd.unlink(missing_ok=True)
        await self._forwarder.start(self._dir.etcd)
        for machine in self._machines.values():
            machine.on_change = self._forwarder.drop_unusable
        self._control.start(self._dir.control)
        self._tell({"done": True, "watchdog": self._has_fuse, "tier": self._spec.tier})
        stalls = asyncio.create_task(self._watch_own_clock(), name="stalls")
        await self._stop.wait()
        stalls.cancel()
        self._journal.note("lab-down")

    async def _power_everything_on(self) -> None:
        started_s = self._clock.now()
        machines = self._machines.values()
        # All networks first: a neighbour asked for before its card is up is asked again only after a whole second.
        await _all(machine.assemble() for machine in machines)
        self._tell_step("machines", started_s)
        await _all(machine.boot() for machine in machines)
        hosts = [machine for machine in machines if machine.node.kind is Kind.HOST]
        members = [machine for machine in machines if machine.node.kind is Kind.ETCD]

        async def await_all(what: str, group: list[Machine]) -> None:
            await _all(self._await_service(machine) for machine in group)
            self._tell_step(what, started_s)

        await _all([await_all("libvirt", hosts), await_all("etcd", members)])

    def _tell_step(self, step: str, started_s: float) -> None:
        seconds = round(self._clock.now() - started_s, 2)
        self._journal.note("up-step", step=step, seconds=seconds)
        self._tell({"step": step, "seconds": seconds})

    # -- what a machine serves ---------------------------------------------------------------------------------------

    async def _await_service(self, machine: Machine) -> None:
        """Until libvirtd (or etcd) of this machine answers, or the machine goes off."""
        boot_id, probe = machine.boot_id, self._probe(machine)
        async with asyncio.timeout(_READY_TIMEOUT_S):
            while not await probe(machine):
                if machine.power is not Power.ON or machine.boot_id != boot_id:
                    raise MachineFailed(f"{machine.node.name} went off while it was starting")
                await asyncio.sleep(_READY_POLL_S)

    def _probe(self, machine: Machine) -> Callable[[Machine], Awaitable[bool]]:
        if machine.node.kind is Kind.HOST:
            return _probe_libvirt
        # A member without a quorum can not become healthy: then it is enough that its process is there.
        return _probe_etcd if 2 * len(self._etcd_targets()) > self._spec.etcd else _probe_etcd_port

    def _etcd_targets(self) -> list[Target]:
        return [
            Target(name=machine.node.name, address=machine.node.address, port=ETCD_CLIENT_PORT)
            for machine in self._machines.values()
            if machine.node.kind is Kind.ETCD
            and machine.power is Power.ON
            and not machine.is_frozen
            and Link.LAN not in machine.cut
        ]

    # -- operations --------------------------------------------------------------------------------------------------

    async def _handle(self, request: dict[str, Any]) -> Answer:
        operation = self._ops.get(request["op"])
        if operation is None:
            raise Rejected(f"the running lab knows no {request['op']!r}: it was started by another version")
        return await operation(request)

    def _machine(self, request: dict[str, Any]) -> Machine:
        return self._machines[find_node(self._spec, request["node"]).name]

    async def _status(self, _: dict[str, Any]) -> Answer:
        return Answer(
            value={
                "dir": self._spec.dir,
                "tier": self._spec.tier,
                "profile": self._spec.profile,
                "agents": self._spec.agents,
                "etcd_endpoint": f"unix:{self._dir.etcd}",
                "nodes": [self._describe(machine) for machine in self._machines.values()],
                "storage": self._storage_values(),
                "stalls": self._stalls,
            }
        )

    def _describe(self, machine: Machine) -> dict[str, Any]:
        node, watchdog = machine.node, machine.watchdog
        left_s = watchdog.time_left_s() if watchdog else None
        return {
            "name": node.name,
            "kind": node.kind,
            "power": "off" if machine.power is Power.OFF else "on",
            "frozen": machine.is_frozen,
            "cut": sorted(machine.cut),
            "address": node.address,
            "boots": machine.boots,
            "boot_id": machine.boot_id,
            "watchdog": watchdog and {"timeout_s": watchdog.timeout_s, "armed": watchdog.is_armed, "left_s": left_s},
            "directory": str(self._dir.node(node.name)),
        }

    async def _kill(self, request: dict[str, Any]) -> Answer:
        await self._machine(request).cut_power(why="vmha lab kill")
        return Answer()

    async def _start(self, request: dict[str, Any]) -> Answer:
        machine = self._machine(request)
        await machine.power_on()
        await self._await_service(machine)
        return Answer(value={"boots": machine.boots, "boot_id": machine.boot_id})

    async def _cut(self, request: dict[str, Any]) -> Answer:
        machine = self._machine(request)
        await machine.set_link(find_link(machine.node, request["link"]), up=False)
        return Answer()

    async def _heal(self, request: dict[str, Any]) -> Answer:
        machine = self._machine(request)
        await machine.set_link(find_link(machine.node, request["link"]), up=True)
        return Answer()

    async def _freeze(self, request: dict[str, Any]) -> Answer:
        await self._machine(request).freeze()
        return Answer()

    async def _thaw(self, request: dict[str, Any]) -> Answer:
        await self._machine(request).thaw()
        return Answer()

    async def _enter(self, request: dict[str, Any]) -> Answer:
        fds = self._machine(request).entrance()
        return Answer(value={"tier": self._spec.tier}, fds=fds, close_after=fds[1:])

    def _storage_values(self) -> dict[str, Any]:
        return {name: asdict(report) for name, report in self._storage.reports().items()}

    async def _storage_report(self, _: dict[str, Any]) -> Answer:
        return Answer(value=self._storage_values())

    async def _storage_mark(self, request: dict[str, Any]) -> Answer:
        self._storage.mark(request["export"])
        return Answer()

    async def _storage_forget(self, request: dict[str, Any]) -> Answer:
        self._storage.forget(request["export"])
        return Answer()

    async def _down(self, _: dict[str, Any]) -> Answer:
        asyncio.get_running_loop().call_later(0.02, self._stop.set)  # after the answer is sent
        return Answer()

    # -- parts -------------------------------------------------------------------------------------------------------

    def _make_cgroup(self) -> Path | None:
        root = find_cgroup_root() if self._spec.tier is Tier.ROOT else None
        if root is None:
            return None
        path = root / self._spec.cgroup_name
        try:
            path.mkdir(exist_ok=True)
        except OSError:
            return None  # a read-only cgroup tree, as in a container: signals do
        return path

    def _make_machine(self, name: str) -> Machine:
        freezer = CgroupFreezer(self._cgroups / name) if self._cgroups else SignalFreezer()
        node = find_node(self._spec, name)
        return Machine(self._spec, node, freezer=freezer, journal=self._journal, with_watchdog=self._has_fuse)

    async def _watch_own_clock(self) -> None:
        while True:
            before_s = self._clock.now()
            await asyncio.sleep(_STALL_LOOK_S)
            late_s = self._clock.now() - before_s - _STALL_LOOK_S
            if late_s > _STALL_S:
                self._stalls += 1
                self._journal.note("lab-stall", seconds=round(late_s, 2))


async def _all(work: Any) -> None:
    """Run all of it at once; the first failure ends the rest and is raised as itself."""
    first: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            for coroutine in work:
                group.create_task(coroutine)
    except* (VmhaError, OSError, TimeoutError) as errors:
        first = errors.exceptions[0]  # raised below: what is raised in here comes out as a group again
    if first is not None:
        raise first


async def _probe_libvirt(machine: Machine) -> bool:
    """Through the host's own root: over the network the first look would cost a second of neighbour discovery."""
    try:
        _, writer = await asyncio.open_unix_connection(f"/proc/{machine.pid}/root/run/libvirt/libvirt-sock")
    except OSError:
        return False
    writer.close()
    return True


async def _probe_etcd(machine: Machine) -> bool:
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(machine.node.address, ETCD_CLIENT_PORT)
            writer.write(b"GET /health HTTP/1.0\r\n\r\n")
            answer = await reader.read(4096)
            writer.close()
    except (OSError, TimeoutError):
        return False
    return b'"true"' in answer


async def _probe_etcd_port(machine: Machine) -> bool:
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            _, writer = await asyncio.open_connection(machine.node.address, ETCD_CLIENT_PORT)
            writer.close()
    except (OSError, TimeoutError):
        return False
    return True


def run(spec: LabSpec, progress_fd: int, lifeline_fd: int) -> None:
    """Serve as pid 1 of the lab until it ends; a failure to come up is told through ``progress_fd``."""

    def tell(message: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):  # whoever asked for the lab has left; the lab stays
            os.write(progress_fd, json.dumps(message).encode() + b"\n")

    if sys.version_info < (3, 12):
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())  # no thread per child, and no waiting for any child
    try:
        asyncio.run(Lab(spec, tell).run(lifeline_fd))
    except (VmhaError, OSError, TimeoutError) as error:
        tell({"error": f"{error or type(error).__name__}"})
        raise
