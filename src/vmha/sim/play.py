"""Plays a scenario: builds its cluster, lets its steps happen, and hands over everything that was recorded."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from vmha.hypervisor.twin.fabric_state import Fact
from vmha.model.errors import VmhaError
from vmha.model.ids import RequestId
from vmha.model.records import Request
from vmha.policy.state.snapshot import Snapshot
from vmha.sim.rest import Observer
from vmha.sim.scenario import Fence, Scenario, SimVm, Step
from vmha.sim.world.hands import Hands, domain_xml
from vmha.sim.world.record import CommitLine
from vmha.sim.world.virtual import VirtualLoop, run_virtual
from vmha.sim.world.witness import Sight
from vmha.sim.world.world import World

HAND_STARTS_S = 1.0
"""Guests that run before they are vmha's get this long to boot."""
FIRST_REST_S = 60.0
"""Until the nodes have joined, at most. Then the vms are added, and time counts from there."""


@dataclass(slots=True, kw_only=True)
class Happening:
    """One step as it happened. ``at_s`` counts from when the vms were added; ``result`` '' when nothing refused it."""

    at_s: float
    verb: str
    words: str
    result: str = ""
    settled: bool = True
    request: RequestId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """``begin_s``: the loop's time at which the vms were added; everything recorded counts from before it."""

    scenario: Scenario
    begin_s: float
    end_s: float
    at_rest: bool
    pending: str
    happenings: tuple[Happening, ...]
    history: tuple[Fact, ...]
    record: tuple[CommitLine, ...]
    sights: tuple[Sight, ...]
    snapshot: Snapshot
    silence_s: dict[Any, float]
    crashes: tuple[str, ...]


def play(scenario: Scenario) -> Played:
    """Deterministic: the same scenario gives the same result, under any hash seed."""
    loop = VirtualLoop()
    return run_virtual(_Stage(scenario, loop).play(), loop)


