"""A migration by post-copy: live first; when that does not end, its guest goes on at the target and fetches the rest.

From the switch on the memory of the vm lies on two hosts, and there is **one** instance of it: the target's. The source
is never resumed again, whatever happens; if either side is lost, the guest is. Three things follow:

* **The switch is on record before libvirt is told** (``Placement.switched``): by compare on the very record that asks
  for the migration, in a living session of the source and of the target. Whoever recovers knows from then on that what
  the target shows is the vm, and that a target that shows nothing may be running it. Without the record there is no
  switch; a migration that fails in spite of the record leaves the guest running at its source, which is seen there, not
  inferred.
* **Nobody switches to a target that does not answer.** It has to have shown, in the session that lives, that just this
  migration is coming in: under the epoch that no other migration gives.
* **It is started anew only when both halves are gone**: the source's agent has ended its half, or the source is fenced;
  then the target holds what is there, and ends it when it can never be complete, or is fenced as well.

Whether anything still comes of it is seen by what is left to be sent, at the source: libvirt calls it failed when a
libvirtd was restarted or a cable cut for a while, and the two QEMUs go on and complete it.
"""

from dataclasses import dataclass, replace

from vmha.model.ids import NodeName
from vmha.model.migration import MigrationProgress
from vmha.model.records import Observation, Phase, Placement, SeenState
from vmha.model.vm import Handover, Migration, MigrationStyle, VmSpec
from vmha.policy.state.snapshot import Snapshot, VmView

AFTER_S = 30.0
"""When to switch, where nobody has said it; or after half of what the migration may take, if that is less."""

TAKE_UP_AFTER_S = 5.0
GIVE_UP_AFTER_S = 30.0
NOTHING_THERE_S = 2.0
PULLS_IN_VAIN_S = 5.0
"""For how long nothing has come: until a connection that was lost is to be taken up again; until both halves are given
up; until what the target has finished with, or has no more, is given up at the source; and until a target that holds
the vm, so that nobody can send it anything any more, gives its half up."""

POSTCOPY, FAILED, COMPLETE = "postcopy", "postcopy_failed", "migrated"
"""The hypervisor's words for an instance that lacks memory, for one that may never get it, and for one that has all."""

SPLIT = "its memory was lost: a migration by post-copy broke before all of it had come"


def is_post_copy(placement: Placement | None, spec: VmSpec | None) -> bool:
    """Whether the migration that is asked for is one."""
    if placement is None or spec is None or placement.phase is not Phase.MIGRATING:
        return False
    return (placement.style or spec.migration.style) is MigrationStyle.POST_COPY


def runs_at_once(placement: Placement | None, spec: VmSpec | None) -> bool:
    """Whether what comes in at the target of a migration runs there before anybody has put that on record."""
    is_libvirts = spec is not None and spec.migration.handover is Handover.LIBVIRT
    return is_libvirts or (placement is not None and placement.switched)


def is_due(progress: MigrationProgress, how: Migration) -> bool:
    """It has been copied for long enough, or often enough."""
    after_s, after_passes = how.post_copy_after_s, how.post_copy_after_passes
    if after_passes is not None and (progress.iteration or 0) > after_passes:
        return True
    if after_s is None and after_passes is None:
        after_s = min(AFTER_S, how.timeout_s / 2)
    return after_s is not None and progress.elapsed_s >= after_s


def why_no_switch(placement: Placement, vm: VmView | None, snapshot: Snapshot) -> str:
    """'' when it may be put on record now, and then be made."""
    if placement.phase is not Phase.MIGRATING:
        return f"it is {placement.phase} by now"
    if snapshot.unsettled:
        return "the store went back, and it is not certain yet what runs where"
    if placement.cancel is not None:
        return f"it is called off by {placement.cancel_by}"
    node = snapshot.nodes.get(placement.target) if placement.target else None
    if node is None or node.beat is None or node.session is None:
        return f"{placement.target} has no session"
    seen = find_seen(placement.target, vm, snapshot)
    if seen is None or seen.state is not SeenState.INCOMING or seen.epoch != placement.epoch + 1:
        return f"{placement.target} does not show it coming in"
    return ""


def find_seen(node: NodeName | None, vm: VmView | None, snapshot: Snapshot) -> Observation | None:
    """What a living session of that node shows of it."""
    if vm is None:
        return None
    return next((seen for seen in snapshot.observations(vm) if seen.node == node), None)


def is_session_over(node: NodeName | None, snapshot: Snapshot) -> bool:
    """It was evicted, with a proof, or has left: what ran in it has ended."""
    view = snapshot.nodes.get(node) if node else None
    return node is not None and (view is None or view.beat is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetching:
    """How it stands with what is fetched, by one look after the other.

    ``moved_at``: when there was less to send than ever before, or when the first look was. ``taken_up_at``: when that
    was last tried.
    """

    moved_at: float
    least: int | None = None
    taken_up_at: float | None = None

    def look(self, progress: MigrationProgress | None, now: float) -> "Fetching":
        if progress is None or (self.least is not None and progress.remaining_bytes >= self.least):
            return self
        return replace(self, least=progress.remaining_bytes, moved_at=now)

    def is_to_be_taken_up(self, reason: str, now: float) -> bool:
        """Its connection seems to be lost; where it is not, the hypervisor refuses and nothing has happened."""
        since = max(self.moved_at, self.taken_up_at or 0.0)
        return reason == FAILED and now - since >= TAKE_UP_AFTER_S

    def is_over(self, at_target: Observation | None, now: float) -> bool:
        """Nothing will come of the source's half any more: the other one has ended, has all, or gets nothing."""
        still_s = now - self.moved_at
        if at_target is None or _has_all(at_target):
            return still_s >= NOTHING_THERE_S
        return still_s >= GIVE_UP_AFTER_S


def _has_all(seen: Observation) -> bool:
    return seen.state is SeenState.RUNNING and seen.reason == COMPLETE
