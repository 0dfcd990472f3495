"""Doing it: each fault of the schedule as calls to the lab, shell scripts inside its machines, and operator's verbs.

A strike never fails the round: a host that is off already can not be frozen, and that is what is put down. Mending
undoes one strike when its time is over; healing makes everything whole, whatever was done.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

from vmha.lab import client
from vmha.lab.chaos.cluster import Cluster
from vmha.lab.chaos.inside import Inside, Said
from vmha.lab.chaos.judge import Done
from vmha.lab.chaos.load import BEGIN_LOAD, END_LOAD
from vmha.lab.chaos.schedule import NEEDS_WATCHDOG, Fault, Role, Shape, Strike, Target
from vmha.lab.layout import ETCD_CLIENT_PORT, ETCD_FIRST_OCTET, LAN_PREFIX, LabDir, Link
from vmha.model.clock import Clock
from vmha.model.errors import Retryable, VmhaError
from vmha.model.records import Verb
from vmha.model.vm import Desired

HEAL_TIMEOUT_S = 90.0
_LAB_TIMEOUT_S = 60.0
_AGAIN_S = 0.3
_NO_WATCHDOG_S = 1.0
_BOTH = (Link.LAN, Link.STORAGE)
_RUN = "/run/vmha-lab"
# One by one: libvirt ends its pid files without a newline, and all of them in one read make one long number.
_GO_ON = f'for f in {_RUN}/*.pid /run/libvirt/qemu/*.pid; do kill -CONT "$(cat "$f")"; done 2>/dev/null; true'
_SUSPENDED = "virsh domstate --reason {vm} | grep -q 'paused (user)' && virsh resume {vm}; true"
_COPY = "virsh dumpxml {vm}"
_CREATE = "cat > /tmp/copy.xml <<'XML'\n{xml}\nXML\nvirsh create /tmp/copy.xml"
_MOVE = "virsh migrate --live --p2p {vm} qemu+tcp://{to}/system tcp://{to}"
_ETCD_LEADER = "etcdctl endpoint status --command-timeout=2s -w fields 2>/dev/null"


class NotPossible(Exception):
    """This strike can not be done now; the words say why."""


class Strikes:
    def __init__(self, lab: LabDir, shape: Shape, cluster: Cluster, clock: Clock) -> None:
        self._lab = lab
        self._shape = shape
        self._cluster = cluster
        self._clock = clock
        self.inside = Inside(lab)
        self._copied: dict[str, str] = {}

    # -- one strike ----------------------------------------------------------------------------------------------------

    async def play(self, strike: Strike, began_s: float) -> Done:
        """Wait for its instant, do it, wait until it is over, mend it."""
        await asyncio.sleep(max(0.0, strike.at_s + began_s - self._clock.now()))
        at_s = round(self._clock.now() - began_s, 2)
        name = ""
        try:
            name = await self._aim(strike.target)
            lasts_s = await self._allowed_s(strike, name)
            said = await self._do(strike, name)
        except (NotPossible, VmhaError, OSError, TimeoutError) as error:
            return Done(strike=strike, at_s=at_s, target=name, said=str(error) or type(error).__name__)
        if lasts_s:
            await asyncio.sleep(lasts_s)
            with suppress(NotPossible, VmhaError, OSError, TimeoutError):  # healing looks at everything anyway
                await self._mend(strike, name)
        let_in = strike.fault is Fault.VIRSH_COPY and said.code == 0
        shortened = "shortened: no watchdog is armed" if lasts_s != strike.lasts_s else ""
        return Done(strike=strike, at_s=at_s, target=name, said=shortened or said.why_not, let_in=let_in)

    async def _aim(self, target: Target) -> str:
        match target.role:
            case Role.HOST | Role.MEMBER | Role.VM:
                return target.name
            case Role.HOLDER:
                found = self._cluster.holder(target.name)
            case Role.LEADER:
                found = self._cluster.leader()
            case Role.ETCD_LEADER:
                found = await self._etcd_leader()
        if not found:
            raise NotPossible(f"{target.words}: there is none")
        return found

    async def _etcd_leader(self) -> str:
        for member in self._shape.members:
            said = await self.inside.run(member, _ETCD_LEADER, timeout_s=4)
            if found := find_etcd_leader(said.text, self._shape.members):
                return found
        return ""

    async def _allowed_s(self, strike: Strike, name: str) -> float:
        """Where nothing would end the guests of a host that stands still, it stands still only for a moment."""
        if strike.fault not in NEEDS_WATCHDOG or strike.lasts_s <= _NO_WATCHDOG_S:
            return strike.lasts_s
        watchdog = (await self._machine(name))["watchdog"]
        return strike.lasts_s if watchdog and watchdog["armed"] else _NO_WATCHDOG_S

    async def _do(self, strike: Strike, name: str) -> Said:
        fault, vm, to = strike.fault, strike.target.name, strike.to
        match fault:
            case Fault.POWER_CUT | Fault.ETCD_POWER_CUT:
                await self._ask("kill", name)
            case Fault.REBOOT:
                await self._ask("kill", name)
                await self._ask("start", name)
            case Fault.FREEZE | Fault.ETCD_FREEZE:
                await self._ask("freeze", name)
            case Fault.CUT_LAN | Fault.CUT_STORAGE | Fault.CUT_BOTH | Fault.ETCD_CUT:
                for link in _LINKS[fault]:
                    await self._ask("cut", name, link=link)
            case Fault.ETCD_ALL_STOP:
                await _all(self.inside.run(member, _signal("STOP", "etcd")) for member in self._shape.members)
            case Fault.VIRSH_COPY:
                return await self._start_a_copy(vm, to)
            case Fault.VIRSH_MIGRATE:
                return await self._virsh(vm, _MOVE.format(vm=vm, to=self._elsewhere(vm, to)))
            case Fault.VIRSH_DESTROY | Fault.VIRSH_SUSPEND | Fault.VIRSH_SHUTDOWN:
                return await self._virsh(vm, f"{fault} {vm}")
            case Fault.KILL_QEMU | Fault.STOP_QEMU:
                number = "KILL" if fault is Fault.KILL_QEMU else "STOP"
                script = f"pid=$(cat /run/libvirt/qemu/{vm}.pid) && kill -{number} $pid"
                return await (self.inside.run(to, script) if to else self._virsh(vm, script))
            case Fault.LOAD:
                return await self.inside.run(name, BEGIN_LOAD)
            case Fault.MIGRATE:
                await self._cluster.ask(Verb.MIGRATE, vm, self._elsewhere(vm, to))
            case Fault.RELOCATE:
                await self._cluster.ask(Verb.RELOCATE, vm, self._elsewhere(vm, to))
            case Fault.RESTART:
                await self._cluster.ask(Verb.RESTART, vm, "")
            case Fault.STOP:
                await self._cluster.want(vm, Desired.STOPPED)
            case Fault.DRAIN:
                await self._cluster.drain(name)
            case _:
                return await self.inside.run(name, _signal(*_SIGNALS[fault]))
        return Said(code=0, text="")

    async def _mend(self, strike: Strike, name: str) -> None:
        match strike.fault:
            case Fault.POWER_CUT | Fault.ETCD_POWER_CUT:
                await self._ask("start", name)
            case Fault.FREEZE | Fault.ETCD_FREEZE:
                await self._ask("thaw", name)
            case Fault.CUT_LAN | Fault.CUT_STORAGE | Fault.CUT_BOTH | Fault.ETCD_CUT:
                for link in _LINKS[strike.fault]:
                    await self._ask("heal", name, link=link)
            case Fault.ETCD_ALL_STOP:
                await _all(self.inside.run(member, _GO_ON) for member in self._shape.members)
            case Fault.STOP_QEMU:
                await _all(self.inside.run(host, _GO_ON) for host in self._shape.hosts)
            case Fault.LOAD:
                await self.inside.run(name, END_LOAD)
            case Fault.VIRSH_SUSPEND:
                await self._virsh(strike.target.name, _SUSPENDED.format(vm=strike.target.name))
            case Fault.STOP:
                await self._cluster.want(strike.target.name, Desired.RUNNING)
            case Fault.DRAIN:
                await self._cluster.undrain(name)
            case _:
                await self.inside.run(name, _GO_ON)

    def _elsewhere(self, vm: str, to: str) -> str:
        """``to``, or the next host when the vm is there already."""
        if self._cluster.holder(vm) != to:
            return to
        hosts = self._shape.hosts
        return hosts[(hosts.index(to) + 1) % len(hosts)]

    async def _virsh(self, vm: str, script: str) -> Said:
        host = self._cluster.holder(vm)
        if not host:
            raise NotPossible(f"{vm} runs nowhere")
        return await self.inside.run(host, script)

    async def _start_a_copy(self, vm: str, to: str) -> Said:
        """As somebody who has the definition would: from any host that shows it, or from an earlier look."""
        if host := self._cluster.holder(vm):
            shown = await self.inside.run(host, _COPY.format(vm=vm), timeout_s=3)
            if shown.code == 0:
                self._copied[vm] = shown.text
        if vm not in self._copied:
            raise NotPossible(f"{vm} shows its definition nowhere")
        to = self._elsewhere(vm, to)
        said = await self.inside.run(to, _CREATE.format(xml=self._copied[vm]))
        return said if said.code else Said(code=0, text=to)

    # -- healing -------------------------------------------------------------------------------------------------------

    async def mend_machines(self) -> None:
        """Every machine is on, with its cables in, and nothing in it stands still.

        Raises:
            Retryable: it could not be done within ``HEAL_TIMEOUT_S``; the last reason is named.
        """
        end_s = self._clock.now() + HEAL_TIMEOUT_S
        await _all(self._heal_machine(name, end_s) for name in (*self._shape.members, *self._shape.hosts))

    async def switch_on(self) -> list[str]:
        """Switch on whatever is off, and say what was: a fence device leaves it off, a watchdog boots it itself."""
        status = await asyncio.to_thread(client.ask, self._lab, "status", timeout_s=_LAB_TIMEOUT_S)
        off = [node["name"] for node in status["nodes"] if node["power"] == "off"]
        for name in off:
            with suppress(VmhaError):
                await self._ask("start", name)
        return off

    async def take_orders_back(self, suspended: list[str]) -> None:
        """What operators did, and what was ``suspended`` by virsh. Raises: Retryable, as above."""
        end_s = self._clock.now() + HEAL_TIMEOUT_S
        for host in self._shape.hosts:
            await self._insist(partial(self._cluster.undrain, host), end_s)
        for vm in self._shape.vms:
            await self._insist(partial(self._cluster.want, vm, Desired.RUNNING), end_s)
        for vm in suspended:
            with suppress(NotPossible, OSError):
                await self._virsh(vm, _SUSPENDED.format(vm=vm))

    async def _heal_machine(self, name: str, end_s: float) -> None:
        """Until it is on, its cables are in and nothing in it stands still; its watchdog may reset it meanwhile."""
        while True:
            try:
                machine = await self._machine(name)
                for link in machine["cut"]:
                    await self._ask("heal", name, link=link)
                if machine["frozen"]:
                    await self._ask("thaw", name)
                if machine["power"] == "off":
                    await self._ask("start", name)
                if (await self.inside.run(name, f"{END_LOAD}; {_GO_ON}")).code == 0:
                    return
                raise Retryable(f"{name} lets nobody in")
            except (VmhaError, OSError) as error:
                if self._clock.now() > end_s:
                    raise Retryable(f"{name} can not be healed: {error}") from error
            await asyncio.sleep(_AGAIN_S)

    async def _insist(self, work: Callable[[], Awaitable[object]], end_s: float) -> None:
        while True:
            try:
                await work()
                return
            except VmhaError as error:
                if self._clock.now() > end_s:
                    raise Retryable(f"the cluster takes no order: {error}") from error
            await asyncio.sleep(_AGAIN_S)

    # -- the lab -------------------------------------------------------------------------------------------------------

    async def _ask(self, op: str, node: str, **arguments: str) -> Any:
        return await asyncio.to_thread(client.ask, self._lab, op, timeout_s=_LAB_TIMEOUT_S, node=node, **arguments)

    async def _machine(self, name: str) -> dict[str, Any]:
        status = await asyncio.to_thread(client.ask, self._lab, "status", timeout_s=_LAB_TIMEOUT_S)
        found: dict[str, Any] = next(node for node in status["nodes"] if node["name"] == name)
        return found


_LINKS: dict[Fault, tuple[Link, ...]] = {
    Fault.CUT_LAN: (Link.LAN,),
    Fault.CUT_STORAGE: (Link.STORAGE,),
    Fault.CUT_BOTH: _BOTH,
    Fault.ETCD_CUT: (Link.LAN,),
}
_SIGNALS: dict[Fault, tuple[str, ...]] = {
    Fault.KILL_AGENT: ("KILL", "agent"),
    Fault.KILL_GUARD: ("KILL", "guard"),
    Fault.KILL_AGENT_AND_GUARD: ("KILL", "agent", "guard"),
    Fault.KILL_LIBVIRTD: ("KILL", "libvirtd"),
    Fault.STOP_AGENT: ("STOP", "agent"),
    Fault.STOP_GUARD: ("STOP", "guard"),
    Fault.STOP_LIBVIRTD: ("STOP", "libvirtd"),
    Fault.ETCD_KILL: ("KILL", "etcd"),
    Fault.ETCD_STOP: ("STOP", "etcd"),
}


def _signal(number: str, *services: str) -> str:
    return f"kill -{number} " + " ".join(f"$(cat {_RUN}/{service}.pid)" for service in services)


def find_etcd_leader(fields: str, members: tuple[str, ...]) -> str:
    """The leading member by ``etcdctl endpoint status -w fields``; '' when none of those that answer leads.

    The answers come one after another, each with its own id, the leader's id and the endpoint that was asked.
    """
    own, is_leader = "", False
    for line in fields.splitlines():
        key, _, value = line.partition(":")
        match key.strip().strip('"'), value.strip().strip('"'):
            case "MemberID", number:
                own = number
            case "Leader", number:
                is_leader = number == own
            case "Endpoint", endpoint if is_leader:
                return _member_at(endpoint, members)
    return ""


def _member_at(endpoint: str, members: tuple[str, ...]) -> str:
    for number, member in enumerate(members):
        if endpoint.endswith(f"{LAN_PREFIX}.{ETCD_FIRST_OCTET + number}:{ETCD_CLIENT_PORT}"):
            return member
    return ""


async def _all(work: Any) -> None:
    """All at once; the first error after all have ended."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
