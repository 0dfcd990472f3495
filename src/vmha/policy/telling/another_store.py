"""Nodes whose agents are silent because etcd is another one than theirs: restored, or built anew, under another id.

An agent goes from one etcd to another only when it is started anew. Nothing in a restored etcd tells it from a second
one beside the first, in which others go on: all that was in the one is in the other. An agent that went over by itself
could take guests for ended that run by the word of the first. That the first is no more can only a human know.
"""

from collections.abc import Mapping

from vmha.model.ids import NodeName
from vmha.policy.members.membership import Condition, Verdict
from vmha.policy.state.snapshot import Snapshot

REMEDY = "systemctl restart vmha-agent there, on all such hosts at the same time, if that one is gone for good"

SILENT = (Condition.SUSPECT, Condition.FENCING, Condition.LOST, Condition.OFFLINE)


def left_at_another(snapshot: Snapshot, verdicts: Mapping[NodeName, Verdict], store_id: str) -> list[NodeName]:
    """Silent nodes that have last said something in another etcd than this one, as far as they have said which."""
    return [name for name in sorted(verdicts) if verdicts[name].condition in SILENT and _was(snapshot, name, store_id)]


def _was(snapshot: Snapshot, name: NodeName, store_id: str) -> str:
    """Where: '' in this one, or nobody knows, or it has left in good order and waits for nothing."""
    view = snapshot.nodes.get(name)
    if view is None or view.status is None or view.status.value.leaving:
        return ""
    then = view.status.value.store_id
    return then if store_id and then != store_id else ""


def say_left(snapshot: Snapshot, names: list[NodeName], store_id: str) -> str:
    then = ", ".join(sorted({_was(snapshot, name, store_id) for name in names}))
    return (
        f"{', '.join(names)} had etcd cluster {then}, and this is {store_id}: restored or built anew under another id, "
        "which agents that run refuse"
    )
