"""What happens in a round, drawn from the seed: pure, so that a round is the same data on every machine.

::

    a move under way (or none)   one fault, or two          each lasts its time, then is mended
    a busy host (or none)
    0 s                          0 ... 4 s                  longest end: everything is healed

A round is drawn from its seed and number alone, so it can be played without those before it. Targets may be roles
("the host of v1", "the leader"), because a fault that hits a bystander proves little; who that is shows at the strike.

Durations lie on all three sides of the cluster's deadlines: too short to be noticed, around the instant at which the
guard acts and another node takes over, and longer than that.
"""

import random  # noqa: TID251 (the one place that draws: the seed is part of the command line)
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from itertools import cycle
from typing import Any

from vmha.model.settings import Timing
from vmha.model.vm import MigrationStyle


class Fault(StrEnum):
    """One thing that is done to the lab."""

    # the machine
    POWER_CUT = "power cut"
    REBOOT = "power cut and on"
    FREEZE = "freeze"
    CUT_LAN = "cut lan"
    CUT_STORAGE = "cut storage"
    CUT_BOTH = "cut both"
    # its programs
    KILL_AGENT = "kill agent"
    KILL_GUARD = "kill guard"
    KILL_AGENT_AND_GUARD = "kill agent+guard"
    KILL_LIBVIRTD = "kill libvirtd"
    KILL_QEMU = "kill qemu"
    STOP_AGENT = "stop agent"
    STOP_GUARD = "stop guard"
    STOP_LIBVIRTD = "stop libvirtd"
    STOP_QEMU = "stop qemu"
    LOAD = "load"
    # etcd
    ETCD_POWER_CUT = "etcd power cut"
    ETCD_FREEZE = "etcd freeze"
    ETCD_CUT = "etcd cut"
    ETCD_KILL = "etcd kill"
    ETCD_STOP = "etcd stop"
    ETCD_ALL_STOP = "etcd all stop"
    # virsh behind the back
    VIRSH_COPY = "virsh copy"
    VIRSH_DESTROY = "virsh destroy"
    VIRSH_SUSPEND = "virsh suspend"
    VIRSH_SHUTDOWN = "virsh shutdown"
    VIRSH_MIGRATE = "virsh migrate"
    # the operator
    MIGRATE = "migrate"
    STOP = "vm stop"
    RESTART = "restart"
    RELOCATE = "relocate"
    DRAIN = "drain"


