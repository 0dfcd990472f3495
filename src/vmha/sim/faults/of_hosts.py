"""Faults of hosts: power, cables, processors, clocks, libvirtd, the agent, the guard, the power switch.

A host without an armed watchdog is never frozen for as long as its margin: one that thaws after its guests were
recovered elsewhere runs them until its guard is scheduled, and nothing on it could help (docs/explanation/safety.md).
"""

from vmha.sim.faults.fault import Fault, Takes
from vmha.sim.faults.schedule import Step
from vmha.sim.faults.stage import Stage
from vmha.sim.world.world import Switch

_SAFE_SHARE_OF_THE_MARGIN = 0.5
_IS_OFF = "it is off"


def _power_cut(stage: Stage, step: Step) -> str | None:
    host = stage.host(step.node)
    stage.hold(f"power {step.node}", step.for_s, host.power_on)
    if not host.has_power:
        return _IS_OFF
    host.power_off()
    return None


def _power_cut_at_step(stage: Stage, step: Step) -> str | None:
    host = stage.host(step.node)
    if not host.has_power:
        return _IS_OFF
    host.agent_process.strike_at(int(step.number), host.power_off)

    def end() -> None:
        host.agent_process.spare()
        host.power_on()

    stage.hold(f"power {step.node}", step.for_s, end)
    return None


def _shut_down(stage: Stage, step: Step) -> str | None:
    host = stage.host(step.node)
    if not host.has_power or stage.is_held(f"power {step.node}"):
        return _IS_OFF
    stage.hands.shutdown(step.node)
    return None


def _switch_on(stage: Stage, step: Step) -> str | None:
    host = stage.host(step.node)
    if host.has_power or stage.is_held(f"power {step.node}"):
        return "it is on, or kept off"
    host.power_on()
    return None


def _cut(stage: Stage, step: Step) -> str | None:
    host = stage.host(step.node)
    stage.hold(f"cable {step.node}", step.for_s, host.heal)
    host.cut()
    return None


def _cut_from_peers(stage: Stage, step: Step) -> str | None:
    if stage.world.peers is None:
        return "its agent has no channel"
    host = stage.host(step.node)
    stage.hold(f"peers {step.node}", step.for_s, host.heal_peers)
    host.cut_from_peers()
    return None


def _cut_from_store(stage: Stage, step: Step) -> None:
    host = stage.host(step.node)
    stage.hold(f"cable {step.node}", step.for_s, host.heal)
    host.cut_from_store()


def _freeze(stage: Stage, step: Step) -> str | None:
    host = stage.host(step.node)
    if not host.has_power or host.guard is None:
        return _IS_OFF
    for_s = step.for_s
    if not host.guard.petted_watchdog_s:
        if host.is_frozen or host.is_guard_away:
            return "no watchdog would reset it"
        for_s = min(for_s, stage.timing.margin_s * _SAFE_SHARE_OF_THE_MARGIN)
    host.freeze()
    stage.hold(f"processors {step.node}", for_s, host.thaw)
    return None


def _agent_killed(stage: Stage, step: Step) -> str | None:
    host = stage.host(step.node)
    if not host.has_agent:
        return "no agent runs"
    host.stop_agent()
    stage.hold(f"agent {step.node}", step.for_s, host.start_agent)
    return None


def _agent_killed_at_step(stage: Stage, step: Step) -> str | None:
    host = stage.host(step.node)
    if not host.has_agent:
        return "no agent runs"
    host.agent_process.strike_at(int(step.number), host.kill_agent)
    return None


def _agent_stopped(stage: Stage, step: Step) -> str | None:
    host = stage.host(step.node)
    if not host.has_agent:
        return "no agent runs"
    host.agent_process.stand("SIGSTOP")
    stage.hold(f"SIGSTOP {step.node}", step.for_s, lambda: host.agent_process.go_on("SIGSTOP"))
    return None


def _guard_killed(stage: Stage, step: Step) -> str | None:
    host = stage.host(step.node)
    if host.guard is None or host.is_frozen:
        return _IS_OFF
    host.kill_guard()
    stage.hold(f"guard {step.node}", step.for_s, host.start_guard)
    return None


def _guard_killed_at_step(stage: Stage, step: Step) -> str | None:
    host = stage.host(step.node)
    if host.guard is None or host.is_frozen:
        return _IS_OFF

    def strike() -> None:
        host.kill_guard()
        stage.hold(f"guard {step.node}", step.for_s, host.start_guard)

    host.guard_process.strike_at(int(step.number), strike)
    return None


