"""What may strike next: every possible fault and operation of this moment, each with its weight.

Two things are left out on purpose, because no software on the hosts could survive them: freezing a host that has no
armed watchdog for longer than its hold and thawing it again (docs/explanation/safety.md), and a second copy started by
hand where nothing on the host can refuse it.
"""

import random  # noqa: TID251 (handed in, seeded)
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from vmha.hypervisor.port import DomainState
from vmha.model.ids import LeaseId
from vmha.sim.hands import SHUTDOWN_S, Hands, domain_xml
from vmha.sim.host import SimHost
from vmha.sim.world import World

KINDS = ("power", "network", "agent", "freeze", "store", "libvirtd", "operator", "guest", "hand", "fault")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """``kind``: one of ``KINDS``, or "mend", which strikes as often in every life."""

    kind: str
    words: str
    do: Callable[[], Awaitable[object] | None]


@dataclass(slots=True, kw_only=True)
class Fate:
    """What choosing needs to know."""

    world: World
    hands: Hands
    draw: random.Random
    vms: tuple[str, ...]
    temper: dict[str, float]
    """How much more (or less) often than usual each kind of fault strikes in this life."""
    moved_by_hand: frozenset[str]
    """Vms that a hand may migrate. Theirs lose no reply: libvirt's own switch then leaves both sides running."""
    drained: set[str] = field(default_factory=set)
    shutdown_at: float | None = None

    def longest_shutdown_s(self) -> float:
        """Until every orderly shutdown that was begun is over, in seconds."""
        if self.shutdown_at is None:
            return 0.0
        return max(0.0, self.shutdown_at + SHUTDOWN_S + 1.0 - self.world.clock.now())


Choices = list[tuple[Fault, float]]


def choices(fate: Fate) -> Choices:
    """Never empty. Mending weighs more than breaking, so that the cluster is seldom dead as a whole."""
    found = _of_the_store(fate)
    for name in sorted(fate.world.hosts):
        found += _of_a_host(fate, fate.world.hosts[name])
    for vm in fate.vms:
        found += _of_a_vm(fate, vm)
    return [(fault, weight * fate.temper.get(fault.kind, 1.0)) for fault, weight in found]


def _of_the_store(fate: Fate) -> Choices:
    etcd = fate.world.etcd
    if not etcd.is_running:
        return [(Fault(kind="mend", words="etcd starts", do=etcd.start), 30.0)]
    return [
        (Fault(kind="store", words="etcd stops", do=etcd.stop), 1.0),
        (Fault(kind="store", words="the store is compacted", do=fate.world.compact), 1.0),
    ]


def _of_a_host(fate: Fate, host: SimHost) -> Choices:
    name, world, hands = host.name, fate.world, fate.hands
    if not host.has_power:
        off: Choices = [(Fault(kind="mend", words=f"{name} gets power", do=host.power_on), 8.0)]
        off.append(
            (
                Fault(
                    kind="operator",
                    words=f"an operator confirms that {name} is off",
                    do=lambda: hands.confirm_off(name),
                ),
                1.0,
            )
        )
        return off
    if host.is_frozen:
        return [(Fault(kind="mend", words=f"{name} thaws", do=host.thaw), 6.0)]
    found: Choices = [
        (Fault(kind="power", words=f"{name} loses power", do=host.power_off), 1.5),
        (Fault(kind="store", words=f"the next answer to {name} is lost", do=lambda: _lose_answer(fate, name)), 2.0),
        (Fault(kind="power", words=f"{name} shuts down", do=lambda: _shut_down(fate, name)), 0.4),
    ]
    if host.is_cut:
        found.append((Fault(kind="mend", words=f"{name}'s network heals", do=host.heal), 6.0))
    else:
        found.append((Fault(kind="network", words=f"{name}'s network is cut", do=host.cut), 1.5))
    if host.has_agent:
        found.append((Fault(kind="agent", words=f"the agent of {name} is killed", do=host.stop_agent), 2.0))
        found.append((Fault(kind="store", words=f"the lease of {name} vanishes", do=lambda: _expire(fate, name)), 1.0))
    else:
        found.append((Fault(kind="mend", words=f"the agent of {name} starts", do=host.start_agent), 8.0))
    if host.guard and host.guard.petted_watchdog_s:
        found.append((Fault(kind="freeze", words=f"{name} freezes", do=host.freeze), 1.5))
    if world.fabric.host(name).has_libvirtd:
        found.append((Fault(kind="libvirtd", words=f"libvirtd of {name} stops", do=host.stop_libvirtd), 0.7))
    else:
        found.append((Fault(kind="mend", words=f"libvirtd of {name} starts", do=host.start_libvirtd), 6.0))
    if name in world.broken_switches:
        found.append(
            (Fault(kind="mend", words=f"the power switch of {name} is mended", do=lambda: hands.mend_switch(name)), 3.0)
        )
    else:
        found.append(
            (Fault(kind="fault", words=f"the power switch of {name} breaks", do=lambda: hands.break_switch(name)), 0.5)
        )
    slow = fate.draw.choice((0.001, 0.05, 0.3))
    found.append(
        (
            Fault(
                kind="store", words=f"the store answers {name} in {slow:g} s", do=lambda: world.etcd.slow(name, slow)
            ),
            1.0,
        )
    )
    if name in fate.drained:
        found.append((Fault(kind="mend", words=f"undrain {name}", do=lambda: _undrain(fate, name)), 3.0))
    else:
        found.append((Fault(kind="operator", words=f"drain {name}", do=lambda: _drain(fate, name)), 0.7))
    return found


