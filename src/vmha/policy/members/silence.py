"""How long each node has been silent, counted on the observer's own clock from the last new beat it saw.

Every agent keeps this book from its own mirror, so a new leader need not begin to count. A promise that this process
gave to a node (members/failsafe.py) counts as a beat of that node: whoever promised waits as long as after a beat.
"""

from vmha.model.ids import NodeName, Revision


class SilenceBook:
    def __init__(self) -> None:
        self._last: dict[NodeName, tuple[Revision, float]] = {}

    def saw(self, node: NodeName, modified: Revision, now: float) -> None:
        """A beat at revision ``modified``. Seeing the same one again (a new listing) is no new beat."""
        known = self._last.get(node)
        if known is None or known[0] != modified:
            self._last[node] = (modified, now)

    def promised(self, node: NodeName, now: float) -> bool:
        """The node's guests go on by our word, given just now: the count begins anew. False: there is none."""
        known = self._last.get(node)
        if known is not None:
            self._last[node] = (known[0], max(now, known[1]))
        return known is not None

    def forget(self, node: NodeName) -> None:
        self._last.pop(node, None)

    def silence_s(self, now: float) -> dict[NodeName, float]:
        return {node: now - at for node, (_, at) in self._last.items()}

    def silence_of(self, node: NodeName, now: float) -> float:
        """0 for a node that was never seen."""
        known = self._last.get(node)
        return now - known[1] if known is not None else 0.0
