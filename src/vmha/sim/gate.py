"""The start gate of a simulated host: what its qemu hook would say to a start by hand.

The agent's own starts are let through by their grant, as on a real host; the list of managed vms outlives a reboot.
"""

from collections.abc import Iterable

from vmha.fencing.gate import START, Asked, Known, judge
from vmha.model.ids import Epoch, SessionId


class SimGate:
    def __init__(self) -> None:
        self._cluster = ""
        self._managed: frozenset[str] = frozenset()

    def list_managed(self, cluster: str, identities: Iterable[str]) -> None:
        self._cluster, self._managed = cluster, frozenset(identities)

    def grant(self, uuid: str, *, epoch: Epoch, session: SessionId) -> None:
        """The simulated libvirtd asks nobody about the agent's starts: it does not keep one in a queue."""

    def withdraw(self, uuid: str) -> None: ...

    def clear(self) -> None: ...

    def refusal(self, name: str, uuid: str) -> str:
        """Why a start by hand is refused; '' when it is let through."""
        known = Known(cluster=self._cluster, managed=self._managed)
        return judge(START, Asked(name=name, uuid=uuid), known, 0.0)
