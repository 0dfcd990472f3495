"""What vms are to each other: one that wants its node for itself, and one that needs others.

``exclusive`` counts as RGManager's central processing counted it: 1 is the most important, 0 is not exclusive at all.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from vmha.model.document import NAME_PATTERN, Document


class Need(StrEnum):
    HARD = "hard"  # started only when the other is ready, and stopped when that goes away
    SOFT = "soft"  # started after the other, where that is to run as well; nothing more


class Dependency(Document):
    """One vm that another one needs."""

    vm: Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=63)]
    mode: Need = Need.HARD
    start_delay_s: Annotated[float, Field(ge=0, le=86400)] = Field(
        default=0.0, description="How long the other is to have been ready before this one is started."
    )

    def __str__(self) -> str:
        delay = f"+{self.start_delay_s:g}" if self.start_delay_s else ""
        return f"{self.vm}:{self.mode}{delay}"


def _named(value: object) -> object:
    return {"vm": value} if isinstance(value, str) else value


def _each_once(needs: tuple[Dependency, ...]) -> tuple[Dependency, ...]:
    names = [need.vm for need in needs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)}: named twice (accepted: each vm once)")
    return needs


def _as_rank(value: object) -> object:
    return int(value) if isinstance(value, bool) else value


Needs = Annotated[tuple[Annotated[Dependency, BeforeValidator(_named)], ...], AfterValidator(_each_once)]
"""A list of them; a name alone is a hard need."""

Rank = Annotated[int, BeforeValidator(_as_rank), Field(ge=0, le=1000)]
"""true is 1."""


def find_cycle(needs: Mapping[str, Iterable[str]], begin: str) -> tuple[str, ...]:
    """The shortest way along ``needs`` from ``begin`` back to it, both ends included; () when there is none."""
    came_from: dict[str, str] = {}
    found = [begin]
    for name in found:
        for needed in needs.get(name, ()):
            if needed == begin:
                way = [name]
                while way[-1] != begin:
                    way.append(came_from[way[-1]])
                return (*reversed(way), begin)
            if needed not in came_from:
                came_from[needed] = name
                found.append(needed)
    return ()
