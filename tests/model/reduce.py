"""States that can not be told apart from now on are one state.

* A transaction whose compare can never hold again (a revision that is past does not come back) will be refused
  whenever it arrives, and its sender be as free as one that has not decided yet: it is taken away at once.
* An agent that knows its session to be over asks no more of it than its name.
* What a session published counts for nothing when another beats: readers compare the sessions (the simulation covers
  what would follow if they did not).
* A mirror that stands still is worth remembering only while a leader could still write something it decides on it.
* A proof that nobody can ask for any more is forgotten, as the leader does after some days.
"""

from .product import Product
from .state import Agent, Host, Slot, State, Txn, find
from .values import BEAT, HOLD, LEADER, SEEN, SESSIONS, STATUS

_BEAT_OF = {key: beat for beat, *published in zip(BEAT, STATUS, SEEN, strict=True) for key in (beat, *published)}
"""Which beat a published key goes with; a beat goes with itself."""


def reduced(state: State, product: Product) -> State:
    store, hosts, loose, faults = state
    store = _current(store)
    state = State(store, hosts, loose, faults)
    hosts = tuple(_host(state, at, host, product) for at, host in enumerate(hosts))
    loose = tuple(txn for txn in loose if not _is_doomed(store, txn))
    return _without_old_proofs(State(store, hosts, loose, faults))


def _current(store: tuple[Slot, ...]) -> tuple[Slot, ...]:
    sessions = {slot.key: SESSIONS[slot.value] for slot in store if slot.key in _BEAT_OF}
    stale = {key for key, session in sessions.items() if session != sessions.get(_BEAT_OF[key])}
    return tuple(slot for slot in store if slot.key not in stale) if stale else store


def _is_doomed(store: tuple[Slot, ...], txn: Txn) -> bool:
    for kind, key, revision in txn.compares:
        if kind == "exists" or revision == 0:
            continue
        slot = find(store, key)
        if slot is None or revision != (slot.created if kind == "created" else slot.modified):
            return True
    return False


def _host(state: State, at: int, host: Host, product: Product) -> Host:
    agent = host.agent
    if agent:
        agent = _agent(state, at, host, agent, product)
        if agent is not host.agent:
            host = host._replace(agent=agent)
    starts = host.queued or (agent and agent.work and agent.work.start)
    if host.granted[0] and not starts:
        host = host._replace(granted=(0, ""))
    return host


def _agent(state: State, at: int, host: Host, agent: Agent, product: Product) -> Agent:
    if agent.over:
        agent = agent._replace(age=0, created=0, modified=0, armed=False)
    if agent.step and _is_doomed(state.store, agent.step):
        agent = agent._replace(step=None)
    if agent.beat and not agent.beat.revision and _is_doomed(state.store, agent.beat.txn):
        agent = agent._replace(beat=None)
    if agent.publication and _is_doomed(state.store, agent.publication[0]):
        agent = agent._replace(publication=None)
    if agent.mirror and not _is_misleading(state, at, agent, product):
        agent = agent._replace(mirror=None)
    work = agent.work
    if work and work.txn and _is_doomed(state.store, work.txn) and product.ends_when_refused(at, work, host.guest):
        agent = agent._replace(work=None)
    return agent


def _is_misleading(state: State, at: int, agent: Agent, product: Product) -> bool:
    """Does a mirror that stands still show anything that could still be written, and is not to be seen now?"""
    assert agent.mirror
    store, quiet = agent.mirror
    leader = find(store, LEADER)
    if leader is None or not agent.term or leader.created != agent.term:
        return False
    silences = {quiet, tuple(HOLD + product.margin if find(store, key) else 0 for key in BEAT[: len(quiet)])}
    return any(
        not _is_doomed(state.store, step)
        for silence in silences
        for unclaimed in (False, True)
        for step in product.plan(store, at, agent.term, silence, unclaimed)
    )


def sessions_in(state: State) -> set[str]:
    """Every session that something in the state still names."""
    found = {SESSIONS[slot.value] for slot in state.store}
    txns = list(state.loose)
    for host in state.hosts:
        found |= {host.guarded, host.granted[1]}
        agent = host.agent
        if agent is None:
            continue
        found.add(agent.session)
        txns += [txn for txn in (agent.step, agent.beat and agent.beat.txn) if txn]
        if agent.publication:
            txns.append(agent.publication[0])
        if agent.mirror:
            found |= {SESSIONS[slot.value] for slot in agent.mirror[0]}
        if agent.work:
            found |= {one.standing.session for one in agent.work.answers}
            found |= {SESSIONS[one.value] for one in agent.work.answers if one.kind != "inventory"}
            if agent.work.txn:
                txns.append(agent.work.txn)
    for txn in txns:
        found |= {SESSIONS[value] for _, value in txn.ops}
        found |= {key.partition("fencing/")[2] for _, key, _ in txn.compares}
        found |= {key.partition("fencing/")[2] for key, _ in txn.ops}
    return found


def _without_old_proofs(state: State) -> State:
    proofs = [slot for slot in state.store if slot.key.startswith("fencing/")]
    if not proofs:
        return state
    rest = state._replace(store=tuple(slot for slot in state.store if slot not in proofs))
    known = sessions_in(rest)
    kept = (slot for slot in state.store if slot not in proofs or SESSIONS[slot.value] in known)
    return state._replace(store=tuple(kept))