def _guard_stopped(stage: Stage, step: Step) -> str | None:
    host = stage.host(step.node)
    if host.guard is None or not host.guard.petted_watchdog_s:
        return "no watchdog would reset it"
    host.kill_guard()  # to everybody else a guard that stands is one that is gone: it answers nobody and pets nothing
    stage.hold(f"guard {step.node}", step.for_s, host.start_guard)
    return None


def _guard_slow(stage: Stage, step: Step) -> str | None:
    host = stage.host(step.node)
    if host.guard is None or host.is_frozen:
        return _IS_OFF
    host.slow_guard(step.number)
    stage.hold(f"slow guard {step.node}", step.for_s, lambda: host.slow_guard(0.0))
    return None


def _wall_jumps(stage: Stage, step: Step) -> None:
    stage.host(step.node).clock.jump(step.number if step.do == "wall-jumps-ahead" else -step.number)


def _libvirtd_stops(stage: Stage, step: Step) -> str | None:
    host = stage.host(step.node)
    if not host.has_power:
        return _IS_OFF
    host.stop_libvirtd()
    stage.hold(f"libvirtd {step.node}", step.for_s, host.start_libvirtd)
    return None


def _libvirtd_hangs(stage: Stage, step: Step) -> str | None:
    host, fabric = stage.host(step.node), stage.world.fabric
    if not host.has_power or not fabric.host(step.node).has_libvirtd:
        return _IS_OFF
    fabric.freeze_libvirtd(step.node)
    stage.hold(f"libvirtd stands {step.node}", step.for_s, lambda: fabric.thaw_libvirtd(step.node))
    return None


def _switch(stage: Stage, step: Step) -> None:
    if step.do == "switch-refuses":
        stage.hands.break_switch(step.node)
    else:
        stage.world.switches[stage.host(step.node).name] = Switch(step.do)
    stage.hold(f"switch {step.node}", step.for_s, lambda: stage.hands.mend_switch(step.node))


async def _drain(stage: Stage, step: Step) -> None:
    stage.hold(f"drain {step.node}", step.for_s, lambda: stage.hands.undrain(step.node))
    await stage.hands.drain(step.node)


async def _confirm_off(stage: Stage, step: Step) -> str | None:
    if stage.host(step.node).has_power:
        return "the operator sees that it is on"
    await stage.hands.confirm_off(step.node)
    return None


_NODE = (Takes.NODE,)

