"""What is on record while the loss of some node would cost vms (policy/telling/survival.py)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SurvivalRecord:
    """``survival``: the loss of some node would cost vms, and the journal has told so. Absent: nothing of that is told.

    ``vms``: how many; ``digest`` of their names: the next leader need not tell it again. ``text``: as it was told.
    """

    schema: int = 1
    at: float
    vms: int
    digest: str
    text: str
