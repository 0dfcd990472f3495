"""The guard on a host that swaps: what guests and libvirt have in memory is on a disk that is far behind."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.support.guards import ANSWER_S, S1, Node
from tests.support.storm import Storm, bytes_fetched, bytes_of, storm_if_possible
from tests.support.until import until
from vmha.fencing.port import State

pytestmark = pytest.mark.real

ROOM_BYTES = 2 << 20


@pytest.fixture
def node() -> Iterator[Node]:
    """Its files are in memory, as those of /run are. No log: to add to a file's last page that page is read."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        node = Node(Path(folder))
        node.log = Path(os.devnull)
        yield node
        node.close()


@pytest.fixture
def stormy() -> Iterator[Storm | None]:
    with storm_if_possible() as group:
        yield group


async def test_a_guard_reads_nothing_of_guests_that_are_swapped_out_and_ends_them(
    node: Node, stormy: Storm | None
) -> None:
    """Their command lines are in their own memory, libvirt's files about them on a tmpfs: all of it on the disk."""
    with stormy.born_of(os.getpid()) if stormy else nullcontext():
        guests = [node.guest(f"web{number}") for number in range(5)]
        guard = await node.start_guard()
    assert len((await node.arm(managed=frozenset({"told"}))).guests) == len(guests)
    before = bytes_fetched(guard.pid)
    if stormy:
        await until(stormy.push_out, what="all is on the disk")
        assert all(bytes_of(guest.process.pid, "VmSwap") for guest in guests)
    assert bytes_of(guard.pid, "VmSwap") == 0
    ended = await node.client.expire(S1, cause="evicted", timeout_s=ANSWER_S)
    assert ended.last_kill
    assert {killed.name for killed in ended.last_kill.guests} == {guest.name for guest in guests}
    assert bytes_fetched(guard.pid) == before
    await node.reaches(State.EXPIRED_CLEAN)
    assert all(guest.was_killed for guest in guests)