def _of_a_vm(fate: Fate, vm: str) -> Choices:
    hands, fabric, draw = fate.hands, fate.world.fabric, fate.draw
    nodes = sorted(fate.world.hosts)
    to, on = draw.choice(nodes), draw.choice(nodes)
    times = draw.randint(1, 2)
    found: Choices = [
        (Fault(kind="operator", words=f"vm start {vm}", do=lambda: hands.enable(vm)), 1.5),
        (Fault(kind="operator", words=f"vm stop {vm}", do=lambda: hands.stop(vm)), 0.5),
        (Fault(kind="operator", words=f"vm disable {vm}", do=lambda: hands.disable(vm)), 0.2),
        (Fault(kind="operator", words=f"vm restart {vm}", do=lambda: hands.restart(vm)), 0.6),
        (Fault(kind="operator", words=f"vm migrate {vm} --to {to}", do=lambda: hands.migrate(vm, to)), 2.0),
        (Fault(kind="operator", words=f"vm relocate {vm}", do=lambda: hands.relocate(vm, None)), 0.6),
        (
            Fault(
                kind="fault",
                words=f"{vm} will fail to start on {on}",
                do=lambda: fabric.fail_start(vm, host=on, times=times),
            ),
            0.6,
        ),
        (
            Fault(
                kind="fault", words=f"migrations of {vm} will fail", do=lambda: fabric.fail_migration(vm, times=times)
            ),
            0.5,
        ),
    ]
    if vm not in fate.moved_by_hand:
        lose = Fault(
            kind="fault",
            words=f"the next migration of {vm} loses its reply",
            do=lambda: fabric.lose_migration_reply(vm),
        )
        found.append((lose, 0.7))
    guest = hands.find_guest(vm)
    if guest is None or not guest.host.has_power or guest.host.is_frozen:
        return found
    found.append((Fault(kind="guest", words=f"the QEMU of {vm} dies", do=lambda: hands.crash(vm)), 1.0))
    if guest.state is DomainState.RUNNING:
        found.append(
            (Fault(kind="guest", words=f"the guest of {vm} powers off", do=lambda: hands.power_off_guest(vm)), 0.4)
        )
        found.append((Fault(kind="hand", words=f"virsh destroy {vm}", do=lambda: hands.virsh_destroy(vm)), 0.4))
        found.append((Fault(kind="hand", words=f"virsh suspend {vm}", do=lambda: hands.virsh_suspend(vm)), 0.3))
        if to != guest.host.name and vm in fate.moved_by_hand and guest.migration is None:
            found.append(
                (Fault(kind="hand", words=f"virsh migrate {vm} to {to}", do=lambda: hands.virsh_migrate(vm, to)), 0.8)
            )
        found.append(
            (Fault(kind="hand", words=f"virsh start {vm} on {on}", do=lambda: _start_by_hand(fate, vm, on)), 0.3)
        )
    elif guest.state is DomainState.PAUSED and guest.reason == "user":
        found.append((Fault(kind="mend", words=f"virsh resume {vm}", do=lambda: hands.virsh_resume(vm)), 3.0))
    return found


def _lose_answer(fate: Fate, name: str) -> None:
    fate.world.etcd.lose_answer(name, done=fate.draw.random() < 0.5)


def _expire(fate: Fate, name: str) -> None:
    """etcd revokes the lease of a living node, as it does after a pause of its own leader."""
    kv = fate.world.etcd.get(fate.world.keys.session(fate.world.hosts[name].name))  # type: ignore[index]
    if kv is not None:
        fate.world.etcd.expire(LeaseId(kv.lease))


def _start_by_hand(fate: Fate, vm: str, on: str) -> None:
    fate.hands.virsh_start(domain_xml(vm, memory_mib=1024, vcpus=1), on)


def _shut_down(fate: Fate, name: str) -> None:
    fate.shutdown_at = fate.world.clock.now()
    fate.hands.shutdown(name)


async def _drain(fate: Fate, name: str) -> None:
    await fate.hands.drain(name)
    fate.drained.add(name)


async def _undrain(fate: Fate, name: str) -> None:
    await fate.hands.undrain(name)
    fate.drained.discard(name)
