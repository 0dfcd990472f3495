"""The verdict on one round. Pure: facts in, violations out.

"Never two" is judged by the witness disks and the storage server's list of writers alone, which share nothing with
vmha. "It came back" is judged by the same disks. The rest (a copy that the gate let in, a QEMU left over, a cluster
that does not come to rest) is looked for on the hosts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from vmha.lab.chaos.schedule import Fault, Round, Strike


class Kind(StrEnum):
    RAN_TWICE = "ran twice"
    NOT_BACK = "not back"
    LEFT_OVER = "left over"
    GATE = "gate let in a copy"
    NO_REST = "no rest"
    NOT_PLAYED = "not played"


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    kind: Kind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """What a witness guest's disk and the storage server have counted until now."""

    boots: int
    ticks: int
    returns: int
    tick_breaks: int
    foreign: int
    double_writers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestFacts:
    """One guest at the end of a round. ``back_s`` None: it does not tick. ``qemus``: hosts with a QEMU of it.

    ``outage_s``: the longest time in this round in which nobody ran it.
    """

    vm: str
    before: Traces
    after: Traces
    back_s: float | None
    outage_s: float
    state: str
    reason: str
    qemus: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One strike as it went. ``said``: why it could not be done, or what the tool answered; '' done.

    ``let_in``: a copy that was made by hand did start.
    """

    strike: Strike
    at_s: float
    target: str
    said: str = ""
    let_in: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """``pending``: what kept the cluster from rest when the time was over; '' when it came to rest.

    ``struck_s`` and ``healing_s`` are how long the strikes and the mending of the machines took; ``rest_s`` counts
    from then on, as the guests' ``back_s`` do. ``fenced_late``: hosts that were powered off after the mending, for what
    had been done before; chaos switches them on again, as an operator would. ``confirmed_gone``: vms that a hand sent
    to a host which was lost with them; chaos looks at every host's processes and says so, as an operator would.
    """

    done: tuple[Done, ...]
    guests: tuple[GuestFacts, ...]
    pending: str
    rest_s: float
    budget_s: float
    struck_s: float
    healing_s: float
    fenced_late: tuple[str, ...] = ()
    confirmed_gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    round: Round
    facts: Facts
    violations: tuple[Violation, ...]
    remarks: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        return not self.violations

    @property
    def back_s(self) -> float | None:
        """The last guest's time. None: one is not back."""
        times = [guest.back_s for guest in self.facts.guests]
        return None if None in times else max((s for s in times if s is not None), default=0.0)

    @property
    def outage_s(self) -> float:
        """The longest of any guest."""
        return max((guest.outage_s for guest in self.facts.guests), default=0.0)

    @property
    def boots(self) -> int:
        return sum(guest.after.boots - guest.before.boots for guest in self.facts.guests)

    def to_dict(self) -> dict[str, Any]:
        sums = {"good": self.is_good, "back_s": self.back_s, "outage_s": self.outage_s, "boots": self.boots}
        return asdict(self) | sums


HARMLESS = frozenset(
    {
        Fault.KILL_AGENT,
        Fault.KILL_GUARD,
        Fault.KILL_LIBVIRTD,
        Fault.STOP_LIBVIRTD,
        Fault.ETCD_KILL,
        Fault.ETCD_POWER_CUT,
        Fault.ETCD_FREEZE,
        Fault.ETCD_CUT,
        Fault.ETCD_STOP,
        Fault.MIGRATE,
        Fault.VIRSH_MIGRATE,
        Fault.DRAIN,
        Fault.VIRSH_COPY,
    }
)
"""One of these alone ends no guest, however long it lasts."""


def judge(played: Round, facts: Facts) -> Outcome:
    violations: list[Violation] = []
    for guest in facts.guests:
        violations += _judge_guest(guest, facts)
    violations += [
        Violation(kind=Kind.GATE, text=f"{done.strike.words}: virsh started a second copy on {done.target}")
        for done in facts.done
        if done.let_in
    ]
    if facts.pending:
        text = f"the cluster is not at rest {facts.rest_s:.0f} s after healing: {facts.pending}"
        violations.append(Violation(kind=Kind.NO_REST, text=text))
    return Outcome(round=played, facts=facts, violations=tuple(violations), remarks=tuple(_remarks(played, facts)))


def judge_unplayed(played: Round, error: str) -> Outcome:
    """The lab itself failed: nothing is proven, and that is no success."""
    facts = Facts(done=(), guests=(), pending="", rest_s=0.0, budget_s=0.0, struck_s=0.0, healing_s=0.0)
    return Outcome(round=played, facts=facts, violations=(Violation(kind=Kind.NOT_PLAYED, text=error),))


def _judge_guest(guest: GuestFacts, facts: Facts) -> list[Violation]:
    found = []
    if grown := _grown(guest.before, guest.after):
        found.append(Violation(kind=Kind.RAN_TWICE, text=f"{guest.vm}: {grown}"))
    if guest.back_s is None or guest.back_s > facts.budget_s:
        when = "does not tick" if guest.back_s is None else f"came back after {guest.back_s:.1f} s"
        words = f"{guest.vm} {when} (budget {facts.budget_s:.0f} s); vmha says {guest.state}: {guest.reason}"
        found.append(Violation(kind=Kind.NOT_BACK, text=words))
    if len(guest.qemus) > 1:
        found.append(Violation(kind=Kind.LEFT_OVER, text=f"{guest.vm} has a QEMU on {' and '.join(guest.qemus)}"))
    return found


def _grown(before: Traces, after: Traces) -> str:
    """What speaks of two instances, as far as it is new."""
    signs = {
        "nonces that returned": after.returns - before.returns,
        "broken tick orders": after.tick_breaks - before.tick_breaks,
        "foreign heads": after.foreign - before.foreign,
        "double writers": after.double_writers - before.double_writers,
    }
    return ", ".join(f"{sign} {count}" for sign, count in signs.items() if count > 0)


def _remarks(played: Round, facts: Facts) -> Sequence[str]:
    """Not wrong by the laws of "never two" and "it comes back", but worth a look."""
    remarks = []
    if facts.fenced_late:
        remarks.append(f"{', '.join(facts.fenced_late)} went off after healing, and was switched on again")
    if facts.confirmed_gone:
        names = ", ".join(facts.confirmed_gone)
        remarks.append(
            f"{names} was sent by hand to a host that was lost then; an operator looked and confirmed it gone"
        )
    faults: Mapping[Fault, int] = {strike.fault: 1 for strike in played.strikes}
    booted = [guest.vm for guest in facts.guests if guest.after.boots > guest.before.boots]
    damages = [fault for fault in faults if fault not in (Fault.MIGRATE, Fault.VIRSH_MIGRATE, Fault.DRAIN)]
    if booted and len(damages) <= 1 and all(fault in HARMLESS for fault in faults):
        remarks.append(f"{', '.join(booted)} booted anew, and nothing in this round should have ended a guest")
    return remarks
