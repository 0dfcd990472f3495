"""Every step that can come next: of a process, of the network, of time, or a fault.

Time passes in ticks. It stands still while a guard that has processor time is due to act: that is the timing
assumption of the guard, together with ``max_lag``, by how much a node's clock may fall behind the others' between two
beats. Everything else may take as long as it likes.
"""

from collections.abc import Iterator

from .clocks import has_beaten, of_leader_key, of_time, stages
from .laws import (
    CLEAN,
    IDLE,
    KILLING,
    Move,
    Rules,
    broken_law,
    guard_of,
    is_well,
    put_agent,
    standing_of,
    view_of,
    with_guard,
    without_power,
)
from .product import Product
from .state import Agent, Answer, Beat, Host, Slot, State, Txn, Work, find, put_host
from .store import commit
from .translate import guest_appeared, guests_gone, tick
from .values import BEAT, LEADER, NODES, PLACEMENT, RECORDS


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
    yield from of_leader_key(state, rules)
    if all(has_beaten(state, at, host, product) for at, host in enumerate(state.hosts)):
        yield from of_time(state, rules)


def _at_once(state: State, product: Product) -> Move | None:
    """What an agent that is well does well within a tick comes before anything else: it beats, publishes what has
    changed, and looks whether it still leads. Being late with it is a fault.
    """
    for at, host in enumerate(state.hosts):
        agent = host.agent
        if not is_well(host) or agent is None or not agent.session or agent.over:
            continue
        if agent.term and not agent.mirror:
            leader = find(state.store, LEADER)
            if leader is None or leader.created != agent.term:
                return Move(
                    f"{NODES[at]} sees that it does not lead", put_agent(state, at, host, agent._replace(term=0))
                )
        for move in _beat(state, at, host, agent, product):
            return move
        if agent.publication is None:
            txn = product.publish(at, state.store, standing_of(agent), agent.published, host.guest)
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
    node, guard = NODES[at], guard_of(host)
    due = tick(guard)
    if due[0] == CLEAN and host.guest:
        due = guest_appeared(due)
    if due != guard or due[0] == KILLING:
        after = with_guard(host, due)
        if due[0] == KILLING:
            after = with_guard(after, guests_gone(due))._replace(guest=0)
        yield Move(f"guard of {node} ends its guests", put_host(state, at, after))
    if host.queued:
        yield Move(*_launch(state, at, host._replace(queued=0), host.queued, product, rules)[:2])
    agent = host.agent
    if agent is None:
        fresh = host._replace(agent=Agent(), granted=(0, ""))
        yield Move(f"agent of {node} starts", put_host(state, at, fresh))
        return
    if agent.paused:
        yield Move(f"agent of {node} goes on", put_agent(state, at, host, agent._replace(paused=False)))
        return
    if agent.work and agent.work.start:
        yield from _start(state, at, host, agent, agent.work, product, rules)
    if agent.mirror:
        yield Move(f"mirror of {node} catches up", put_agent(state, at, host, agent._replace(mirror=None)))
    if not agent.session:
        if not host.cut:
            yield from _open(state, at, host, agent, product)
        return
    if agent.over:
        ended = with_guard(host, product.end_session(at, standing_of(agent), guard))
        gone = agent._replace(session="", created=0, modified=0, age=0, armed=False, over=False, published=-1, term=0)
        yield Move(f"{node} ends its session", put_agent(state, at, ended, gone))
        return
    if host.cut:
        yield from _beat(state, at, host, agent, product)
        return
    store = view_of(state, agent)
    if agent.work is None:
        for move in _decide(state, at, host, agent, store, product):
            after, said, wrong = _written(move.state, at, product)
            yield Move(f"{move.label}{said and ': '}{said}", after, wrong=wrong)
    yield from _lead(state, at, host, agent, store, product)


def _open(state: State, at: int, host: Host, agent: Agent, product: Product) -> Iterator[Move]:
    found = stages(state, at, host, agent, product)
    last = found[-1]
    after = with_guard(host, last.guard)
    session = last.session
    changed = state._replace(store=last.store)
    if session is None:
        if last.store != state.store or last.guard != guard_of(host):
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
    yield Move(f"{NODES[at]} opens session {session.session}", put_agent(changed, at, after, opened))


def _is_new(after: tuple[Slot, ...], before: tuple[Slot, ...], at: int) -> bool:
    return find(after, BEAT[at]) != find(before, BEAT[at])


def _beat(state: State, at: int, host: Host, agent: Agent, product: Product) -> Iterator[Move]:
    if agent.beat or (agent.age == 0 and host.quiet == 0 and agent.armed and not _is_due_for_arming(state, at, agent)):
        return
    txn = product.send_beat(at, standing_of(agent), host.boot)
    if txn is None:
        yield Move(f"{NODES[at]} finds its session too old", put_agent(state, at, host, agent._replace(over=True)))
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
    standing = standing_of(agent)._replace(age=beat.before)
    found = None if succeeded else find(store, BEAT[at])
    done = product.end_beat(at, standing, host.boot, guard_of(host), beat.age, revision, found, host.guest)
    after = with_guard(host, done.guard)
    if succeeded:
        quiet = host.quiet if beat.revision else 0
        after = after._replace(quiet=quiet, lag=0 if beat.age == 0 else host.lag)
    now = agent._replace(
        modified=done.modified, age=done.age, armed=done.armed, over=done.over or agent.over, beat=None
    )
    words = "" if succeeded else " is refused"
    aged = f" (sent {beat.age} ticks ago)" if beat.age else ""
    return Move(f"{beat.txn.label}{words}{aged}", put_agent(state._replace(store=store), at, after, now))


