"""Before libvirt itself lets a guest run at its target: is the session that will hold it there alive now?

A host that has booted since its last beat still seems to live for a while, and takes a guest in; but nothing guards it
there, and its session of before can be taken for over by time alone. So a new beat is waited for, in the store itself.
It takes a beat's time, a second or two.
"""

import asyncio

from vmha.agent.ports import AgentPorts
from vmha.hypervisor.port import MigrationFailed
from vmha.model.ids import NodeName, VmName
from vmha.model.keys import decode
from vmha.model.records import BeatRecord

LOOK_S = 0.1


async def see_alive(ports: AgentPorts, vm: VmName, target: NodeName) -> None:
    """Returns as soon as ``target`` has committed a beat since it was called.

    Raises:
        MigrationFailed: it has no session, another one, or committed none for its whole hold.
        VmhaError: the store does not answer.
    """
    key = ports.keys.beat(target)
    first = await ports.store.get(key)
    if first is None:
        raise MigrationFailed(f"migrate {vm} to {target}: {target} has no session")
    hold_s = decode(BeatRecord, first.value, where=key).hold_s
    give_up_at = ports.clock.now() + hold_s
    while ports.clock.now() < give_up_at:
        await asyncio.sleep(LOOK_S)
        now = await ports.store.get(key)
        if now is None or now.create_revision != first.create_revision:
            raise MigrationFailed(f"migrate {vm} to {target}: the session of {target} is over")
        if now.mod_revision > first.mod_revision:
            return
    raise MigrationFailed(f"migrate {vm} to {target}: {target} has committed no beat for {hold_s:g} s")
