"""Which guests are migrating out, where libvirt's answers come late or not at all."""

import pytest

from vmha.hypervisor.real.ways_out import WaysOut
from vmha.hypervisor.states import Job


@pytest.fixture
def ways() -> WaysOut:
    """A hand migrates ``web``."""
    ways = WaysOut()
    ways.perhaps.add("web")
    return ways


def test_migration_goes_on_until_it_is_told_to_be_over(ways: WaysOut) -> None:
    assert ways.told(["web"], {"web": Job.MIGRATING_OUT}) == {"web": Job.MIGRATING_OUT}
    assert ways.told(["web"], {}) == {"web": Job.MIGRATING_OUT}, "no answer came in time"
    assert ways.told(["web"], {"web": Job.UNKNOWN}) == {"web": Job.MIGRATING_OUT}, "its QEMU is busy"
    assert ways.told(["web"], {"web": Job.NONE}) == {"web": Job.NONE}
    assert ways.perhaps == set()
    assert ways.told(["web"], {}) == {"web": Job.UNKNOWN}


def test_one_that_was_never_told_of_is_not_said_to_be_under_way(ways: WaysOut) -> None:
    assert ways.told(["web"], {}) == {"web": Job.UNKNOWN}
    assert ways.perhaps == {"web"}


def test_another_run_of_a_guest_has_another_migration(ways: WaysOut) -> None:
    ways.told(["web"], {"web": Job.MIGRATING_OUT})
    ways.ended("web")
    assert ways.told(["web"], {}) == {"web": Job.UNKNOWN}
    ways.told(["web"], {"web": Job.MIGRATING_OUT})
    ways.here([])
    assert ways.told(["web"], {}) == {"web": Job.UNKNOWN}


def test_guest_that_comes_in_goes_nowhere(ways: WaysOut) -> None:
    assert ways.told(["web"], {"web": Job.INCOMING}) == {"web": Job.INCOMING}
    assert ways.perhaps == set()
