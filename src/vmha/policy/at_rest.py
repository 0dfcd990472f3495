"""Who is to be decided about now: all that are astir, and of those at rest whom something else concerns.

A crowd rests on as long as its node stays and nothing that is more preferred has come up for its failover domain. Only
what decisions on vms at rest depend on is asked here; a policy that moves or ends what runs well (a drain, failback)
has its line in ``_rests``, or makes the vms that it concerns give way (``Ties.gives_way``).
"""

from collections.abc import Iterable

from vmha.model.ids import VmName
from vmha.policy.members.membership import Condition
from vmha.policy.placing.field import Field
from vmha.policy.state.census import Census, Crowd, Place
from vmha.policy.state.snapshot import VmView
from vmha.policy.state.transitions import CLOCKS_DIFFER_S

_LEFT_ALONE = (Condition.ONLINE, Condition.JOINING, Condition.UNFIT)


def who_is_due(census: Census, ground: Field, asked_about: Iterable[str]) -> dict[VmName, VmView]:
    """``asked_about``: vms with an open request."""
    snapshot = ground.snapshot
    if snapshot.pause is not None or snapshot.unsettled is not None:
        return dict(snapshot.vms)  # rare, and no time to be clever
    due = dict(census.astir)
    for place, crowd in census.crowds.items():
        if not _rests(place, crowd, ground):
            due |= crowd.vms
    for name in (*ground.ties.member_of, *map(VmName, asked_about)):
        if (vm := snapshot.vms.get(name)) is not None:
            due[name] = vm
    return due


def _rests(place: Place, crowd: Crowd, ground: Field) -> bool:
    if crowd.latest - ground.wall > CLOCKS_DIFFER_S:
        return False  # dates are to be set right
    if place.node is None:
        return True
    node, verdict = ground.snapshot.nodes.get(place.node), ground.verdicts.get(place.node)
    if node is None or node.session_id != place.session or verdict is None or verdict.condition not in _LEFT_ALONE:
        return False
    return not ground.preferences.is_anything_better(place.domain, place.node)
