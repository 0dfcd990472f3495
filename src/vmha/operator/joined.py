"""``vmha node join`` in the journal. It writes files of its host, and nothing else in etcd."""

from collections.abc import Sequence

from vmha.model.by_hand import JOIN
from vmha.model.ids import NodeName
from vmha.operator.client import OperatorClient
from vmha.operator.hand import Told


async def tell_joined(client: OperatorClient, node: str, *, written: Sequence[str], starts: bool) -> None:
    """``written``: what is new on the host. ``starts``: its services are started next.

    Raises:
        VmhaError: etcd does not answer, or not this one.
    """
    files = f"{', '.join(written)} written" if written else "nothing written, all of it was there"
    begun = "" if starts else "; its services are not started"
    text = f"{node} is made a node by {client.author}: {files}{begun}"
    await client.commit([], [], [Told(kind=JOIN, text=text, node=NodeName(node))])
