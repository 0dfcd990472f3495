"""What hosts say of their guests, held against the record: a table."""

from dataclasses import replace

import pytest

from tests.support.clusters import cluster
from vmha.model.checkup import CheckupAnswer, Kept
from vmha.model.ids import NodeName, Revision, SessionId, VmName
from vmha.operator.verify import sentences
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.telling.verify import WHOLE_ANSWER, Verdict, Verified, VmVerdict, verify

UUID = "the vm's"


def snapshot() -> Snapshot:
    book = cluster("n1", "n2")
    book.running("web", "n1")
    return book.snapshot()


def answer(node: str, *domains: Kept, trouble: str = "") -> dict[NodeName, CheckupAnswer]:
    name = NodeName(node)
    return {name: CheckupAnswer(node=name, session=SessionId("s"), at=0.0, domains=domains, trouble=trouble)}


def web(*, name: str = "web", uuid: str = "another", runs: bool = True, state: str = "running") -> Kept:
    spec = snapshot().vms[VmName("web")].spec
    assert spec
    return Kept(name=name, uuid=spec.value.uuid if uuid == UUID else uuid, runs=runs, state=state)


def judged(answers: dict[NodeName, CheckupAnswer]) -> Verified:
    now = snapshot()
    return verify(now, now, answers)


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        (answer("n1", web()) | answer("n2"), Verdict.ONCE),
        (answer("n1", web()) | answer("n2", web(runs=False)), Verdict.ONCE),  # a definition alone is no guest
        (answer("n1", web()) | answer("n2", web(state="paused")), Verdict.TWICE),
        (answer("n1", web()) | answer("n2", web(state="")), Verdict.TWICE),  # an older agent
        (answer("n1", web()) | answer("n2", web(name="web-copy", uuid=UUID)), Verdict.TWICE),
        (answer("n1", web(), web(name="web-copy", uuid=UUID)) | answer("n2"), Verdict.TWICE),
        (answer("n1") | answer("n2", web()), Verdict.ELSEWHERE),
        (answer("n1") | answer("n2"), Verdict.MISSING),
        (answer("n2"), Verdict.UNKNOWN),
        (answer("n1", trouble="libvirt is away") | answer("n2"), Verdict.UNKNOWN),
    ],
)
def test_one_vm_is_judged_by_what_both_hosts_say(answers: dict[NodeName, CheckupAnswer], verdict: Verdict) -> None:
    found = judged(answers)
    assert [one.verdict for one in found.vms] == [verdict]
    assert found.is_proven is (verdict is Verdict.ONCE)


def test_long_lists_are_cut_short_and_counted_but_never_vms_that_run_twice() -> None:
    def told(verdict: Verdict) -> list[str]:
        vms = tuple(VmVerdict(vm=VmName(f"v{n}"), verdict=verdict, text="so it is", places=()) for n in range(30))
        silent = {NodeName(f"n{n}"): "has not answered" for n in range(30)}
        return sentences(replace(judged(answer("n1")), vms=vms, silent=silent), at_most=3)

    lines = told(Verdict.UNKNOWN)
    assert [line for line in lines if line.startswith("v")] == [f"v{n}: UNKNOWN: so it is" for n in range(3)]
    assert "... and 27 more vms UNKNOWN (--all)" in lines
    assert "... and 27 more nodes without an answer (--all)" in lines
    assert len([line for line in told(Verdict.TWICE) if ": TWICE: " in line]) == 30


def test_a_vm_that_runs_well_is_not_enough_while_a_host_is_silent() -> None:
    found = judged(answer("n1", web()))
    assert [one.verdict for one in found.vms] == [Verdict.ONCE]
    assert set(found.silent) == {"n2"}
    assert not found.is_proven


def test_an_answer_that_may_have_been_cut_off_counts_as_none() -> None:
    many = tuple(Kept(name=f"x{number}", uuid=str(number), runs=True) for number in range(WHOLE_ANSWER))
    assert set(judged(answer("n1", web()) | answer("n2", *many)).silent) == {"n2"}


def test_what_changed_while_hosts_were_asked_is_not_judged() -> None:
    now = snapshot()
    view = now.vms[VmName("web")]
    assert view.placement
    earlier = replace(view, placement=replace(view.placement, modified=Revision(view.placement.modified - 1)))
    found = verify(replace(now, vms={view.name: earlier}), now, answer("n1", web()) | answer("n2"))
    assert [one.verdict for one in found.vms] == [Verdict.MOVING]
    assert not found.is_proven
