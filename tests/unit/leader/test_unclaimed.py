"""For how long an assignment has been as it is, by whoever has seen it: a look costs what has changed."""

from dataclasses import replace

from tests.support.clusters import WHY
from vmha.leader.unclaimed import Unclaimed
from vmha.model.ids import Epoch, LeaseId, NodeName, Revision, VmName
from vmha.model.records import Phase, Placement, Stored

WEB, DB = VmName("web"), VmName("db")
ASSIGNED = Placement(vm=WEB, epoch=Epoch(1), phase=Phase.ASSIGNED, reason=WHY, since=0.0, node=NodeName("n1"))


def assigned(vm: VmName, at: int) -> Stored[Placement]:
    return Stored(replace(ASSIGNED, vm=vm), Revision(1), Revision(at), LeaseId(0))


def test_assignment_is_counted_from_the_look_that_first_finds_it_as_it_is() -> None:
    unclaimed = Unclaimed()
    for vm in (WEB, DB):
        unclaimed.changed(vm)
    unclaimed.look({WEB: assigned(WEB, 5), DB: assigned(DB, 6)}, 10.0)
    before = unclaimed.at(14.0)
    unclaimed.changed(WEB)
    unclaimed.look({WEB: assigned(WEB, 7), DB: assigned(DB, 6)}, 15.0)
    assert dict(unclaimed.at(16.0)) == {WEB: 1.0, DB: 6.0}
    assert dict(before) == {WEB: 4.0, DB: 4.0}, "what was read then is not changed by later looks"


def test_change_that_leaves_it_as_it_was_does_not_begin_the_count_anew_and_a_claim_ends_it() -> None:
    unclaimed = Unclaimed()
    unclaimed.changed(WEB)
    unclaimed.look({WEB: assigned(WEB, 5)}, 10.0)
    unclaimed.changed(WEB)
    unclaimed.look({WEB: assigned(WEB, 5)}, 12.0)
    assert unclaimed.at(13.0)[WEB] == 3.0
    unclaimed.changed(WEB)
    unclaimed.look({}, 14.0)
    assert dict(unclaimed.at(15.0)) == {}
