"""What can be done from a page: each verb with what it would bring, by the leader's own plan, and how it is asked for.

A rehearsal is the confirmation's content: the cluster as it would be read with the verb written down (``imagine``),
planned to its end as ``vmha plan --if`` does, and the risks as the command line warns of them. It writes nothing. What
only a human can prove (confirm-off, confirm-gone) is left to the command line.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from vmha.model.errors import Rejected
from vmha.model.holds import Hold, PauseMode
from vmha.model.ids import NodeName, VmName
from vmha.model.records import Phase, Stored, Verb
from vmha.model.vm import Desired
from vmha.operator import holds, nodes, requests, vms
from vmha.operator.client import OperatorClient
from vmha.operator.errors import RefusedByCluster
from vmha.operator.forecast import Foretold, is_all_well, sentences, tell
from vmha.operator.survival import cost
from vmha.policy.members.membership import moment_of_one_reading
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.state.steps import Waiting
from vmha.policy.state.supposing import NodeDrained, NodeUndrained, Supposition, VmWanted, stored, suppose, with_
from vmha.policy.telling.drain_check import cannot_leave


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a form says: ``on`` names a vm or a node ('' : the cluster), the rest as the verb takes it."""

    verb: str
    on: str = ""
    to: str = ""
    reason: str = ""
    mode: str = PauseMode.STARTS.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """``plan``: sentences, the first ``moves`` of them about a move each; ``left``: what a drain leaves.

    ``gist``: what of it must still be so when it is confirmed. ``is_well``: every vm that is wanted running would run.
    """

    plan: tuple[str, ...]
    risks: tuple[str, ...]
    gist: str
    is_well: bool
    moves: int
    left: tuple[Waiting, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """``what``: a sentence with ``{on}``; ``imagine``: the snapshot with it written, or what refuses it."""

    about: str  # vm, node, cluster
    label: str
    what: str
    imagine: Callable[[OperatorClient, Snapshot, Wish], Snapshot]
    ask: Callable[[OperatorClient, Wish], Awaitable[object]]
    risk: str = ""
    is_grave: bool = False
    takes: tuple[str, ...] = ()


def deed(name: str) -> Deed:
    """Raises: Rejected."""
    found = DEEDS.get(name)
    if found is None:
        raise Rejected(f"there is no verb {name!r} here", accepted=", ".join(DEEDS))
    return found


def rehearse(client: OperatorClient, snapshot: Snapshot, wish: Wish) -> Rehearsal:
    """Raises: Rejected, RefusedByCluster, UnknownName: it can be seen to be impossible."""
    doing, wall = deed(wish.verb), client.clock.wall()
    then = doing.imagine(client, snapshot, wish)
    told = tell(then, (), wall=wall)
    risks = [doing.risk] if doing.risk else []
    left: tuple[Waiting, ...] = ()
    match wish.verb:
        case "start" | "enable":
            down = suppose(snapshot, VmWanted(vm=VmName(wish.on), desired=Desired.STOPPED))
            risks += cost(down, suppose(snapshot, VmWanted(vm=VmName(wish.on), desired=Desired.RUNNING)), client.clock)
        case "drain":
            node = NodeName(wish.on)
            risks += cost(suppose(snapshot, NodeUndrained(node=node)), then, client.clock)
            left = tuple(cannot_leave(snapshot, node, moment_of_one_reading(snapshot, wall=wall)))
    return Rehearsal(
        plan=tuple(sentences(told)),
        risks=tuple(risks),
        gist=_gist(told),
        is_well=is_all_well(told),
        moves=len(told.forecast.moves),
        left=left,
    )


def offered_for_vm(snapshot: Snapshot, name: str) -> list[str]:
    """The verbs that make sense for a vm as it is."""
    vm = snapshot.vms.get(VmName(name))
    if vm is None or vm.spec is None:
        return []
    hold = "unfreeze" if vm.freeze else "freeze"
    desired = vm.spec.value.desired
    if desired is Desired.DISABLED:
        return ["enable", hold]
    is_up = vm.placement is not None and vm.placement.value.phase not in (Phase.STOPPED, Phase.DEPARTED)
    if is_up or desired is Desired.RUNNING:
        return [*(("migrate", "restart") if is_up else ()), "stop", "disable", hold]
    return ["start", "disable", hold]


def offered_for_node(snapshot: Snapshot, name: str) -> list[str]:
    node = snapshot.nodes.get(NodeName(name))
    if node is None:
        return []
    return ["undrain" if node.spec and node.spec.value.maintenance else "drain"]


def offered_for_cluster(snapshot: Snapshot) -> list[str]:
    return ["resume" if snapshot.pause else "pause"]


def _gist(told: Foretold) -> str:
    moves = [(move.vm, move.change.value, move.source, move.target) for move in told.forecast.moves]
    return repr((moves, sorted(one.vm for one in told.forecast.down)))


# -- how each would be read once it is written ------------------------------------------------------------------------


def _wanted(desired: Desired, *, is_enable: bool = False) -> Callable[[OperatorClient, Snapshot, Wish], Snapshot]:
    def imagine(_: OperatorClient, snapshot: Snapshot, wish: Wish) -> Snapshot:
        old = vms.find_spec(snapshot, wish.on).value
        if old.desired is Desired.DISABLED and desired is Desired.RUNNING and not is_enable:
            raise Rejected(f"{wish.on} is disabled ({old.desired_why or 'no reason given'})", accepted="enable it")
        vm = snapshot.vms[VmName(wish.on)]
        if old.desired is not desired and (refusal := holds.why_held_up(vm, desired, snapshot)):
            raise RefusedByCluster(f"{wish.on}: {refusal}")
        return suppose(snapshot, VmWanted(vm=vm.name, desired=desired))

    return imagine


def _asked(verb: Verb) -> Callable[[OperatorClient, Snapshot, Wish], Snapshot]:
    def imagine(client: OperatorClient, snapshot: Snapshot, wish: Wish) -> Snapshot:
        request = requests.new_request(client, verb, vm=wish.on, node=wish.to or None)
        requests.check(request, snapshot, client.clock.wall())
        return replace(snapshot, requests=with_(snapshot.requests, request.id, request))

    return imagine


def _held(snapshot: Snapshot, wish: Wish, hold: Stored[Hold] | None) -> Snapshot:
    vms.find_spec(snapshot, wish.on)
    vm = replace(snapshot.vms[VmName(wish.on)], freeze=hold)
    frozen = {name: one for name, one in snapshot.frozen.items() if name != vm.name}
    if hold:
        frozen[vm.name] = hold
    return replace(snapshot, vms=with_(snapshot.vms, vm.name, vm), frozen=frozen)


def _frozen(client: OperatorClient, snapshot: Snapshot, wish: Wish) -> Snapshot:
    return _held(snapshot, wish, stored(holds.new_hold(client, wish.reason, 0.0, PauseMode.ALL), snapshot))


def _unfrozen(_: OperatorClient, snapshot: Snapshot, wish: Wish) -> Snapshot:
    return _held(snapshot, wish, None)


def _supposed(what: Callable[..., Supposition]) -> Callable[[OperatorClient, Snapshot, Wish], Snapshot]:
    """Of a node."""

    def imagine(_: OperatorClient, snapshot: Snapshot, wish: Wish) -> Snapshot:
        return suppose(snapshot, what(node=nodes.find_node(snapshot, wish.on).name))

    return imagine


def _paused(client: OperatorClient, snapshot: Snapshot, wish: Wish) -> Snapshot:
    return replace(snapshot, pause=stored(holds.new_hold(client, wish.reason, 0.0, _mode(wish)), snapshot))


def _resumed(_: OperatorClient, snapshot: Snapshot, wish: Wish) -> Snapshot:
    return replace(snapshot, pause=None)


def _mode(wish: Wish) -> PauseMode:
    if wish.mode not in tuple(PauseMode):
        raise Rejected(f"mode {wish.mode!r}", accepted=", ".join(PauseMode))
    return PauseMode(wish.mode)


def _pause_reason(wish: Wish) -> str:
    if not wish.reason:
        raise Rejected("pause: why? Everybody who is held up by it will ask", accepted="a reason")
    return wish.reason


def _migrate(client: OperatorClient, wish: Wish) -> Awaitable[object]:
    return requests.submit(client, Verb.MIGRATE, vm=wish.on, node=wish.to or None, why=wish.reason)


DEEDS = {
    "migrate": Deed(
        about="vm",
        label="Migrate",
        what="Move {on} to {to} without stopping its guest.",
        imagine=_asked(Verb.MIGRATE),
        ask=_migrate,
        takes=("to", "reason"),
    ),
    "restart": Deed(
        about="vm",
        label="Restart",
        what="Stop {on} and start it again.",
        imagine=_asked(Verb.RESTART),
        ask=lambda client, wish: requests.submit(client, Verb.RESTART, vm=wish.on, why=wish.reason),
        risk="Its guest shuts down and boots anew: whoever uses it is interrupted.",
        is_grave=True,
        takes=("reason",),
    ),
    "start": Deed(
        about="vm",
        label="Start",
        what="Start {on}, and keep it running from now on.",
        imagine=_wanted(Desired.RUNNING),
        ask=lambda client, wish: vms.set_desired(client, wish.on, Desired.RUNNING, why=wish.reason),
        takes=("reason",),
    ),
    "stop": Deed(
        about="vm",
        label="Stop",
        what="Shut {on} down, and keep it down until it is started.",
        imagine=_wanted(Desired.STOPPED),
        ask=lambda client, wish: vms.set_desired(client, wish.on, Desired.STOPPED, why=wish.reason),
        risk="Its guest shuts down, and stays down.",
        is_grave=True,
        takes=("reason",),
    ),
    "enable": Deed(
        about="vm",
        label="Enable",
        what="Allow {on} to run again, and start it.",
        imagine=_wanted(Desired.RUNNING, is_enable=True),
        ask=lambda client, wish: vms.enable(client, wish.on, why=wish.reason),
        takes=("reason",),
    ),
    "disable": Deed(
        about="vm",
        label="Disable",
        what="Shut {on} down, and refuse to start it until it is enabled.",
        imagine=_wanted(Desired.DISABLED),
        ask=lambda client, wish: vms.set_desired(client, wish.on, Desired.DISABLED, why=wish.reason),
        risk="Its guest shuts down if it runs, and nobody can start it until it is enabled.",
        is_grave=True,
        takes=("reason",),
    ),
    "freeze": Deed(
        about="vm",
        label="Freeze",
        what="Leave {on} alone until it is unfrozen: no start, stop, migration or recovery.",
        imagine=_frozen,
        ask=lambda client, wish: holds.freeze(client, wish.on, reason=wish.reason),
        risk="While it is frozen it is not recovered: not if its guest crashes, not if its node is lost.",
        takes=("reason",),
    ),
    "unfreeze": Deed(
        about="vm",
        label="Unfreeze",
        what="Take {on} in hand again: what is due by then is done at once.",
        imagine=_unfrozen,
        ask=lambda client, wish: holds.unfreeze(client, wish.on),
    ),
    "drain": Deed(
        about="node",
        label="Drain",
        what="Send the vms of {on} elsewhere by migration, and let none come until it is undrained.",
        imagine=_supposed(NodeDrained),
        ask=lambda client, wish: nodes.drain(client, wish.on, why=wish.reason),
        takes=("reason",),
    ),
    "undrain": Deed(
        about="node",
        label="Undrain",
        what="Let vms come to {on} again.",
        imagine=_supposed(NodeUndrained),
        ask=lambda client, wish: nodes.undrain(client, wish.on),
    ),
    "pause": Deed(
        about="cluster",
        label="Pause",
        what="Pause the whole cluster until it is resumed: {mode}.",
        imagine=_paused,
        ask=lambda client, wish: holds.pause(client, _mode(wish), reason=_pause_reason(wish)),
        risk="While it is paused, vms of a node that is lost do not come back.",
        is_grave=True,
        takes=("mode", "reason"),
    ),
    "resume": Deed(
        about="cluster",
        label="Resume",
        what="Lift the pause: what is due by then is done at once.",
        imagine=_resumed,
        ask=lambda client, wish: holds.resume(client),
    ),
}
