"""RGManager's words and numbers: what clusvcadm answered, and the states that clustat showed.

Scripts compare them, so they are kept to the letter. The exit code of an answer is its number modulo 256; "already
running" counts as success.
"""

from enum import Enum, IntEnum

from vmha.policy.telling.explain import VmState


class Answer(Enum):
    """Number and text of clusvcadm's answers."""

    SUCCESS = (0, "Success")
    FAIL = (-1, "Failure")
    ABORT = (-2, "Aborted; service failed")
    NO_SERVICE = (-4, "Service does not exist")
    AGAIN = (-6, "Temporary failure; try again")
    DEPEND = (-7, "Operation violates dependency rule")
    INVALID = (-8, "Invalid operation for resource")
    RUNNING = (-10, "Service is already running")
    FROZEN = (-11, "Failure: Service is frozen")
    NO_NODE = (-12, "Target node dead / nonexistent")
    WARNING = (-19, "Warning; see system logs")
    STAYS = (-17, "Failed; service running on original owner")

    @property
    def text(self) -> str:
        return self.value[1]

    @property
    def exit_code(self) -> int:
        return 0 if self is Answer.RUNNING else self.value[0] & 0xFF


class RgState(IntEnum):
    """The states of a service, with the numbers that clustat printed."""

    STOPPED = 110
    STARTING = 111
    STARTED = 112
    STOPPING = 113
    FAILED = 114
    RECOVERING = 118
    DISABLED = 119

    @property
    def word(self) -> str:
        return self.name.lower()

    @property
    def is_up(self) -> bool:
        """Whether ``clustat -s`` exits with 0."""
        return self in (RgState.STARTING, RgState.STARTED, RgState.STOPPING)

    @property
    def has_owner(self) -> bool:
        return self.is_up


def rg_state(state: VmState) -> RgState:
    """A migrating vm was ``started`` to RGManager, and so was a paused one.

    What only a person can end is ``failed``: a vm that has departed, and one that runs twice, which RGManager did not
    notice. One that waits for a node is ``stopped``, which RGManager too started at the next chance.
    """
    match state:
        case VmState.RUNNING | VmState.PAUSED | VmState.MIGRATING | VmState.UNKNOWN | VmState.UNMANAGED:
            return RgState.STARTED
        case VmState.STARTING:
            return RgState.STARTING
        case VmState.STOPPING:
            return RgState.STOPPING
        case VmState.RECOVERING:
            return RgState.RECOVERING
        case VmState.DEPARTED | VmState.DUPLICATE:
            return RgState.FAILED
        case VmState.DISABLED:
            return RgState.DISABLED
        case VmState.STOPPED | VmState.WAITING:
            return RgState.STOPPED


def find_vm(group: str) -> str | None:
    """The vm that a script means: ``vm:NAME``, or NAME alone. None: a service (``find_service``)."""
    kind, colon, name = group.partition(":")
    if colon and kind == "vm":
        return name
    return None if colon and kind == "service" else group


def find_service(group: str) -> str | None:
    """The service that a script means: ``service:NAME``. None: a vm."""
    kind, colon, name = group.partition(":")
    return name if colon and kind == "service" else None
