"""What a vm's definition says of its migration is what QEMU has been told while it migrates."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from tests.support.hypervisors import RealWorld, guest_xml
from tests.support.libvirt import LibvirtHosts
from tests.support.waiting import eventually, see
from vmha.hypervisor.port import DomainState, MigrationFailed

pytestmark = pytest.mark.real

SETTINGS: list[tuple[dict[str, Any], dict[str, int], set[str]]] = [
    (
        {
            "max_downtime_ms": 777,
            "auto_converge": True,
            "auto_converge_initial": 31,
            "auto_converge_increment": 13,
            "parallel_connections": 3,
        },
        {
            "downtime-limit": 777,
            "max-bandwidth": 2 << 20,
            "cpu-throttle-initial": 31,
            "cpu-throttle-increment": 13,
            "multifd-channels": 3,
        },
        {"auto-converge", "multifd"},
    ),
    ({"compress": True}, {"max-bandwidth": 2 << 20}, {"xbzrle"}),
]


@pytest.fixture(scope="module")
def hosts() -> Iterator[LibvirtHosts]:
    with LibvirtHosts() as hosts:
        yield hosts


@pytest_asyncio.fixture
async def world(hosts: LibvirtHosts) -> AsyncIterator[RealWorld]:
    world = RealWorld(hosts)
    await world.prepare()
    yield world
    await world.clean()


@pytest.mark.parametrize(("asked", "told", "able"), SETTINGS)
async def test_settings_of_a_migration_reach_qemu(
    world: RealWorld, asked: dict[str, Any], told: dict[str, int], able: set[str]
) -> None:
    await world.one.start(guest_xml("web"))
    order = replace(world.order("web", epoch=2, slow=True), **asked)  # slow: 2 MiB a second
    migrating = asyncio.create_task(world.one.migrate(order))
    await see(world.two, "web", DomainState.INCOMING)

    async def look() -> bool:
        if migrating.done():
            migrating.result()
        progress = await world.one.migration_progress("web")
        return progress is not None and progress.remaining_bytes > 0  # QEMU is at it, and has been told all

    await eventually(look)
    parameters = await ask(world, "query-migrate-parameters")
    assert {key: parameters[key] for key in told} == told
    capabilities = {each["capability"] for each in await ask(world, "query-migrate-capabilities") if each["state"]}
    assert able <= capabilities
    await world.one.abort_migration("web")
    with contextlib.suppress(MigrationFailed):
        await migrating


async def ask(world: RealWorld, command: str) -> Any:
    words = json.dumps({"execute": command})
    return json.loads(await asyncio.to_thread(world.hosts.one.virsh, "qemu-monitor-command", "web", words))["return"]
