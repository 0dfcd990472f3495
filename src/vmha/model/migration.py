"""What is known of a migration in numbers: how far it is, and, once it is over, what it took."""

from dataclasses import dataclass

from vmha.model.ids import NodeName

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationProgress:
    """How far a migration is, as its source's hypervisor says. None: it does not say.

    ``iteration`` counts the passes over the memory; ``dirty_bytes_per_s``: how fast the guest changes what was copied;
    ``throttle_percent``: how much of its processors auto-converge takes from it.
    """

    elapsed_s: float
    remaining_bytes: int
    total_bytes: int
    expected_downtime_ms: int | None = None
    iteration: int | None = None
    dirty_bytes_per_s: int | None = None
    throttle_percent: int | None = None

    def __str__(self) -> str:
        text = f"{self.elapsed_s:.0f} s, {self.remaining_bytes / MIB:.0f} of {self.total_bytes / MIB:.0f} MiB to go"
        if self.iteration is not None and self.iteration > 1:
            text += f", pass {self.iteration}"
        if self.dirty_bytes_per_s:
            text += f", changes {self.dirty_bytes_per_s / MIB:.1f} MiB/s"
        if self.throttle_percent:
            text += f", throttled by {self.throttle_percent} %"
        if self.expected_downtime_ms is not None:
            text += f", expected downtime {self.expected_downtime_ms} ms"
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What the hypervisor measured of the migration that brought a guest here, up to where it was complete here.

    At its source, of one that took a guest away: up to its end there.
    ``total_s``: from its begin; ``downtime_s``: from the guest's last instruction at the source. libvirt takes the two
    hosts' clocks apart itself.
    """

    total_s: float
    downtime_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What a vm's last migration took, as its target measured it; by post-copy, its source (agent/took.py).

    ``total_s`` and ``switch_s`` are the hypervisor's (``Arrival``). ``stood_s``: for how long the guest then stood at
    its target until it was let go there, by that node's own clock: the hand-over. 0 where libvirt lets it go by itself.
    """

    source: NodeName
    total_s: float
    switch_s: float
    stood_s: float

    @property
    def downtime_s(self) -> float:
        """For how long the guest stood still in all."""
        return self.switch_s + self.stood_s

    def __str__(self) -> str:
        text = f"migrated from {self.source} in {self.total_s + self.stood_s:.2f} s"
        text += f"; it stood still for {self.downtime_s:.2f} s"
        return text + (f", {self.stood_s:.2f} s of it for the hand-over" if self.stood_s else "")
