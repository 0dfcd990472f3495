"""What would end a wait is told by the conditions that keep it up, each with what has to become of it."""

from collections.abc import Callable

import pytest

from tests.support.clusters import Book, cluster
from vmha.model.ids import NodeName, VmName
from vmha.model.records import Phase, RunEnd, SeenState
from vmha.model.vm import Desired
from vmha.policy.asked.requests import open_requests
from vmha.policy.placing.field import Field
from vmha.policy.placing.placement import choose, survey
from vmha.policy.plan import decide, judge_all
from vmha.policy.telling.could_leave import could_leave
from vmha.policy.telling.stays import why_it_stays
from vmha.policy.telling.wait_ends import what_ends_it

WEB = VmName("web")


def ground_of(book: Book) -> Field:
    snapshot, moment = book.snapshot(), book.moment()
    return survey(snapshot, judge_all(snapshot, moment), moment.wall)


def ends(book: Book) -> str:
    ground = ground_of(book)
    vm = ground.snapshot.vms[WEB]
    request = open_requests(ground)[0].get(WEB)
    return "; ".join(what_ends_it(vm, decide(vm, request, ground, book.moment()), ground))


def full() -> Book:
    return cluster("n1", "n2", memory_mib=1000).running("db", "n1", memory_mib=900).running("x", "n2", memory_mib=900)


@pytest.mark.parametrize(
    ("book", "words"),
    [
        (lambda: full().vm("web", memory_mib=300), "n1 has room for it: vms leave it, or its capacity is raised; n2"),
        (
            lambda: cluster("n1").node("n2", spec={"maintenance": True}).vm("web").domain("d", "n2", restricted=True),
            "",
        ),
        (
            lambda: (
                cluster("n1")
                .node("n2", spec={"maintenance": True})
                .domain("d", "n2", restricted=True)
                .vm("web", failover_domain="d")
            ),
            "failover domain d takes n1 in (vmha domain add d --replace); n2 is let in again (vmha node undrain n2)",
        ),
        (lambda: cluster("n1").vm("web", desired=Desired.STOPPED), "somebody starts it (vmha vm start web)"),
        (lambda: cluster("n1").vm("web", desired=Desired.DISABLED), "somebody starts it (vmha vm enable web)"),
        (lambda: cluster("n1").vm("web").freeze("web"), "that is lifted (vmha vm unfreeze web)"),
        (
            lambda: cluster("n1").vm("db", desired=Desired.STOPPED).vm("web", depends_on=({"vm": "db"},)),
            "what it needs is ready (vmha vm why db)",
        ),
        (
            lambda: cluster("n1", "n2").vm("web").placed("web", "n1", session="s-older"),
            "there is proof that it does not run on n1, by n1 itself, once it is back",
        ),
        (
            lambda: cluster("n1").vm("web").placed("web", "n1", phase=Phase.DEPARTED),
            "you say that it runs nowhere (vmha vm confirm-gone web)",
        ),
        (
            lambda: cluster("n1").node("n2", status=False).vm("web"),
            "it is known where it runs: n2 has not published its inventory yet",
        ),
        (
            lambda: (
                cluster("n1", "n2")
                .node("n1", spec={"maintenance": True})
                .rule("r", vms=("web",), on={"a": "b"}, hard=True)
                .running("web", "n1")
            ),
            "no rule keeps it off n2 (vmha rule list); n1 is let in again (vmha node undrain n1)",
        ),
        (lambda: cluster("n1", "n2").running("web", "n1"), ""),
    ],
)
def test_what_ends_the_wait(book: Callable[[], Book], words: str) -> None:
    found = ends(book())
    assert words in found if words else found == ""


def test_rest_that_only_time_ends_says_how_long() -> None:
    book = cluster("n1").vm("web")
    failed = {"ended": RunEnd.CRASHED, "ended_why": "its QEMU died", "last_node": NodeName("n1")}
    now = book.moment().wall
    book.placed("web", None, phase=Phase.STOPPED, endings=(now - 3, now - 2, now - 1), since=now, **failed)
    assert ends(book).endswith("s have passed (by itself)")


def stays(book: Book) -> dict[str, str]:
    ground = ground_of(book)
    vm = ground.snapshot.vms[WEB]
    assert vm.spec
    return dict(why_it_stays(vm, choose(vm.spec.value, ground, owner=NodeName("n1")), ground))


@pytest.mark.parametrize(
    ("book", "words"),
    [
        (lambda: cluster("n1", "n2").running("web", "n1"), "n1 is as good"),
        (
            lambda: cluster("n1", "n2").domain("d", "n1", "n2", ordered=True).running("web", "n1", failover_domain="d"),
            "n1 is more preferred in failover domain d",
        ),
        (
            lambda: (
                cluster("n1", "n2")
                .domain("d", "n2", "n1", ordered=True, nofailback=True)
                .running("web", "n1", failover_domain="d")
            ),
            "n2 is more preferred; failover domain d is nofailback (vmha failback now web)",
        ),
        (
            lambda: (
                cluster("n1", "n2")
                .domain("d", "n2", "n1", ordered=True)
                .running("web", "n1", failover_domain="d", failback={"enabled": False})
            ),
            "n2 is more preferred; its failback is not enabled",
        ),
    ],
)
def test_why_a_vm_that_runs_is_not_elsewhere(book: Callable[[], Book], words: str) -> None:
    assert stays(book())[NodeName("n2")].startswith(words)


def test_vms_that_a_drain_would_move_take_the_room_of_those_after_them() -> None:
    book = cluster("n1", "n2", memory_mib=1000)
    book.running("db", "n1", memory_mib=700, priority=900).running("web", "n1", memory_mib=700)
    first, second = could_leave(NodeName("n1"), ground_of(book))
    assert (first.vm, first.to) == ("db", "n2")
    assert (second.vm, second.to) == ("web", None)
    assert "n2 has 300 MiB free of 1000, the vm needs 700" in second.why


def test_what_stands_still_or_is_frozen_is_named_as_in_the_way_of_a_drain() -> None:
    book = cluster("n1", "n2").running("web", "n1").running("db", "n1").freeze("db")
    book.seen("n1", "web", SeenState.PAUSED, reason="ioerror")
    said = {one.vm: (one.to, one.why) for one in could_leave(NodeName("n1"), ground_of(book))}
    assert said[VmName("web")] == (None, "its guest stands still (ioerror), and is moved only while it runs")
    assert "vmha vm unfreeze db" in said[VmName("db")][1]
