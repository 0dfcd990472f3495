"""Between the numbers of a state and the objects of the product."""

from collections.abc import Callable
from typing import Any

from vmha.agent.session import SessionKeeper
from vmha.agent.session_state import Session
from vmha.fencing.deadline import Deadline, Outcome, Verdict
from vmha.fencing.deadline import State as GuardState
from vmha.fencing.port import GuardStatus, Level, refusal
from vmha.hypervisor.port import StartFailed
from vmha.model.ids import LeaseId, NodeName, Revision, SessionId
from vmha.model.keys import decode, find_type
from vmha.model.settings import Timing
from vmha.store.port import Ambiguous, Created, Exists, KeyValue, Listing, Modified, Put, TxnResult

from .ports import (
    Ask,
    AskedClock,
    Left,
    guest_view,
)
from .state import Answer, Slot, Standing, Txn
from .values import (
    BYTES,
    HOLD,
    NODES,
    NOW,
    PLACEMENT,
    PREFIX,
    VM,
    config,
    intern,
)

CLOCKWORK = config(1).clockwork
"""Hold and kill lead, which are the same whatever the margin is."""

LONG_UNCLAIMED_S = 1000.0

GuardIs = tuple[str, str, int]
"""State, session and age of the last beat, as a host keeps them."""


class Identity:
    address = ""

    def __init__(self, node: NodeName, boot_id: str, fresh: str) -> None:
        self.node, self.boot_id, self.host, self._fresh = node, boot_id, f"machine-{node}", fresh

    def new_session(self) -> SessionId:
        return SessionId(self._fresh)


def leave_open(ask: Ask) -> Any:
    raise Left


def inventory_of(view: tuple[Slot, ...], guest: int) -> Callable[[Ask], Any]:
    def answer(ask: Ask) -> Any:
        if ask.what == "inventory":
            return guest_view(guest)
        if ask.what == "list":
            prefix = ask.args[0].removeprefix(PREFIX)
            items = tuple(key_value(slot) for slot in view if slot.key.startswith(prefix))
            return Listing(revision=Revision(1), items=items)  # type: ignore[arg-type]
        raise Left

    return answer


def own_view(store: tuple[Slot, ...], at: int) -> tuple[Slot, ...]:
    """What an agent's own publications depend on."""
    mine = f"nodes/{NODES[at]}/"
    kept = (slot for slot in store if slot.key.startswith((mine, "fencing/")) or slot.key == PLACEMENT)
    return tuple(slot._replace(created=1, modified=1) for slot in kept)


def agents_view(store: tuple[Slot, ...]) -> tuple[Slot, ...]:
    """What an agent's decisions depend on: who holds the vm, who sees it, who beats."""
    kept = (slot for slot in store if slot.key == PLACEMENT or slot.key.endswith(("/beat", f"/{VM}")))
    return tuple(slot if slot.key == PLACEMENT else slot._replace(created=1, modified=1) for slot in kept)


def adopt(keeper: SessionKeeper, standing: Standing) -> None:
    """The keeper's session as it stands now: the same object while it is the same session."""
    if not standing.session:
        keeper.current = None
    elif keeper.current is None or keeper.current.id != standing.session:
        keeper.current = session_of(standing)
    else:
        session, wanted = keeper.current, session_of(standing)
        session.beat_created, session.sent_at, session.guard = wanted.beat_created, wanted.sent_at, wanted.guard
        session.over = wanted.over


def told(standing: Standing) -> Standing:
    """Of the times, a worker asks only whether it may start something: one that may not is as old as any."""
    keeper = SessionKeeper.__new__(SessionKeeper)
    keeper._clock, keeper.current = AskedClock(), session_of(standing)
    if not standing.session or standing.over:
        return Standing(standing.session, 0, 0, HOLD, False, standing.over)
    return standing._replace(modified=0, age=0 if keeper.may_start() else HOLD)


def session_of(standing: Standing, timing: Timing = CLOCKWORK) -> Session:
    session = Session(
        id=SessionId(standing.session),
        beat_created=Revision(standing.created),
        beat_modified=Revision(standing.modified),
        count=1,
        sent_at=NOW - standing.age,
        timing=timing,
        live_since=NOW - 100.0,
        lease=LeaseId(1),
        lease_ttl_s=timing.lease_ttl_s,
        guard=GuardStatus(state=GuardState.ARMED, level=Level.WATCHDOG) if standing.armed else None,
        armed_with=timing,
    )
    if standing.over:
        session.end("over")
    return session


