"""A vm's guest may go by another name on this node: it is known by its uuid or its mark, and acted upon all the same.

A vm that is removed and added again under another name, with its uuid, runs on as it was called before. So may a second
copy that somebody made of it. By the vm's own name libvirt would find neither: the one could not be stopped, the other
not be made to stand still. What libvirt is asked about a vm is asked about the guest that was seen to be its own; the
next start gives it its own name.
"""

from collections.abc import Callable, MutableMapping
from dataclasses import replace
from typing import Any, cast

from vmha.hypervisor.port import Hypervisor, MigrationOrder
from vmha.model.domain_xml import parse_domain
from vmha.model.ids import VmName

BY_NAME = frozenset(
    {
        "find_ending",
        "find_departure",
        "recall_migration",
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
"""What is passed on with the guest's name in place of the vm's, and nothing else."""


class _ByItsName:
    def __init__(self, hypervisor: Hypervisor, names: MutableMapping[VmName, str]) -> None:
        self._hypervisor, self._names = hypervisor, names

    def __getattr__(self, attribute: str) -> Any:
        found: Callable[..., Any] = getattr(self._hypervisor, attribute)
        if attribute not in BY_NAME:
            return found
        return lambda name, *given, **named: found(self._names.get(name, name), *given, **named)

    async def start(self, xml: str, *, timeout_s: float = 60.0) -> None:
        self._names.pop(parse_domain(xml).name, None)  # what comes up now has the vm's own name
        await self._hypervisor.start(xml, timeout_s=timeout_s)

    async def restore(self, path: str, *, name: str, **given: Any) -> None:
        self._names.pop(VmName(name), None)
        await self._hypervisor.restore(path, name=name, **given)

    async def destroy(self, name: str, *, timeout_s: float = 30.0) -> None:
        """Under either name: nothing of it is to run on. What goes by its name may be another vm's, though."""
        if (other := self._names.get(VmName(name))) is not None:
            await self._hypervisor.destroy(other, timeout_s=timeout_s)
            if name in self._names.values():
                return
        await self._hypervisor.destroy(name, timeout_s=timeout_s)

    async def migrate(self, order: MigrationOrder) -> None:
        await self._hypervisor.migrate(replace(order, name=self._names.get(VmName(order.name), order.name)))


def by_its_name(hypervisor: Hypervisor, names: MutableMapping[VmName, str]) -> Hypervisor:
    """``names``: of vms whose guests here go by another name than the vm's (agent/inventory.py keeps it)."""
    return cast(Hypervisor, _ByItsName(hypervisor, names))
