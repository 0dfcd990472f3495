"""What an operator's hand did, for the journal: who, why, until when, and the cause that it shares with what follows.

Pure: ``OperatorClient`` writes what is told here in the transaction of the change that it tells of.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vmha.model.by_hand import ASKED, DRAIN, FROZEN, PAUSED, RESUMED, UNDRAIN, UNFROZEN
from vmha.model.holds import Hold, PauseMode
from vmha.model.ids import CauseId, NodeName, VmName
from vmha.model.records import Hand, Request, Verb
from vmha.model.vm import NodeSpec
from vmha.policy.asked.start_on import STARTS
from vmha.policy.state.causes import of_drain, of_hold, of_loss, of_request
from vmha.policy.state.hands_off import WHAT_IS_PAUSED, cause_of_lifting
from vmha.policy.state.snapshot import VmView
from vmha.store.journal import Journal
from vmha.store.port import Put

_WHAT_WAS_PAUSED = {
    PauseMode.ALL: "the cluster was paused",
    PauseMode.STARTS: "starts were paused in the whole cluster",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An entry to be."""

    kind: str
    text: str
    why: str = ""
    until: float = 0.0
    vm: VmName | None = None
    node: NodeName | None = None
    cause: CauseId = CauseId("")


def entries(journal: Journal, author: str, told: Iterable[Told]) -> list[Put]:
    """The names of all begin with that of the first."""
    made: list[Put] = []
    for one in told:
        entry = journal.entry(
            one.kind,
            one.text,
            vm=one.vm,
            node=one.node,
            cause=one.cause,
            hand=Hand(author=author, why=one.why, until=one.until),
            beside=made[0].key.rpartition("/")[2] if made else "",
        )
        made.append(entry)
    return made


def because(text: str, why: str) -> str:
    """``why``: in the author's own words, which come last; '' when nothing was said."""
    return f"{text}: {why}" if why else text


def until(hand: Hand | None, when: Callable[[float], str]) -> str:
    """To be added to what is told: a text has no time of day, for its readers may live in other time zones."""
    return f" (until {when(hand.until)})" if hand and hand.until else ""


def frozen(vm: VmView, hold: Hold) -> Told:
    before = f"; before that it was frozen by {vm.freeze.value.in_full}" if vm.freeze else ""
    text = f"frozen by {hold.in_full}{before}"
    return Told(kind=FROZEN, text=text, why=hold.reason, until=ends_at(hold), vm=vm.name, cause=of_hold(vm.name, hold))


def unfrozen(vm: VmView, hold: Hold, by: str, why: str = "") -> Told:
    text = because(f"unfrozen by {by}; it was frozen by {hold.in_full}", why)
    return Told(kind=UNFROZEN, text=text, why=why, vm=vm.name, cause=cause_of_lifting(vm, hold))


def paused(hold: Hold, before: Hold | None) -> Told:
    text = f"{WHAT_IS_PAUSED[hold.mode]} by {hold.in_full}"
    text += f"; before that {_WHAT_WAS_PAUSED[before.mode]} by {before.in_full}" if before else ""
    return Told(kind=PAUSED, text=text, why=hold.reason, until=ends_at(hold), cause=of_hold(None, hold))


def resumed(hold: Hold, by: str) -> Told:
    text = f"resumed by {by}; {_WHAT_WAS_PAUSED[hold.mode]} by {hold.in_full}"
    return Told(kind=RESUMED, text=text, cause=of_hold(None, hold))


def ends_at(hold: Hold) -> float:
    return hold.at + hold.for_s if hold.for_s else 0.0


def drained(old: NodeSpec | None, new: NodeSpec, by: str, why: str) -> list[Told]:
    """What a change of a node's definition is to its drain, if anything. ``why``: of a drain."""
    node = NodeName(new.name)
    if new.maintenance == (old is not None and old.maintenance):
        return []
    if new.maintenance:
        text = because(f"drained by {by}", why)
        return [Told(kind=DRAIN, text=text, why=why, node=node, cause=of_drain(node))]
    was = (old.maintenance_why if old else "") or "drained"
    was = was if was.startswith("drained") else f"drained: {was}"
    return [Told(kind=UNDRAIN, text=f"undrained by {by}; it was {was}", node=node, cause=of_drain(node))]


def what_is_asked(request: Request) -> str:
    """But for the vm."""
    how = f" ({request.style or request.kind})" if request.style or request.kind else ""
    where = f" {'on' if request.verb in STARTS else 'to'} {request.node}" if request.vm and request.node else ""
    return f"{request.verb}{where}{how}"


def asked(request: Request, why: str = "") -> Told:
    """A word about what became of a node belongs to the loss of that node, and is told with what follows from it."""
    cause = of_request(request.id)
    if request.verb is Verb.CONFIRM_OFF and request.node and request.session:
        cause = of_loss(request.node, request.session)
    text = because(f"{request.author} asks for: {what_is_asked(request)}", why)
    return Told(kind=ASKED, text=text, why=why, vm=request.vm, node=request.node, cause=cause)