def standing_of(session: Session, now: float) -> Standing:
    armed = session.guard is not None and session.guard.state is GuardState.ARMED
    return Standing(
        session.id,
        session.beat_created,
        session.beat_modified,
        round(now - session.sent_at),
        armed,
        session.over.is_set(),
    )


def reply_to(now: Answer, ask: Ask) -> Any:
    if now.kind == "inventory":
        return guest_view(now.value)
    if ask.what == "start":
        return None if now.ok else StartFailed("refused")
    if now.kind == "ambiguous":
        return Ambiguous("no answer")
    if now.kind == "get":
        return key_value(Slot(PLACEMENT, now.revision, now.revision, now.value)) if now.value else None
    return result_of(now.ok, now.revision) if ask.what == "txn" else None


# --- the guard


def deadline_of(guard: GuardIs) -> Deadline:
    state, session, age = guard
    if state == GuardState.IDLE:
        return Deadline()
    timing = CLOCKWORK
    return Deadline(
        state=GuardState(state),
        session=session,
        hold_s=timing.hold_s,
        kill_lead_s=timing.kill_lead_s,
        sent_at=NOW - age,
        expired_at=None if state == GuardState.ARMED else NOW,
    )


def guard_is(deadline: Deadline) -> GuardIs:
    armed = deadline.state is GuardState.ARMED
    age = min(HOLD, round(NOW - deadline.sent_at)) if armed else 0
    return (str(deadline.state), deadline.session, age)


def tick(guard: GuardIs) -> GuardIs:
    return guard_is(deadline_of(guard).tick(NOW))


def guests_gone(guard: GuardIs) -> GuardIs:
    return guard_is(deadline_of(guard).guests_gone(NOW))


def guest_appeared(guard: GuardIs) -> GuardIs:
    return guard_is(deadline_of(guard).guest_appeared())


def ask_guard(guard: GuardIs, ask: Ask, guest: int, *, shift: float = 0.0) -> tuple[GuardIs, Any]:
    """The guard after one call, and its reply. ``shift``: how far the caller's clock is ahead of ``NOW``."""
    here = deadline_of(guard)
    outcome: Outcome
    match ask.what, ask.args:
        case "arm", (session, hold_s, kill_lead_s, sent_at):
            outcome = here.arm(
                session,
                hold_s=hold_s,
                kill_lead_s=kill_lead_s,
                sent_at=sent_at - shift,
                now=NOW,
                guests_left=1 if guest else 0,
            )
        case "beat", (session, sent_at):
            outcome = here.beat(session, sent_at=sent_at - shift, now=NOW)
        case "expire", (session,):
            outcome = here.expire(session, cause="", now=NOW)
        case _:
            outcome = Outcome(here.tick(NOW), Verdict.OK)
    now = outcome.deadline
    if outcome.verdict is not Verdict.OK:
        return guard_is(now), refusal(outcome.verdict, outcome.words)
    timed = now.state is not GuardState.IDLE
    status = GuardStatus(
        state=now.state,
        level=Level.WATCHDOG if timed else Level.NONE,
        session=SessionId(now.session) if timed else None,
        deadline=now.deadline + shift if timed else None,
        kill_at=now.kill_at + shift if timed else None,
    )
    return guard_is(now), status


# --- the store


def key_value(slot: Slot | None) -> KeyValue | None:
    if slot is None:
        return None
    return KeyValue(
        key=PREFIX + slot.key,
        value=BYTES[slot.value],
        create_revision=Revision(slot.created),
        mod_revision=Revision(slot.modified),
    )


def result_of(succeeded: bool, revision: int) -> TxnResult:
    return TxnResult(succeeded=succeeded, revision=Revision(revision), found={})


def transaction(label: str, ask: Ask) -> Txn:
    """A transaction as the product asked for it, less journal and leases."""
    assert ask.what == "txn", ask
    compares = []
    for compare in ask.args[0]:
        key = compare.key.removeprefix(PREFIX)
        match compare:
            case Created(_, revision):
                compares.append(("created", key, revision))
            case Modified(_, revision):
                compares.append(("modified", key, revision))
            case Exists():
                compares.append(("exists", key, 0))
            case _:
                raise AssertionError(f"no transaction of the protocol compares so: {compare}")
    ops = []
    for op in ask.args[1]:
        key = op.key.removeprefix(PREFIX)
        parts = tuple(key.split("/"))
        if parts[0] == "journal" or parts[-1] == "session":
            continue
        kind: Any = find_type(parts)
        ops.append((key, intern(decode(kind, op.value, where=key)) if isinstance(op, Put) else 0))
    return Txn(label, tuple(compares), tuple(ops))