class _Stage:
    def __init__(self, scenario: Scenario, loop: VirtualLoop) -> None:
        self.scenario = scenario
        self.world = World(loop)
        self.hands = Hands(self.world)
        self.observer = Observer(self.world)
        self.vms: dict[str, SimVm] = {}
        self.happenings: list[Happening] = []

    async def play(self) -> Played:
        await self._build()
        self.begin_s = self.world.clock.now()
        for rule in self.scenario.rules:
            await self.hands.add_rule(rule)
        for vm in self.scenario.vms:
            await self._add(vm)
        for service in self.scenario.services:
            await self.hands.add_service(service)
        for step in self.scenario.steps:
            await self._happen(step)
        at_rest = await self._settle()
        return Played(
            scenario=self.scenario,
            begin_s=self.begin_s,
            end_s=self.world.clock.now(),
            at_rest=at_rest,
            pending="" if at_rest else self.observer.what_is_pending() or "something goes on changing",
            happenings=tuple(self.happenings),
            history=tuple(self.world.fabric.history),
            record=tuple(self.world.record.catch_up().lines),
            sights=tuple(self.world.sights),
            snapshot=self.observer.snapshot,
            silence_s=self.observer.silence_s(),
            crashes=tuple(self.world.crashes),
        )

    async def _settle(self) -> bool:
        settling = self.scenario.settling
        return await self.observer.settle(quiet_s=settling.quiet_s, at_most_s=settling.at_most_s)

    # --- the cluster

    async def _build(self) -> None:
        scenario, hands = self.scenario, self.hands
        self.observer.start()
        await hands.configure(scenario.config)
        for node in scenario.nodes:
            self.world.add_host(node.name, memory_mib=node.memory_mib, vcpus=node.vcpus, watchdog_s=node.watchdog_s)
            await hands.register(
                node.name,
                fence=node.switch is not Fence.NONE,
                labels=node.labels,
                capacity=node.capacity,
                maintenance=node.maintenance,
            )
            if node.switch is Fence.BROKEN:
                hands.break_switch(node.name)
            if node.on:
                hands.host(node.name).power_on()
            else:
                self.world.fabric.power_off(node.name)
        for domain in scenario.failover_domains:
            await hands.add_domain(domain)
        for vm in scenario.vms:
            if vm.running_on:
                self.vms[vm.name] = vm
                self._start_by_hand(vm.name, vm.running_on)
        await asyncio.sleep(HAND_STARTS_S)
        await self.observer.settle(quiet_s=1.0, at_most_s=FIRST_REST_S)

    async def _add(self, vm: SimVm) -> None:
        self.vms[vm.name] = vm
        fabric = self.world.fabric
        for fault in vm.faults.start_fails:
            fabric.fail_start(vm.name, host=fault.node, times=fault.times, message=fault.message)
        if vm.faults.migration_fails:
            fabric.fail_migration(vm.name, times=vm.faults.migration_fails)
        if vm.faults.ignores_acpi:
            fabric.ignore_acpi(vm.name)
        if vm.migration_s is not None:
            fabric.set_migration_time(vm.name, vm.migration_s)
        await self.hands.add(vm.name, memory_mib=vm.memory_mib, vcpus=vm.vcpus, **vm.spec_fields())

    def _start_by_hand(self, vm: str, node: str) -> None:
        size = self.vms[vm]
        self.hands.virsh_start(domain_xml(vm, memory_mib=size.memory_mib, vcpus=size.vcpus), node)

    # --- the steps

    async def _happen(self, step: Step) -> None:
        settled = True
        if step.at is None:
            settled = await self._settle()
        else:
            await asyncio.sleep(max(0.0, self.begin_s + step.at - self.world.clock.now()))
        at_s = self.world.clock.now() - self.begin_s
        happening = Happening(at_s=at_s, verb=step.verb, words=in_words(step), settled=settled)
        self.happenings.append(happening)
        try:
            done = self._doer(step)(step.argument)
            result = await done if done is not None else None
        except VmhaError as error:
            happening.result = f"refused: {error}"
        else:
            if isinstance(result, Request):
                happening.request = result.id

    def _doer(self, step: Step) -> Callable[[Any], Awaitable[Any] | None]:
        hands, world, fabric = self.hands, self.world, self.world.fabric
        table: dict[str, Callable[[Any], Awaitable[Any] | None]] = {
            "power_off": lambda node: hands.host(node).power_off(),
            "power_on": lambda node: hands.host(node).power_on(),
            "shutdown": hands.shutdown,
            "cut": lambda node: hands.host(node).cut(),
            "heal": lambda node: hands.host(node).heal(),
            "freeze": lambda node: hands.host(node).freeze(),
            "thaw": lambda node: hands.host(node).thaw(),
            "agent_stop": lambda node: hands.host(node).stop_agent(),
            "agent_start": lambda node: hands.host(node).start_agent(),
            "libvirtd_stop": lambda node: hands.host(node).stop_libvirtd(),
            "libvirtd_start": lambda node: hands.host(node).start_libvirtd(),
            "break_switch": hands.break_switch,
            "mend_switch": hands.mend_switch,
            "etcd_stop": lambda _: world.etcd.stop(),
            "etcd_start": lambda _: world.etcd.start(),
            "drain": hands.drain,
            "undrain": hands.undrain,
            "confirm_off": hands.confirm_off,
            "add": self._add,
            "remove": hands.remove,
            "start": hands.start,
            "stop": hands.stop,
            "enable": hands.enable,
            "disable": hands.disable,
            "restart": hands.restart,
            "migrate": lambda move: hands.migrate(move.vm, move.to),
            "relocate": lambda move: hands.relocate(move.vm, move.to),
            "confirm_gone": hands.confirm_gone,
            "guest_crash": hands.crash,
            "guest_hang": hands.hang,
            "guest_shutdown": hands.power_off_guest,
            "virsh_start": lambda start: self._start_by_hand(start.vm, start.on),
            "virsh_destroy": hands.virsh_destroy,
            "virsh_suspend": hands.virsh_suspend,
            "virsh_resume": hands.virsh_resume,
            "virsh_migrate": lambda move: hands.virsh_migrate(move.vm, move.to),
            "fail_start": lambda f: fabric.fail_start(f.vm, host=f.node, times=f.times, message=f.message),
            "fail_migration": lambda f: fabric.fail_migration(f.vm, times=f.times),
            "wait": asyncio.sleep,
        }
        return table[step.verb]


def in_words(step: Step) -> str:
    """As one would say it on a command line."""
    argument = step.argument
    if argument is True:
        return step.verb
    if isinstance(argument, SimVm):
        return f"{step.verb} {argument.name}"
    if isinstance(argument, float | int):
        return f"{step.verb} {argument:g} s"
    if isinstance(argument, str):
        return f"{step.verb} {argument}"
    given = [f"{key}={value}" for key, value in argument.model_dump().items() if value is not None]
    return f"{step.verb} {' '.join(given)}"
