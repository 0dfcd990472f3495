"""Two guests of one vm on one node: which of them is the vm's, and what becomes of the others.

libvirt lets no two of a host have one name, or one uuid. But a guest is a vm's by either (agent/inventory.py): one that
goes by another name has the vm's uuid, and a hand that gets past the start gate may start one of the vm's name, with a
uuid of its own. Both write to its disks. One is taken for the vm's, the one that is on record; of the others the node
that holds the vm makes what the vm's ``on_duplicate`` says. There is no grace as between two nodes: no migration shows
a guest twice on one host.

What this can not heal: what the two have written meanwhile.
"""

from collections.abc import Iterable

from vmha.model.ids import NodeName, SessionId
from vmha.model.records import Phase, Placement, SeenState
from vmha.policy.at_node.known import Local

_STANDS_OR_RUNS = (SeenState.RUNNING, SeenState.PAUSED)


def in_order(guests: Iterable[Local], placement: Placement | None, *, me: NodeName, before: str | None) -> list[Local]:
    """The one that is the vm's comes first. ``before``: what that was called at the last look, '' by the vm's name."""
    return sorted(guests, key=lambda guest: _rank(guest, placement, me, before))


def _rank(guest: Local, placement: Placement | None, me: NodeName, before: str | None) -> tuple[bool | str, ...]:
    """False sorts before True. Of what was adopted just now, and is not marked yet, no name is on record either."""
    on_record = placement.guest if placement is not None and placement.node == me else None
    is_expected = guest.epoch == _expected(placement, me)
    return (
        guest.second,
        not is_expected,
        (is_expected or bool(on_record)) and guest.name != on_record,
        guest.name != before,
        guest.state is not SeenState.RUNNING,
        not guest.tagged,
        guest.name,
    )


def _expected(placement: Placement | None, me: NodeName) -> int | None:
    """The epoch of what may run here, or is to come in here."""
    if placement is None:
        return None
    if placement.phase is Phase.MIGRATING and placement.target == me:
        return placement.epoch + 1
    return placement.epoch


def too_many(placement: Placement | None, others: Iterable[Local], *, me: NodeName, session: SessionId) -> list[Local]:
    """Of the others, those that something is to be done about: by their holder, which has the vm's own beside them.

    Where nobody holds the vm, or another node does, what runs here is treated as one guest, and the next one after it.
    """
    if placement is None or (placement.node, placement.session) != (me, session):
        return []
    if placement.phase not in (Phase.HELD, Phase.MIGRATING):
        return []
    return [one for one in others if one.state is SeenState.RUNNING or (_may_run(one) and not one.second)]


def _may_run(guest: Local) -> bool:
    return guest.state in _STANDS_OR_RUNS
