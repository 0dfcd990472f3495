"""Since when each assignment has been as it is, on this process's own clock: others' clocks may differ by minutes.

Every agent counts along, so that a new leader need not begin to count. A look costs what has changed since the last.
"""

from collections.abc import Mapping

from vmha.leader.ages import AgesAt
from vmha.model.ids import Revision, VmName
from vmha.model.records import Placement, Stored


class Unclaimed:
    def __init__(self) -> None:
        self._since: dict[VmName, float] = {}
        self._as_of: dict[VmName, Revision] = {}
        self._changed: set[VmName] = set()

    def changed(self, vm: VmName) -> None:
        """Its placement is another one than at the last look."""
        self._changed.add(vm)

    def look(self, assigned: Mapping[VmName, Stored[Placement]], now: float) -> None:
        """``assigned``: all placements that wait for their claim."""
        changed, self._changed = self._changed, set()
        for name in changed:
            stored = assigned.get(name)
            if stored is None:
                self._since.pop(name, None)
                self._as_of.pop(name, None)
            elif self._as_of.get(name) != stored.modified:
                self._since[name], self._as_of[name] = now, stored.modified

    def at(self, now: float) -> Mapping[VmName, float]:
        return AgesAt(dict(self._since), now)
