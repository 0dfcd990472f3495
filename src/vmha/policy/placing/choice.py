"""The answer to the question which node takes a vm, with why."""

from dataclasses import dataclass

from vmha.model.ids import NodeName
from vmha.model.records import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """``node`` None: nobody can take it, and ``candidates`` say why. ``retry_in_s``: when a refusal ends by itself.

    In a large cluster the candidates are those that say most; ``unnamed`` counts the others.
    """

    node: NodeName | None
    candidates: tuple[Candidate, ...]
    unnamed: int = 0
    retry_in_s: float | None = None
