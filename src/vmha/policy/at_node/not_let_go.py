"""What has arrived here by a migration, and libvirt does not let go: it is tried again, and given up in the end.

What is left of it at its source may hold its disk until that ends: that takes seconds. For ``LET_GO_S`` it is tried;
then what stands here is ended, and the vm boots anew, elsewhere if it can. It is counted from the first refusal that
this process of the agent has met, and anew by the next one: nothing on record says since when, for the claim may be
much older, and clocks may be set. An agent that is restarted gives a guest that stands more time by that, never less.
"""

from dataclasses import dataclass

from vmha.model.ids import Epoch
from vmha.model.records import Placement
from vmha.model.vm import VmSpec

LET_GO_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What arrived here under ``epoch`` could not be let go: since when, and what the hypervisor said last."""

    epoch: Epoch
    since: float
    why: str


def refused(before: Refusal | None, epoch: Epoch, why: str, now: float) -> Refusal:
    """Once more, or for the first time."""
    since = before.since if before is not None and before.epoch == epoch else now
    return Refusal(epoch=epoch, since=since, why=why)


def why_given_up(refusal: Refusal | None, placement: Placement, spec: VmSpec | None, now: float) -> str:
    """'': it is tried on: it has just begun, or the vm must not be killed, and what stands here is its memory."""
    if refusal is None or refusal.epoch != placement.epoch or (spec is not None and spec.no_kill):
        return ""
    if now - refusal.since < LET_GO_S:
        return ""
    return f"it had arrived, and could not be let go: {refusal.why}"