class Role(StrEnum):
    """Who is hit. All but the first three are found out at the instant of the strike."""

    HOST = "host"
    MEMBER = "member"
    VM = "vm"
    HOLDER = "host of"
    LEADER = "leader"
    ETCD_LEADER = "etcd leader"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    role: Role
    name: str = ""

    @property
    def words(self) -> str:
        match self.role:
            case Role.HOST | Role.MEMBER | Role.VM:
                return self.name
            case Role.HOLDER:
                return f"host of {self.name}"
            case _:
                return f"the {self.role}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """``at_s`` counts from the beginning of the round; ``lasts_s`` 0: it is over at once.

    ``to``: a host: where something is to go (when it is there already, the next one), or, of a QEMU that is killed or
    stopped, which of a migration's two it is; '' the one of the vm's holder.
    """

    at_s: float
    fault: Fault
    target: Target
    lasts_s: float = 0.0
    to: str = ""

    @property
    def ends_s(self) -> float:
        return self.at_s + self.lasts_s

    @property
    def words(self) -> str:
        to = f" {'on' if self.fault in AT_QEMU else 'to'} {self.to}" if self.to else ""
        lasts = f" for {self.lasts_s:.1f} s" if self.lasts_s else ""
        return f"{self.fault} {self.target.words}{to} at {self.at_s:.1f} s{lasts}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    seed: int
    number: int
    strikes: tuple[Strike, ...]

    @property
    def words(self) -> str:
        return "; ".join(strike.words for strike in self.strikes)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What there is to hit, and the deadlines that the durations are chosen around."""

    hosts: tuple[str, ...]
    members: tuple[str, ...]
    vms: tuple[str, ...]
    timing: Timing

    @classmethod
    def of(cls, *, hosts: int, etcd: int, vms: int, timing: Timing) -> "Shape":
        return cls(
            hosts=tuple(f"h{number}" for number in range(1, hosts + 1)),
            members=tuple(f"etcd-{number}" for number in range(1, etcd + 1)),
            vms=tuple(f"v{number}" for number in range(1, vms + 1)),
            timing=timing,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """Where one guest would rather run, most preferred first; no hosts: it has no failover domain.

    ``is_large``: its migrations take seconds, so that a fault meets them half-way.
    """

    vm: str
    hosts: tuple[str, ...] = ()
    fails_back: bool = True
    relocates: bool = False
    style: MigrationStyle = MigrationStyle.LIVE
    is_large: bool = False


AT_HOSTS = {
    Fault.POWER_CUT: 10,
    Fault.REBOOT: 5,
    Fault.FREEZE: 9,
    Fault.CUT_LAN: 10,
    Fault.CUT_STORAGE: 5,
    Fault.CUT_BOTH: 6,
    Fault.KILL_AGENT: 5,
    Fault.KILL_GUARD: 3,
    Fault.KILL_AGENT_AND_GUARD: 3,
    Fault.KILL_LIBVIRTD: 4,
    Fault.STOP_AGENT: 6,
    Fault.STOP_GUARD: 4,
    Fault.STOP_LIBVIRTD: 5,
}
AT_ETCD = {
    Fault.ETCD_POWER_CUT: 3,
    Fault.ETCD_FREEZE: 5,
    Fault.ETCD_CUT: 3,
    Fault.ETCD_KILL: 2,
    Fault.ETCD_STOP: 3,
    Fault.ETCD_ALL_STOP: 2,
}
AT_VMS = {
    Fault.KILL_QEMU: 3,
    Fault.STOP_QEMU: 3,
    Fault.VIRSH_COPY: 6,
    Fault.VIRSH_DESTROY: 2,
    Fault.VIRSH_SUSPEND: 2,
    Fault.VIRSH_SHUTDOWN: 2,
    Fault.STOP: 3,
    Fault.RESTART: 2,
    Fault.RELOCATE: 3,
}
MOVES = {Fault.MIGRATE: 6, Fault.VIRSH_MIGRATE: 3, Fault.DRAIN: 3}
"""Weights. Those that end a guest unasked are rare: vmha lets one rest that ends again and again."""

NEEDS_WATCHDOG = frozenset({Fault.FREEZE, Fault.STOP_GUARD})
"""Longer than the hold these take away all that ends a node's guests, unless a watchdog is armed."""

AT_QEMU = frozenset({Fault.KILL_QEMU, Fault.STOP_QEMU})

_LASTING = frozenset(
    {
        Fault.POWER_CUT,
        Fault.FREEZE,
        Fault.CUT_LAN,
        Fault.CUT_STORAGE,
        Fault.CUT_BOTH,
        Fault.STOP_AGENT,
        Fault.STOP_GUARD,
        Fault.STOP_LIBVIRTD,
        Fault.STOP_QEMU,
        Fault.ETCD_POWER_CUT,
        Fault.ETCD_FREEZE,
        Fault.ETCD_CUT,
        Fault.ETCD_STOP,
        Fault.ETCD_ALL_STOP,
        Fault.VIRSH_SUSPEND,
        Fault.STOP,
        Fault.DRAIN,
    }
)
_WITH_DESTINATION = frozenset({Fault.MIGRATE, Fault.VIRSH_MIGRATE, Fault.RELOCATE, Fault.VIRSH_COPY})
_MIGRATE = ((MigrationStyle.LIVE, False), (MigrationStyle.PAUSE, True), (MigrationStyle.LIVE, True))
"""How the first guest, the second and the third migrate, and whether they are large; then over again."""
_A_MOVE_IS_UNDER_WAY = 0.5
_A_HOST_IS_BUSY = 0.3
_TWO_FAULTS = 0.6
_HITS_THE_ARRIVING_QEMU = 0.5


def draw_round(seed: int, number: int, shape: Shape) -> Round:
    """Round ``number`` of ``seed``."""
    return _Draw(random.Random(f"{seed}/{number}"), shape).round(seed, number)


def draw_preferences(seed: int, shape: Shape) -> tuple[Preference, ...]:
    """Where the guests of ``seed`` would rather run: for the whole run, as a cluster's operator decides once."""
    draw = random.Random(f"{seed}/guests")
    found = []
    for vm in shape.vms:
        hosts = tuple(draw.sample(shape.hosts, len(shape.hosts))) if draw.random() < 0.6 else ()
        found.append(Preference(vm=vm, hosts=hosts, fails_back=draw.random() < 0.7, relocates=draw.random() < 0.3))
    pairs = zip(found, cycle(_MIGRATE), strict=False)
    return tuple(replace(each, style=style, is_large=is_large) for each, (style, is_large) in pairs)


class _Draw:
    def __init__(self, draw: random.Random, shape: Shape) -> None:
        self._draw = draw
        self._shape = shape

    def round(self, seed: int, number: int) -> Round:
        draw = self._draw
        strikes = [self._move()] if draw.random() < _A_MOVE_IS_UNDER_WAY else []
        vm = strikes[0].target.name if strikes and strikes[0].target.role is Role.VM else draw.choice(self._shape.vms)
        to = strikes[0].to if strikes else ""
        at_s = draw.uniform(0.0, 1.5) if strikes else 0.0
        strikes.append(self._fault(at_s, vm, to))
        if draw.random() < _TWO_FAULTS:
            takeover_s = self._shape.timing.dead_after_s
            pauses = ((0.0, 0.1), (0.1, 1.5), (0.1, 1.5), (1.0, 4.0), (takeover_s - 0.5, takeover_s + 2.0))
            strikes.append(self._fault(at_s + draw.uniform(*draw.choice(pauses)), vm, to))
        if draw.random() < _A_HOST_IS_BUSY:
            strikes.append(self._load(vm, to, until_s=max(strike.ends_s for strike in strikes)))
        return Round(seed=seed, number=number, strikes=tuple(strikes))

    def _move(self) -> Strike:
        fault = self._choose(MOVES)
        if fault is Fault.DRAIN:
            holder = Target(role=Role.HOLDER, name=self._draw.choice(self._shape.vms))
            return self._strike(0.0, fault, holder)
        return self._strike(0.0, fault, Target(role=Role.VM, name=self._draw.choice(self._shape.vms)))

    def _fault(self, at_s: float, vm: str, to: str) -> Strike:
        fault = self._choose(AT_HOSTS | AT_ETCD | AT_VMS)
        if fault in AT_VMS:
            arrives = to if fault in AT_QEMU and self._draw.random() < _HITS_THE_ARRIVING_QEMU else ""
            return self._strike(at_s, fault, Target(role=Role.VM, name=vm), to=arrives)
        if fault in AT_ETCD:
            return self._strike(at_s, fault, self._etcd_target(fault))
        return self._strike(at_s, fault, self._host_target(vm, to))

    def _load(self, vm: str, to: str, until_s: float) -> Strike:
        """From the beginning, for as long as anything else of the round."""
        lasts_s = max(until_s, self._shape.timing.suspect_s)
        return Strike(at_s=0.0, fault=Fault.LOAD, target=self._host_target(vm, to), lasts_s=round(lasts_s, 2))

    def _host_target(self, vm: str, to: str) -> Target:
        """The two ends of a move most of all, then the leader, then anybody."""
        targets = [
            Target(role=Role.HOLDER, name=vm),
            Target(role=Role.HOST, name=to or self._draw.choice(self._shape.hosts)),
            Target(role=Role.LEADER),
        ]
        return self._draw.choices(targets, weights=(5, 3, 2))[0]

    def _etcd_target(self, fault: Fault) -> Target:
        if fault is Fault.ETCD_ALL_STOP or self._draw.random() < 0.6:
            return Target(role=Role.ETCD_LEADER)
        return Target(role=Role.MEMBER, name=self._draw.choice(self._shape.members))

    def _strike(self, at_s: float, fault: Fault, target: Target, to: str = "") -> Strike:
        return Strike(
            at_s=round(at_s, 2),
            fault=fault,
            target=target,
            lasts_s=round(self._duration_s(), 2) if fault in _LASTING else 0.0,
            to=self._draw.choice(self._shape.hosts) if fault in _WITH_DESTINATION else to,
        )

    def _duration_s(self) -> float:
        timing = self._shape.timing
        unnoticed = (0.2, timing.suspect_s)
        around_the_guard = (timing.hold_s - timing.kill_lead_s - 1.0, timing.hold_s + 0.5)
        around_the_takeover = (timing.hold_s, timing.dead_after_s + 1.0)
        long = (timing.dead_after_s + 1.0, timing.dead_after_s + 3.0)
        spans = (unnoticed, around_the_guard, around_the_takeover, long)
        return self._draw.uniform(*self._draw.choices(spans, weights=(3, 3, 3, 1))[0])

    def _choose(self, weights: dict[Fault, int]) -> Fault:
        return self._draw.choices(list(weights), weights=list(weights.values()))[0]


def count_faults(rounds: Sequence[Round]) -> dict[str, int]:
    """How often each fault was drawn."""
    counts: dict[str, int] = {}
    for each in rounds:
        for strike in each.strikes:
            counts[strike.fault.value] = counts.get(strike.fault.value, 0) + 1
    return counts
