"""Seeded faults: a random cluster, a random life, then everything mended and one question: do all vms run again?

    safety phase: random faults and operations, at random instants, several at once
    healing:      power, cables, daemons, store, switches: all as they should be
    liveness:     the cluster comes to rest within ``LIVENESS_S`` and every vm that is wanted running runs

The same seed and options give the same life, to the last byte. Violations name the laws of ``invariants``.
"""

import asyncio
import random  # noqa: TID251 (the one place that draws: the seed is part of the command line)
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from vmha.hypervisor.port import DomainState
from vmha.model.errors import VmhaError
from vmha.model.settings import ClusterConfig, Profile
from vmha.model.vm import AfterShutdown, FailoverDomain, FailoverDomainMember, Recovery
from vmha.sim.faults import KINDS, Fate, choices
from vmha.sim.hands import Hands
from vmha.sim.invariants import Blocked, Violation, check_liveness, check_safety
from vmha.sim.journal import JournalLine, read_journal
from vmha.sim.rest import Observer
from vmha.sim.virtual import VirtualLoop, run_virtual
from vmha.sim.world import World

LIVENESS_S = 300.0
QUIET_S = 4.0
FIRST_REST_S = 60.0
MEMORY_MIB = 65536
_AT_ONCE, _IN_A_HANDOVER, _IN_A_HOLD, _AFTER_ALL = (0.0, 0.1), (0.1, 1.5), (1.0, 6.0), (5.0, 25.0)
_PACES = (
    (_AT_ONCE, _IN_A_HANDOVER, _IN_A_HANDOVER, _IN_A_HOLD, _IN_A_HOLD, _AFTER_ALL),
    (_AT_ONCE, _IN_A_HANDOVER, _IN_A_HANDOVER, _IN_A_HANDOVER, _IN_A_HOLD),
    (_AT_ONCE, _AT_ONCE, _AT_ONCE, _AFTER_ALL),
)
"""Pauses between two steps, in seconds, one line for each kind of life: mixed, hurried, in bursts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    nodes: int = 3
    vms: int = 4
    steps: int = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What became of one seed."""

    seed: int
    violations: tuple[Violation, ...]
    blocked: tuple[Blocked, ...]
    crashes: tuple[str, ...]
    restless: str
    """What was still pending when the liveness phase ran out; '' when the cluster came to rest."""
    done: tuple[str, ...]
    journal: tuple[JournalLine, ...]
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


def live(seed: int, options: Options) -> Life:
    loop = VirtualLoop()
    return run_virtual(_Chaos(seed, options, loop).live(), loop)


