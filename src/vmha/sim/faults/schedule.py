"""A life as data: the cluster, and every fault and operation with its instant. Drawn from a seed or read from a file.

No step depends on another or on what became of them: what can not be done at its instant (a host that is off can not be
frozen) is passed over. So any part of a schedule is a schedule, which is what makes a failing life shrink (``shrink``).
A fault that lasts carries its own end; there are no steps that mend.
"""

from typing import Annotated

from pydantic import Field

from vmha.model.document import Document
from vmha.model.health import Probe
from vmha.model.relations import Needs, Rank
from vmha.model.rules import Labels, Rule
from vmha.model.service import Service
from vmha.model.settings import Afterwards, AtShutdown, Capacity, Rebalance, Timing
from vmha.model.standing import OnPause
from vmha.model.vm import AfterShutdown, FailoverDomain, Migration, Name, OnDuplicate, Recovery, ShutdownBy

Seconds = Annotated[float, Field(ge=0, le=1e7)]


class NodeDrawn(Document):
    """One host."""

    name: Name
    has_watchdog: bool = False
    has_switch: bool = Field(default=False, description="A power switch: the leader may cut this host's power.")
    drift: float = Field(default=0.0, ge=-0.1, le=0.1, description="Its clock gains this many seconds in each second.")

    labels: Labels = Field(default_factory=dict, description="What placement rules tell it by.")


class VmDrawn(Document):
    """One vm, wanted running."""

    name: Name
    failover_domain: Name | None = None
    recovery: Recovery = Recovery.RESTART
    on_guest_shutdown: AfterShutdown = AfterShutdown.RESTART
    on_duplicate: OnDuplicate = OnDuplicate.PAUSE
    stop_timeout_s: float = 10.0
    probes: tuple[Probe, ...] = ()
    migration: Migration = Migration()
    on_pause: OnPause = OnPause()
    shutdown_by: ShutdownBy = ShutdownBy.ACPI
    autostart: bool = True
    exclusive: Rank = 0
    depends_on: Needs = ()
    migration_s: Seconds = 0.5
    priority: Annotated[int, Field(ge=0, le=1000)] = 100
    memory_mib: Annotated[int, Field(ge=0)] = Field(default=0, description="0: next to nothing of a host.")
    is_busy: bool = Field(default=False, description="It changes its memory faster than it is copied live.")
    saves: bool = Field(default=False, description="Its memory is kept over a stop.")
    from_file: bool = Field(default=False, description="Its definition is a file that a node reads at each start.")


class Step(Document):
    """One thing that happens. ``at`` counts from when the cluster had come to rest. What the other fields mean, and
    which are used, is said by ``do`` (``vmha sim --list-faults``)."""

    at: Seconds
    do: str
    node: str = ""
    vm: str = ""
    to: str = ""
    for_s: Seconds = 0.0
    number: float = 0.0

    def __str__(self) -> str:
        parts = [self.do, self.vm, self.node, f"to {self.to}" if self.to else ""]
        parts += [f"for {self.for_s:g} s" if self.for_s else "", f"({self.number:g})" if self.number else ""]
        return " ".join(part for part in parts if part)


class Schedule(Document):
    """``seed``: what it was drawn from; nothing is drawn from it again."""

    seed: int = 0
    timing: Timing = Timing()
    peers: bool = Field(default=False, description="The agents have a channel to each other.")
    nodes: tuple[NodeDrawn, ...]
    domains: tuple[FailoverDomain, ...] = ()
    vms: tuple[VmDrawn, ...] = ()
    services: tuple[Service, ...] = ()
    rules: tuple[Rule, ...] = ()
    rebalance: Rebalance = Rebalance()
    capacity: Capacity = Capacity()
    preempt: bool = Field(default=False, description="Vms of a lower priority are stopped for one that finds no room.")
    afterwards: Afterwards = Field(default=Afterwards.STAY_OFF, description="What becomes of a host that was fenced.")
    at_shutdown: AtShutdown = Field(default=AtShutdown.MIGRATE, description="What becomes of a leaving host's vms.")
    steps: tuple[Step, ...] = ()

    def with_steps(self, steps: tuple[Step, ...]) -> "Schedule":
        return self.model_copy(update={"steps": steps})
