"""Faults of guests and migrations, what hands do on hosts, and what operators ask for."""

from vmha.hypervisor.port import DomainState
from vmha.hypervisor.twin import fabric_frozen
from vmha.model.holds import PauseMode
from vmha.model.restart import RestartKind
from vmha.model.vm import Handover
from vmha.sim.faults.fault import Fault, Takes
from vmha.sim.faults.schedule import Step, VmDrawn
from vmha.sim.faults.stage import Stage
from vmha.sim.world.hands import domain_xml

MEMORY_MIB = 1024
_NOT_THERE = "its QEMU is on no host where anything happens"
_DOES_NOT_RUN = "it does not run"


def _is_switched_by_us(vm: VmDrawn) -> bool:
    """A lost reply of libvirt's own switch leaves both sides running: for storage with locks only, which we have not.

    Hands move only the others (``_is_moved_by_hand``), because theirs is libvirt's own switch too.
    """
    return vm.migration.handover is Handover.SAFE and not _is_moved_by_hand(vm)


def _is_moved_by_hand(vm: VmDrawn) -> bool:
    return vm.name[-1] in "13579"


# --- operators


async def _start(stage: Stage, step: Step) -> None:
    await stage.hands.enable(step.vm)


async def _stop(stage: Stage, step: Step) -> None:
    stage.hold(f"stopped {step.vm}", step.for_s, lambda: stage.hands.enable(step.vm))
    await stage.hands.stop(step.vm)


async def _disable(stage: Stage, step: Step) -> None:
    stage.hold(f"stopped {step.vm}", step.for_s, lambda: stage.hands.enable(step.vm))
    await stage.hands.disable(step.vm)


async def _restart(stage: Stage, step: Step) -> None:
    await stage.hands.restart(step.vm, tuple(RestartKind)[int(step.number)])


async def _migrate(stage: Stage, step: Step) -> None:
    """One in four is called off again within a second. No dice: a kind of fault more, and every seed lives anew."""
    await stage.hands.migrate(step.vm, step.to)
    tick = round(step.at * 10_000)
    if tick % 4 == 1:  # never one of a whole hundredth, as hands write them
        stage.later(tick % 97 / 100, lambda: _call_off(stage, step.vm))


async def _call_off(stage: Stage, vm: str) -> None:
    await stage.hands.cancel_migration(vm)


async def _relocate(stage: Stage, step: Step) -> None:
    await stage.hands.relocate(step.vm, None)


async def _freeze(stage: Stage, step: Step) -> None:
    stage.hold(f"frozen {step.vm}", step.for_s, lambda: stage.hands.unfreeze(step.vm))
    await stage.hands.freeze(step.vm)


async def _pause_starts(stage: Stage, step: Step) -> None:
    stage.hold("paused", step.for_s, stage.hands.resume)
    await stage.hands.pause(PauseMode.STARTS)


async def _pause_all(stage: Stage, step: Step) -> None:
    stage.hold("paused", step.for_s, stage.hands.resume)
    await stage.hands.pause(PauseMode.ALL)


# --- what goes wrong


def _start_fails(stage: Stage, step: Step) -> None:
    stage.world.fabric.fail_start(step.vm, host=step.node, times=int(step.number))


def _migration_fails(stage: Stage, step: Step) -> None:
    stage.world.fabric.fail_migration(step.vm, times=int(step.number))


def _reply_lost(stage: Stage, step: Step) -> None:
    stage.world.fabric.lose_migration_reply(step.vm)


def _qemu_dies(stage: Stage, step: Step) -> str | None:
    if stage.find_guest(step.vm) is None:
        return _NOT_THERE
    stage.hands.crash(step.vm)
    return None


def _qemu_freezes(stage: Stage, step: Step) -> str | None:
    guest = stage.find_guest(step.vm)
    if guest is None:
        return _NOT_THERE
    fabric, host = stage.world.fabric, guest.host.name
    stage.hold(f"QEMU of {step.vm} on {host}", step.for_s, lambda: fabric_frozen.thaw(fabric, step.vm, host))
    fabric_frozen.freeze(fabric, step.vm, host)
    return None


def _guest_powers_off(stage: Stage, step: Step) -> str | None:
    """One with probes hangs instead, every other time. No dice, as for migrations."""
    if not _runs(stage, step.vm):
        return _DOES_NOT_RUN
    if stage.vms[step.vm].probes and round(step.at * 10_000) % 2:
        stage.hands.hang(step.vm)
        return None
    stage.hands.power_off_guest(step.vm)
    return None


# --- hands on hosts


def _virsh_destroy(stage: Stage, step: Step) -> str | None:
    if not _runs(stage, step.vm):
        return _DOES_NOT_RUN
    stage.hands.virsh_destroy(step.vm)
    return None


def _virsh_suspend(stage: Stage, step: Step) -> str | None:
    if not _runs(stage, step.vm):
        return _DOES_NOT_RUN
    stage.hands.virsh_suspend(step.vm)
    stage.hold(f"suspended {step.vm}", step.for_s, lambda: _resume(stage, step.vm))
    return None


def _resume(stage: Stage, vm: str) -> None:
    guest = stage.find_guest(vm)
    if guest is not None and guest.state is DomainState.PAUSED and guest.reason == "user":
        stage.hands.virsh_resume(vm)


