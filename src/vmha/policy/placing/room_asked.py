"""Room that is asked for, and room that is made: what one pass over the vms hands on to the next (``Ties``)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vmha.model.ids import NodeName, VmName
from vmha.model.records import Failure
from vmha.model.vm import VmSpec
from vmha.policy.state.reservation import Size

RULE = "moved-to-make-room"
ASIDE = "moved-aside-to-make-room"
"""For a while only: it will move on."""
WAITS = "room-is-made-for-it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A start for which a node was looked for, as it was asked."""

    spec: VmSpec
    failures: tuple[Failure, ...] = ()
    avoid: Mapping[NodeName, str]
    prefer: NodeName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Where a vm is to start, who is to leave for it and where to, and who leaves already; None: it stops.

    ``need``: what is to be kept for it there, if that is not its size: those of its service go there with it.
    """

    node: NodeName
    moves: dict[VmName, NodeName | None]
    leaving: dict[VmName, NodeName | None] = field(default_factory=dict)
    need: Size | None = None

    @property
    def in_words(self) -> str:
        return f"room is made for it on {self.node}: {self}"

    def __str__(self) -> str:
        """The same words before and while they are on their way."""
        gone = sorted((self.moves | self.leaving).items())
        return ", ".join(f"{name} moves to {target}" if target else f"{name} stops" for name, target in gone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """``rivals``: those that room is made for. ``moves``: in the order in which they were found, each for whom.

    ``meant``: where those that start now are to go. ``retry_in_s``: one that could make room rests until then.
    ``in_order``: no move begins before those ahead of it have. ``aside``: of the moves, those after which it moves on.
    """

    rivals: Mapping[VmName, Made] = field(default_factory=dict)
    moves: Mapping[VmName, tuple[NodeName, VmName]] = field(default_factory=dict)
    meant: Mapping[VmName, NodeName | None] | None = None
    retry_in_s: float | None = None
    in_order: bool = False
    aside: frozenset[VmName] = frozenset()
