"""Which servers of disks do not answer, and which vms are without a disk by it."""

from typing import Any

from vmha.agent.disk_servers import NAMED_AT_MOST, find_unserved
from vmha.model.checkup import Unserved
from vmha.model.domain_needs import NetworkDisk, Server


class Ways:
    """Those in ``silent`` do not answer."""

    def __init__(self, *silent: str) -> None:
        self.silent, self.tried = silent, list[str]()

    async def try_server(self, host: str, port: int, *, timeout_s: float) -> str:
        self.tried.append(f"{host}:{port}")
        return "no answer" if f"{host}:{port}" in self.silent else ""


def disk(*hosts: str, ports: tuple[int, ...] = (1,), protocol: str = "nbd") -> NetworkDisk:
    return NetworkDisk(protocol=protocol, servers=tuple(Server(host, ports) for host in hosts))


async def found(ways: Any, **disks: tuple[NetworkDisk, ...]) -> tuple[Unserved, ...]:
    return await find_unserved(ways, disks)


async def test_each_server_is_tried_once_and_one_that_answers_is_not_told_of() -> None:
    ways = Ways()
    assert await found(ways, a=(disk("s1"), disk("s1")), b=(disk("s1", "s2"),)) == ()
    assert sorted(ways.tried) == ["s1:1", "s2:1"]


async def test_server_is_told_with_the_vms_that_are_without_a_disk_by_it() -> None:
    (one,) = await found(Ways("s1:1"), a=(disk("s1"),), b=(disk("s1", "s2"),), c=(disk("s2"),), d=(disk("s1"),))
    assert one == Unserved(server="s1:1", protocol="nbd", why="no answer", vms=("a", "d"))


async def test_server_whose_disks_all_have_another_one_is_told_as_spared_and_last() -> None:
    first, second = await found(Ways("m1:1", "s9:1"), a=(disk("m1", "m2"),), b=(disk("s9"),))
    assert (first.server, first.is_spared) == ("s9:1", False)
    assert (second.server, second.is_spared, second.vms) == ("m1:1", True, ("a",))


async def test_servers_that_are_all_silent_spare_nobody() -> None:
    said = await found(Ways("m1:1", "m2:1"), a=(disk("m1", "m2"),))
    assert [(one.server, one.is_spared) for one in said] == [("m1:1", False), ("m2:1", False)]


async def test_one_of_a_protocols_two_ports_is_enough() -> None:
    assert await found(Ways("m1:1"), a=(disk("m1", ports=(1, 2)),)) == ()
    (one,) = await found(Ways("m1:1", "m1:2"), a=(disk("m1", ports=(1, 2)),))
    assert one.server == "m1:1 or 2"


async def test_some_vms_are_named_and_the_others_counted() -> None:
    many = {f"v{count:03}": (disk("s1"),) for count in range(NAMED_AT_MOST + 5)}
    (one,) = await found(Ways("s1:1"), **many)
    assert (len(one.vms), one.more) == (NAMED_AT_MOST, 5)
