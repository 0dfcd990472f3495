"""``vmha vm story``: what the journal knows of a vm, for people and for programs."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from vmha.model.ids import VmName
from vmha.operator.client import OperatorClient
from vmha.operator.hand import until
from vmha.operator.vms import find_spec
from vmha.policy.telling.story import Chapter, tell


async def story(client: OperatorClient, name: str, *, since: float = 0.0) -> tuple[Chapter, ...]:
    """Of a removed vm as well, as far as the journal reaches.

    Raises:
        UnknownName: there is no such vm, and the journal does not know it either.
    """
    entries, _ = await client.journal()
    if not any(entry.vm == name for entry in entries):
        find_spec(await client.read(), name)
    return tell(entries, VmName(name), since=since)


def sentences(chapters: tuple[Chapter, ...], when: Callable[[float], str]) -> list[tuple[float, str]]:
    """Each with its time; what follows from the sentence before it begins with an arrow. ``when``: writes a time."""
    return [
        (line.at, f"{'-> ' if number else ''}{line.text}{until(line.hand, when)}")
        for chapter in chapters
        for number, line in enumerate(chapter.lines)
    ]


def as_plain(chapters: tuple[Chapter, ...]) -> list[dict[str, Any]]:
    return [asdict(chapter) for chapter in chapters]
