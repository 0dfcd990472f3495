"""What an agent knows of one vm as it decides about it: what is here, what it has tried, what the others show."""

from dataclasses import dataclass

from vmha.model.ids import Epoch, NodeName
from vmha.model.records import Observation, SeenState
from vmha.model.vm import OnDuplicate
from vmha.policy.at_node.paused import Deed


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """One domain with a QEMU on this node."""

    state: SeenState
    reason: str = ""
    epoch: Epoch | None = None
    tagged: bool = False
    migrating: bool = False  # out of this node, in progress
    has_switched: bool = False  # out of this node by post-copy: it goes on at its target, or did
    is_pulling: bool = False  # it came in by post-copy, and lacks memory that is still at its source
    second: bool = False  # it was paused as a second copy
    aside: bool = False  # it was paused because it may be one
    silent: bool = False  # its QEMU has answered nothing for a while, though it should run
    name: str = ""  # what it is called, where that is not the vm's name

    @property
    def stands_outgoing(self) -> bool:
        """As a migration left it that is not under way any more."""
        return self.state is SeenState.OUTGOING and not self.migrating


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What this agent has already tried under the placement's present state.

    ``migration_tried``: the migration that the placement asks for was begun by this process and has ended.
    ``left_by_migration``: the last run here ended with the guest at another host.
    ``migration_is_ours``: the migration that the placement asks for is known to have been what took it away from here:
    libvirt said so to this process, or the target has shown what came in under that very epoch.
    ``pause``: what is to be done about its standing still (policy/at_node/paused.py).
    ``is_unwell``: by its probes the guest is not to go on (policy/at_node/health.py).
    ``measured``: what its arrival took was asked for.
    ``left_standing``: for a while it has been standing here as a migration left it, and none is under way any more.
    ``left_incoming``: for a while it has been coming in here, and the placement asks for no migration to this node. It
    is one of ours that was given up, if it has the epoch that only ours gives: libvirt ends it itself, unless the QEMU
    that receives it is stuck.
    ``is_given_up``: nothing comes any more of the post-copy that the placement asks for (policy/deciding/post_copy.py).
    ``let_go_in_vain``: for a while the hypervisor has refused to let go what arrived here (not_let_go.py).
    ``pulls_in_vain``: for a while it has been lacking memory that nobody can send: this node holds it, its source is
    gone.
    """

    migration_tried: bool = False
    left_by_migration: bool = False
    migration_is_ours: bool = False
    left_standing: bool = False
    is_unwell: bool = False
    measured: bool = False
    left_incoming: bool = False
    is_given_up: bool = False
    pulls_in_vain: bool = False
    let_go_in_vain: bool = False
    pause: Deed = Deed.NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Others:
    """What the other nodes show of it.

    ``at_target``: what the target of a migration, if its session lives, saw of the vm.
    ``target_answers``: what is not seen at the target of a migration is known not to be there. Only where libvirt lets
    the target run by itself does it matter: a target that we left standing is no second instance.
    ``target_lacks_it``: the target of a migration has been saying for a while that it shows nothing of the vm, or has
    been without a session for so long that nobody waits for its word; None: not for long enough yet; False: not asked.
    ``target_is_over``: the session of the target of a migration is over, and what ran in it with it.
    ``seen_elsewhere``: a member that is neither this one nor the target runs it.
    ``comes_in``: a member that has something of it: a migration out of here goes there.
    ``duplicate``: the holder has been running it for a while, and it runs here as well; what to do then.
    ``stands_beside``: the holder has been running it, and answering, for so long that what stands here is one too many.
    """

    at_target: Observation | None = None
    target_answers: bool = True
    target_lacks_it: bool | None = False
    target_is_over: bool = False
    seen_elsewhere: bool = False
    comes_in: NodeName | None = None
    duplicate: OnDuplicate | None = None
    stands_beside: bool = False


NOTHING_SHOWN = Others()
