"""What an operator wants done with a guest that stands still, and when a vm may go home: ``on_pause``, ``failback``."""

import re
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from vmha.model.document import Document


class OnTrouble(StrEnum):
    """What to do with a guest that a user or a watchdog has stopped, or that hangs with its QEMU."""

    KEEP = "keep"
    RESTART = "restart"


class OnIoError(StrEnum):
    """What to do with a guest that stands still because its disk failed."""

    KEEP = "keep"
    RESUME = "resume"  # again and again, less and less often; after a time as relocate
    RESTART = "restart"
    RELOCATE = "relocate"


class OnPause(Document):
    """By the reason for which it stands still. Not for these: what a migration left is never resumed by this."""

    user: OnTrouble = OnTrouble.KEEP
    io_error: OnIoError = OnIoError.RESUME
    io_error_relocate_after_s: Annotated[float, Field(ge=0, le=604800)] = Field(
        default=300.0, description="So long it is tried to resume it; 0: for ever."
    )
    watchdog: OnTrouble = OnTrouble.RESTART
    hung: OnTrouble = Field(
        default=OnTrouble.KEEP, description="Its QEMU answers nothing: it was stopped (SIGSTOP), or is stuck."
    )
    hung_restart_after_s: Annotated[float, Field(ge=0, le=604800)] = Field(
        default=60.0, description="With hung: restart, for how long it must have been silent."
    )


DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAYS, _TIME = "|".join(DAYS), r"([01]\d|2[0-3]):([0-5]\d)"
WINDOW = re.compile(rf"(?:({_DAYS})(?:-({_DAYS}))? )?{_TIME}-(?:{_TIME}|24:00)")


def _readable(windows: tuple[str, ...]) -> tuple[str, ...]:
    for window in windows:
        if not WINDOW.fullmatch(window):
            raise ValueError(f"{window!r} (accepted: [DAY[-DAY] ]HH:MM-HH:MM in UTC, such as Mon-Fri 22:00-06:00)")
    return windows


class Failback(Document):
    """When a vm goes home to a more preferred node that is back."""

    enabled: bool = True
    delay_s: Annotated[float, Field(ge=0, le=604800)] = Field(
        default=0.0, description="That node must have been back for so long."
    )
    windows: Annotated[tuple[str, ...], AfterValidator(_readable)] = Field(
        default=(), description="Only then, in UTC: [DAY[-DAY] ]HH:MM-HH:MM; none: at any time."
    )
