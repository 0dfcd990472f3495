"""What a guest from elsewhere would find on a host: real libvirt hosts and the simulated twin."""

import asyncio
from pathlib import Path

from tests.support.hypervisors import HypervisorWorld, RealWorld, guest_xml
from tests.support.waiting import eventually
from vmha.model.checkup import Door

SHUT = "refused, though its agent listens there: something on the way rejects it"

NOBODYS_CPU = (
    "<cpu mode='custom' match='exact'><model>qemu64</model><feature policy='require' name='avx512-4fmaps'/></cpu>"
)


async def test_host_says_what_it_offers_and_takes_a_guest_of_its_own_kind(world: HypervisorWorld) -> None:
    one, two = await world.one.traits(), await world.two.traits()
    assert one.kind in ("kvm", "qemu")
    assert one.arch == "x86_64"
    assert "pc" in one.machines
    assert one.machines == tuple(sorted(set(one.machines)))
    assert one.cpu
    assert await world.two.compare_cpu(one.cpu)
    assert await world.one.compare_cpu(two.cpu)


async def test_processor_that_the_host_does_not_have_is_none_of_its(world: HypervisorWorld) -> None:
    assert not await world.one.compare_cpu(NOBODYS_CPU)


async def test_other_host_is_reached_by_its_uri(world: HypervisorWorld) -> None:
    uri = world.hosts.two.uri if isinstance(world, RealWorld) else world.order("web", epoch=2).target_uri
    assert await world.one.ways.try_reach(uri, timeout_s=20.0) == ""


async def test_way_that_leads_nowhere_is_told_with_a_remedy(world: HypervisorWorld) -> None:
    said = await world.one.ways.try_reach("qemu+tcp://nobody.invalid/system", timeout_s=20.0)
    assert "unable to resolve address" in said.lower()
    assert "migration_address" in said


async def test_open_door_is_entered_until_its_time_is_over_and_each_has_its_own(world: HypervisorWorld) -> None:
    address = (
        "127.0.0.1" if isinstance(world, RealWorld) else "10.0.0.2"
    )  # both ends of the real one are in this process
    lasting, short = await world.two.ways.open_door(for_s=60.0), await world.two.ways.open_door(for_s=0.01)
    assert lasting is not None
    assert short is not None
    assert lasting.port != short.port

    async def is_shut() -> bool:
        said = await world.one.ways.try_door(address, short, encrypted=False, timeout_s=60.0)
        assert said in ("", SHUT)
        return said == SHUT

    await eventually(is_shut)
    assert await world.one.ways.try_door(address, lasting, encrypted=False, timeout_s=60.0) == ""


async def test_door_without_certificates_says_so_to_whoever_wants_them(world: HypervisorWorld) -> None:
    door = Door(port=49215, encrypts=False, trouble="QEMU has no certificates")
    said = await world.one.ways.try_door("10.0.0.2", door, encrypted=True, timeout_s=60.0)
    assert said == "there QEMU has no certificates"


async def test_file_that_is_there_is_seen_and_another_is_not(world: HypervisorWorld, tmp_path: Path) -> None:
    path = str(tmp_path / "web.save")
    assert not await world.files.is_there(path)
    await world.one.start(guest_xml("web", epoch=7))
    await world.one.save("web", path, timeout_s=60)
    assert await world.files.is_there(path)


async def test_server_of_disks_is_reached_where_one_listens_and_the_way_is_free(world: HypervisorWorld) -> None:
    listening = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        assert await world.one.ways.try_server("127.0.0.1", port, timeout_s=20.0) == ""
    if not isinstance(world, RealWorld):
        world.fabric.host("one").lost_servers.add(f"127.0.0.1:{port}")
    assert await world.one.ways.try_server("127.0.0.1", port, timeout_s=20.0)
