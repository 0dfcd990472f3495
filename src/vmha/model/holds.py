"""Hands off: what an operator has put down so that vmha leaves one vm, or all of them, alone for a while.

``vms/<vm>/freeze`` is about one vm, ``pause`` about the whole cluster. They are keys of their own, so that a definition
that is applied meanwhile takes none of them away. What they hold up is in policy/state/hands_off.py.
"""

from dataclasses import dataclass
from enum import StrEnum

from vmha.model.durations import in_words


class PauseMode(StrEnum):
    STARTS = "starts"  # nothing is started that did not run there just before (RGManager's lock)
    ALL = "all"  # nothing is decided: no start, stop, move, recovery or fencing; what runs is tracked


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """``vms/<vm>/freeze`` and ``pause``: by whose word, why, and for how long.

    ``for_s`` 0: until it is lifted. Else leaders count it, and write down what has passed in ``spent_s`` now and then,
    for the next one to count on from there: the clocks of those who write dates here may be hours off.
    """

    schema: int = 1
    author: str
    reason: str = ""
    at: float = 0.0
    for_s: float = 0.0
    spent_s: float = 0.0
    mode: PauseMode = PauseMode.ALL  # of a pause

    @property
    def in_words(self) -> str:
        return f"{self.author}: {self.reason}" if self.reason else self.author

    @property
    def in_full(self) -> str:
        """And for how long in all."""
        how_long = f" for {in_words(self.for_s)}" if self.for_s else ""
        return f"{self.author}{how_long}: {self.reason}" if self.reason else f"{self.author}{how_long}"
