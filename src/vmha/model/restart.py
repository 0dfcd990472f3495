"""The kinds of a restart, and the record of one that is done to a guest whose QEMU goes on.

    asked (leader) --holder's agent is about to do it--> begun --it was seen to boot again--> done
                                                           |
                                                           +--it said no, or its time is over, or nobody knows--> failed

It is on record as begun before it is done: an agent that dies in between leaves "nobody knows", and resets no guest
twice.
"""

from dataclasses import dataclass
from enum import StrEnum

from vmha.model.ids import RequestId


class RestartKind(StrEnum):
    STOP_START = "stop-start"  # shut down by ACPI, by force when its time is over; then started
    REBOOT = "reboot"  # the guest is asked to boot again, by its agent or by ACPI; its QEMU goes on
    RESET = "reset"  # as by the reset button: the guest is not asked; its QEMU goes on
    HARD = "hard"  # its QEMU is ended by force and started anew; the guest is not asked


IN_PLACE = frozenset({RestartKind.REBOOT, RestartKind.RESET})


class DeedStage(StrEnum):
    ASKED = "asked"
    BEGUN = "begun"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestDeed:
    """In ``vms/<vm>/placement``: what is to be done, once, to the guest that runs under it. ``said``: why it failed."""

    kind: RestartKind
    operation: RequestId
    stage: DeedStage = DeedStage.ASKED
    said: str = ""

    @property
    def is_pending(self) -> bool:
        return self.stage in (DeedStage.ASKED, DeedStage.BEGUN)
