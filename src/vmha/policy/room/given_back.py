"""A vm whose holder is proven not to run it any more takes no room there, as far as it is concerned itself.

Its placement still names that node, and its target if it was on its way, and counts there for all others until it is
given another place. But where no other node has room for it, its own claim must not keep it from the node that it ran
on, which may be back, nor from the one that it was migrating to. Placed there it counts twice for the rest of this
plan: who finds no room for that does in the next one.
"""

from vmha.model.ids import NodeName
from vmha.model.records import Placement
from vmha.model.vm import VmSpec
from vmha.policy.placing.choice import Choice
from vmha.policy.placing.field import Field
from vmha.policy.room.for_all import choose_start


def choose_for_lost(spec: VmSpec, held: Placement, ground: Field, *, prefer: NodeName | None) -> Choice:
    """As ``choose_start``. What others of its size were answered counts its claim, and is no answer for it; nor is its
    own for them.
    """
    answers, ground.answers = ground.answers, None
    need = ground.size_of(spec)
    ends = [ground.loads[node] for node in (held.node, held.target) if node in ground.loads]
    for load in ends:
        load.memory_mib -= need.memory_mib
        load.vcpus -= need.vcpus
    choice = choose_start(spec, ground, prefer=prefer)
    for load in ends:
        load.memory_mib += need.memory_mib
        load.vcpus += need.vcpus
    ground.answers = answers
    return choice
