"""What a node has found out about itself, and says in its status: what its libvirt keeps, what its guard has ended."""

from dataclasses import dataclass

from vmha.model.ids import Epoch, Revision, SessionId, VmName


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOver:
    """What a node's own libvirt keeps of a managed vm, beside the cluster: told, and left as it is.

    ``definition``: digest of the persistent definition, the same on two hosts whose definitions are the same.
    """

    vm: VmName
    name: str = ""  # where it is another than the vm's: the uuid is the vm's then
    uuid: str
    definition: str
    autostart: bool = False
    managed_save: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedArrival:
    """A guest that came in by one of our migrations, and that the node's guard ended before it was let go, or after
    libvirt itself had let it go on.

    ``epoch``: the one that only such a migration gave it; ``session``: in which it came in, and with which it ended;
    ``last_beat``: of that session, 0: its node does not know.
    """

    vm: VmName
    epoch: Epoch
    session: SessionId
    last_beat: Revision = Revision(0)