def _virsh_migrate(stage: Stage, step: Step) -> str | None:
    guest = stage.find_guest(step.vm)
    if guest is None or not _runs(stage, step.vm) or guest.migration is not None or step.to == guest.host.name:
        return "it can not be migrated there now"
    stage.hands.virsh_migrate(step.vm, step.to)
    return None


def _virsh_start(stage: Stage, step: Step) -> str | None:
    if not _runs(stage, step.vm):
        return "nothing of it runs, so that this would be no second copy"
    stage.hands.virsh_start(domain_xml(step.vm, memory_mib=MEMORY_MIB, vcpus=1), step.node)
    return None


def _runs(stage: Stage, vm: str) -> bool:
    guest = stage.find_guest(vm)
    return guest is not None and guest.state is DomainState.RUNNING


_VM, _VM_TO, _VM_NODE = (Takes.VM,), (Takes.VM, Takes.TO), (Takes.VM, Takes.NODE)

OF_VMS: tuple[Fault, ...] = (
    Fault(
        name="start",
        kind="operator",
        weight=1.0,
        takes=_VM,
        is_mild=True,
        do=_start,
        about="an operator has a vm started",
    ),
    Fault(
        name="stop",
        kind="operator",
        weight=0.7,
        takes=_VM,
        for_s=(0.5, 6),
        do=_stop,
        about="an operator stops a vm, and wants it again later",
    ),
    Fault(
        name="disable",
        kind="operator",
        weight=0.3,
        takes=_VM,
        for_s=(0.5, 6),
        do=_disable,
        about="an operator disables a vm, and enables it later",
    ),
    Fault(
        name="restart",
        kind="operator",
        weight=0.7,
        takes=_VM,
        number=(0.3, 3.4),
        counts=True,
        do=_restart,
        about="an operator restarts a vm: 0 stop-start, 1 reboot, 2 reset, 3 hard",
    ),
    Fault(
        name="migrate",
        kind="operator",
        weight=4.5,
        takes=_VM_TO,
        is_mild=True,
        do=_migrate,
        about="an operator asks for a migration, and calls one in four off",
    ),
    Fault(
        name="relocate",
        kind="operator",
        weight=0.7,
        takes=_VM,
        do=_relocate,
        about="an operator asks for a stop and a start elsewhere",
    ),
    Fault(
        name="vm-frozen",
        kind="hold",
        weight=0.5,
        takes=_VM,
        for_s=(0.5, 8),
        do=_freeze,
        about="an operator freezes a vm, and unfreezes it later",
    ),
    Fault(
        name="pause-starts",
        kind="hold",
        weight=0.03,
        for_s=(0.3, 2),
        do=_pause_starts,
        about="an operator pauses all starts, and resumes later",
    ),
    Fault(
        name="pause-all",
        kind="hold",
        weight=0.03,
        for_s=(0.3, 2),
        do=_pause_all,
        about="an operator pauses the whole cluster, and resumes later",
    ),
    Fault(
        name="start-fails",
        kind="start",
        weight=1.0,
        takes=_VM_NODE,
        number=(1, 3),
        counts=True,
        do=_start_fails,
        about="the next n starts of a vm on a node will fail",
    ),
    Fault(
        name="migration-fails",
        kind="migration",
        weight=1.0,
        takes=_VM,
        number=(1, 3),
        counts=True,
        do=_migration_fails,
        about="the next n migrations of a vm fail half-way",
    ),
    Fault(
        name="reply-lost",
        kind="migration",
        weight=1.5,
        takes=_VM,
        fits=_is_switched_by_us,
        do=_reply_lost,
        about="at the end of the next migration the target is complete and the source is not told",
    ),
    Fault(
        name="qemu-dies",
        kind="guest",
        weight=2.0,
        takes=_VM,
        do=_qemu_dies,
        about="SIGKILL to a vm's QEMU, at both ends of a migration",
    ),
    Fault(
        name="qemu-freezes",
        kind="guest",
        weight=0.0,
        takes=_VM,
        for_s=(0.2, 12),
        do=_qemu_freezes,
        about="a vm's QEMU stands still (SIGSTOP) for a while, its host is well; drawn as qemu-dies",
    ),
    Fault(
        name="guest-powers-off",
        kind="guest",
        weight=0.7,
        takes=_VM,
        do=_guest_powers_off,
        about="a guest shuts itself down, or hangs if it has probes",
    ),
    Fault(name="virsh-destroy", kind="hand", weight=0.7, takes=_VM, do=_virsh_destroy, about="virsh destroy"),
    Fault(
        name="virsh-suspend",
        kind="hand",
        weight=0.7,
        takes=_VM,
        for_s=(0.2, 6),
        do=_virsh_suspend,
        about="virsh suspend, and resume later",
    ),
    Fault(
        name="virsh-migrate",
        kind="hand",
        weight=1.5,
        takes=_VM_TO,
        fits=_is_moved_by_hand,
        do=_virsh_migrate,
        about="virsh migrate to another member",
    ),
    Fault(
        name="virsh-start",
        kind="hand",
        weight=0.7,
        takes=_VM_NODE,
        do=_virsh_start,
        about="virsh start of a second copy, which the start gate refuses",
    ),
)
