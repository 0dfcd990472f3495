"""What may happen, the laws that every move is held against, and small things that moves are made of."""

from typing import NamedTuple

from vmha.fencing.deadline import State as GuardState

from .reduce import sessions_in
from .state import Agent, Host, Slot, Standing, State, Txn, find, is_running, put_host
from .values import BEAT, NODES, PLACEMENT, SESSIONS

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


def view_of(state: State, agent: Agent) -> tuple[Slot, ...]:
    """The store as the agent's mirror shows it."""
    return agent.mirror[0] if agent.mirror else state.store


def is_well(host: Host) -> bool:
    """Does the agent run, and reach the store?"""
    return host.power == "on" and not host.cut and host.agent is not None and not host.agent.paused


def standing_of(agent: Agent) -> Standing:
    return Standing(agent.session, agent.created, agent.modified, agent.age, agent.armed, agent.over)


def guard_of(host: Host) -> tuple[str, str, int]:
    return (host.guard, host.guarded, host.age)


def with_guard(host: Host, guard: tuple[str, str, int]) -> Host:
    return host._replace(guard=guard[0], guarded=guard[1], age=guard[2])


def without_power(host: Host) -> Host:
    return Host(power="off", boot=host.boot, cut=host.cut, quiet=host.quiet)


def put_agent(state: State, at: int, host: Host, agent: Agent) -> State:
    return put_host(state, at, host._replace(agent=agent))


def fresh_session(state: State, at: int) -> str:
    """A name that nothing in the state knows any more: sessions are as many as somebody remembers."""
    known = sessions_in(state)
    number = 1
    while f"{NODES[at]}-{number}" in known:
        number += 1
    return f"{NODES[at]}-{number}"


def broken_law(state: State, txn: Txn, succeeded: bool, store: tuple[Slot, ...]) -> str:
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


def never_two(state: State) -> str:
    running = [NODES[at] for at, host in enumerate(state.hosts) if is_running(host)]
    return f"the vm runs on {' and '.join(running)} at once" if len(running) > 1 else ""
