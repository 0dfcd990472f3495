"""Every step that can come next: of a process, of the network, of time, or a fault.

Time passes in ticks. It stands still while a guard that has processor time is due to act: that is the timing
assumption of the guard, together with ``max_lag``, by how much a node's clock may fall behind the others' between two
beats. Everything else may take as long as it likes.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

from vmha.fencing.deadline import State as GuardState

from .product import Product, guest_appeared, guests_gone, tick
from .reduce import sessions_in
from .state import Agent, Answer, Beat, Host, Slot, Standing, State, Txn, Work, find, is_running, older, put_host
from .store import commit
from .values import BEAT, HOLD, LEADER, NODES, PLACEMENT, RECORDS, SESSIONS

ARMED, KILLING, CLEAN, IDLE = (
    str(GuardState.ARMED),
    str(GuardState.EXPIRED_KILLING),
    str(GuardState.EXPIRED_CLEAN),
    str(GuardState.IDLE),
)


KINDS = frozenset(
    {
        "kill",  # an agent, also while it opens a session; what it sent is lost or comes later
        "power",
        "freeze",
        "cut",
        "pause",  # an agent hangs, and goes on at any time
        "stall",  # a mirror stands still
        "crash",  # a QEMU
        "refuse",  # a QEMU does not start
        "lease",  # the store revokes a living leader's lease
        "ambiguous",  # the answer to a worker's transaction is lost
        "beat",  # ... is slow to be committed
        "answer",  # the answer to a beat is slow
        "inventory",  # a publication is slow
        "work",  # a worker's transaction is slow
        "step",  # a leader's is
    }
)


class Rules(NamedTuple):
    """What can happen. ``margin`` and ``max_lag`` in ticks; ``watchdog``: hosts have one; ``gate``: libvirt asks before
    a start.
    """

    margin: int = 2
    max_lag: int = 1
    watchdog: bool = True
    gate: bool = True
    kinds: frozenset[str] = KINDS


class Move(NamedTuple):
    label: str
    state: State
    is_fault: bool = False
    wrong: str = ""  # a law that the move itself breaks
    is_plain: bool = False  # nothing but ages changed: every name stays as it is


def moves(state: State, product: Product, rules: Rules) -> Iterator[Move]:
    at_once = _at_once(state, product)
    if at_once:
        yield at_once
        if state.faults:
            yield from _all_faults(state, product, rules)
        return
    for at, host in enumerate(state.hosts):
        if host.power == "off":
            up = Host(boot=3 - host.boot, cut=host.cut, quiet=host.quiet, agent=Agent())
            yield Move(f"{NODES[at]} boots", put_host(state, at, up))
        elif host.power == "frozen":
            yield Move(f"{NODES[at]} is thawed", put_host(state, at, host._replace(power="on", frozen_for=0)))
        else:
            yield from _of_host(state, at, host, product, rules)
        if host.cut:
            yield Move(f"{NODES[at]} reaches the store again", put_host(state, at, host._replace(cut=False)))
        if host.agent is not None and host.power != "off" and not host.cut and not host.agent.paused:
            yield from _of_network(state, at, host, host.agent, product)
    if state.faults:
        yield from _all_faults(state, product, rules)
    for one in state.loose:
        rest = state._replace(loose=tuple(other for other in state.loose if other is not one))
        yield _commit(rest, one, f"committed after its sender died: {one.label}")
        yield Move(f"never arrives: {one.label}", rest)
    yield from _of_leader_key(state, rules)
    if all(_has_beaten(state, at, host, product) for at, host in enumerate(state.hosts)):
        yield from _of_time(state, rules)


def _at_once(state: State, product: Product) -> Move | None:
    """What an agent that is well does well within a tick comes before anything else: it beats, publishes what has
    changed, and looks whether it still leads. Being late with it is a fault.
    """
    for at, host in enumerate(state.hosts):
        agent = host.agent
        if not _is_well(host) or agent is None or not agent.session or agent.over:
            continue
        if agent.term and not agent.mirror:
            leader = find(state.store, LEADER)
            if leader is None or leader.created != agent.term:
                return Move(f"{NODES[at]} sees that it does not lead", _put(state, at, host, agent._replace(term=0)))
        for move in _beat(state, at, host, agent, product):
            return move
        if agent.publication is None:
            txn = product.publish(at, state.store, _standing(agent), agent.published, host.guest)
            if txn and (txn.label.startswith("inventory") or commit(state.store, txn)[1]):
                return _published(state, at, host, agent, txn, host.guest)
    return None


def _all_faults(state: State, product: Product, rules: Rules) -> Iterator[Move]:
    for at, host in enumerate(state.hosts):
        for label, kind, after in _faults(state, at, host, product):
            if kind in rules.kinds:
                yield Move(label, after._replace(faults=state.faults - 1), is_fault=True)


# --- a host that runs


def _of_host(state: State, at: int, host: Host, product: Product, rules: Rules) -> Iterator[Move]:
    node, guard = NODES[at], _guard(host)
    due = tick(guard)
    if due[0] == CLEAN and host.guest:
        due = guest_appeared(due)
    if due != guard or due[0] == KILLING:
        after = _with_guard(host, due)
        if due[0] == KILLING:
            after = _with_guard(after, guests_gone(due))._replace(guest=0)
        yield Move(f"guard of {node} ends its guests", put_host(state, at, after))
    if host.queued:
        yield Move(*_launch(state, at, host._replace(queued=0), host.queued, product, rules)[:2])
    agent = host.agent
    if agent is None:
        fresh = host._replace(agent=Agent(), granted=(0, ""))
        yield Move(f"agent of {node} starts", put_host(state, at, fresh))
        return
    if agent.paused:
        yield Move(f"agent of {node} goes on", _put(state, at, host, agent._replace(paused=False)))
        return
    if agent.work and agent.work.start:
        yield from _start(state, at, host, agent, agent.work, product, rules)
    if agent.mirror:
        yield Move(f"mirror of {node} catches up", _put(state, at, host, agent._replace(mirror=None)))
    if not agent.session:
        if not host.cut:
            yield from _open(state, at, host, agent, product)
        return
    if agent.over:
        ended = _with_guard(host, product.end_session(at, _standing(agent), guard))
        gone = agent._replace(session="", created=0, modified=0, age=0, armed=False, over=False, published=-1, term=0)
        yield Move(f"{node} ends its session", _put(state, at, ended, gone))
        return
    if host.cut:
        yield from _beat(state, at, host, agent, product)
        return
    store = _view(state, agent)
    if agent.work is None:
        for move in _decide(state, at, host, agent, store, product):
            after, said, wrong = _written(move.state, at, product)
            yield Move(f"{move.label}{said and ': '}{said}", after, wrong=wrong)
    yield from _lead(state, at, host, agent, store, product)


def _open(state: State, at: int, host: Host, agent: Agent, product: Product) -> Iterator[Move]:
    stages = _stages(state, at, host, agent, product)
    last = stages[-1]
    after = _with_guard(host, last.guard)
    session = last.session
    changed = state._replace(store=last.store)
    if session is None:
        if last.store != state.store or last.guard != _guard(host):
            yield Move(f"{NODES[at]} clears the way for a session", put_host(changed, at, after))
        return
    opened = agent._replace(
        session=session.session,
        created=session.created,
        modified=session.modified,
        age=session.age,
        armed=session.armed,
    )
    begun = session.age == 0 and _is_new(last.store, state.store, at)
    if begun:
        after = after._replace(quiet=0, lag=0)
    yield Move(f"{NODES[at]} opens session {session.session}", _put(changed, at, after, opened))


def _stages(state: State, at: int, host: Host, agent: Agent, product: Product) -> tuple:  # type: ignore[type-arg]
    at_rest = agent.work is None or agent.work.action != "start"
    return product.open(at, state.store, _guard(host), host.boot, host.guest, at_rest, _fresh_session(state, at))


def _is_new(after: tuple[Slot, ...], before: tuple[Slot, ...], at: int) -> bool:
    return find(after, BEAT[at]) != find(before, BEAT[at])


def _beat(state: State, at: int, host: Host, agent: Agent, product: Product) -> Iterator[Move]:
    if agent.beat or (agent.age == 0 and host.quiet == 0 and agent.armed and not _is_due_for_arming(state, at, agent)):
        return
    txn = product.send_beat(at, _standing(agent), host.boot)
    if txn is None:
        yield Move(f"{NODES[at]} finds its session too old", _put(state, at, host, agent._replace(over=True)))
    elif not host.cut:
        yield _beaten(state, at, host, agent, Beat(0, agent.age, txn), product)


def _is_due_for_arming(state: State, at: int, agent: Agent) -> bool:
    """The first beat said that nothing was armed yet; the next says what is."""
    slot = find(state.store, BEAT[at])
    return slot is not None and agent.armed and RECORDS[slot.value].armed == "none"


def _beaten(state: State, at: int, host: Host, agent: Agent, beat: Beat, product: Product) -> Move:
    store, succeeded, revision = commit(state.store, beat.txn)
    if beat.revision:
        store, succeeded, revision = state.store, True, beat.revision
    standing = _standing(agent)._replace(age=beat.before)
    found = None if succeeded else find(store, BEAT[at])
    done = product.end_beat(at, standing, host.boot, _guard(host), beat.age, revision, found, host.guest)
    after = _with_guard(host, done.guard)
    if succeeded:
        quiet = host.quiet if beat.revision else 0
        after = after._replace(quiet=quiet, lag=0 if beat.age == 0 else host.lag)
    now = agent._replace(
        modified=done.modified, age=done.age, armed=done.armed, over=done.over or agent.over, beat=None
    )
    words = "" if succeeded else " is refused"
    aged = f" (sent {beat.age} ticks ago)" if beat.age else ""
    return Move(f"{beat.txn.label}{words}{aged}", _put(state._replace(store=store), at, after, now))


def _decide(
    state: State, at: int, host: Host, agent: Agent, store: tuple[Slot, ...], product: Product
) -> Iterator[Move]:
    action, read = product.decide(at, store, _standing(agent), agent.published, host.guest)
    if action in ("nothing", "wait", "pause-duplicate", "untag", "depart"):
        return
    if action in ("release", "clear", "resume-arrival", "resume-and-keep"):
        fresh = find(state.store, PLACEMENT)  # decided again on a reading through the quorum
        again, _ = product.decide(at, _with_slot(store, fresh), _standing(agent), agent.published, host.guest)
        if again != action:
            return
        read = fresh
    begun = product.work(at, action, read, (), _standing(agent), host.guest)
    if begun.work is None and begun.guest == host.guest:
        return
    after = host._replace(guest=begun.guest, granted=begun.granted)
    yield Move(f"{NODES[at]} begins to {action} the vm", _put(state, at, after, agent._replace(work=begun.work)))


def _written(state: State, at: int, product: Product) -> tuple[State, str, str]:
    """The worker's open transactions are written, up to a question that takes time. Also what it wrote, and a law
    that it broke.
    """
    said, wrong = [], ""
    while (agent := state.hosts[at].agent) and agent.work and agent.work.txn:
        txn = agent.work.txn
        store, succeeded, revision = commit(state.store, txn)
        wrong = wrong or _wrong(state, txn, succeeded, store)
        said.append("written" if succeeded else "refused")
        state = _answered(state._replace(store=store), at, "txn", succeeded, revision, 0, product)
    return state, ", ".join(said), wrong


def _with_slot(store: tuple[Slot, ...], slot: Slot | None) -> tuple[Slot, ...]:
    rest = tuple(one for one in store if one.key != PLACEMENT)
    return tuple(sorted((*rest, slot))) if slot else rest


def _start(
    state: State, at: int, host: Host, agent: Agent, work: Work, product: Product, rules: Rules
) -> Iterator[Move]:
    label, launched, succeeded = _launch(state, at, host, work.start, product, rules)
    for words, now, ok in [(label, launched, succeeded)]:
        yield Move(words, _answered(now, at, "start", ok, 0, 0, product))
    if state.faults and "refuse" in rules.kinds:
        after = _answered(state, at, "start", False, 0, 0, product)
        yield Move(f"QEMU fails to start on {NODES[at]}", after._replace(faults=state.faults - 1), is_fault=True)


def _launch(state: State, at: int, host: Host, epoch: int, product: Product, rules: Rules) -> tuple[str, State, bool]:
    """libvirt comes to a start: it asks the gate, and then QEMU runs, or the start has failed."""
    refusal = product.refusal(_guard(host), host.granted, epoch) if rules.gate else ""
    if refusal or host.guest:
        return f"libvirt of {NODES[at]} refuses the start", put_host(state, at, host), False
    return f"QEMU runs on {NODES[at]}", put_host(state, at, host._replace(guest=epoch)), True


def _answered(state: State, at: int, kind: str, ok: bool, revision: int, value: int, product: Product) -> State:
    """The worker goes on with an answer to its open question."""
    host = state.hosts[at]
    agent = host.agent
    assert agent
    assert agent.work
    work = agent.work
    answers = (*work.answers, Answer(kind, ok, revision, value, _standing(agent)))
    done = product.work(at, work.action, work.read, answers, _standing(agent), host.guest)
    after = host._replace(guest=done.guest, granted=done.granted)
    return _put(state, at, after, agent._replace(work=done.work))


def _lead(state: State, at: int, host: Host, agent: Agent, store: tuple[Slot, ...], product: Product) -> Iterator[Move]:
    node, leader = NODES[at], find(store, LEADER)
    if not agent.term:
        found = product.campaign(store, at, _standing(agent))
        if isinstance(found, Txn):
            after, succeeded, term = commit(state.store, found)
            if succeeded:
                led = agent._replace(term=term)
                yield Move(found.label, _put(state._replace(store=after), at, host, led))
        elif isinstance(found, int) and found:
            yield Move(f"{node} goes on leading", _put(state, at, host, agent._replace(term=found)))
        return
    if leader is None or leader.created != agent.term:
        yield Move(f"{node} sees that it does not lead", _put(state, at, host, agent._replace(term=0)))
        return
    if agent.step:
        return
    for step in _planned(state, at, host, agent, store, product):
        done = next(_of_network(state, at, host, agent._replace(step=step), product))
        yield done


def _planned(
    state: State, at: int, host: Host, agent: Agent, store: tuple[Slot, ...], product: Product
) -> Iterator[Txn]:
    """The steps of every plan that the leader may make now: it heard of the last beats at once, or just now."""
    quiet = agent.mirror[1] if agent.mirror else tuple(one.quiet for one in state.hosts)
    heard = (0,) * len(quiet)
    steps: dict[Txn, None] = {}
    for silence, unclaimed in ((quiet, False), (heard, False), (quiet, True)):
        steps.update(dict.fromkeys(product.plan(store, at, agent.term, silence, unclaimed)))
    yield from steps


# --- what is under way


def _of_network(state: State, at: int, host: Host, agent: Agent, product: Product) -> Iterator[Move]:
    node, runs = NODES[at], host.power == "on"
    if agent.step:
        after, succeeded, _ = commit(state.store, agent.step)
        now = agent._replace(step=None)
        leader = find(state.store, LEADER)
        if not succeeded and (leader is None or leader.created != agent.term):
            now = now._replace(term=0)
        words = "" if succeeded else " (refused)"
        moved = _put(state._replace(store=after), at, host, now)
        label = f"leader {node} writes: {agent.step.label}{words}"
        wrong = _wrong(state, agent.step, succeeded, after)
        if succeeded and (leader is None or RECORDS[leader.value].node != node):
            wrong = wrong or f"{node} writes as the leader, and does not lead any more"
        yield Move(label, moved, wrong=wrong)
    if not runs:
        return
    if agent.beat:
        yield _beaten(state, at, host, agent, agent.beat, product)
    if agent.publication:
        txn, guest = agent.publication
        yield _published(state, at, host, agent._replace(publication=None), txn, guest)
    work = agent.work
    if work and work.txn:
        after, succeeded, revision = commit(state.store, work.txn)
        now = _answered(state._replace(store=after), at, "txn", succeeded, revision, 0, product)
        words = "" if succeeded else " (refused)"
        yield Move(f"{work.txn.label}: written{words}", now, wrong=_wrong(state, work.txn, succeeded, after))
    elif work and not work.start:
        slot = find(state.store, PLACEMENT)
        read = (slot.modified, slot.value) if slot else (0, 0)
        yield Move(f"{node} reads the placement again", _answered(state, at, "get", True, *read, product))


def _published(state: State, at: int, host: Host, agent: Agent, txn: Txn, guest: int) -> Move:
    store, succeeded, _ = commit(state.store, txn)
    now = agent
    if txn.label.startswith("inventory"):
        now = agent._replace(published=guest) if succeeded else agent._replace(over=bool(agent.session))
    words = "" if succeeded else " (refused)"
    return Move(f"{txn.label}{words}", _put(state._replace(store=store), at, host, now))


def _commit(state: State, txn: Txn, label: str) -> Move:
    store, succeeded, _ = commit(state.store, txn)
    after = state._replace(store=store)
    for at, key in enumerate(BEAT[: len(state.hosts)]):
        if succeeded and any(op[0] == key and op[1] for op in txn.ops):
            after = put_host(after, at, after.hosts[at]._replace(quiet=0))
    return Move(label + ("" if succeeded else " (refused)"), after, wrong=_wrong(state, txn, succeeded, store))


def _wrong(state: State, txn: Txn, succeeded: bool, store: tuple[Slot, ...]) -> str:
    """Law 2, looked at from outside: who may take a placement from a session, and what a proof must be worth."""
    if not succeeded:
        return ""
    for at, host in enumerate(state.hosts):
        evicts = txn.label.startswith("evict") and f" {NODES[at]} " in txn.label
        if evicts and is_running(host):
            return f"a proof is on record that {NODES[at]} runs nothing, and it runs the vm"
    before, after = find(state.store, PLACEMENT), find(store, PLACEMENT)
    held, holds = SESSIONS[before.value] if before else "", SESSIONS[after.value] if after else ""
    living = {SESSIONS[slot.value] for slot in store if slot.key in BEAT}
    if holds not in ("", held) and holds not in living:
        return f"the vm is claimed for session {holds}, which is over"
    if held in ("", holds):
        return ""
    node = held.partition("-")[0]
    if txn.label.endswith(f"by {node}") and held in living:
        return ""  # its own word
    if find(store, f"fencing/{held}"):
        return ""
    return f"the placement leaves session {held} without its word and without a proof"


# --- the leader's lease, and time


def _of_leader_key(state: State, rules: Rules) -> Iterator[Move]:
    """The lease of the leader runs out: any time when its agent can not renew it; else the store was at fault."""
    leader = find(state.store, LEADER)
    if leader is None:
        return
    record = RECORDS[leader.value]
    host = state.hosts[NODES.index(record.node)]
    renews = host.power == "on" and not host.cut and host.agent is not None and host.agent.session == record.session
    after = state._replace(store=tuple(slot for slot in state.store if slot is not leader))
    if not renews:
        yield Move("the leader's lease runs out", after)
    elif state.faults and "lease" in rules.kinds:
        yield Move(
            "the store revokes the living leader's lease", after._replace(faults=state.faults - 1), is_fault=True
        )


def _of_time(state: State, rules: Rules) -> Iterator[Move]:
    for host in state.hosts:
        if host.power == "on" and _must_act(host):
            return
    may_lag = [
        at
        for at, host in enumerate(state.hosts)
        if host.power == "on" and host.guard == ARMED and host.lag < rules.max_lag and _lag_matters(host)
    ]
    for count in range(len(may_lag) + 1):
        for lagging in combinations(may_lag, count):
            hosts = tuple(_aged(state, at, host, at in lagging, rules) for at, host in enumerate(state.hosts))
            late = ", but not for " + " and ".join(NODES[at] for at in lagging) if lagging else ""
            yield Move(f"a tick passes{late}", state._replace(hosts=hosts), is_plain=True)


def _has_beaten(state: State, at: int, host: Host, product: Product) -> bool:
    """An agent that is well keeps its session within every tick: beats it, or ends it, or opens one if it can."""
    agent = host.agent
    if not _is_well(host) or agent is None:
        return True
    if agent.session:
        return not agent.over and (agent.age == 0 or agent.beat is not None)
    return _stages(state, at, host, agent, product)[-1].session is None


def _lag_matters(host: Host) -> bool:
    """A guest runs, or is about to. The clock of a node without one may do what it likes."""
    return host.guest != 0 or host.queued != 0 or (host.agent is not None and host.agent.work is not None)


def _must_act(host: Host) -> bool:
    """The guard is due: it ends what runs before any more time passes."""
    guard = _guard(host)
    due = tick(guard)
    return due != guard or (due[0] in (KILLING, CLEAN) and host.guest != 0)


def _aged(state: State, at: int, host: Host, lags: bool, rules: Rules) -> Host:
    dead = HOLD + rules.margin
    quiet = min(host.quiet + 1, dead) if find(state.store, BEAT[at]) else 0
    host = host._replace(quiet=quiet)
    if host.power == "off":
        return host
    if host.agent and host.agent.mirror:
        slots, silent = host.agent.mirror
        host = host._replace(agent=host.agent._replace(mirror=(slots, tuple(min(one + 1, dead) for one in silent))))
    if lags:
        return host._replace(lag=host.lag + 1)
    if host.power == "frozen":
        frozen_for = host.frozen_for + 1
        if rules.watchdog and frozen_for >= rules.margin:
            return _without_power(host)
        host = host._replace(frozen_for=min(frozen_for, rules.margin))
    if host.guard == ARMED:
        host = host._replace(age=older(host.age))
    agent = host.agent
    if agent and agent.session and not agent.over:
        agent = agent._replace(age=older(agent.age))
    if agent and agent.beat:
        agent = agent._replace(beat=agent.beat._replace(age=older(agent.beat.age), before=older(agent.beat.before)))
    return host._replace(agent=agent)


# --- faults


def _faults(state: State, at: int, host: Host, product: Product) -> Iterator[tuple[str, str, State]]:
    node, agent = NODES[at], host.agent
    if host.power != "off":
        for words, loose in _under_way(state, agent):
            yield f"{node} loses its power{words}", "power", put_host(loose, at, _without_power(host))
    if not host.cut and host.power == "on":
        yield f"{node} is cut off from the store", "cut", put_host(state, at, host._replace(cut=True))
    if host.power != "on":
        return
    if host.guard != IDLE:
        yield f"{node} freezes", "freeze", put_host(state, at, host._replace(power="frozen"))
    if host.guest:
        yield f"QEMU on {node} crashes", "crash", put_host(state, at, host._replace(guest=0))
    if agent is None:
        return
    for words, loose in _under_way(state, agent):
        queued = agent.work.start if agent.work else 0
        killed = host._replace(agent=None, queued=queued)
        yield f"agent of {node} is killed{words}", "kill", put_host(loose, at, killed)
    if agent.paused:
        return
    yield f"agent of {node} hangs", "pause", _put(state, at, host, agent._replace(paused=True))
    if not agent.session and not host.cut:
        for stage in _stages(state, at, host, agent, product)[1:-1]:
            half = _with_guard(host, stage.guard)._replace(agent=None)
            if _is_new(stage.store, state.store, at):
                half = half._replace(quiet=0)
            if stage.store != state.store or stage.guard != _guard(host):
                after = put_host(state._replace(store=stage.store), at, half)
                yield f"agent of {node} is killed while it opens a session", "kill", after
    if agent.mirror is None and not host.cut:
        yield f"mirror of {node} stands still", "stall", _put(state, at, host, agent._replace(mirror=_stands(state)))
    if agent.session and not agent.over and not host.cut:
        if agent.beat is None and (txn := product.send_beat(at, _standing(agent), host.boot)):
            slow = agent._replace(beat=Beat(0, agent.age, txn))
            yield f"{node} sends a beat that is slow", "beat", _put(state, at, host, slow)
            store, succeeded, revision = commit(state.store, txn)
            if succeeded:
                heard = agent._replace(beat=Beat(0, agent.age, txn, revision))
                after = _put(state._replace(store=store), at, host._replace(quiet=0), heard)
                yield f"{node} sends a beat, and the answer is slow", "answer", after
        txn = product.publish(at, state.store, _standing(agent), agent.published, host.guest)
        if txn and agent.publication is None:
            slow = agent._replace(publication=(txn, host.guest))
            yield f"{txn.label} is slow", "inventory", _put(state, at, host, slow)
    yield from _slow_decisions(state, at, host, agent, product)
    work = agent.work
    if work and work.txn:
        store, done, _ = commit(state.store, work.txn)
        for words, now in (("done", store), ("not done", state.store)):
            if words == "not done" or done:
                after = _answered(state._replace(store=now), at, "ambiguous", False, 0, 0, product)
                yield f"the answer to {work.txn.label} is lost ({words})", "ambiguous", after


def _slow_decisions(
    state: State, at: int, host: Host, agent: Agent, product: Product
) -> Iterator[tuple[str, str, State]]:
    """What was decided is written later, when it may be of the past."""
    store = _view(state, agent)
    if host.cut or not agent.session or agent.over:
        return
    if agent.work is None:
        for move in _decide(state, at, host, agent, store, product):
            begun = move.state.hosts[at].agent
            if begun and begun.work and begun.work.txn:
                yield f"{move.label}, slowly", "work", move.state
    leader = find(store, LEADER)
    if agent.term and agent.step is None and leader and leader.created == agent.term:
        for step in _planned(state, at, host, agent, store, product):
            now = _put(state, at, host, agent._replace(step=step))
            yield f"leader {NODES[at]} plans, and is slow to write: {step.label}", "step", now


def _under_way(state: State, agent: Agent | None) -> Iterator[tuple[str, State]]:
    """What a dead process had sent is lost, or comes later."""
    yield "", state
    if agent is None:
        return
    sent = [agent.beat and not agent.beat.revision and agent.beat.txn, agent.work and agent.work.txn, agent.step]
    sent.append(agent.publication and agent.publication[0])
    found = tuple(txn for txn in sent if txn)
    if found:
        yield ", what it sent is still under way", state._replace(loose=(*state.loose, *found))


def _stands(state: State) -> tuple[tuple[Slot, ...], tuple[int, ...]]:
    return state.store, tuple(host.quiet for host in state.hosts)


# --- small things


def _view(state: State, agent: Agent) -> tuple[Slot, ...]:
    """The store as the agent's mirror shows it."""
    return agent.mirror[0] if agent.mirror else state.store


