"""Placement rules: which vms keep apart, which like to be together, and on which nodes vms may be.

A hard rule is a reason to refuse a node; a soft one ranks nodes, and is never a reason not to run. A hard *together*
would be a service (``model/service.py``).
"""

from collections import Counter
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from vmha.model.document import NAME_PATTERN, Document

_Word = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=63)]
"""The one rule for names. Not ``model.vm.Name``: a node's document, which has labels, stands there."""

MOST_LABELS = 32

Labels = Annotated[dict[_Word, _Word], Field(max_length=MOST_LABELS)]
"""Each a name and a value, both by the rule for names; so many at most."""


class Rule(Document):
    """``rules/<name>``: one rule about where vms are placed. One of ``apart``, ``together`` and ``vms``.

    ``hard``: a node that the rule forbids is refused; else nodes that go with the rule are preferred among those that a
    failover domain does not tell apart. ``on``: of a node's labels all these match; ``off``: none of these does.
    """

    name: _Word
    apart: tuple[_Word, ...] = Field(default=(), description="Vms of which no two are to be on one node.")
    together: tuple[_Word, ...] = Field(default=(), description="Vms that like to be on one node; soft only.")
    vms: tuple[_Word, ...] = Field(default=(), description="Vms that 'on' and 'off' are about.")
    on: Labels = Field(default_factory=dict, description="Labels that their node has, all of them.")
    off: Labels = Field(default_factory=dict, description="Labels of which their node has none.")
    hard: bool = Field(default=False, description="A node that does not go with the rule is refused.")

    @property
    def names(self) -> tuple[str, ...]:
        """The vms that it is about."""
        return self.apart or self.together or self.vms

    @property
    def kind(self) -> str:
        return "apart" if self.apart else "together" if self.together else "vms"

    @model_validator(mode="after")
    def _is_one_rule(self) -> Self:
        given = [kind for kind in ("apart", "together", "vms") if getattr(self, kind)]
        if len(given) != 1:
            said = f"{' and '.join(given)} are given" if given else "none is given"
            raise ValueError(f"apart, together, vms: exactly one of the three is needed, {said}")
        if twice := sorted(name for name, count in Counter(self.names).items() if count > 1):
            raise ValueError(f"{self.kind}: {', '.join(twice)}: named twice (accepted: each vm once)")
        if self.vms:
            self._check_labels()
            return self
        if self.on or self.off:
            raise ValueError(f"{'on' if self.on else 'off'}: goes with vms only (accepted: vms, with on or off)")
        if len(self.names) < 2:
            raise ValueError(f"{self.kind}: {self.names[0]} alone (accepted: at least two vms)")
        if self.together and self.hard:
            raise ValueError(
                "hard: true: does not go with together: vms that must be on one node are a service "
                "(accepted: hard: false, or vmha service add NAME --vm VM --vm VM ...)"
            )
        return self

    def _check_labels(self) -> None:
        if not self.on and not self.off:
            raise ValueError("on, off: at least one of the two is needed with vms (accepted: labels of nodes)")
        for label, value in sorted(self.on.items()):
            if self.off.get(label) == value:
                raise ValueError(f"on, off: {label}={value}: in both (accepted: in one of the two)")


def labelled(labels: dict[str, str]) -> str:
    """Labels in words."""
    return ", ".join(f"{label}={value}" for label, value in sorted(labels.items()))


def where(rule: Rule) -> str:
    """On which nodes, in words."""
    parts = [f"on nodes labelled {labelled(rule.on)}"] if rule.on else []
    parts += [f"off nodes labelled {' or '.join(f'{a}={b}' for a, b in sorted(rule.off.items()))}"] if rule.off else []
    return " and ".join(parts)
