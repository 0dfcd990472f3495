import pytest

from tests.unit.operator.cluster import Cluster


@pytest.fixture
async def cluster() -> Cluster:
    """An empty one; asynchronous because its server keeps the event loop's time."""
    return Cluster()
