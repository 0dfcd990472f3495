"""Settings of a cluster: the clock work that safety rests on, and limits.

The timing rules (docs/explanation/safety.md draws them):

* A beat is sent every ``beat_s``. A node whose last committed beat was *sent* ``hold_s`` ago has ended its guests;
  its guard begins ``kill_lead_s`` before that.
* Whoever takes over has seen no beat for ``dead_after_s = hold_s + margin_s`` on its own clock. The margin covers
  clock drift, and the watchdog: a host that froze right after it was last petted is reset ``watchdog_s`` later.
* The lease (``lease_ttl_s``) only raises suspicion and elects the leader; it proves nothing.
* Agents that have a channel to each other ping every ``ping_s``. A host that gives no sign of life there for
  ``suspect_by_peers_s`` while a beat of it is late is suspected at once; that, too, proves nothing.
"""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from vmha.model.document import Document
from vmha.model.hooks import Hook
from vmha.model.schema import FIRST, NEWEST

DRIFT_S = 0.5
"""Reserve for two clocks that run apart while a margin is counted, and for the scheduling of the counting processes."""


class Profile(StrEnum):
    DEFAULT = "default"
    TUNED = "tuned"


class Proof(StrEnum):
    """Why a vm's former holder can not be running it (DESIGN: the ladder of proofs)."""

    RELEASED = "released"
    GUARD_ELAPSED = "guard_elapsed"
    WATCHDOG_ELAPSED = "watchdog_elapsed"
    POWER_OFF_CONFIRMED = "power_off_confirmed"
    STORAGE_FENCED = "storage_fenced"
    OPERATOR_CONFIRMED = "operator_confirmed"


Seconds = Annotated[float, Field(gt=0, le=3600)]


class Timing(Document):
    """One timing profile. Values are seconds."""

    beat_s: Seconds = 2.0
    lease_ttl_s: Annotated[int, Field(ge=1, le=600)] = 8
    hold_s: Seconds = 10.0
    kill_lead_s: Seconds = 1.0
    margin_s: Seconds = 5.0
    watchdog_s: Annotated[int, Field(ge=1, le=600)] = 5
    suspect_s: Seconds = 5.0
    ping_s: Seconds = 0.5
    suspect_by_peers_s: Seconds = 1.5

    @property
    def dead_after_s(self) -> float:
        return self.hold_s + self.margin_s

    @model_validator(mode="after")
    def _checked_against_each_other(self) -> Self:
        def refuse(field: str, value: float, why: str, accepted: str) -> None:
            raise ValueError(f"{field}: {value:g}: {why} (accepted: {accepted})")

        room = self.hold_s - self.kill_lead_s
        if self.kill_lead_s > self.hold_s / 2:
            refuse("kill_lead_s", self.kill_lead_s, "leaves too little of the hold", f"at most {self.hold_s / 2:g}")
        if self.beat_s * 3 > room:
            refuse(
                "beat_s", self.beat_s, "two beats in a row may get lost before the guard acts", f"at most {room / 3:g}"
            )
        if self.lease_ttl_s >= self.hold_s:
            refuse("lease_ttl_s", self.lease_ttl_s, "must end before the hold", f"below {self.hold_s:g}")
        if self.suspect_s < self.beat_s * 2:
            refuse("suspect_s", self.suspect_s, "one late beat would raise suspicion", f"at least {self.beat_s * 2:g}")
        if self.suspect_by_peers_s < self.ping_s * 3:
            accepted = f"at least {self.ping_s * 3:g}"
            refuse("suspect_by_peers_s", self.suspect_by_peers_s, "two pings in a row may get lost", accepted)
        if self.margin_s < DRIFT_S:
            refuse("margin_s", self.margin_s, "two clocks may run apart", f"at least {DRIFT_S:g}")
        longest_watchdog = self.margin_s + self.kill_lead_s - DRIFT_S
        if self.watchdog_s > longest_watchdog:
            refuse(
                "watchdog_s",
                self.watchdog_s,
                f"a frozen host is reset only after the cluster took over (dead after {self.dead_after_s:g} s)",
                f"at most {longest_watchdog:g}, or margin_s at least {self.watchdog_s - self.kill_lead_s + DRIFT_S:g}",
            )
        return self


