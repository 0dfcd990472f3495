"""What hands do to managed guests with virsh: seen, told, answered, and never answered with a second instance.

Every test ends with the witness's verdict. Migration by hand between members, a second copy and a killed QEMU are in
``test_cluster``; copies that got past an open gate, in ``test_migration_faults``.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.lab.cluster import Cluster, running_cluster
from tests.lab.conftest import wait_until

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[Cluster]:
    yield from running_cluster()


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    """The shared cluster with the witness ``web`` on h1, where its failover domain wants it."""
    shared_cluster.await_all_online()
    shared_cluster.add("web", "--failover-domain", "pref")
    shared_cluster.await_running("web", on="h1")
    try:
        yield shared_cluster
        verdict = shared_cluster.lab.verdict("web")
        assert verdict["ran_twice"] is False, verdict
        assert verdict["double_writers"] == 0, verdict
    finally:
        shared_cluster.remove("web")


def told(cluster: Cluster, kind: str, words: str) -> dict[str, Any]:
    """The newest line of the journal of this kind about ``web``; it is there within the deadline, and says so."""

    def look() -> dict[str, Any] | None:
        lines = [entry for entry in cluster.journal("web") if entry["kind"] == kind and words in entry["text"]]
        return lines[-1] if lines else None

    found: dict[str, Any] = wait_until(f"the journal tells of it: {kind}: {words}", look)
    return found


def is_in(cluster: Cluster, state: str) -> Callable[[], bool]:
    return lambda: bool(cluster.vm("web")["state"] == state)


def test_guest_let_stand_made_persistent_and_let_go_on_by_hand_is_left_as_it_is(cluster: Cluster) -> None:
    pids = cluster.qemu_pids("h1")
    cluster.lab.sh("h1", "virsh suspend web")
    told(cluster, "guest-paused", "somebody paused it on h1")
    wait_until("the status shows it", is_in(cluster, "paused"))
    cluster.lab.sh("h1", "virsh dumpxml web > /tmp/web.xml; virsh define /tmp/web.xml; virsh resume web")
    told(cluster, "guest-resumed", "it goes on at h1")
    cluster.await_running("web", on="h1")
    cluster.lab.sh("h1", "virsh undefine web")
    cluster.await_ticks("web")
    assert cluster.qemu_pids("h1") == pids
    assert cluster.lab.verdict("web")["boots"] == 1


def test_guest_ended_by_hand_is_started_again_and_one_that_was_saved_is_not(cluster: Cluster) -> None:
    cluster.lab.sh("h1", "virsh destroy web")
    told(cluster, "stopped", "somebody ended it by hand")
    wait_until("it boots again", lambda: cluster.lab.verdict("web")["boots"] == 2)
    cluster.await_running("web", on="h1")
    cluster.await_ticks("web")
    cluster.lab.sh("h1", "virsh shutdown web")
    told(cluster, "stopped", "its guest powered itself off")
    wait_until("it boots again", lambda: cluster.lab.verdict("web")["boots"] == 3)
    cluster.await_running("web", on="h1")
    cluster.await_ticks("web")
    cluster.lab.sh("h1", "virsh save web /var/tmp/web.save")
    told(cluster, "stopped", "somebody saved it by hand")
    wait_until("it stays down", is_in(cluster, "stopped"))
    said = cluster.lab.sh("h1", "virsh restore /var/tmp/web.save 2>&1; rm /var/tmp/web.save")
    assert "use 'vmha vm start web'" in said
    cluster.vmha("vm", "start", "web")
    cluster.await_ticks("web")
    assert cluster.lab.verdict("web")["boots"] == 4
