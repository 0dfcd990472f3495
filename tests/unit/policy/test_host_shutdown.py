"""What the leader does about the vms of a host that shuts down in good order."""

import pytest

from tests.support.clusters import Book, cluster
from vmha.model.records import Phase, SeenState
from vmha.model.settings import AtShutdown, ClusterConfig, HostShutdown, Profile
from vmha.model.vm import Desired
from vmha.policy.state.steps import Change, PlacementStep


def changes(book: Book) -> list[Change]:
    return [step.change for step in book.plan().steps if isinstance(step, PlacementStep)]


def leaving(*, others: bool = True, stops_vms: bool = False) -> Book:
    book = cluster("n2").elect("n2") if others else Book().configure()
    return book.node("n1", leaving=True, stops_vms=stops_vms).running("web", "n1")


def test_vm_leaves_its_host_by_migration_while_there_is_time() -> None:
    assert changes(leaving()) == [Change.MIGRATE]


def test_what_has_not_left_in_time_is_stopped_and_starts_elsewhere() -> None:
    book = leaving(stops_vms=True)
    assert changes(book) == [Change.STOP]
    book.lead()
    assert book.claim("web").phase is Phase.STOPPING
    assert "could not be moved away in time" in book.claim("web").reason.text
    assert book.spec("web").desired is Desired.RUNNING


@pytest.mark.parametrize("state", [SeenState.PAUSED, SeenState.CRASHED, SeenState.STARTING])
def test_guest_that_can_not_migrate_is_stopped_too_when_time_is_up(state: SeenState) -> None:
    book = leaving(stops_vms=True).seen("n1", "web", state)
    assert changes(book) == [Change.STOP]


def test_vms_are_stopped_at_once_where_the_operator_wants_that() -> None:
    book = leaving().configure(
        ClusterConfig(profile=Profile.TUNED, on_host_shutdown=HostShutdown(vms=AtShutdown.FAILOVER))
    )
    assert changes(book) == [Change.STOP]


def test_whole_cluster_that_shuts_down_waits_for_no_migration() -> None:
    book = leaving(others=False).node("n2", leaving=True).offline("n3").elect("n1")
    assert changes(book) == [Change.STOP]
    assert "no other host is there" in book.plan().steps[0].reason.text  # type: ignore[union-attr]


def test_host_that_may_be_back_in_a_moment_is_waited_for() -> None:
    book = leaving(others=False).node("n2", eligible=False, why_not="has no working hypervisor").elect("n1")
    assert Change.STOP not in changes(book)


def test_vm_of_another_host_stays_where_it_is() -> None:
    book = leaving(stops_vms=True).running("db", "n2")
    stopped = [s.vm for s in book.plan().steps if isinstance(s, PlacementStep) and s.change is Change.STOP]
    assert stopped == ["web"]
