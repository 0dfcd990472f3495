"""The nodes that may still take one more, fewest vms first: kept while a plan gives vms to nodes.

Most nodes of a large cluster differ for a vm by nothing but how many vms they carry. Whoever wants the best of them
begins here and stops early; what is shut (a node that may receive nothing, or that has as much in progress as it may)
refuses every vm.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable

from vmha.model.ids import NodeName


class ByLoad:
    """``order``: those that are open, each with its number of vms. ``shut``: the others, by name."""

    def __init__(
        self, nodes: Iterable[NodeName], *, count: Callable[[NodeName], int], is_open: Callable[[NodeName], bool]
    ) -> None:
        self._count, self._may_take = count, is_open
        names = sorted(nodes)
        self._at = {node: count(node) for node in names if is_open(node)}
        self.order = sorted((vms, node) for node, vms in self._at.items())
        self.shut = [node for node in names if node not in self._at]

    def is_open(self, node: NodeName) -> bool:
        return node in self._at

    def took(self, node: NodeName) -> None:
        """Its load has changed: look at it again."""
        if (vms := self._at.pop(node, None)) is None:
            return
        del self.order[bisect_left(self.order, (vms, node))]
        if self._may_take(node):
            self._at[node] = self._count(node)
            insort(self.order, (self._at[node], node))
        else:
            insort(self.shut, node)