def _decide(
    state: State, at: int, host: Host, agent: Agent, store: tuple[Slot, ...], product: Product
) -> Iterator[Move]:
    action, read = product.decide(at, store, standing_of(agent), agent.published, host.guest)
    if action in ("nothing", "wait", "pause-duplicate", "untag", "depart"):
        return
    if action in ("release", "clear", "resume-arrival", "resume-and-keep"):
        fresh = find(state.store, PLACEMENT)  # decided again on a reading through the quorum
        again, _ = product.decide(at, _with_slot(store, fresh), standing_of(agent), agent.published, host.guest)
        if again != action:
            return
        read = fresh
    begun = product.work(at, action, read, (), standing_of(agent), host.guest)
    if begun.work is None and begun.guest == host.guest:
        return
    after = host._replace(guest=begun.guest, granted=begun.granted)
    yield Move(f"{NODES[at]} begins to {action} the vm", put_agent(state, at, after, agent._replace(work=begun.work)))


def _written(state: State, at: int, product: Product) -> tuple[State, str, str]:
    """The worker's open transactions are written, up to a question that takes time. Also what it wrote, and a law
    that it broke.
    """
    said, wrong = [], ""
    while (agent := state.hosts[at].agent) and agent.work and agent.work.txn:
        txn = agent.work.txn
        store, succeeded, revision = commit(state.store, txn)
        wrong = wrong or broken_law(state, txn, succeeded, store)
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
    refusal = product.refusal(guard_of(host), host.granted, epoch) if rules.gate else ""
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
    answers = (*work.answers, Answer(kind, ok, revision, value, standing_of(agent)))
    done = product.work(at, work.action, work.read, answers, standing_of(agent), host.guest)
    after = host._replace(guest=done.guest, granted=done.granted)
    return put_agent(state, at, after, agent._replace(work=done.work))


def _lead(state: State, at: int, host: Host, agent: Agent, store: tuple[Slot, ...], product: Product) -> Iterator[Move]:
    node, leader = NODES[at], find(store, LEADER)
    if not agent.term:
        found = product.campaign(store, at, standing_of(agent))
        if isinstance(found, Txn):
            after, succeeded, term = commit(state.store, found)
            if succeeded:
                led = agent._replace(term=term)
                yield Move(found.label, put_agent(state._replace(store=after), at, host, led))
        elif isinstance(found, int) and found:
            yield Move(f"{node} goes on leading", put_agent(state, at, host, agent._replace(term=found)))
        return
    if leader is None or leader.created != agent.term:
        yield Move(f"{node} sees that it does not lead", put_agent(state, at, host, agent._replace(term=0)))
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
        moved = put_agent(state._replace(store=after), at, host, now)
        label = f"leader {node} writes: {agent.step.label}{words}"
        wrong = broken_law(state, agent.step, succeeded, after)
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
        yield Move(f"{work.txn.label}: written{words}", now, wrong=broken_law(state, work.txn, succeeded, after))
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
    return Move(f"{txn.label}{words}", put_agent(state._replace(store=store), at, host, now))


def _commit(state: State, txn: Txn, label: str) -> Move:
    store, succeeded, _ = commit(state.store, txn)
    after = state._replace(store=store)
    for at, key in enumerate(BEAT[: len(state.hosts)]):
        if succeeded and any(op[0] == key and op[1] for op in txn.ops):
            after = put_host(after, at, after.hosts[at]._replace(quiet=0))
    return Move(label + ("" if succeeded else " (refused)"), after, wrong=broken_law(state, txn, succeeded, store))


# --- faults


def _faults(state: State, at: int, host: Host, product: Product) -> Iterator[tuple[str, str, State]]:
    node, agent = NODES[at], host.agent
    if host.power != "off":
        for words, loose in _under_way(state, agent):
            yield f"{node} loses its power{words}", "power", put_host(loose, at, without_power(host))
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
    yield f"agent of {node} hangs", "pause", put_agent(state, at, host, agent._replace(paused=True))
    if not agent.session and not host.cut:
        for stage in stages(state, at, host, agent, product)[1:-1]:
            half = with_guard(host, stage.guard)._replace(agent=None)
            if _is_new(stage.store, state.store, at):
                half = half._replace(quiet=0)
            if stage.store != state.store or stage.guard != guard_of(host):
                after = put_host(state._replace(store=stage.store), at, half)
                yield f"agent of {node} is killed while it opens a session", "kill", after
    if agent.mirror is None and not host.cut:
        yield (
            f"mirror of {node} stands still",
            "stall",
            put_agent(state, at, host, agent._replace(mirror=_stands(state))),
        )
    if agent.session and not agent.over and not host.cut:
        if agent.beat is None and (txn := product.send_beat(at, standing_of(agent), host.boot)):
            slow = agent._replace(beat=Beat(0, agent.age, txn))
            yield f"{node} sends a beat that is slow", "beat", put_agent(state, at, host, slow)
            store, succeeded, revision = commit(state.store, txn)
            if succeeded:
                heard = agent._replace(beat=Beat(0, agent.age, txn, revision))
                after = put_agent(state._replace(store=store), at, host._replace(quiet=0), heard)
                yield f"{node} sends a beat, and the answer is slow", "answer", after
        txn = product.publish(at, state.store, standing_of(agent), agent.published, host.guest)
        if txn and agent.publication is None:
            slow = agent._replace(publication=(txn, host.guest))
            yield f"{txn.label} is slow", "inventory", put_agent(state, at, host, slow)
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
    store = view_of(state, agent)
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
            now = put_agent(state, at, host, agent._replace(step=step))
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
