"""One process of simulated hosts: real members on the real store; hypervisor, guard and files are twins.

``python -m bench.scale_hosts '{...}'`` reads orders, one JSON line each, from standard input and answers each with one
line. It ends with its input. Hosts that migrate to each other must stand in the same process: they share its fabric.
"""

import asyncio
import json
import resource
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.members import Identity

from bench.scale_stalls import LONG_S, Stacks, WatchedSelector
from vmha.fencing.power import Halt, PowerOff
from vmha.fencing.simulated import SimulatedGuard
from vmha.hypervisor.twin.fabric import SimulatedFabric
from vmha.hypervisor.twin.simulated import SimulatedHypervisor
from vmha.hypervisor.twin.simulated_files import SimulatedFiles
from vmha.model.clock import SystemClock
from vmha.model.ids import NodeName
from vmha.model.keys import Keys
from vmha.model.vm import FenceDeviceSpec
from vmha.node.member import Member, Ports
from vmha.node.responsive import responsive
from vmha.node.stalls import Stalls
from vmha.sim.quiet import silence_logs
from vmha.sim.world.gate import SimGate
from vmha.store.etcd import EtcdStore

BETWEEN_STARTS_S = 0.02


class Switches:
    """A power switch that all processes share: a folder that has a file for each host without power."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def cut(self, node: str) -> None:
        (self._folder / node).touch()

    async def power_off(self, node: NodeName, devices: Sequence[FenceDeviceSpec], *, halt: Halt) -> PowerOff:
        if (self._folder / node).exists():
            return PowerOff(confirmed=True, how="the switch says that it is off")
        return PowerOff(confirmed=False, how="the switch says that it is on, and cannot be told otherwise")

    async def give_back(self, node: NodeName, devices: Sequence[FenceDeviceSpec]) -> PowerOff:
        return PowerOff(confirmed=False, how="it took nothing")


@dataclass(slots=True, eq=False)
class Host:
    name: str
    guard: SimulatedGuard
    store: EtcdStore
    member: Member
    identity: Identity
    task: "asyncio.Task[None] | None" = None


@dataclass(slots=True)
class Hosts:
    """The hosts of this process."""

    endpoints: list[str]
    keys: Keys
    switches: Switches
    stalls: Stalls
    turns: Stalls
    stacks: Stacks | None
    clock: SystemClock = field(default_factory=SystemClock)
    crashes: list[str] = field(default_factory=list)
    hosts: dict[str, Host] = field(default_factory=dict)
    fabric: SimulatedFabric = field(init=False)

    def __post_init__(self) -> None:
        self.fabric = SimulatedFabric(self.clock)

    async def start(self, names: Sequence[str]) -> None:
        for name in names:
            self._start(name)
            await asyncio.sleep(BETWEEN_STARTS_S)

    def _start(self, name: str) -> None:
        self.fabric.add_host(name, addresses=(name,))
        guard = SimulatedGuard(
            self.clock,
            lambda: self.fabric.kill_managed(name),
            list_managed=lambda: [guest.name for guest in self.fabric.host(name).guests.values() if guest.tag],
        )
        store = EtcdStore(self.endpoints)
        ports = Ports(
            store=store,
            hypervisor=SimulatedHypervisor(self.fabric, name),
            files=SimulatedFiles(self.fabric.files),
            guard=guard,
            power=self.switches,
            gate=SimGate(),
            clock=self.clock,
        )
        identity = Identity(NodeName(name), name, host=f"machine-{name}")
        uri = "qemu+tcp://{address}/system"
        member = Member(ports, identity, self.keys, migration_uri=uri, migration_address=name)
        host = self.hosts[name] = Host(name, guard, store, member, identity)
        host.task = asyncio.create_task(self._run(host), name=f"member-{name}")

    async def _run(self, host: Host) -> None:
        try:
            await host.member.run()
        except Exception as error:
            self.crashes.append(f"{host.name}: {error!r}")

    async def lose(self, name: str) -> None:
        """The cord: guests and agent end at once, and nobody says goodbye."""
        host = self.hosts.pop(name)
        self.fabric.power_off(name)
        host.guard.stop()
        assert host.task
        host.task.cancel()
        await asyncio.gather(host.task, return_exceptions=True)
        await host.store.close()
        self.switches.cut(name)

    def look(self) -> dict[str, Any]:
        """What runs where by the fabric's own word, and what this process has cost."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        running = defaultdict(list)
        for name in self.hosts:
            for guest in self.fabric.host(name).guests.values():
                if any(host == name for host, _ in self.fabric.running_instances(guest.name)):
                    running[guest.name].append(name)
        return {
            "running": running,
            "leads": [name for name, host in self.hosts.items() if host.member.leader.term is not None],
            "sessions": {name: host.identity.sessions for name, host in self.hosts.items()},
            "crashes": self.crashes,
            "cpu_s": used.ru_utime + used.ru_stime,
            "peak_mib": used.ru_maxrss / 1024,
            "stall_s": self.stalls.take(),
            "long_turns": self.stalls.turns.count - dict(self.stalls.turns.cumulative())[LONG_S],
            "turn_cpu_s": self.turns.take(),
            "stood_in": self.stacks.take() if self.stacks else [],
        }

    async def close(self) -> None:
        tasks = [host.task for host in self.hosts.values() if host.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for host in self.hosts.values():
            host.guard.stop()
            await host.store.close()

    async def obey(self, order: dict[str, Any]) -> Any:
        match order["do"]:
            case "start":
                return await self.start(order["nodes"])
            case "lose":
                return [await self.lose(name) for name in order["nodes"]]
            case "look":
                return self.look()
            case "history":
                return [asdict(fact) for fact in self.fabric.history]
            case unknown:
                raise ValueError(f"do: {unknown}: nobody knows how (accepted: start, lose, look, history)")


async def serve(
    endpoints: list[str],
    cluster: str,
    folder: str,
    *,
    stalls: Stalls,
    turns: Stalls,
    stacks: Stacks | None,
) -> None:
    silence_logs()
    hosts = Hosts(endpoints, Keys(cluster), Switches(Path(folder)), stalls, turns, stacks)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        print(json.dumps(await hosts.obey(json.loads(line))), flush=True)
    await hosts.close()


if __name__ == "__main__":
    what, stood = json.loads(sys.argv[1]), Stalls()
    recorder = Stacks(SystemClock()) if what.pop("stacks") else None
    worked = Stalls()
    watched = partial(WatchedSelector, turns=worked, stacks=recorder)
    with responsive(stood, SystemClock(), selector=watched) as runner:
        runner.run(serve(**what, stalls=stood, turns=worked, stacks=recorder))
