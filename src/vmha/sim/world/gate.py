"""The start gate of a simulated host: what its qemu hook would say to a start by hand.

The agent's own starts are let through by their grant, as on a real host; the list of managed vms outlives a reboot.
"""

from collections.abc import Callable, Iterable, Mapping

from vmha.fencing.deadline import EXPIRED, State
from vmha.fencing.gate import MIGRATE, START, Asked, Known, judge
from vmha.fencing.gate_files import GateUnavailable
from vmha.model.ids import Epoch, SessionId
from vmha.model.settings import GateMode


class SimGate:
    """``read_guard``: what the host's guard has on file."""

    def __init__(self, read_guard: Callable[[], State] = lambda: State.IDLE) -> None:
        self._read_guard = read_guard
        self._cluster = ""
        self._managed: frozenset[str] = frozenset()
        self._mode = GateMode.ADOPT
        self.expected: dict[str, Epoch] = {}
        self.disk_trouble = ""
        """What is wrong with the disk that holds the list."""

    async def list_managed(self, cluster: str, identities: Iterable[str], *, mode: GateMode = GateMode.ADOPT) -> None:
        if self.disk_trouble:
            raise GateUnavailable(self.disk_trouble)
        self._cluster, self._managed, self._mode = cluster, frozenset(identities), mode

    def expect(self, epochs: Mapping[str, Epoch], *, session: SessionId) -> None:
        """The simulated libvirtd asks nobody about the agents' own migrations; what it would be told is kept."""
        self.expected = dict(epochs)

    def grant(self, uuid: str, *, epoch: Epoch, session: SessionId) -> None:
        """The simulated libvirtd asks nobody about the agent's starts: it does not keep one in a queue."""

    def withdraw(self, uuid: str) -> None: ...

    def clear(self) -> None: ...

    def refusal(self, name: str, uuid: str, *, comes_in: bool = False) -> str:
        """Why a start (or a migration in) by hand is refused; '' when it is let through."""
        guard = self._read_guard()
        known = Known(
            cluster=self._cluster,
            managed=self._managed,
            mode=self._mode,
            armed_session="a session" if guard is State.ARMED else "",
            kill_at=1.0,
            has_expired=guard in EXPIRED,
        )
        return judge(MIGRATE if comes_in else START, Asked(name=name, uuid=uuid), known, 0.0)
