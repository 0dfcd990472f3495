"""``vmha events``: the journal, all of it or what concerns a vm or a node."""

from dataclasses import dataclass

from vmha.model.ids import Revision
from vmha.model.records import JournalEntry
from vmha.operator.client import OperatorClient
from vmha.operator.nodes import find_node
from vmha.operator.vms import find_spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """None: whichever."""

    vm: str | None = None
    node: str | None = None

    def __call__(self, entry: JournalEntry) -> bool:
        """What is about the vm; about the node, or told by it."""
        is_of_vm = self.vm is None or entry.vm == self.vm
        return is_of_vm and (self.node is None or self.node in (entry.node, entry.by))


async def past(client: OperatorClient, wanted: Wanted, *, last: int = 0) -> tuple[list[JournalEntry], Revision]:
    """The newest ``last`` (0: all), oldest first; and the revision after which others follow.

    Raises:
        UnknownName: the journal knows nothing of that name, and there is no such vm or node; with the near names.
    """
    entries, revision = await client.journal()
    found = [entry for entry in entries if wanted(entry)]
    if not found:
        snapshot = await client.read()
        if wanted.vm is not None and not any(entry.vm == wanted.vm for entry in entries):
            find_spec(snapshot, wanted.vm)
        if wanted.node is not None and not any(wanted.node in (entry.node, entry.by) for entry in entries):
            find_node(snapshot, wanted.node)
    return found[-last:] if last else found, revision
