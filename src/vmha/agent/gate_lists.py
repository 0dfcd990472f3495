"""What the start gate of this node must know (fencing/gate.py): the cluster's vms, how strict it is, what is to arrive.

It follows the mirror: a vm that was added is behind the gate as soon as its agent has read of it.
"""

from collections.abc import Iterable

from vmha.agent.ports import AgentPorts
from vmha.model.ids import Epoch, SessionId, VmName
from vmha.model.records import Phase
from vmha.model.settings import GateMode


class GateLists:
    """``is_stale``: a definition or the settings changed since they were listed."""

    def __init__(self, ports: AgentPorts) -> None:
        self._ports = ports
        self._arrivals: dict[VmName, tuple[str, Epoch]] = {}  # uuid and epoch of what is being sent here
        self.is_stale = True

    async def list_managed(self) -> None:
        """Which vms are the cluster's, whenever that has changed. One that can not be read is still one of them."""
        if not self.is_stale:
            return
        snapshot = self._ports.read_snapshot()
        specs = [vm.spec.value for vm in snapshot.vms.values() if vm.spec]
        identities = [one for spec in specs for one in (spec.uuid, spec.name)]
        if snapshot.problems:
            identities += [name for name in snapshot.vms if snapshot.is_unreadable("vms", name, "spec")]
        self.is_stale = False
        try:
            await self._ports.gate.list_managed(self._ports.cluster, set(identities), mode=self._mode())
        except BaseException:
            self.is_stale = True
            raise

    def _mode(self) -> GateMode:
        snapshot = self._ports.read_snapshot()
        view = snapshot.nodes.get(self._ports.node)
        own = view.spec.value.gate if view and view.spec else None
        return own or snapshot.config.gate

    def expect_arrivals(self, changed: Iterable[VmName], session: SessionId) -> None:
        """Which migrations come in by the cluster's own doing; only vms that changed are looked at, and those that are
        expected: one that is over may concern this node no more, and is not among what changed for it then.
        """
        for vm in sorted({*changed, *self._arrivals}):
            view = self._ports.mirror.vm(vm)
            placement = view.placement.value if view and view.placement else None
            known = self._arrivals.pop(vm, None)
            if placement is None or placement.phase is not Phase.MIGRATING or placement.target != self._ports.node:
                continue
            uuid = view.spec.value.uuid if view and view.spec else known[0] if known else ""
            self._arrivals[vm] = (uuid.lower(), Epoch(placement.epoch + 1))
        self._ports.gate.expect(dict(self._arrivals.values()), session=session)
