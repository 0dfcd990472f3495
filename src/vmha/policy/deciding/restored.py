"""After etcd was restored from a backup: put on record what runs, and do nothing else until that is certain.

What a restored store says of placements is of the past: a vm that it places on one node may run on another by now, and
one that it says nobody holds may run somewhere. A node that has committed to a later state than the store is at finds
out with its next beat, writes ``history`` (``agent/rejoin.py``) and publishes anew what runs on it. Until the leader
has settled that record:

* nodes start, resume, stop and migrate nothing; what they may write is what is so: a guest is gone here, or runs here;
* the leader adopts what runs where it is not recorded, takes back assignments that the past has left, and evicts what
  has been silent for long enough; it starts, moves, stops and powers off nothing.

It is settled when whoever could still run anything has been heard: every node that has a beat has published since, and
``settle_s`` (the longest ``dead_after_s`` known) has passed, in which a node that could commit nothing has ended its
guests. A node that finds out later writes a new record, and all of it begins anew.
"""

from dataclasses import replace

from vmha.model.ids import NodeName, VmName
from vmha.model.records import HistoryRecord, Phase, Reason
from vmha.policy.deciding.decision import change
from vmha.policy.state import transitions
from vmha.policy.state.snapshot import Moment, Snapshot
from vmha.policy.state.steps import Change, EvictSession, PlacementStep, Plan, SettleHistory, Step, Waiting

RULE = "restored-store-is-not-believed"


def hold_back(made: Plan, snapshot: Snapshot, moment: Moment) -> Plan:
    """The plan, less what must not be done while it is not certain what runs where."""
    record = snapshot.unsettled
    if record is None:
        return made
    kept: list[Step] = [step for step in made.steps if _only_records_what_is(step)]
    adopted = {step.vm for step in kept if isinstance(step, PlacementStep)}
    kept += _take_back_assignments(snapshot, moment, adopted)
    left_s = record.settle_s - moment.unsettled_s
    missing = not_heard_of(snapshot)
    if not missing and left_s <= 0 and not any(isinstance(step, PlacementStep) for step in kept):
        kept.append(_settle(record))
    text = f"{in_words(record)}; waiting for {_what_for(missing, left_s)}"
    wakes = [wake for wake in (made.wake_in_s, left_s if left_s > 0 else None) if wake is not None]
    return replace(
        made,
        steps=tuple(kept),
        waiting=(Waiting(vm=VmName(""), text=text), *made.waiting),
        wake_in_s=min(wakes, default=None),
    )


def not_heard_of(snapshot: Snapshot) -> list[NodeName]:
    """Nodes with a beat that have not published what runs on them since the restore."""
    record = snapshot.unsettled
    if record is None:
        return []
    return [
        name
        for name, view in sorted(snapshot.nodes.items())
        if view.beat and (view.current_status is None or view.current_status.history != record.id)
    ]


def in_words(record: HistoryRecord) -> str:
    return f"etcd seems to have been restored from a backup: {record.why}"


def _only_records_what_is(step: Step) -> bool:
    return isinstance(step, EvictSession) or (isinstance(step, PlacementStep) and step.change is Change.ADOPT)


def _take_back_assignments(snapshot: Snapshot, moment: Moment, adopted: set[VmName]) -> list[Step]:
    """Or their nodes would start them the moment it is settled, whatever runs elsewhere."""
    steps: list[Step] = []
    reason = Reason(rule=RULE, text="its assignment is of before the store was restored; it is decided anew")
    for name, vm in sorted(snapshot.vms.items()):
        placement = vm.placement.value if vm.placement else None
        if placement and placement.phase is Phase.ASSIGNED and name not in adopted:
            steps += change(vm, Change.WITHDRAW, transitions.withdraw(placement, reason, moment.wall)).steps
    return steps


def _settle(record: HistoryRecord) -> SettleHistory:
    text = "every node has said what runs on it since etcd was restored; placements are decided again"
    return SettleHistory(record=replace(record, settled=True), text=text)


def _what_for(missing: list[NodeName], left_s: float) -> str:
    if missing:
        return f"{', '.join(missing)} to say what runs there"
    return "whoever is not heard of to have ended its guests" if left_s > 0 else "what runs to be on record"
