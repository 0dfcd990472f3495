"""What holds for all tests."""

from hypothesis import settings

# A property says what holds, not how fast: how long an example takes depends on what else the machine does.
settings.register_profile("vmha", deadline=None)
settings.load_profile("vmha")
