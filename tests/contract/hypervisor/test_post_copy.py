"""Migration by post-copy, of both adapters: from the switch on one instance, the target's, and its source never again.

What QEMU and libvirt need for it: userfaultfd, for the user that QEMU runs as (``vm.unprivileged_userfaultfd``).
"""

import asyncio
import contextlib
from dataclasses import replace

import pytest

from tests.support.hypervisors import HypervisorWorld, guest_xml, tag
from tests.support.waiting import eventually, find, see, see_gone
from vmha.hypervisor.port import DomainState, Ending, HypervisorUnavailable, MigrationFailed, MigrationOrder
from vmha.model.errors import Refused
from vmha.model.migration import Arrival


def order(world: HypervisorWorld, *, fast: bool = True) -> MigrationOrder:
    slow = world.order("web", epoch=2, slow=True, paused=False)
    return replace(slow, post_copy=True, post_copy_bandwidth_mib_s=16 if fast else 1)


async def switched(world: HypervisorWorld, *, fast: bool = True) -> "asyncio.Task[None]":
    """``web`` runs at host two and pulls; returns the call that migrates it."""
    await world.one.start(guest_xml("web"))
    migrating = asyncio.create_task(world.one.migrate(order(world, fast=fast)))
    await see(world.two, "web", DomainState.INCOMING)

    async def switch() -> bool:
        with contextlib.suppress(MigrationFailed):  # it is not copying yet
            await world.one.start_post_copy("web")
            return True
        return False

    await eventually(switch)
    view = await see(world.two, "web", DomainState.RUNNING)
    assert view.tag == tag("web", 2)
    return migrating


async def arrived(world: HypervisorWorld) -> None:
    async def has_all() -> bool:
        view = await find(world.two, "web")
        return view is not None and (view.state, view.reason) == (DomainState.RUNNING, "migrated")

    await eventually(has_all)
    await see_gone(world.one, "web")

    async def ending() -> Ending | None:
        return world.one.find_ending("web")

    assert await eventually(ending) in (Ending.MIGRATED, Ending.UNKNOWN)  # unknown where libvirtd was away


async def test_switched_guest_runs_at_its_target_and_fetches_the_rest(world: HypervisorWorld) -> None:
    migrating = await switched(world)
    here, there = await find(world.one, "web"), await find(world.two, "web")
    assert here is not None
    assert (here.state, here.reason, here.migrating) == (DomainState.OUTGOING, "postcopy", True)
    assert there is not None
    assert (there.reason, there.migrating) == ("postcopy", False)
    await migrating
    await arrived(world)
    assert world.one.find_ending("web") is Ending.MIGRATED


async def test_what_it_took_is_told_at_its_source_alone(world: HypervisorWorld) -> None:
    migrating = await switched(world)
    assert world.one.find_departure("web") is None  # it is not over
    await migrating
    await arrived(world)

    async def departure() -> Arrival | None:
        return world.one.find_departure("web")

    took = await eventually(departure)
    assert took is not None
    assert took.total_s > 0
    assert 0 <= took.downtime_s < took.total_s
    assert await world.two.read_arrival("web") is None
    assert world.two.find_departure("web") is None
    await world.two.destroy("web")
    await see_gone(world.two, "web")
    await world.one.start(guest_xml("web"))
    await see(world.one, "web", DomainState.RUNNING)

    async def is_forgotten() -> bool:
        return world.one.find_departure("web") is None

    await eventually(is_forgotten)


async def test_what_is_left_to_fetch_gets_less(world: HypervisorWorld) -> None:
    migrating = await switched(world, fast=False)
    first = await world.one.migration_progress("web")
    assert first is not None

    async def is_less() -> bool:
        now = await world.one.migration_progress("web")
        return now is None or now.remaining_bytes < first.remaining_bytes

    await eventually(is_less)
    migrating.cancel()
    await asyncio.wait([migrating])
    await world.one.destroy("web")


async def test_switch_is_refused_where_the_order_did_not_allow_it_and_the_guest_runs_on(world: HypervisorWorld) -> None:
    await world.one.start(guest_xml("web"))
    with pytest.raises(MigrationFailed):
        await world.one.start_post_copy("web")
    migrating = asyncio.create_task(world.one.migrate(replace(order(world), post_copy=False)))
    await see(world.two, "web", DomainState.INCOMING)
    with pytest.raises(MigrationFailed):
        await world.one.start_post_copy("web")
    await see(world.one, "web", DomainState.RUNNING)
    await world.one.abort_migration("web")
    with pytest.raises(MigrationFailed):
        await migrating
    await see(world.one, "web", DomainState.RUNNING)


async def test_switched_guest_is_neither_called_back_nor_resumed_at_its_source(world: HypervisorWorld) -> None:
    migrating = await switched(world)
    await world.one.abort_migration("web")
    with pytest.raises(Refused):
        await world.one.resume("web")
    await migrating
    await arrived(world)


async def test_half_whose_source_died_is_told_from_a_guest_that_runs(world: HypervisorWorld) -> None:
    migrating = await switched(world, fast=False)
    await world.crash("web")
    view = await see(world.two, "web", DomainState.CRASHED)
    assert view.reason == "postcopy_failed"
    with pytest.raises(MigrationFailed):
        await migrating
    await see_gone(world.one, "web")
    assert world.one.find_ending("web") is Ending.MIGRATED
    await world.two.destroy("web")
    await see_gone(world.two, "web")


async def test_lost_connection_is_taken_up_again(world: HypervisorWorld) -> None:
    migrating = await switched(world, fast=False)
    await world.sever("web")
    assert (await see(world.two, "web", DomainState.CRASHED)).reason == "postcopy_failed"
    with pytest.raises(MigrationFailed):
        await migrating

    async def is_broken() -> bool:
        view = await find(world.one, "web")
        return view is not None and (view.reason, view.migrating) == ("postcopy_failed", False)

    await eventually(is_broken)

    async def take_up() -> bool:
        """Asked too early it is refused; and libvirt may call one failed that goes on."""
        with contextlib.suppress(MigrationFailed, Refused):
            await world.one.migrate(replace(order(world), takes_up=True))
        view = await find(world.two, "web")
        return view is not None and view.state is DomainState.RUNNING

    await eventually(take_up)
    await arrived(world)


async def test_libvirtds_that_die_meanwhile_end_nothing(world: HypervisorWorld) -> None:
    migrating = await switched(world)
    await world.restart_libvirtd()
    with pytest.raises((MigrationFailed, HypervisorUnavailable)):
        await migrating

    async def is_reachable() -> bool:
        with contextlib.suppress(HypervisorUnavailable):
            await world.one.inventory()
            await world.two.inventory()
            return True
        return False

    await eventually(is_reachable)
    await arrived(world)
