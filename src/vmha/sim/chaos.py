"""Seeded faults: a random cluster, a random life, then everything mended and one question: do all vms run again?

    safety phase: random faults and operations, at random instants, many at once
    healing:      power, cables, daemons, store, switches: all as they should be
    liveness:     the cluster comes to rest within ``LIVENESS_S`` and every vm that is wanted running runs

A life is drawn as data first (``draw``), then played; the same schedule gives the same life, to the last byte.
Violations name the laws of ``invariants``.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from vmha.hypervisor.port import DomainState
from vmha.model.errors import VmhaError
from vmha.model.settings import ClusterConfig, Fencing
from vmha.sim.drawing.draw import Options, draw
from vmha.sim.drawing.draw_relations import owed
from vmha.sim.faults.catalogue import by_name
from vmha.sim.faults.of_vms import MEMORY_MIB
from vmha.sim.faults.schedule import Schedule, Step
from vmha.sim.faults.stage import SHUTDOWN, Stage
from vmha.sim.journal import JournalLine, read_journal
from vmha.sim.judge.invariants import Blocked, Violation, check_liveness, check_safety
from vmha.sim.judge.of_fitness import check_fitness
from vmha.sim.judge.of_relations import check_relations
from vmha.sim.judge.of_services import check_together
from vmha.sim.rest import Observer
from vmha.sim.world.hands import Hands
from vmha.sim.world.virtual import VirtualLoop, run_virtual
from vmha.sim.world.world import World

LIVENESS_S = 300.0
QUIET_S = 4.0
FIRST_REST_S = 60.0
HOST_MEMORY_MIB = 65536
TRIM_EVERY = 100
RESUME_AGAIN_S = 0.5
SILENT_S = 1.0
"""What is frozen, is not for long here: it is noticed sooner than on a real host."""
_OTHERWISE = ("migration", "on_pause", "from_file")
CONFIRMATIONS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What became of one schedule.

    ``reached``: how often what happened: journal entries by kind, proofs, steps that struck ("struck") or found
    nothing to do ("passed over").
    """

    seed: int
    violations: tuple[Violation, ...]
    blocked: tuple[Blocked, ...]
    crashes: tuple[str, ...]
    restless: str
    """What was still pending when the liveness phase ran out; '' when the cluster came to rest."""
    done: tuple[str, ...]
    journal: tuple[JournalLine, ...]
    reached: Mapping[str, int]
    begin_s: float
    """When the cluster had come to rest: steps count from there."""
    simulated_s: float

    @property
    def is_good(self) -> bool:
        return not (self.violations or self.blocked or self.crashes or self.restless)

    def what_is_wrong(self) -> list[str]:
        lines = [f"{v.at_s:9.3f} {v.law}: {v.text}" for v in self.violations]
        lines += [f"{b.vm} does not run at the end: {b.reason or 'and nothing says why'}" for b in self.blocked]
        lines += [f"an agent crashed: {crash}" for crash in self.crashes]
        if self.restless:
            lines.append(f"no rest within {LIVENESS_S:g} s of healing: {self.restless}")
        return lines

    def in_short(self) -> "Life":
        """Without what fills the memory when there are a thousand of them."""
        return replace(self, done=(), journal=())

    def laws(self) -> frozenset[str]:
        """What it breaks, in a word each: the same breach of a shorter schedule is the same failure."""
        found = {violation.law for violation in self.violations}
        found |= {"blocked"} if self.blocked else set()
        found |= {"crashed"} if self.crashes else set()
        return frozenset(found | ({"restless"} if self.restless else set()))


def live(seed: int, options: Options, *, forgets: bool = False) -> Life:
    """The life that ``seed`` and ``options`` draw."""
    return live_through(draw(seed, options), forgets=forgets)


def live_through(schedule: Schedule, *, forgets: bool = False) -> Life:
    """``forgets``: nobody looks at its world when it is over."""
    loop = VirtualLoop()
    chaos = _Chaos(schedule, loop)
    life = run_virtual(chaos.live(), loop)
    if forgets:
        chaos.forget()
    return life


