"""How much happens at once: at both ends of a migration, and in the whole cluster; what waits says so."""

from dataclasses import replace

from tests.support.clusters import KEYS, SETTINGS, Book, cluster
from vmha.model.ids import NodeName, SessionId, VmName
from vmha.model.records import Phase, Progress, Verb
from vmha.model.settings import Limits
from vmha.policy.plan import judge_all
from vmha.policy.state import transitions
from vmha.policy.state.steps import Change, PlacementStep
from vmha.policy.telling.explain import VmState, summarize
from vmha.policy.telling.forecast import foresee

VMS = ("a", "b", "c")


def limited(book: Book, **limits: int) -> Book:
    return book.configure(SETTINGS.model_copy(update={"limits": Limits(**limits)}))


def begun(book: Book, change: Change) -> list[str]:
    return [step.vm for step in book.plan().steps if isinstance(step, PlacementStep) and step.change is change]


def reason(book: Book, vm: str) -> str:
    (found,) = [waiting.text for waiting in book.plan().waiting if waiting.vm == vm]
    return found


def test_starts_of_the_cluster_are_limited_and_what_waits_says_so() -> None:
    book = limited(cluster("n1", "n2"), starts=2)
    for vm in VMS:
        book.vm(vm)
    assert begun(book, Change.ASSIGN) == ["a", "b"]
    book.lead()
    assert begun(book, Change.ASSIGN) == []
    assert reason(book, "c") == "the cluster has 2 starts in progress (limit 2)"
    snapshot = book.snapshot()
    shown = summarize(snapshot.vms[book.claim("c").vm], snapshot, judge_all(snapshot, book.moment()))
    assert (shown.state, shown.reason) == (VmState.WAITING, "the cluster has 2 starts in progress (limit 2)")
    for vm in ("a", "b"):
        held = book.claim(vm)
        assert held.node
        book.placed(vm, held.node).seen(held.node, vm)
    assert begun(book, Change.ASSIGN) == ["c"]


def test_recoveries_count_as_starts() -> None:
    book = limited(cluster("n1", "n2"), starts=1)
    for vm in VMS:
        book.vm(vm).placed(vm, "n3", session="s-n3")
    book.fenced("s-n3", "n3")
    assert begun(book, Change.RECOVER) == ["a"]
    assert reason(book, "b") == "n3 is fenced (guard_elapsed); the cluster has 1 starts in progress (limit 1)"


def test_migrations_of_the_cluster_are_limited() -> None:
    book = limited(cluster("n2", "n3").node("n1", spec={"maintenance": True}), migrations=1)
    for vm in VMS:
        book.running(vm, "n1")
    assert begun(book, Change.MIGRATE) == ["a"]
    book.lead()
    assert reason(book, "b") == "n1 is in maintenance; the cluster has 1 migrations in progress (limit 1)"


def test_no_limit_is_zero() -> None:
    book = limited(cluster("n1", "n2"), starts=0)
    for vm in VMS:
        book.vm(vm)
    assert begun(book, Change.ASSIGN) == list(VMS)


def test_node_that_receives_counts_like_one_that_sends() -> None:
    book = limited(cluster("n1", "n2", "n3"), migrations_per_node=1)
    book.running("a", "n1").running("b", "n2").running("c", "n3")
    book.request(Verb.MIGRATE, name="r1", vm="a", node="n2")
    book.lead()
    book.request(Verb.MIGRATE, name="r2", vm="b", node="n3")  # out of a node that receives
    book.request(Verb.MIGRATE, name="r3", vm="c", node="n1")  # into a node that sends
    book.lead()
    assert [book.claim(vm).phase for vm in VMS] == [Phase.MIGRATING, Phase.HELD, Phase.HELD]
    for request, node in (("r2", "n2"), ("r3", "n1")):
        said = book.answered(request)
        assert said.progress is Progress.RUNNING
        assert said.text == f"{node} has 1 migrations in progress (limit 1)"
    assert book.lead() == 0
    book.put_placement(transitions.keep(book.claim("a"), "no route", book.clock.wall()))
    book.lead()
    assert [book.claim(vm).phase for vm in VMS].count(Phase.MIGRATING) == 1


