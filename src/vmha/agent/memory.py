"""What a process of the agent has done, and has alone seen: the next decision about a vm takes it into account.

Nothing of it is kept: an agent that is begun anew knows what is on record, and what it sees.
"""

from dataclasses import dataclass, field

from vmha.model.ids import Epoch, Revision, VmName
from vmha.model.records import Placement
from vmha.policy.at_node.not_let_go import Refusal

Try = tuple[Epoch, float]


def try_of(placement: Placement) -> Try:
    """Which migration it is. A cancel changes the record, and it is the same migration."""
    return placement.epoch, placement.since


@dataclass(slots=True)
class Memory:
    starting: set[VmName] = field(default_factory=set)
    """Vms of which something may come to life yet."""
    migrations_tried: dict[VmName, tuple[Try, str]] = field(default_factory=dict)
    """Migrations that have ended without success, and why."""
    migrated: dict[VmName, Try] = field(default_factory=dict)
    """Migrations of which the hypervisor has said that they are done."""
    given_up: dict[VmName, Try] = field(default_factory=dict)
    """Migrations by post-copy of which nothing comes any more; what is left of them here is to be ended."""
    left_unseen: dict[VmName, Revision] = field(default_factory=dict)
    """Vms that left by migration while no agent was here to see it, and under which placement's revision."""
    cleared: dict[VmName, Revision] = field(default_factory=dict)
    """Vms of whose guest something was left and was ended, and under which placement's revision."""
    measured: dict[VmName, Epoch] = field(default_factory=dict)
    """Vms of which was asked what their arrival took, and under which epoch they have come."""
    not_let_go: dict[VmName, Refusal] = field(default_factory=dict)
    """Vms that have arrived, and that the hypervisor does not let run."""
