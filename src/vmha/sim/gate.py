"""The start gate of a simulated host: what its qemu hook would say to a start by hand.

The agent's own starts are let through by their grant, as on a real host; the list of managed vms outlives a reboot.
"""

from collections.abc import Callable, Iterable, Mapping

from vmha.fencing.gate import MIGRATE, START, Asked, Known, judge
from vmha.model.ids import Epoch, SessionId
from vmha.model.settings import GateMode


class SimGate:
    """``has_expired``: the host's guard ends managed guests until another session is armed."""

    def __init__(self, has_expired: Callable[[], bool] = lambda: False) -> None:
        self._has_expired = has_expired
        self._cluster = ""
        self._managed: frozenset[str] = frozenset()
        self._mode = GateMode.ADOPT

    def list_managed(self, cluster: str, identities: Iterable[str], *, mode: GateMode = GateMode.ADOPT) -> None:
        self._cluster, self._managed, self._mode = cluster, frozenset(identities), mode

    def expect(self, epochs: Mapping[str, Epoch], *, session: SessionId) -> None:
        """Nor about the agents' own migrations."""

    def grant(self, uuid: str, *, epoch: Epoch, session: SessionId) -> None:
        """The simulated libvirtd asks nobody about the agent's starts: it does not keep one in a queue."""

    def withdraw(self, uuid: str) -> None: ...

    def clear(self) -> None: ...

    def refusal(self, name: str, uuid: str, *, comes_in: bool = False) -> str:
        """Why a start (or a migration in) by hand is refused; '' when it is let through."""
        known = Known(cluster=self._cluster, managed=self._managed, mode=self._mode, has_expired=self._has_expired())
        return judge(MIGRATE if comes_in else START, Asked(name=name, uuid=uuid), known, 0.0)
