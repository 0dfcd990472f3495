"""The suite runs as two, side by side (`make test`): tests that build hosts mostly wait, the others mostly compute.

Within each of the two they run one after another, in order: two labs at once on two cores would measure each other.
"""

import pytest


@pytest.hookimpl(tryfirst=True)  # the groups must be there when xdist reads them
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        group = "hosts" if item.get_closest_marker("lab") else "programs"
        item.add_marker(pytest.mark.xdist_group(group))
