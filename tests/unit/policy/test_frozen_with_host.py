"""A host that is shut down under ``freeze``: its vms stop there, wait for it, and start there again."""

from dataclasses import replace

import pytest

from tests.support.clusters import KEYS, Book, cluster
from vmha.model.ids import NodeName
from vmha.model.records import Phase, Progress, RunEnd, SeenState, Verb
from vmha.model.relations import Dependency
from vmha.model.settings import AtShutdown, ClusterConfig, HostShutdown, Profile
from vmha.model.vm import Desired, NodeSpec
from vmha.policy.state import transitions
from vmha.policy.state.steps import Change, PlacementStep
from vmha.policy.state.supposing import NodeLost, suppose
from vmha.policy.telling.any_loss import of_each
from vmha.policy.telling.forecast import foresee
from vmha.policy.telling.survival import survival

WAITS = "frozen-until-its-host-is-back"


def changes(book: Book) -> list[tuple[Change, str]]:
    return [(step.change, step.vm) for step in book.plan().steps if isinstance(step, PlacementStep)]


def frozen(book: Book, vms: AtShutdown = AtShutdown.FREEZE, **fields: float) -> Book:
    shutdown = HostShutdown(vms=vms, **fields)
    return book.configure(ClusterConfig(profile=Profile.TUNED, on_host_shutdown=shutdown))


def leaving(**about: bool) -> Book:
    book = frozen(cluster("n1", "n2", "n3").elect("n2"))
    return book.running("web", "n1").node("n1", leaving=True, eligible=False, **about)


def stopped(book: Book, vm: str = "web") -> Book:
    """As its agent releases it."""
    new = transitions.release(book.claim(vm), RunEnd.ASKED, "as asked", book.clock.wall())
    book.delete(KEYS.observation(NodeName("n1"), new.vm))
    return book.put_placement(new)


def away(**fields: float) -> Book:
    """It has stopped, and its host has gone in good order."""
    book = frozen(leaving(), **fields)
    book.lead()
    stopped(book)
    return off(book)


def off(book: Book) -> Book:
    book.delete(KEYS.beat(NodeName("n1")))
    book.delete(KEYS.session(NodeName("n1")))
    return book


def test_vm_is_stopped_at_once_though_another_host_could_take_it() -> None:
    book = leaving()
    book.lead()
    held = book.claim("web")
    assert (held.phase, held.kept_by, held.reason.rule) == (Phase.STOPPING, "s-n1", "a-leaving-host-freezes-its-vms")
    assert book.spec("web").desired is Desired.RUNNING


def test_it_starts_nowhere_while_its_host_is_leaving_or_away_and_says_what_it_waits_for() -> None:
    book = leaving()
    book.lead()
    stopped(book)
    assert changes(book) == [(Change.NOTE, "web")]
    off(book).lead()
    held = book.claim("web")
    assert (held.phase, held.reason.rule) == (Phase.STOPPED, WAITS)
    assert "starts there when n1 is back" in held.reason.text
    assert "vmha vm relocate web" in held.reason.text
    assert changes(book) == []
    assert [waiting.vm for waiting in book.plan().waiting] == ["web"]


def test_it_starts_there_when_its_host_is_back_though_it_prefers_another() -> None:
    book = away().domain("home", "n2", "n1", ordered=True)
    book.vm("web", failover_domain="home").lead()
    book.node("n1", session="second")
    book.lead()
    held = book.claim("web")
    assert (held.phase, held.node, held.kept_by) == (Phase.ASSIGNED, "n1", None)
    assert held.reason.rule == "its-host-is-back"


@pytest.mark.parametrize("about", [{"status": False}, {"eligible": False, "why_not": "has no working hypervisor"}])
def test_host_that_is_back_is_waited_for_until_it_takes_vms(about: dict[str, bool]) -> None:
    book = away().node("n1", session="second", **about)
    book.lead()
    assert book.claim("web").phase is Phase.STOPPED


def test_host_that_is_back_and_starts_as_many_as_it_may_is_waited_for() -> None:
    book = leaving()
    names = [f"v{number}" for number in range(20)]
    for name in names:
        book.running(name, "n1")
    book.lead()
    for name in ("web", *names):
        stopped(book, name)
    off(book).lead()
    book.node("n1", session="second")
    book.lead()
    placed = [book.claim(name).node for name in ("web", *names)]
    assert placed.count(NodeName("n1")) == 16
    assert set(placed) == {NodeName("n1"), None}


def test_it_does_not_wait_for_nodes_that_are_still_to_come_up() -> None:
    book = off(away().offline("n3"))
    book.delete(KEYS.beat(NodeName("n3")))
    book.node("n1", session="second", age_s=0.0).node("n2", session="third", age_s=0.0).elect("n2")
    book.vm("other")
    book.lead()
    assert book.claim("web").node == "n1"
    assert book.placement("other") is None


def test_host_that_was_back_and_is_lost_then_is_waited_for_no_more() -> None:
    book = away().node("n1", session="second")
    off(book).lead()
    assert book.claim("web").node in ("n2", "n3")


def test_host_that_is_lost_before_it_has_said_anything_is_waited_for_no_more() -> None:
    """Its last word is of when it was shut down: by that alone it would be waited for without end."""
    book = leaving().fenced("long-ago", "n1")
    book.lead()
    off(stopped(book)).lead()
    assert book.claim("web").reason.rule == WAITS
    book.node("n1", session="second", status=False).lead()
    assert book.claim("web").phase is Phase.STOPPED
    off(book).fenced("second", "n1").lead()
    assert book.claim("web").node in ("n2", "n3")


