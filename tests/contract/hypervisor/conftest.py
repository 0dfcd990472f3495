"""The two worlds of the hypervisor's contract: real libvirt hosts, and the simulated twin."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.support.hypervisors import HypervisorWorld, RealWorld, SimulatedWorld
from tests.support.libvirt import LibvirtHosts


@pytest.fixture(scope="package")
def libvirt_hosts() -> Iterator[LibvirtHosts]:
    with LibvirtHosts() as hosts:
        yield hosts


@pytest_asyncio.fixture(params=["simulated", pytest.param("libvirt", marks=pytest.mark.real)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[HypervisorWorld]:
    is_real = request.param == "libvirt"
    world = RealWorld(request.getfixturevalue("libvirt_hosts")) if is_real else SimulatedWorld()
    await world.prepare()
    yield world
    await world.clean()
