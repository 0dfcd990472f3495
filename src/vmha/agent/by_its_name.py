"""A vm's guest may go by another name on this node: it is known by its uuid or its mark, and acted upon all the same.

A vm that is removed and added again under another name, with its uuid, runs on as it was called before. So may a second
copy that somebody made of it. By the vm's own name libvirt would find neither: the one could not be stopped, the other
not be made to stand still. What libvirt is asked about a vm is asked about the guest that was seen to be its own; the
next start gives it its own name.

Where that has gone and a second copy stands beside where it was, what is done is done to the copy. But how the vm's run
ended, and where it went, is asked of its own: as it was called on record.
"""

from collections.abc import Callable, MutableMapping
from dataclasses import replace
from typing import Any, cast

from vmha.hypervisor.port import Hypervisor, MigrationOrder
from vmha.model.domain_xml import parse_domain
from vmha.model.ids import VmName

BY_NAME = frozenset(
    {
        "migration_progress",
        "read_arrival",
        "save",
        "resume",
        "suspend",
        "shutdown",
        "reboot",
        "reset",
        "boots_again",
        "ping_agent",
        "set_tag",
        "start_post_copy",
        "abort_migration",
    }
)
"""What is passed on with the name of the guest that is here in place of the vm's ..."""
OF_ITS_RUN = frozenset({"find_ending", "find_departure", "recall_migration"})
"""... and with that of the vm's own, which may have gone; and nothing else."""


class _ByItsName:
    def __init__(
        self, hypervisor: Hypervisor, names: MutableMapping[VmName, str], gone: MutableMapping[VmName, str]
    ) -> None:
        self._hypervisor, self._names, self._gone = hypervisor, names, gone

    def __getattr__(self, attribute: str) -> Any:
        found: Callable[..., Any] = getattr(self._hypervisor, attribute)
        if attribute in OF_ITS_RUN:
            return lambda name, *given, **named: found(self._gone.get(name) or self._here(name), *given, **named)
        if attribute in BY_NAME:
            return lambda name, *given, **named: found(self._here(name), *given, **named)
        return found

    def _here(self, vm: VmName) -> str:
        return self._names.get(vm, vm)

    async def start(self, xml: str, *, timeout_s: float = 60.0) -> None:
        self._forget(VmName(parse_domain(xml).name))  # what comes up now has the vm's own name
        await self._hypervisor.start(xml, timeout_s=timeout_s)

    async def restore(self, path: str, *, name: str, **given: Any) -> None:
        self._forget(VmName(name))
        await self._hypervisor.restore(path, name=name, **given)

    def _forget(self, vm: VmName) -> None:
        self._names.pop(vm, None)
        self._gone.pop(vm, None)

    async def destroy(self, name: str, *, timeout_s: float = 30.0) -> None:
        """Under either name: nothing of it is to run on. What goes by its name may be another vm's, though."""
        if (other := self._names.get(VmName(name))) is not None:
            await self._hypervisor.destroy(other, timeout_s=timeout_s)
            if name in self._names.values():
                return
        await self._hypervisor.destroy(name, timeout_s=timeout_s)

    async def migrate(self, order: MigrationOrder) -> None:
        await self._hypervisor.migrate(replace(order, name=self._names.get(VmName(order.name), order.name)))


def by_its_name(
    hypervisor: Hypervisor, names: MutableMapping[VmName, str], gone: MutableMapping[VmName, str]
) -> Hypervisor:
    """agent/inventory.py keeps both.

    Args:
        hypervisor: as libvirt says it.
        names: of vms whose guests here go by another name than the vm's.
        gone: what a vm's own guest was called, where it has gone and a second copy is, or was, left of them.
    """
    return cast(Hypervisor, _ByItsName(hypervisor, names, gone))