class _Chaos:
    def __init__(self, seed: int, options: Options, loop: VirtualLoop) -> None:
        self._seed, self._options = seed, options
        self._draw = random.Random(seed)
        self._loop = loop

    async def live(self) -> Life:
        self._world = World(self._loop)
        self._hands = Hands(self._world)
        self._observer = Observer(self._world)
        self._done: list[str] = []
        self._observer.start()
        await self._build()
        await self._observer.settle(quiet_s=1.0, at_most_s=FIRST_REST_S)
        self._fate = Fate(
            world=self._world,
            hands=self._hands,
            draw=self._draw,
            vms=self._vms,
            temper={kind: self._draw.choice((0.2, 1.0, 1.0, 4.0)) for kind in KINDS},
            moved_by_hand=frozenset(vm for vm in self._vms if self._draw.random() < 0.5),
        )
        pauses = self._draw.choice(_PACES)
        for _ in range(self._options.steps):
            low, high = self._draw.choice(pauses)
            await asyncio.sleep(self._draw.uniform(low, high))
            await self._strike()
            self._world.record.catch_up()
        await self._heal()
        at_rest = await self._observer.settle(quiet_s=QUIET_S, at_most_s=LIVENESS_S)
        return self._judge("" if at_rest else self._observer.what_is_pending() or "something goes on changing")

    # --- the cluster

    async def _build(self) -> None:
        draw, hands = self._draw, self._hands
        profile = draw.choice((Profile.TUNED, Profile.TUNED, Profile.DEFAULT))
        await hands.configure(ClusterConfig(profile=profile))
        watchdog_s = ClusterConfig(profile=profile).clockwork.watchdog_s
        names = [f"n{number}" for number in range(1, self._options.nodes + 1)]
        for name in names:
            has_watchdog = draw.random() < 0.6
            self._world.add_host(name, memory_mib=MEMORY_MIB, watchdog_s=watchdog_s if has_watchdog else 0)
            await hands.register(name, fence=draw.random() < 0.5)
        domains = [self._make_domain(f"d{number}", names) for number in (1, 2)]
        for domain in domains:
            await hands.add_domain(domain)
        self._vms = tuple(f"v{number}" for number in range(1, self._options.vms + 1))
        for vm in self._vms:
            await hands.add(
                vm,
                memory_mib=1024,
                vcpus=1,
                start=True,
                failover_domain=draw.choice((None, "d1", "d2")),
                recovery=draw.choice((Recovery.RESTART, Recovery.RESTART, Recovery.RELOCATE)),
                on_guest_shutdown=draw.choice(tuple(AfterShutdown)),
                stop_timeout_s=draw.choice((3.0, 10.0)),
            )
        for host in self._world.hosts.values():
            host.power_on()

    def _make_domain(self, name: str, nodes: list[str]) -> FailoverDomain:
        draw = self._draw
        members = draw.sample(nodes, draw.randint(1, len(nodes)))
        return FailoverDomain(
            name=name,
            ordered=draw.random() < 0.7,
            restricted=draw.random() < 0.3,
            nofailback=draw.random() < 0.3,
            members=tuple(FailoverDomainMember(node=node, priority=rank) for rank, node in enumerate(members, start=1)),
        )

    # --- the life

    async def _strike(self) -> None:
        possible = choices(self._fate)
        fault = self._draw.choices([each for each, _ in possible], weights=[weight for _, weight in possible])[0]
        await self._do(fault.words, fault.do)

    async def _do(self, words: str, do: Callable[[], Awaitable[object] | None]) -> None:
        at = self._world.clock.now()
        try:
            result = do()
            if result is not None:
                await result
            outcome = ""
        except VmhaError as error:
            outcome = f" (refused: {error})"
        self._done.append(f"{at:9.3f} {words}{outcome}")

    async def _heal(self) -> None:
        """Everything that was broken is mended; what an operator did is taken back."""
        world, hands = self._world, self._hands
        self._done.append(f"{world.clock.now():9.3f} healing")
        if not world.etcd.is_running:
            world.etcd.start()
        for name, host in world.hosts.items():
            world.etcd.slow(name, 0.001)
            hands.mend_switch(name)
            host.thaw()
            host.heal()
            if host.has_power and not world.fabric.host(name).has_libvirtd:
                host.start_libvirtd()
        await asyncio.sleep(self._fate.longest_shutdown_s())
        for name, host in world.hosts.items():
            host.power_on()
            host.start_agent()
            await self._do(f"undrain {name}", partial(hands.undrain, name))
        for vm in self._vms:
            guest = hands.find_guest(vm)
            if guest is not None and guest.state is DomainState.PAUSED and guest.reason == "user":
                world.fabric.resume(guest)
        await asyncio.sleep(30.0)
        for vm in self._vms:
            if not world.fabric.instances(vm):
                await self._do(f"confirm-gone {vm}", partial(hands.confirm_gone, vm))

    def _judge(self, restless: str) -> Life:
        history, record = self._world.fabric.history, self._world.record.catch_up().lines
        return Life(
            seed=self._seed,
            violations=tuple(check_safety(history, record)),
            blocked=tuple(check_liveness(history, record)),
            crashes=tuple(self._world.crashes),
            restless=restless,
            done=tuple(self._done),
            journal=tuple(read_journal(record)),
            simulated_s=self._world.clock.now(),
        )