def test_guest_that_has_arrived_counts_until_it_is_let_go() -> None:
    book = limited(cluster("n1", "n2", "n3"), migrations=1).running("a", "n1").running("b", "n1")
    book.request(Verb.MIGRATE, name="r1", vm="a", node="n2").request(Verb.MIGRATE, name="r2", vm="b", node="n3")
    book.lead()
    book.put_placement(transitions.hand_over(book.claim("a"), book.clock.wall()))
    book.delete(KEYS.observation(NodeName("n1"), VmName("a")))
    book.lead()
    assert book.claim("b").phase is Phase.HELD
    book.put_placement(replace(book.claim("a"), phase=Phase.HELD, session=SessionId("s-n2"))).seen("n2", "a")
    book.lead()
    assert book.claim("b").phase is Phase.MIGRATING


# --- retries


def failed(book: Book, vm: str = "web") -> Book:
    return book.put_placement(transitions.keep(book.claim(vm), "no route", book.clock.wall()))


def test_request_without_a_target_is_tried_at_other_nodes_and_then_given_up() -> None:
    book = cluster("n1", "n2", "n3").running("web", "n1").request(Verb.MIGRATE, vm="web")
    tried = []
    for _ in range(3):
        book.lead()
        tried.append(str(book.claim("web").target))
        failed(book).clock.at += 20.0
    book.lead()
    assert tried[:2] == ["n2", "n3"]
    assert book.answered().progress is Progress.FAILED
    assert book.answered().text == f"web stays on n1: no route (tried {', '.join(tried)})"


def test_node_that_just_failed_rests_and_the_request_says_so() -> None:
    book = cluster("n1", "n2").running("web", "n1").request(Verb.MIGRATE, vm="web")
    book.lead()
    failed(book)
    book.lead()
    assert book.claim("web").phase is Phase.HELD
    assert book.answered().progress is Progress.RUNNING
    assert "n2 failed to receive it: no route" in book.answered().text
    book.clock.at += 6.0
    book.lead()
    assert (book.claim("web").phase, book.claim("web").target) == (Phase.MIGRATING, NodeName("n2"))


def test_named_target_is_not_replaced_by_another() -> None:
    book = cluster("n1", "n2", "n3").running("web", "n1").request(Verb.MIGRATE, vm="web", node="n2")
    book.lead()
    failed(book)
    book.lead()
    assert (book.answered().progress, book.answered().text) == (Progress.FAILED, "web stays on n1: no route")
    assert book.claim("web").node == "n1"


def test_cancelled_drain_rests_and_goes_on() -> None:
    book = cluster("n2", "n3").node("n1", spec={"maintenance": True}).running("web", "n1")
    book.lead()
    book.request(Verb.CANCEL, vm="web")
    book.lead()
    failed(book)
    book.lead()
    assert book.claim("web").phase is Phase.HELD
    assert "called its migration off" in reason(book, "web")
    book.clock.at += 61.0
    book.lead()
    assert book.claim("web").phase is Phase.MIGRATING


def test_boot_storm_is_begun_in_order_of_priority_within_the_limits() -> None:
    book = limited(cluster("n1", "n2"), starts=2, starts_per_node=1)
    for vm, priority in (("a", 10), ("b", 300), ("c", 200), ("d", 300), ("e", 10)):
        book.vm(vm, priority=priority)
    assert begun(book, Change.ASSIGN) == ["b", "d"]
    found = foresee(book.snapshot(), book.moment())
    assert [move.vm for move in found.moves] == ["b", "d", "c", "a", "e"]
    assert found.down == ()


def test_recoveries_of_a_lost_node_are_staggered_by_priority_as_well() -> None:
    book = limited(cluster("n1", "n2", "n3"), starts_per_node=1)
    for vm, priority in (("a", 10), ("b", 300), ("c", 200), ("d", 50)):
        book.running(vm, "n3", priority=priority)
    book.fenced("s-n3", "n3").delete(KEYS.beat(NodeName("n3")))
    assert begun(book, Change.RECOVER) == ["b", "c"]


def test_drain_and_failback_share_one_budget_of_migrations() -> None:
    book = limited(cluster("n1", "n2", "n3"), migrations=1).domain("home", "n1", "n2", ordered=True)
    book.running("back", "n2", failover_domain="home").running("drained", "n3")
    book.node("n3", spec={"maintenance": True})
    assert begun(book, Change.MIGRATE) == ["back"]
    assert "the cluster has 1 migrations in progress (limit 1)" in reason(book, "drained")
