"""A saved state lives only as long as nobody has claimed the start that may use it."""

from dataclasses import replace

import pytest

from vmha.model.ids import Epoch, NodeName, RequestId, Revision, SessionId, VmName
from vmha.model.records import Phase, Placement, Reason, Request, RunEnd, SavedImage, Verb
from vmha.model.source import SavedState
from vmha.model.vm import VmSpec
from vmha.policy.at_node.saved_state import image_path, is_to_be_saved, used_path, why_not_used
from vmha.policy.state import transitions
from vmha.policy.state.reservation import memory_of

VM, N1, N2, S1 = VmName("web"), NodeName("n1"), NodeName("n2"), SessionId("s-n1")
WHY = Reason(rule="r", text="t")
SPEC = VmSpec(name="web", xml="<domain/>", uuid="u", saved_state=SavedState(directory="/gfs/saves/"))
HELD = Placement(vm=VM, epoch=Epoch(7), phase=Phase.HELD, node=N1, session=S1, reason=WHY, since=0.0)
IMAGE = SavedImage(file="/gfs/saves/web.7.save", epoch=Epoch(7), definition="d", node=N1, at=1.0)
STOPPED = transitions.release(transitions.ask_stop(HELD, WHY, 1.0), RunEnd.ASKED, "as asked", 2.0, saved=IMAGE)
ASSIGNED = transitions.assign(VM, STOPPED, N2, WHY, 3.0)


def test_it_goes_from_the_stop_to_the_start_that_may_use_it() -> None:
    assert STOPPED.saved == ASSIGNED.saved == IMAGE


def test_assignment_that_nobody_claims_passes_it_on() -> None:
    assert transitions.assign(VM, ASSIGNED, N1, WHY, 4.0).saved == IMAGE
    assert transitions.withdraw(ASSIGNED, WHY, 4.0).saved == IMAGE


def test_waiting_keeps_it() -> None:
    assert transitions.note(VM, STOPPED, WHY, 4.0).saved == IMAGE


CLAIMED = transitions.claim(ASSIGNED, S1, 4.0, learned=transitions.Learned(definition="d"))


@pytest.mark.parametrize(
    "after",
    [
        CLAIMED,
        transitions.release(CLAIMED, RunEnd.START_FAILED, "no", 5.0),
        transitions.assign(VM, transitions.forget_holder(CLAIMED, "lost", 5.0), N1, WHY, 6.0),
        transitions.adopt(VM, STOPPED, N1, S1, WHY, 5.0, failback_after=Revision(0)),
        transitions.adopt(VM, ASSIGNED, N1, S1, WHY, 5.0, failback_after=Revision(0)),
    ],
    ids=["claimed", "start failed", "holder lost", "found running", "found running elsewhere"],
)
def test_whatever_may_have_run_since_has_used_it_up(after: Placement) -> None:
    assert after.saved is None


def test_record_that_still_names_it_while_the_vm_is_held_passes_nothing_on() -> None:
    forged = replace(HELD, saved=IMAGE)
    assert transitions.assign(VM, transitions.forget_holder(forged, "lost", 5.0), N2, WHY, 6.0).saved is None


def test_every_stop_saves_but_a_restarts() -> None:
    def asked(verb: Verb) -> dict[RequestId, Request]:
        return {RequestId("1"): Request(id=RequestId("1"), verb=verb, vm=VM)}

    by_request = replace(HELD, operation=RequestId("1"))
    assert is_to_be_saved(SPEC, HELD, asked(Verb.RESTART))
    assert is_to_be_saved(SPEC, by_request, {})
    assert is_to_be_saved(SPEC, by_request, asked(Verb.RELOCATE))
    assert not is_to_be_saved(SPEC, by_request, asked(Verb.RESTART))
    assert not is_to_be_saved(SPEC.model_copy(update={"saved_state": None}), HELD, {})


def test_no_two_runs_share_a_file_and_what_is_used_has_one_name() -> None:
    assert image_path(SPEC, Epoch(7)) == IMAGE.file
    assert image_path(SPEC, Epoch(8)) != IMAGE.file
    assert used_path(IMAGE) == "/gfs/saves/web.save.used"


def test_why_it_is_left_out() -> None:
    assert why_not_used(IMAGE, SPEC, "d") == ""
    assert "definition has changed" in why_not_used(IMAGE, SPEC, "e")
    assert why_not_used(replace(IMAGE, definition=""), SPEC, "e") == ""
    assert "not wanted" in why_not_used(IMAGE, SPEC.model_copy(update={"saved_state": None}), "d")


def test_memory_of_a_definition_in_etcd_is_what_it_says() -> None:
    learned = replace(HELD, memory_mib=4096)
    assert memory_of(SPEC.model_copy(update={"memory_mib": 512}), learned) == 512
