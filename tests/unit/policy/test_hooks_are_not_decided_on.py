"""A hook's record is in the mirror of every agent, and in nobody's decisions."""

from vmha.model.ids import LeaseId, Revision
from vmha.model.keys import Keys, encode
from vmha.model.records import HookState
from vmha.policy.state.assemble import Assembler

KEYS = Keys("test")


def test_record_of_a_hook_changes_no_snapshot() -> None:
    assembler = Assembler(KEYS)
    before = assembler.snapshot(Revision(1))
    value = encode(HookState(hook="pager", revision=Revision(1), entry=""))
    assembler.put(KEYS.hook("pager"), value, created=Revision(1), modified=Revision(1), lease=LeaseId(0))
    assert assembler.snapshot(Revision(1)) == before
    assembler.delete(KEYS.hook("pager"))
    assert assembler.snapshot(Revision(1)) == before
