"""``vmha status`` of one busy cluster as it is seen, character by character: ``goldens/*.txt``.

``python -m tests.unit.cli.test_status_goldens`` writes them anew; look at them before you believe them.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.cli.test_output import node, vm
from vmha.cli.in_place import fitting
from vmha.cli.output import Screen
from vmha.cli.status_view import render
from vmha.model.ids import Epoch, NodeName, Revision, SessionId, Term
from vmha.model.records import ArmedLevel
from vmha.operator.overview import LeaderLine, Overview
from vmha.policy.members.membership import Condition
from vmha.policy.telling.explain import VmState
from vmha.policy.telling.survival import Survival

GOLDENS = Path(__file__).parent / "goldens"
README = Path(__file__).parents[3] / "README.md"
NO_FAILSAFE = "no failsafe: this node has no channel to its peers (peers_secret_file)"

BUSY = Overview(
    cluster="berlin",
    revision=Revision(812),
    leader=LeaderLine(node=NodeName("kvm1"), session=SessionId("s"), since=1000.0, term=Term(3)),
    nodes=(
        node("kvm1", vms=12, memory_used_mib=51200, vcpus_used=24, vcpus_for_vms=64, notes=(NO_FAILSAFE,)),
        node(
            "kvm2",
            condition=Condition.SUSPECT,
            eligible=False,
            why_not="is suspected to be lost",
            fencing="fence_ipmilan is asked, attempt 2: connection timed out",
            armed=ArmedLevel.GUARD,
            notes=(NO_FAILSAFE,),
        ),
        node(
            "kvm3",
            condition=Condition.MAINTENANCE,
            eligible=False,
            why_not="is in maintenance (new memory)",
            vms=0,
            memory_used_mib=0,
            vcpus_used=0,
            notes=(NO_FAILSAFE,),
        ),
        node(
            "kvm4",
            condition=Condition.OFFLINE,
            eligible=False,
            why_not="is offline",
            armed=ArmedLevel.NONE,
            vms=0,
            memory_for_vms_mib=0,
            memory_used_mib=0,
            vcpus_used=0,
            address="",
        ),
    ),
    vms=(
        vm(
            "archive",
            VmState.WAITING,
            None,
            "no node can take it: kvm1 has 12288 MiB free of 64000, the vm needs 99999; kvm3 is in maintenance",
        ),
        vm("mail", VmState.RUNNING, "kvm1", "it is wanted running; kvm1 is preferred: fewest vms"),
        vm(
            "web-frontend-01", VmState.UNKNOWN, "kvm2", "kvm2 is suspected to be lost: waiting for a beat, or for proof"
        ),
        vm("test", VmState.DISABLED, None, "it is disabled"),
    ),
    warnings=(
        "node kvm2 is suspected to be lost; fencing: fence_ipmilan is asked, attempt 2: connection timed out, "
        "the next one follows in 10 s",
    ),
)

H2 = {"memory_used_mib": 48, "memory_for_vms_mib": 17754, "vcpus_used": 3, "address": "10.97.0.2"}
NOTHING = {"vms": 0, "memory_used_mib": 0, "vcpus_used": 0}
H3 = {**NOTHING, "memory_for_vms_mib": 17754, "address": "10.97.0.3"}
H1 = {**NOTHING, "memory_for_vms_mib": 0, "address": "", "armed": ArmedLevel.NONE}
SHOWN_FIRST = Overview(
    cluster="lab",
    revision=Revision(99),
    leader=LeaderLine(node=NodeName("h3"), session=SessionId("s"), since=1000.0, term=Term(3)),
    nodes=(
        node("h1", condition=Condition.OFFLINE, why_not="is offline", **H1),
        node("h2", vms=3, **H2),
        node("h3", **H3),
    ),
    vms=(
        replace(
            vm(
                "db",
                VmState.RUNNING,
                "h2",
                "h1 is fenced (power_off_confirmed); h2 is preferred in failover domain pref",
            ),
            epoch=Epoch(2),
        ),
        replace(vm("mail", VmState.RUNNING, "h2", "it is wanted running; h2 is preferred: fewest vms"), epoch=Epoch(1)),
        replace(vm("web", VmState.RUNNING, "h2", "migration to h2 asked for by root@vm"), epoch=Epoch(2)),
    ),
    warnings=(),
    survival=Survival(running=3),
)
"""The sample at the top of README.md."""

SCREENS = {
    "status-80": Screen(colour=False, width=80),
    "status-80-in-colour": Screen(colour=True, width=80),
    "status-200": Screen(colour=False, width=200),
    "status-piped": Screen(colour=False, width=None),
}


def drawn(name: str) -> str:
    return "\n".join(render(BUSY, SCREENS[name], wall=1000.0 + 3 * 86400)) + "\n"


@pytest.mark.parametrize("name", SCREENS)
def test_status_looks_as_it_did_when_somebody_looked_at_it(name: str) -> None:
    assert drawn(name) == (GOLDENS / f"{name}.txt").read_text()


def test_sample_that_everybody_sees_first_is_what_status_prints() -> None:
    sample = README.read_text().partition("$ vmha status\n")[2].partition("```")[0]
    assert sample.splitlines() == render(SHOWN_FIRST, Screen(colour=False, width=120))


@pytest.mark.parametrize("width", [40, 60, 80, 100, 132, 200])
def test_status_fits_screens_of_any_width_and_cuts_no_remark(width: int) -> None:
    lines = render(BUSY, Screen(colour=False, width=width))
    assert max(map(len, lines)) <= max(width, 70)  # eight columns of nodes, at their narrowest
    text = " ".join(" ".join(lines).split())
    for said in ("waiting for a beat", "no failsafe", "connection timed out", "kvm3 is in maintenance", "is offline"):
        assert all(word in text for word in said.split())


def test_a_note_that_all_nodes_have_is_said_once_on_a_screen_and_with_each_in_a_pipe() -> None:
    assert sum("no failsafe" in line for line in drawn("status-200").splitlines()) == 1
    assert sum("no failsafe" in line for line in drawn("status-piped").splitlines()) == 3


def test_what_does_not_fit_a_low_window_is_counted_instead_of_scrolling_away() -> None:
    lines = [f"line {number}" for number in range(10)]
    assert fitting(lines, 10) == lines
    assert fitting(lines, 4) == ["line 0", "line 1", "line 2", "(7 more lines: a higher window shows them)"]


if __name__ == "__main__":
    for golden in SCREENS:
        (GOLDENS / f"{golden}.txt").write_text(drawn(golden))