PROFILES: dict[Profile, Timing] = {
    Profile.DEFAULT: Timing(),
    Profile.TUNED: Timing(
        beat_s=0.5,
        lease_ttl_s=2,
        hold_s=4.0,
        kill_lead_s=0.5,
        margin_s=2.0,
        watchdog_s=2,
        suspect_s=1.2,
        ping_s=0.2,
        suspect_by_peers_s=0.7,
    ),
}


class Afterwards(StrEnum):
    """What becomes of a node whose power a fence agent has cut (policy/members/power_on.py)."""

    STAY_OFF = "stay-off"
    POWER_ON = "power-on"


class FenceSecrets(StrEnum):
    """Where passwords of fence devices may stand. Every role of etcd reads all of it (operator/fence_secrets.py)."""

    FILES = "files"  # on the hosts: a document that brings one is refused
    STORED = "stored"  # in etcd too


class Fencing(Document):
    """Which proofs suffice to take a lost node's vms over, and when to wait for the network instead."""

    accept: tuple[Proof, ...] = (
        Proof.GUARD_ELAPSED,
        Proof.WATCHDOG_ELAPSED,
        Proof.POWER_OFF_CONFIRMED,
        Proof.OPERATOR_CONFIRMED,
    )
    retry_s: Seconds = 5.0
    mass_loss_brake: bool = True
    afterwards: Afterwards = Field(
        default=Afterwards.STAY_OFF,
        description="power-on: once a fence agent's off is on record as proof, it is asked to switch on again.",
    )
    secrets: FenceSecrets = Field(
        default=FenceSecrets.FILES,
        description="files: a document that gives a fence device a password itself, not a file or script, is refused. "
        "stored: it is taken, and every role of etcd can read it, a reader's too.",
    )

    @model_validator(mode="after")
    def _an_operator_always_may(self) -> Self:
        if Proof.OPERATOR_CONFIRMED not in self.accept:
            raise ValueError(f"accept: must hold {Proof.OPERATOR_CONFIRMED}: it is the last way out")
        return self


class GateMode(StrEnum):
    """What libvirt's hook lets through of a managed vm that vmha did not ask for (docs/explanation/safety.md)."""

    ADOPT = "adopt"  # no start by hand; a migration by hand between members is let in and adopted
    STRICT = "strict"  # nor a migration by hand
    OFF = "off"  # everything


def _gate_word(value: object) -> object:
    return GateMode.OFF if value is False else value  # YAML takes a plain off for "no"


Gate = Annotated[GateMode, BeforeValidator(_gate_word)]


class Limits(Document):
    """How much may happen at once. 0: no limit."""

    migrations_per_node: Annotated[int, Field(ge=1, le=64)] = 4
    starts_per_node: Annotated[int, Field(ge=1, le=256)] = 16
    migrations: Annotated[int, Field(ge=0, le=10000)] = 0
    starts: Annotated[int, Field(ge=0, le=10000)] = 0


ReserveMib = Annotated[int, Field(ge=0, le=2**30)]
MemoryRatio = Annotated[float, Field(ge=0.1, le=10, allow_inf_nan=False)]
VcpuRatio = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]


class Capacity(Document):
    """What of a node is for vms: (memory - reserve) x memory_overcommit, and its processors x vcpu_overcommit."""

    reserve_mib: ReserveMib = Field(default=0, description="Memory of each node that is not for vms.")
    memory_overcommit: MemoryRatio = 1.0
    vcpu_overcommit: VcpuRatio = Field(default=0.0, description="0: vcpus are not limited.")


Percent = Annotated[int, Field(ge=0, le=100)]


