"""A QEMU that gets no processor time (SIGSTOP), of both adapters: looks like one that runs, and answers nothing."""

import asyncio
from pathlib import Path

import pytest

from tests.support.hypervisors import HypervisorWorld, guest_xml
from tests.support.waiting import eventually, find, see, see_gone
from vmha.hypervisor.port import DomainState, MigrationFailed
from vmha.hypervisor.saved_file import COMPLETE


async def test_frozen_qemu_is_shown_as_before_and_does_what_it_was_asked_when_it_goes_on(
    world: HypervisorWorld,
) -> None:
    await world.one.start(guest_xml("web"))
    await world.freeze("web")
    asked = asyncio.create_task(world.one.suspend("web"))
    done, _ = await asyncio.wait([asked], timeout=0.5)
    assert not done
    here = await find(world.one, "web")
    assert here is not None
    assert here.state is DomainState.RUNNING
    await world.thaw("web")
    await asked
    await see(world.one, "web", DomainState.PAUSED)


async def test_frozen_qemu_is_saved_when_it_goes_on_and_after_what_it_was_asked_before(
    world: HypervisorWorld, tmp_path: Path
) -> None:
    path = str(tmp_path / "web.7.save")
    await world.one.start(guest_xml("web", epoch=7))
    await world.one.suspend("web")
    await world.freeze("web")
    resumed = asyncio.create_task(world.one.resume("web"))
    done, _ = await asyncio.wait([resumed], timeout=0.3)
    assert not done
    saved = asyncio.create_task(world.one.save("web", path, timeout_s=60))
    done, _ = await asyncio.wait([resumed, saved], timeout=0.5)
    assert not done
    await world.thaw("web")
    await resumed
    await saved
    assert await find(world.one, "web") is None
    assert await world.files.head(path, len(COMPLETE)) == COMPLETE


async def test_frozen_qemu_is_silent_until_it_goes_on(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))
    await world.one.start(guest_xml("db"))
    await world.freeze("web")

    async def is_silent(name: str) -> bool:
        here = await find(world.one, name)
        return here is not None and here.silent

    await eventually(lambda: is_silent("web"), each_s=0.1)
    assert not await is_silent("db")
    await world.thaw("web")

    async def answers() -> bool:
        return not await is_silent("web")

    await eventually(answers, each_s=0.1)
    await world.freeze("web")
    await eventually(lambda: is_silent("web"), each_s=0.1)
    await world.one.destroy("web")
    await see_gone(world.one, "web")
    assert not await is_silent("web")


async def test_migration_of_a_frozen_qemu_stands_until_it_goes_on(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))
    migrating = asyncio.create_task(world.one.migrate(world.order("web", epoch=2, slow=True)))
    await see(world.two, "web", DomainState.INCOMING)
    await world.freeze("web")
    called_off = asyncio.create_task(world.one.abort_migration("web"))
    done, _ = await asyncio.wait([migrating, called_off], timeout=1.5)
    assert migrating not in done
    there = await find(world.two, "web")
    assert there is not None
    assert there.state is DomainState.INCOMING
    await world.thaw("web")
    await called_off
    with pytest.raises(MigrationFailed):
        await migrating
    await see(world.one, "web", DomainState.RUNNING)
    await see_gone(world.two, "web")


async def test_frozen_qemu_is_ended_by_force(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))
    await world.freeze("web")
    await world.one.destroy("web")
    await see_gone(world.one, "web")
