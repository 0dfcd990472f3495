"""What holds for all tests."""

import os

from hypothesis import settings

# A property says what holds, not how fast: how long an example takes depends on what else the machine does.
# Where a change is judged (CI), the same examples are tried each time; everywhere else others, so that more are seen.
settings.register_profile("vmha", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("vmha")