class Rebalance(Document):
    """Whether vms leave a full node for an emptier one by themselves (policy/rebalance.py)."""

    enabled: bool = False
    threshold_percent: Percent = Field(default=70, description="So much of a node must be taken before one leaves it.")
    margin_percent: Annotated[int, Field(ge=1, le=100)] = Field(
        default=20, description="By so much the other node must be emptier, and still be when the vm is there."
    )
    hold_s: Annotated[float, Field(ge=0, le=604800)] = Field(
        default=600.0, description="For so long nothing must have come to either node."
    )


class MakeRoom(StrEnum):
    """Whether vms that run are moved, live, for one that fits nowhere (policy/deciding/making_room.py)."""

    MOVES = "moves"
    OFF = "off"


def _off_word(value: object) -> object:
    return MakeRoom.OFF if value is False else value  # YAML takes a plain off for "no"


class Startup(Document):
    """After the whole cluster was down: how long the first starts wait for nodes that are still coming up."""

    settle_s: Annotated[float, Field(ge=0, le=600)] = Field(
        default=10.0, description="Until no new node has come for so long; 0: nothing waits."
    )
    settle_at_most_s: Annotated[float, Field(ge=0, le=3600)] = 60.0


class AtShutdown(StrEnum):
    MIGRATE = "migrate"  # to other hosts, live; what has not left in time is stopped, and starts elsewhere
    FREEZE = "freeze"  # stopped at once, and started there again when the host is back
    FAILOVER = "failover"  # stopped at once, and started elsewhere


class HostShutdown(Document):
    """What becomes of a host's vms when it shuts down in good order (``vmha leave``; deciding/host_shutdown.py)."""

    vms: AtShutdown = AtShutdown.MIGRATE
    migrate_s: Annotated[float, Field(ge=0, le=3600)] = 90.0
    stop_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    freeze_for_s: Annotated[float, Field(ge=0, le=30 * 86400, allow_inf_nan=False)] = Field(
        default=0.0, description="A frozen vm waits for its host for so long, then it starts elsewhere; 0: without end."
    )


class ClusterConfig(Document):
    """``config``: what the operator decides for the whole cluster."""

    schema_version: int = Field(default=1, alias="schema", ge=FIRST, le=NEWEST)
    profile: Profile = Profile.DEFAULT
    timing: Timing | None = Field(default=None, description="Replaces the profile's values as a whole.")
    fencing: Fencing = Fencing()
    limits: Limits = Limits()
    capacity: Capacity = Capacity()
    preempt: bool = Field(
        default=False, description="A vm that finds no room may have vms of a lower priority stopped for it."
    )
    make_room: Annotated[MakeRoom, BeforeValidator(_off_word)] = Field(
        default=MakeRoom.MOVES, description="For a vm that fits nowhere, vms that run are moved, live."
    )
    rebalance: Rebalance = Rebalance()
    startup: Startup = Startup()
    gate: Gate = Field(default=GateMode.ADOPT, description="What may be done by hand with a managed vm on a host.")
    on_host_shutdown: HostShutdown = Field(
        default=HostShutdown(), description="What becomes of the vms of a host that is shut down in good order."
    )
    journal_days: Annotated[int, Field(ge=1, le=365)] = 7
    failsafe: bool = Field(default=True, description="While etcd is down, agents that all see each other go on.")
    failsafe_at_most_s: Annotated[float, Field(gt=0, le=30 * 86400)] = 86400.0
    hooks: Annotated[tuple[Hook, ...], Field(max_length=32)] = Field(
        default=(), description="Who is told what happened."
    )

    @model_validator(mode="after")
    def _hooks_once(self) -> Self:
        names = [hook.name for hook in self.hooks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"hooks: {', '.join(twice)}: named twice (accepted: each name once)")
        return self

    @property
    def clockwork(self) -> Timing:
        return self.timing or PROFILES[self.profile]
