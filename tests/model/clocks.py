"""What happens by itself: time passes, and the lease of a leader runs out."""

from collections.abc import Iterator
from itertools import combinations

from .laws import (
    ARMED,
    CLEAN,
    KILLING,
    Move,
    Rules,
    fresh_session,
    guard_of,
    is_well,
    without_power,
)
from .product import Product
from .state import Agent, Host, State, find, older
from .translate import tick
from .values import BEAT, HOLD, LEADER, NODES, RECORDS


def of_leader_key(state: State, rules: Rules) -> Iterator[Move]:
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


def of_time(state: State, rules: Rules) -> Iterator[Move]:
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


def has_beaten(state: State, at: int, host: Host, product: Product) -> bool:
    """An agent that is well keeps its session within every tick: beats it, or ends it, or opens one if it can."""
    agent = host.agent
    if not is_well(host) or agent is None:
        return True
    if agent.session:
        return not agent.over and (agent.age == 0 or agent.beat is not None)
    return stages(state, at, host, agent, product)[-1].session is None


def _lag_matters(host: Host) -> bool:
    """A guest runs, or is about to. The clock of a node without one may do what it likes."""
    return host.guest != 0 or host.queued != 0 or (host.agent is not None and host.agent.work is not None)


def _must_act(host: Host) -> bool:
    """The guard is due: it ends what runs before any more time passes."""
    guard = guard_of(host)
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
            return without_power(host)
        host = host._replace(frozen_for=min(frozen_for, rules.margin))
    if host.guard == ARMED:
        host = host._replace(age=older(host.age))
    agent = host.agent
    if agent and agent.session and not agent.over:
        agent = agent._replace(age=older(agent.age))
    if agent and agent.beat:
        agent = agent._replace(beat=agent.beat._replace(age=older(agent.beat.age), before=older(agent.beat.before)))
    return host._replace(agent=agent)


def stages(state: State, at: int, host: Host, agent: Agent, product: Product) -> tuple:  # type: ignore[type-arg]
    at_rest = agent.work is None or agent.work.action != "start"
    return product.open(at, state.store, guard_of(host), host.boot, host.guest, at_rest, fresh_session(state, at))
