"""A guest that a hand migrates away: on record while it leaves, when it has left, and when it has stayed after all.

See ``policy/deciding/leaving.py`` for why. Nothing here touches a guest.
"""

from dataclasses import dataclass

from vmha.agent.claims import Claims, Lost
from vmha.agent.inventory import Inventory
from vmha.agent.ports import AgentPorts
from vmha.model.records import Placement, Stored
from vmha.policy.at_node.reconcile import is_news_of_leaving
from vmha.policy.deciding.leaving import find_where_it_comes_in
from vmha.policy.state import transitions


@dataclass(frozen=True, slots=True)
class Departures:
    ports: AgentPorts
    inventory: Inventory
    claims: Claims

    async def note(self, read: Stored[Placement]) -> None:
        """That it is leaving, and where to if a member has shown it; or that it is not leaving any more."""
        placement, reading, snapshot = read.value, self.inventory.reading, self.ports.read_snapshot()
        view, local = snapshot.vms.get(placement.vm), reading.local(placement.vm) if reading else None
        comes_in = find_where_it_comes_in(view, self.ports.node, snapshot) if view else None
        if local is None or not is_news_of_leaving(placement, local, comes_in):
            raise Lost("it is as it is on record")
        to = comes_in if local.migrating else None
        if not local.migrating:
            text = f"it stays on {self.ports.node}: the migration that somebody had begun is over"
        else:
            where = to or "a host that no member has shown to be it"
            text = f"somebody is migrating it away from {self.ports.node}, to {where}"
        new = transitions.note_leaving(placement, leaving=local.migrating, to=to)
        await self.claims.write(read, new, kind="leaving", text=text)

    async def depart(self, read: Stored[Placement]) -> None:
        if (await self.inventory.refresh()).local(read.value.vm) is not None:
            raise Lost("it is still here")
        why = f"somebody migrated it away from {self.ports.node}; it starts again only when seen, or confirmed gone"
        new = transitions.depart(read.value, why, self.ports.clock.wall())
        await self.claims.write(read, new, kind="departed", text=why, gone_here=True)

    async def depart_unsure(self, read: Stored[Placement]) -> None:
        """On record before anything is ended here: the agent after one that died in between would start it again."""
        here = (await self.inventory.refresh()).local(read.value.vm)
        if here is None or not here.stands_outgoing:
            raise Lost("it does not stand here as a migration left it")
        why = (
            f"a migration by hand broke at its end on {self.ports.node}, and libvirt can not tell whether it runs "
            "where it was sent to; it starts again only when seen, or confirmed gone"
        )
        new = transitions.depart(read.value, why, self.ports.clock.wall())
        await self.claims.write(read, new, kind="departed", text=why)