OF_HOSTS: tuple[Fault, ...] = (
    Fault(
        name="power-cut",
        kind="power",
        weight=1.0,
        takes=_NODE,
        for_s=(0.3, 15),
        do=_power_cut,
        about="the cord of a host is pulled; it gets power again later",
    ),
    Fault(
        name="power-cut-at-step",
        kind="power",
        weight=1.0,
        takes=_NODE,
        for_s=(2, 10),
        number=(1, 300),
        counts=True,
        do=_power_cut_at_step,
        about="the cord is pulled right before the agent's n-th step from now: at any await",
    ),
    Fault(
        name="shutdown",
        kind="power",
        weight=0.3,
        takes=_NODE,
        do=_shut_down,
        about="a host is shut down in good order",
    ),
    Fault(
        name="switched-on",
        kind="mend",
        weight=3.0,
        takes=_NODE,
        is_mild=True,
        do=_switch_on,
        about="somebody switches a host on again that was fenced or shut down",
    ),
    Fault(
        name="cut",
        kind="network",
        weight=1.5,
        takes=_NODE,
        for_s=(0.2, 12),
        do=_cut,
        about="the network cable of a host is pulled",
    ),
    Fault(
        name="peers-cut",
        kind="network",
        weight=0.7,
        takes=_NODE,
        for_s=(0.2, 15),
        do=_cut_from_peers,
        about="a host hears the other agents no more, and they do not hear it; all else goes on",
    ),
    Fault(
        name="store-cut",
        kind="network",
        weight=0.7,
        takes=_NODE,
        for_s=(0.2, 15),
        do=_cut_from_store,
        about="a host reaches the store no more; all else goes on",
    ),
    Fault(
        name="freeze",
        kind="freeze",
        weight=1.5,
        takes=_NODE,
        for_s=(0.1, 10),
        do=_freeze,
        about="a host stands still, guests and guard included; without a watchdog for less than the margin",
    ),
    Fault(
        name="agent-killed",
        kind="agent",
        weight=2.0,
        takes=_NODE,
        for_s=(0.1, 4),
        do=_agent_killed,
        about="kill -9 of an agent, which stays away for a while",
    ),
    Fault(
        name="agent-killed-at-step",
        kind="agent",
        weight=4.0,
        takes=_NODE,
        number=(1, 300),
        counts=True,
        do=_agent_killed_at_step,
        about="kill -9 of an agent right before its n-th step from now: at any await; it is started again at once",
    ),
    Fault(
        name="agent-stopped",
        kind="agent",
        weight=1.5,
        takes=_NODE,
        for_s=(0.1, 10),
        do=_agent_stopped,
        about="SIGSTOP to an agent, SIGCONT later",
    ),
    Fault(
        name="guard-killed",
        kind="guard",
        weight=1.0,
        takes=_NODE,
        for_s=(0.05, 0.3),
        scales=False,
        do=_guard_killed,
        about="kill -9 of a guard, which is started again and goes on counting",
    ),
    Fault(
        name="guard-killed-at-step",
        kind="guard",
        weight=1.0,
        takes=_NODE,
        number=(1, 20),
        counts=True,
        for_s=(0.05, 0.3),
        scales=False,
        do=_guard_killed_at_step,
        about="kill -9 of a guard right before its n-th step from now",
    ),
    Fault(
        name="guard-stopped",
        kind="guard",
        weight=1.0,
        takes=_NODE,
        for_s=(0.1, 10),
        do=_guard_stopped,
        about="SIGSTOP to the guard of a host with an armed watchdog",
    ),
    Fault(
        name="guard-slow",
        kind="guard",
        weight=1.0,
        takes=_NODE,
        number=(0.005, 0.7),
        for_s=(0.2, 10),
        do=_guard_slow,
        about="every call of a node's agent to its guard takes so many seconds: it has to wait for a busy processor",
    ),
    Fault(
        name="wall-jumps-ahead",
        kind="clock",
        weight=0.5,
        takes=_NODE,
        number=(0.5, 1e5),
        do=_wall_jumps,
        about="the wall clock of a host jumps ahead by so many seconds",
    ),
    Fault(
        name="wall-jumps-back",
        kind="clock",
        weight=0.5,
        takes=_NODE,
        number=(0.5, 1e5),
        do=_wall_jumps,
        about="the wall clock of a host jumps back by so many seconds",
    ),
    Fault(
        name="libvirtd-stops",
        kind="libvirtd",
        weight=1.0,
        takes=_NODE,
        for_s=(0.1, 8),
        do=_libvirtd_stops,
        about="libvirtd is killed and started again later; guests run on",
    ),
    Fault(
        name="libvirtd-hangs",
        kind="libvirtd",
        weight=1.0,
        takes=_NODE,
        for_s=(0.1, 10),
        do=_libvirtd_hangs,
        about="SIGSTOP to libvirtd, SIGCONT later: calls hang, and what was asked happens then",
    ),
    Fault(
        name="switch-hangs",
        kind="switch",
        weight=0.4,
        takes=_NODE,
        for_s=(1, 30),
        do=_switch,
        about="a power switch does not answer until the fence agent's time is over",
    ),
    Fault(
        name="switch-refuses",
        kind="switch",
        weight=0.4,
        takes=_NODE,
        for_s=(1, 30),
        do=_switch,
        about="a power switch says no",
    ),
    Fault(
        name="switch-babbles",
        kind="switch",
        weight=0.0,
        takes=_NODE,
        for_s=(1, 30),
        do=_switch,
        about="a fence agent prints garbage and ends with an exit code that means nothing; drawn as switch-refuses",
    ),
    Fault(
        name="switch-missing",
        kind="switch",
        weight=0.0,
        takes=_NODE,
        for_s=(1, 30),
        do=_switch,
        about="a fence agent's program is not there; drawn as switch-refuses",
    ),
    Fault(
        name="switch-lies",
        kind="switch",
        weight=0.4,
        takes=_NODE,
        for_s=(1, 30),
        do=_switch,
        about="a power switch says done and leaves the host on; its status says on",
    ),
    Fault(
        name="switch-loses-answer",
        kind="switch",
        weight=0.4,
        takes=_NODE,
        for_s=(1, 30),
        do=_switch,
        about="a power switch cuts the power and its answer is lost",
    ),
    Fault(
        name="drain",
        kind="operator",
        weight=0.7,
        takes=_NODE,
        for_s=(1, 20),
        do=_drain,
        about="an operator drains a node, and undrains it later",
    ),
    Fault(
        name="confirm-off",
        kind="operator",
        weight=0.5,
        takes=_NODE,
        do=_confirm_off,
        about="an operator confirms that a node is off which is",
    ),
)