class _Chaos:
    def __init__(self, schedule: Schedule, loop: VirtualLoop) -> None:
        self._schedule, self._loop = schedule, loop

    async def live(self) -> Life:
        self._world = World(self._loop, peers=self._schedule.peers)
        self._world.fabric.is_own_switch_atomic = True
        self._world.fabric.timing = replace(self._world.fabric.timing, silent_s=SILENT_S)
        self._hands = Hands(self._world)
        self._observer = Observer(self._world)
        self._stage = Stage(self._world, self._hands, self._schedule)
        self._done: list[str] = []
        self._reached: Counter[str] = Counter()
        self._observer.start()
        await self._build()
        await self._observer.settle(quiet_s=1.0, at_most_s=FIRST_REST_S)
        self._observer.stop()
        begin = self._begin_s = self._loop.time()
        for number, step in enumerate(self._schedule.steps):
            if number % TRIM_EVERY == 0:
                self._world.trim_journal()
            await asyncio.sleep(max(0.0, begin + step.at - self._loop.time()))
            await self._strike(step)
        await self._heal()
        self._observer.start()
        at_rest = await self._come_to_rest()
        return self._judge("" if at_rest else self._observer.what_is_pending() or "something goes on changing")

    def forget(self) -> None:
        self._world.forget()

    async def _build(self) -> None:
        schedule, hands = self._schedule, self._hands
        await hands.configure(
            ClusterConfig(
                timing=schedule.timing,
                on_host_shutdown=SHUTDOWN.model_copy(update={"vms": schedule.at_shutdown}),
                rebalance=schedule.rebalance,
                capacity=schedule.capacity,
                preempt=schedule.preempt,
                fencing=Fencing(afterwards=schedule.afterwards),
            )
        )
        for node in schedule.nodes:
            watchdog_s = schedule.timing.watchdog_s if node.has_watchdog else 0
            host = self._world.add_host(node.name, memory_mib=HOST_MEMORY_MIB, watchdog_s=watchdog_s)
            host.clock.drift = node.drift
            await hands.register(node.name, fence=node.has_switch, labels=node.labels)
        for domain in schedule.domains:
            await hands.add_domain(domain)
        for vm in schedule.vms:
            self._world.fabric.set_migration_time(vm.name, vm.migration_s)
            self._world.fabric.busy |= {vm.name} if vm.is_busy else set()
            drawn_only = {*_OTHERWISE, "name", "migration_s", "saves", "is_busy", "memory_mib"}
            fields = vm.model_dump(exclude=drawn_only)
            fields |= {"saved_state": {"directory": "/saves"}} if vm.saves else {}
            fields |= {name: getattr(vm, name) for name in _OTHERWISE}
            await hands.add(vm.name, memory_mib=vm.memory_mib or MEMORY_MIB, vcpus=1, start=True, **fields)
        for service in schedule.services:
            await hands.add_service(service)
        for rule in schedule.rules:
            await hands.add_rule(rule)
        for host in self._world.hosts.values():
            host.power_on()

    async def _strike(self, step: Step) -> None:
        at = self._loop.time()
        try:
            result = by_name(step.do, where="schedule").do(self._stage, step)
            passed_over = result if result is None or isinstance(result, str) else await result
        except VmhaError as error:
            passed_over = f"refused: {error}"
        self._reached["passed over" if passed_over else "struck"] += 1
        self._done.append(f"{at:9.3f} {step}{f' ({passed_over})' if passed_over else ''}")

    async def _heal(self) -> None:
        """Everything that was broken is mended; what an operator did is taken back."""
        world, hands = self._world, self._hands
        self._done.append(f"{world.clock.now():9.3f} healing")
        self._stage.end_all()
        if not world.etcd.is_running:
            world.etcd.start()
        world.etcd.lose_no_answers()
        for host in world.hosts.values():
            host.thaw()
            host.heal()
            host.heal_peers()
            host.start_guard()
            host.clock.set_right()
            host.agent_process.spare()
            host.guard_process.spare()
            if host.has_power and not world.fabric.host(host.name).has_libvirtd:
                host.start_libvirtd()
        await hands.see_shutdowns_through()
        for name, host in world.hosts.items():
            host.power_on()
            host.start_agent()
            await self._quietly(f"undrain {name}", partial(hands.undrain, name))
        await self._quietly("resume", hands.resume)
        for vm in self._stage.vms:
            await self._quietly(f"unfreeze {vm}", partial(hands.unfreeze, vm))
        await self._resume_what_a_hand_paused()
        await asyncio.sleep(2 * self._schedule.timing.dead_after_s)
        for host in world.hosts.values():  # a fence agent may have been at work yet, and left it off for a person
            host.power_on()
            host.start_agent()

    async def _resume_what_a_hand_paused(self) -> None:
        """libvirt lets nobody resume a guest that is on its way: a hand tries until that migration has ended."""
        until = self._loop.time() + LIVENESS_S
        while self._loop.time() < until:
            guests = [guest for vm in self._stage.vms if (guest := self._hands.find_guest(vm)) is not None]
            paused = [guest for guest in guests if guest.state is DomainState.PAUSED and guest.reason == "user"]
            for guest in paused:
                self._world.fabric.resume(guest)
            if all(guest.migration is None for guest in paused):
                return
            await asyncio.sleep(RESUME_AGAIN_S)

    async def _come_to_rest(self) -> bool:
        """A vm that was migrated away for all vmha knows waits for a word that only a person can give."""
        for _ in range(CONFIRMATIONS):
            at_rest = await self._observer.settle(quiet_s=QUIET_S, at_most_s=LIVENESS_S)
            gone = [vm for vm in self._stage.vms if not self._world.fabric.instances(vm)]
            if not at_rest or not gone:
                return at_rest
            for vm in gone:
                await self._quietly(f"confirm-gone {vm}", partial(self._hands.confirm_gone, vm))
        return await self._observer.settle(quiet_s=QUIET_S, at_most_s=LIVENESS_S)

    async def _quietly(self, words: str, do: Callable[[], Awaitable[object]]) -> None:
        try:
            await do()
            self._done.append(f"{self._loop.time():9.3f} {words}")
        except VmhaError as error:
            self._done.append(f"{self._loop.time():9.3f} {words} (refused: {error})")

    def _judge(self, restless: str) -> Life:
        history, record = self._world.fabric.history, self._world.record.catch_up().lines
        journal = tuple(read_journal(record))
        self._reached.update(line.kind for line in journal)
        self._reached.update(f"fenced: {line.text.partition(':')[0]}" for line in journal if line.kind == "fenced")
        return Life(
            seed=self._schedule.seed,
            violations=(
                *check_safety(history, record),
                *check_relations(record),
                *check_together(history, record),
                *check_fitness(self._world.sights, history, record),
            ),
            blocked=owed(check_liveness(history, record), self._schedule),
            crashes=tuple(self._world.crashes),
            restless=restless,
            done=tuple(self._done),
            journal=journal,
            reached=dict(sorted(self._reached.items())),
            begin_s=self._begin_s,
            simulated_s=self._world.clock.now(),
        )
