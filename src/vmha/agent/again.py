"""How soon a vm is decided about again after its node was refused what it was about to do.

    refused: once .. 50 ms .. again .. 100 ms .. again .. 200 ms ...... once a second, and told

Most refusals are of a moment, for what was decided was decided on the past: the first try comes at once. What is
refused again and again while nothing has changed on record is refused by the hypervisor, and would be so twenty times a
second: the pause doubles, and the vm shows what it is that does not go.
"""

from dataclasses import dataclass, field

from vmha.agent.claims import Lost
from vmha.model.errors import Refused
from vmha.model.ids import Revision, VmName
from vmha.policy.at_node.reconcile import Action

FIRST_S, LONGEST_S = 0.05, 1.0
TOLD_AFTER = 5
"""So many refusals of one thing take a second and a half."""


@dataclass(frozen=True, slots=True)
class Row:
    """So many refusals of one thing, under a placement of one revision."""

    action: Action
    under: Revision
    refusals: int

    @property
    def pause_s(self) -> float:
        return min(LONGEST_S, FIRST_S * 2.0 ** (self.refusals - 1))

    @property
    def is_told(self) -> bool:
        return self.refusals >= TOLD_AFTER


@dataclass(slots=True)
class Again:
    _rows: dict[VmName, Row] = field(default_factory=dict)

    def refused(self, vm: VmName, action: Action, under: Revision, error: Refused) -> Row:
        """What was lost to another's write is decided anew at once, as often as it takes: that is no row."""
        before = self._rows.get(vm)
        goes_on = before is not None and (before.action, before.under) == (action, under)
        known = before.refusals if before is not None and goes_on and not isinstance(error, Lost) else 0
        row = self._rows[vm] = Row(action, under, known + 1)
        return row

    def ends(self, vm: VmName) -> bool:
        """It was done, or something else is. Whether a row was told of."""
        row = self._rows.pop(vm, None)
        return row is not None and row.is_told