def _is_well(host: Host) -> bool:
    """Does the agent run, and reach the store?"""
    return host.power == "on" and not host.cut and host.agent is not None and not host.agent.paused


def _standing(agent: Agent) -> Standing:
    return Standing(agent.session, agent.created, agent.modified, agent.age, agent.armed, agent.over)


def _guard(host: Host) -> tuple[str, str, int]:
    return (host.guard, host.guarded, host.age)


def _with_guard(host: Host, guard: tuple[str, str, int]) -> Host:
    return host._replace(guard=guard[0], guarded=guard[1], age=guard[2])


def _without_power(host: Host) -> Host:
    return Host(power="off", boot=host.boot, cut=host.cut, quiet=host.quiet)


def _put(state: State, at: int, host: Host, agent: Agent) -> State:
    return put_host(state, at, host._replace(agent=agent))


def _fresh_session(state: State, at: int) -> str:
    """A name that nothing in the state knows any more: sessions are as many as somebody remembers."""
    known = sessions_in(state)
    number = 1
    while f"{NODES[at]}-{number}" in known:
        number += 1
    return f"{NODES[at]}-{number}"


def never_two(state: State) -> str:
    running = [NODES[at] for at, host in enumerate(state.hosts) if is_running(host)]
    return f"the vm runs on {' and '.join(running)} at once" if len(running) > 1 else ""
