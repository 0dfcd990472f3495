"""What the start gate of this node must know (fencing/gate.py): the cluster's vms, how strict it is, what is to arrive.

It follows the mirror: a vm that was added is behind the gate as soon as its agent has read of it.
"""

from collections.abc import Callable, Iterable

from vmha.fencing.gate_files import Gate
from vmha.model.ids import Epoch, NodeName, SessionId, VmName
from vmha.model.records import Phase
from vmha.model.settings import GateMode
from vmha.policy.snapshot import Snapshot


class GateLists:
    """``is_stale``: a definition or the settings changed since they were listed."""

    def __init__(self, *, gate: Gate, cluster: str, node: NodeName, read_snapshot: Callable[[], Snapshot]) -> None:
        self._gate, self._cluster, self._node = gate, cluster, node
        self._read_snapshot = read_snapshot
        self._arrivals: dict[VmName, tuple[str, Epoch]] = {}  # uuid and epoch of what is being sent here
        self.is_stale = True

    def list_managed(self) -> None:
        """Which vms are the cluster's, whenever that has changed."""
        if not self.is_stale:
            return
        specs = [vm.spec.value for vm in self._read_snapshot().vms.values() if vm.spec]
        identities = [one for spec in specs for one in (spec.uuid, spec.name)]
        self._gate.list_managed(self._cluster, identities, mode=self._mode())
        self.is_stale = False

    def _mode(self) -> GateMode:
        snapshot = self._read_snapshot()
        view = snapshot.nodes.get(self._node)
        own = view.spec.value.gate if view and view.spec else None
        return own or snapshot.config.gate

    def expect_arrivals(self, changed: Iterable[VmName], session: SessionId) -> None:
        """Which migrations come in by the cluster's own doing; only vms that changed are looked at."""
        snapshot = self._read_snapshot()
        for vm in changed:
            view = snapshot.vms.get(vm)
            placement = view.placement.value if view and view.placement else None
            known = self._arrivals.pop(vm, None)
            if placement is None or placement.phase is not Phase.MIGRATING or placement.target != self._node:
                continue
            uuid = view.spec.value.uuid if view and view.spec else known[0] if known else ""
            self._arrivals[vm] = (uuid.lower(), Epoch(placement.epoch + 1))
        self._gate.expect(dict(self._arrivals.values()), session=session)
