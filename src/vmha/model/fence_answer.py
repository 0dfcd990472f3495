"""What a fence agent said when it was only asked: never to switch, for whoever wants to know whether it could."""

from dataclasses import dataclass
from enum import StrEnum

from vmha.model.vm import FenceRole


class FenceSays(StrEnum):
    ON = "on"
    OFF = "off"
    READY = "ready"  # it reaches its device, which has no status to tell
    NOTHING = "nothing"  # it ran, and could not tell
    LATE = "late"  # it did not answer in time, and was ended
    MISSING = "missing"  # it is no program here


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceAnswer:
    """Of one device of a node.

    Attributes:
        code: the program's exit code; negative: the signal that ended it. None: it has none.
        words: in words, without secrets.
        timeout_s: how long it may take.
    """

    agent: str
    role: FenceRole
    says: FenceSays
    code: int | None = None
    words: str = ""
    seconds: float = 0.0
    timeout_s: float = 20.0