def test_host_that_is_shut_down_again_before_it_could_start_it_is_waited_for() -> None:
    book = away().node("n1", session="second", leaving=True, eligible=False)
    book.lead()
    off(book).lead()
    assert book.claim("web").reason.rule == WAITS


def test_host_that_is_lost_while_it_shuts_down_keeps_what_it_has_stopped_and_the_rest_is_recovered_by_proof() -> None:
    book = leaving().running("db", "n1")
    book.lead()
    stopped(book, "web")
    off(book).lead()
    assert book.claim("db").phase is Phase.STOPPING
    book.fenced("s-n1", "n1")
    book.lead()
    assert (book.claim("web").phase, book.claim("web").reason.rule) == (Phase.STOPPED, WAITS)
    assert (book.claim("db").phase, book.claim("db").reason.rule) == (Phase.ASSIGNED, "lost-vm-is-recovered")


@pytest.mark.parametrize("verb", [Verb.RELOCATE, Verb.START, Verb.ENABLE])
def test_operator_takes_it_elsewhere(verb: Verb) -> None:
    book = away().request(verb, vm="web", node="n3")
    book.lead()
    held = book.claim("web")
    assert (held.phase, held.node, held.operation) == (Phase.ASSIGNED, "n3", "r1")
    assert "by ann" in held.reason.text


@pytest.mark.parametrize("verb", [Verb.MIGRATE, Verb.RESTART])
def test_verbs_for_what_runs_are_refused_with_the_way_out(verb: Verb) -> None:
    book = away().request(verb, vm="web", node="n3" if verb is Verb.MIGRATE else None)
    book.lead()
    assert book.answered().progress is Progress.REJECTED
    assert "vmha vm relocate web" in book.answered().text


def test_node_that_is_drained_meanwhile_gives_them_up() -> None:
    book = away()
    book.put(KEYS.node_spec(NodeName("n1")), NodeSpec(name="n1", maintenance=True))
    book.lead()
    assert book.claim("web").node in ("n2", "n3")


def test_bound_is_over_and_it_starts_elsewhere() -> None:
    book = away(freeze_for_s=60.0)
    book.lead()
    assert "60 s after it was stopped" in book.claim("web").reason.text
    book.clock.at += 59.0
    assert changes(book) == []
    book.clock.at += 2.0
    book.lead()
    assert book.claim("web").node in ("n2", "n3")


def test_cluster_whose_policy_is_another_now_starts_it_elsewhere() -> None:
    book = frozen(away(), vms=AtShutdown.FAILOVER)
    book.lead()
    assert book.claim("web").node in ("n2", "n3")


@pytest.mark.parametrize("down", [Desired.STOPPED, Desired.DISABLED])
def test_vm_that_is_stopped_and_started_again_by_hand_waits_no_more(down: Desired) -> None:
    book = away().vm("web", desired=down)
    book.lead()
    assert (book.claim("web").phase, book.claim("web").kept_by) == (Phase.STOPPED, None)
    assert changes(book) == []
    book.vm("web").lead()
    assert book.claim("web").node in ("n2", "n3")


def test_what_needs_another_ends_before_it_while_there_is_time() -> None:
    book = leaving().running("app", "n1", depends_on=(Dependency(vm="web"),))
    assert changes(book) == [(Change.STOP, "app")]
    book.lead()
    assert changes(book) == []
    stopped(book, "app")
    assert (Change.STOP, "web") in changes(book)


def test_all_are_stopped_when_there_is_no_more_time() -> None:
    book = leaving(stops_vms=True).running("app", "n1", depends_on=(Dependency(vm="web"),))
    assert set(changes(book)) == {(Change.STOP, "app"), (Change.STOP, "web")}


def test_what_needs_it_on_another_host_does_not_hold_the_shutdown_up() -> None:
    book = leaving().running("app", "n2", depends_on=(Dependency(vm="web"),))
    assert changes(book) == [(Change.STOP, "web")]


@pytest.mark.parametrize("state", [SeenState.PAUSED, SeenState.CRASHED, SeenState.STARTING])
def test_guest_in_any_state_is_stopped(state: SeenState) -> None:
    assert changes(leaving().seen("n1", "web", state)) == [(Change.STOP, "web")]


def test_forecasts_know_that_a_lost_host_is_no_host_that_was_shut_down_and_that_what_waits_takes_no_room() -> None:
    book = away().running("db", "n2")
    book.lead()
    snapshot, moment = book.snapshot(), book.moment()
    lost = foresee(suppose(snapshot, NodeLost(node=NodeName("n2"))), moment)
    assert [one.vm for one in lost.down] == ["web"]
    assert [move.vm for move in lost.moves] == ["db"]
    each = of_each(foresee(snapshot, moment), moment)
    assert {node: loss.down for node, loss in each.items()} == {"n2": (), "n3": ()}
    found = survival(snapshot, moment)
    assert (found.survives, found.on_their_way) == (True, 0)


def test_record_without_the_mark_starts_elsewhere_as_ever() -> None:
    book = away()
    book.put_placement(replace(book.claim("web"), kept_by=None)).lead()
    assert book.claim("web").node in ("n2", "n3")


def test_word_that_the_host_is_off_tells_what_waits_for_it() -> None:
    book = away().request(Verb.CONFIRM_OFF, node="n1")
    book.lead()
    assert (book.answered().progress, "web" in book.answered().text) == (Progress.DONE, True)
