"""What became of each thing in a ``cluster.conf``, as data: a finding for every attribute, none left out.

taken: means the same in vmha. changed: taken, and it means something else now, or has more or less effect.
not taken: has no place in the document; the text says why, and what to do instead where there is something.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from vmha.fencing.fence_agent import MASK
from vmha.model.secret_names import names_a_secret
from vmha.operator.rgmanager.source import Attribute, Element

_NOT_SECRET = ("totem",)
"""Elements with harmless attributes of such names: totem's token is a time."""
_LONGEST_VALUE = 120


class Kind(StrEnum):
    TAKEN = "taken"
    CHANGED = "changed"
    NOT_TAKEN = "not taken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``element``: where it is written (``rm/vm[db1]``). ``attribute`` empty: the element itself.

    ``about``: the object it concerns, when that is not the element: an attribute of ``resource-defaults``, say.
    """

    kind: Kind
    line: int
    element: str
    attribute: str = ""
    value: str = ""
    text: str
    accepted: str = ""
    about: str = ""

    def say(self, file: str) -> str:
        """One line, whatever the values hold."""
        shown = f' {self.attribute}="{_in_short(self.value)}"' if self.attribute else ""
        about = f" ({self.about})" if self.about else ""
        accepted = f" (accepted: {self.accepted})" if self.accepted else ""
        return printable(f"{file}:{self.line}: {_in_short(self.element)}{shown}{about}: {self.text}{accepted}")


class Findings:
    """Gathers findings. ``about`` names the object they concern, when that is not the element they stand at."""

    def __init__(self) -> None:
        self._found: list[Finding] = []

    def taken(self, what: Attribute | Element, text: str, *, about: str = "") -> None:
        self._add(Kind.TAKEN, what, text, "", about)

    def changed(self, what: Attribute | Element, text: str, *, accepted: str = "", about: str = "") -> None:
        self._add(Kind.CHANGED, what, text, accepted, about)

    def left(self, what: Attribute | Element, text: str, *, accepted: str = "", about: str = "") -> None:
        self._add(Kind.NOT_TAKEN, what, text, accepted, about)

    def left_all(self, attributes: Iterable[Attribute], text: str) -> None:
        for attribute in attributes:
            self.left(attribute, text)

    def left_whole(self, element: Element, text: str) -> None:
        """The element, its attributes and everything below it."""
        for inner in element.walk():
            if inner is element or not inner.attributes:
                self.left(inner, text)
            self.left_all(inner.all_attributes(), text)

    def absorb(self, others: "Findings", *, refused: str = "") -> None:
        """Take over another's findings. ``refused``: what they are about is not taken, so nothing of it is."""
        for finding in others._found:
            is_lost = refused and finding.kind is not Kind.NOT_TAKEN
            text = f"{refused}; else: {finding.text}"
            self._found.append(replace(finding, kind=Kind.NOT_TAKEN, text=text) if is_lost else finding)

    def in_order(self) -> tuple[Finding, ...]:
        """By line; of one line in the order in which they were found."""
        return tuple(sorted(self._found, key=lambda finding: finding.line))

    def _add(self, kind: Kind, what: Attribute | Element, text: str, accepted: str, about: str) -> None:
        element = what.element if isinstance(what, Attribute) else what
        name, value = (what.name, what.value) if isinstance(what, Attribute) else ("", "")
        if element.tag not in _NOT_SECRET and names_a_secret(name):
            value = MASK
        self._found.append(
            Finding(
                kind=kind,
                line=element.line,
                element=element.path,
                attribute=name,
                value=value,
                text=text,
                accepted=accepted,
                about=about,
            )
        )


def printable(text: str) -> str:
    """On one line, whatever it holds: a value must not forge a line of the report, or steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _in_short(value: str) -> str:
    return value if len(value) <= _LONGEST_VALUE else f"{value[: _LONGEST_VALUE - 3]}..."
