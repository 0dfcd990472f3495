"""What every agent asks of all vms at every change, kept along with the changes: an answer costs what it says.

It is what going through all vms would find: a property test (tests/unit/policy/test_indexes.py).
"""

from collections.abc import Mapping

from vmha.model.ids import NodeName, Revision, VmName
from vmha.model.records import Phase, Placement, Stored
from vmha.model.vm import VmSpec
from vmha.policy.state.snapshot import VmView

_NOTHING: Mapping[VmName, VmView] = {}


class Indexes:
    """``assigned``: placements that wait for their claim."""

    def __init__(self) -> None:
        self.assigned: dict[VmName, Stored[Placement]] = {}
        self._on: dict[NodeName, dict[VmName, VmView]] = {}
        self._defined: dict[VmName, Revision] = {}
        self._by_uuid: dict[str, tuple[VmName, ...]] = {}
        self._removed: dict[str, Revision] = {}
        self._newest: Revision | None = Revision(0)  # None: to be looked for, the newest has gone

    @classmethod
    def of(cls, vms: Mapping[VmName, VmView]) -> "Indexes":
        made = cls()
        for vm in vms.values():
            made.change(None, vm)
        return made

    def copy(self) -> "Indexes":
        other = Indexes()
        other.assigned, other._defined = dict(self.assigned), dict(self._defined)
        other._by_uuid = dict(self._by_uuid)
        other._on = {node: dict(vms) for node, vms in self._on.items()}
        other._newest, other._removed = self._newest, dict(self._removed)
        return other

    def on(self, node: NodeName) -> Mapping[VmName, VmView]:
        """Vms whose placement names this node, in whatever phase."""
        return self._on.get(node, _NOTHING)

    def newest_definition(self) -> Revision:
        """When the vm that was defined or removed last was; 0: there is none."""
        if self._newest is None:
            self._newest = max(self._defined.values(), default=Revision(0))
        return max((self._newest, *self._removed.values()))

    def named(self, identity: str) -> VmName | None:
        """The vm defined by this name or uuid; of several with one uuid, which should not be, the last by name."""
        if identity in self._defined:
            return VmName(identity)
        return max(self._by_uuid.get(identity, ()), default=None)

    def remove(self, removal: str, created: Revision | None) -> None:
        """The record of a vm's removal. None: it is gone."""
        if created is None:
            self._removed.pop(removal, None)
        else:
            self._removed[removal] = created

    def change(self, before: VmView | None, now: VmView | None) -> None:
        """One vm is another now. None: it was not there, or is gone."""
        view = now or before
        if view is None:
            return
        name = view.name
        if before is not None and before.placement is not None and (node := before.placement.value.node) is not None:
            self._on.get(node, {}).pop(name, None)
        placement = now.placement if now is not None else None
        if now is not None and placement is not None and placement.value.node is not None:
            self._on.setdefault(placement.value.node, {})[name] = now
        if placement is not None and placement.value.phase is Phase.ASSIGNED:
            self.assigned[name] = placement
        else:
            self.assigned.pop(name, None)
        self._define(name, before.spec if before is not None else None, now.spec if now is not None else None)

    def _define(self, name: VmName, before: Stored[VmSpec] | None, now: Stored[VmSpec] | None) -> None:
        if before is now:
            return  # most changes are not of a definition
        if before is not None:
            left = tuple(one for one in self._by_uuid.pop(before.value.uuid, ()) if one != name)
            self._by_uuid |= {before.value.uuid: left} if left else {}
        if now is not None:
            self._by_uuid[now.value.uuid] = (*self._by_uuid.get(now.value.uuid, ()), name)
        was, created = self._defined.get(name), now.created if now is not None else None
        if was == created:
            return
        if created is None:
            del self._defined[name]
        else:
            self._defined[name] = created
        if was is not None and was == self._newest:
            self._newest = None
        if self._newest is not None and created is not None:
            self._newest = max(self._newest, created)
