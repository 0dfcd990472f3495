"""What libvirt says of a job that is over, read as what a migration away took."""

from typing import Any

import libvirt
import pytest

from vmha.hypervisor.real.reading import find_departure
from vmha.model.migration import Arrival

AWAY = libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT
SAVED = libvirt.VIR_DOMAIN_JOB_OPERATION_SAVE


def test_migration_away_took_what_libvirt_says_in_milliseconds() -> None:
    stats = {"operation": AWAY, "time_elapsed": 2116, "downtime": 8, "data_total": 1}
    assert find_departure(stats) == Arrival(total_s=2.116, downtime_s=0.008)


@pytest.mark.parametrize(
    "stats",
    [
        {},
        {"operation": SAVED, "time_elapsed": 300, "downtime": 300},
        {"operation": AWAY, "downtime": 8},
        {"operation": AWAY, "time_elapsed": 2116},
        {"operation": AWAY, "time_elapsed": 2116, "downtime": 8, "success": False},
    ],
)
def test_anything_else_says_nothing(stats: dict[str, Any]) -> None:
    assert find_departure(stats) is None
