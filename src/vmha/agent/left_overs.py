"""Looks for what this host's libvirt keeps of the cluster's vms: definitions, autostart marks, managed saves.

They are published with the node's status, told once in the journal, and left as they are (telling/left_overs.py).
"""

from collections.abc import Callable

import structlog

from vmha.agent.claims import Claims
from vmha.agent.ports import AgentPorts
from vmha.hypervisor.port import DomainEvent, HostDefinition
from vmha.model.errors import VmhaError
from vmha.model.ids import VmName
from vmha.model.node_findings import LeftOver
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.telling.left_overs import in_words
from vmha.store.bell import Bell

log = structlog.get_logger(__name__)

LOOK_S = 30.0
AT_MOST = 200
"""So many are published: they are part of a record that is written anew with each change."""


class LeftOvers:
    """``found`` is the newest look; ``on_change`` is called when it is another one."""

    def __init__(self, ports: AgentPorts, claims: Claims, *, on_change: Callable[[], None]) -> None:
        self._ports, self._claims, self._on_change = ports, claims, on_change
        self._look = Bell()
        self._told: set[str] | None = None
        self.found: tuple[LeftOver, ...] = ()
        ports.hypervisor.subscribe(self._heard)

    def _heard(self, event: DomainEvent) -> None:
        if event.kind in ("defined", "undefined", "connected"):
            self._look.set()

    async def run(self) -> None:
        while True:
            try:
                await self._once()
            except VmhaError as error:
                log.info("left-overs not looked for", why=str(error))
            if await self._look.wait(LOOK_S):
                self._look.clear()

    async def _once(self) -> None:
        kept = await self._ports.hypervisor.definitions()
        found = self._of_the_cluster(kept)
        if found != self.found:
            self.found = found
            self._on_change()
        await self._tell_new_ones()

    def _of_the_cluster(self, kept: tuple[HostDefinition, ...]) -> tuple[LeftOver, ...]:
        if not kept:
            return ()
        known: dict[str, VmName] = {}
        for name, vm in self._ports.mirror.vms.items():
            if vm.spec:
                known[vm.spec.value.uuid.lower()] = known[str(name)] = name
        found = [
            LeftOver(
                vm=whose,
                name="" if one.name == whose else one.name,
                uuid=one.uuid,
                definition=one.definition,
                autostart=one.autostart,
                managed_save=one.managed_save,
            )
            for one in kept
            if (whose := known.get(one.uuid.lower()) or known.get(one.name)) is not None
        ]
        return tuple(sorted(found, key=lambda one: (one.vm, one.name)))[:AT_MOST]

    async def _tell_new_ones(self) -> None:
        """Once each; what an earlier session published has been told by it."""
        snapshot = self._ports.read_snapshot()
        if self._told is None:
            view = snapshot.nodes.get(self._ports.node)
            self._told = set(self._words(view.status.value.left_overs, snapshot)) if view and view.status else set()
        now = self._words(self.found, snapshot)
        self._told &= now.keys()  # gone, and come back: told again
        for text, one in now.items():
            if text not in self._told:
                await self._claims.tell("left-over", text, one.vm)
                self._told.add(text)

    def _words(self, left_overs: tuple[LeftOver, ...], snapshot: Snapshot) -> dict[str, LeftOver]:
        said: dict[str, LeftOver] = {}
        for one in left_overs:
            vm = snapshot.vms.get(one.vm)
            if vm is not None and vm.spec is not None:
                said |= dict.fromkeys(in_words(one, self._ports.node, vm.spec.value), one)
        return said
