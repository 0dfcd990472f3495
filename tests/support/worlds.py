"""A small simulated cluster for tests that need more than a scenario file can say."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from vmha.model.settings import ClusterConfig, Profile
from vmha.sim.judge.invariants import Violation, check_safety
from vmha.sim.judge.of_fitness import check_fitness
from vmha.sim.judge.of_relations import check_relations
from vmha.sim.quiet import silence_logs
from vmha.sim.rest import Observer
from vmha.sim.world.hands import Hands
from vmha.sim.world.virtual import VirtualLoop, run_virtual
from vmha.sim.world.world import World

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Hosts n1, n2, ... with agents that have joined; profile ``tuned``."""

    world: World
    hands: Hands
    observer: Observer

    async def rest(self) -> None:
        assert await self.observer.settle(quiet_s=4.0, at_most_s=200.0), self.observer.what_is_pending()

    def where(self, vm: str) -> list[str]:
        return [host for host, _ in self.world.fabric.running_instances(vm)]

    def violations(self) -> list[Violation]:
        lines = self.world.record.catch_up().lines
        history, sights = self.world.fabric.history, self.world.sights
        return [*check_safety(history, lines), *check_relations(lines), *check_fitness(sights, history, lines)]


def in_cluster(
    scene: Callable[[Cluster], Awaitable[T]], *, nodes: int = 3, watchdog_s: int = 0, peers: bool = False
) -> T:
    """Play ``scene`` in a cluster that has come to rest; returns what it returns.

    ``peers``: the agents have a channel to each other.
    """
    silence_logs()
    loop = VirtualLoop()

    async def play() -> T:
        world = World(loop, peers=peers)
        cluster = Cluster(world=world, hands=Hands(world), observer=Observer(world))
        cluster.observer.start()
        await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED))
        for number in range(1, nodes + 1):
            world.add_host(f"n{number}", watchdog_s=watchdog_s).power_on()
            await cluster.hands.register(f"n{number}", fence=False)
        await cluster.rest()
        result = await scene(cluster)
        assert world.crashes == []
        return result

    return run_virtual(play(), loop)
