"""What a migration by post-copy took: libvirt says it at the source alone, as the guest's QEMU ends there.

It goes on record with the hand-over, if the call that migrates has seen all of it: a libvirtd that was begun anew,
or one that takes up a lost connection, knows a part. Nothing is held up by a word that does not come: it is not known.
"""

import asyncio

from vmha.hypervisor.port import Hypervisor
from vmha.model.ids import NodeName, VmName
from vmha.model.migration import Moved

LOOK_S, LOOKS = 0.02, 10
"""libvirt's event and the end of its call come by two ways, within milliseconds of each other."""


async def hear(hypervisor: Hypervisor, vm: VmName) -> None:
    """Returns when it is known, or soon in any case."""
    for _ in range(LOOKS):
        if hypervisor.find_departure(vm) is not None:
            return
        await asyncio.sleep(LOOK_S)


def find_moved(hypervisor: Hypervisor, vm: VmName, source: NodeName) -> Moved | None:
    took = hypervisor.find_departure(vm)
    if took is None:
        return None
    return Moved(source=source, total_s=round(took.total_s, 3), switch_s=round(took.downtime_s, 3), stood_s=0.0)


def in_words(moved: Moved | None, source: NodeName) -> str:
    return str(moved) if moved else f"migrated from {source}; what it took is not known: libvirt did not say it there"
