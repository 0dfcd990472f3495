"""A page's changes as they happen: server-sent events with the parts that are not what this browser has already.

A browser that is slow gets fewer and larger events, never a queue of them: what is sent is the difference between the
newest scene and what it was sent last. The same parts are made once for all browsers that look at the same thing.
"""

from collections.abc import AsyncGenerator, Callable

from vmha.operator.errors import UnknownName
from vmha.web.feed import Feed, Scene
from vmha.web.pages import as_event
from vmha.web.parts import Parts

HEARTBEAT_S = 10.0
"""A comment now and then shows a browser that has gone."""

View = Callable[[Scene], Parts]


class Streams:
    """All browsers that are looking."""

    def __init__(self, feed: Feed, *, most: int, most_of_one_address: int) -> None:
        self._feed = feed
        self._most, self._most_of_one = most, most_of_one_address
        self._open: dict[str, int] = {}
        self._made: dict[str, tuple[int, Parts]] = {}

    def parts(self, key: str, view: View, scene: Scene) -> Parts:
        """The parts of a view; ``key`` tells views apart. Raises: UnknownName."""
        found = self._made.get(key)
        if found is None or found[0] != scene.number:
            self._made = {one: made for one, made in self._made.items() if made[0] == scene.number}
            found = self._made[key] = (scene.number, view(scene))
        return found[1]

    def has_room(self, address: str) -> bool:
        return sum(self._open.values()) < self._most and self._open.get(address, 0) < self._most_of_one

    async def events(
        self, key: str, view: View, *, address: str, may_go_on: Callable[[], bool]
    ) -> AsyncGenerator[bytes, None]:
        """Until the browser goes, what it looks at is no more, or it may not look any longer."""
        self._open[address] = self._open.get(address, 0) + 1
        try:
            yield b"retry: 1000\n\n"
            before: Parts | None = None
            number = 0
            while may_go_on():
                scene = await self._feed.after(number, HEARTBEAT_S)
                if scene is None:
                    yield b": still here\n\n"
                    continue
                number = scene.number
                try:
                    parts = self.parts(key, view, scene)
                except UnknownName as error:
                    yield as_event("gone", {"why": str(error)})
                    return
                news = parts.since(before)
                before = parts
                if news:
                    yield as_event("parts", {"now": scene.wall, "html": news.html, "lists": news.lists})
            yield as_event("gone", {"why": "logged out"})
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]
