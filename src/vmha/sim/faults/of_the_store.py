"""Faults of the store and of the ways to it."""

from vmha.model.ids import LeaseId
from vmha.sim.faults.fault import Fault, Takes
from vmha.sim.faults.schedule import Step
from vmha.sim.faults.stage import Stage


def _stops(stage: Stage, step: Step) -> None:
    etcd = stage.world.etcd
    if etcd.is_running:
        etcd.stop()
    stage.hold("etcd", step.for_s, etcd.start)


def _long_outage(stage: Stage, step: Step) -> str | None:
    if stage.world.peers is None:
        return "no guest would outlive it"
    _stops(stage, step)
    return None


def _slow(stage: Stage, step: Step) -> None:
    etcd = stage.world.etcd
    etcd.slow(step.node, step.number)
    stage.hold(f"slow {step.node}", step.for_s, lambda: etcd.slow(step.node, NORMAL_S))


def _slow_for_all(stage: Stage, step: Step) -> None:
    etcd = stage.world.etcd
    for node in stage.world.hosts:
        etcd.slow(node, step.number)
        stage.hold(f"slow {node}", step.for_s, lambda node=node: etcd.slow(node, NORMAL_S))  # type: ignore[misc]


def _lag(stage: Stage, step: Step) -> None:
    etcd = stage.world.etcd
    etcd.lag(step.node, step.number)
    stage.hold(f"lag {step.node}", step.for_s, lambda: etcd.lag(step.node, 0.0))


def _lose_answer(stage: Stage, step: Step) -> None:
    stage.world.etcd.lose_answer(step.node, done=True)


def _lose_request(stage: Stage, step: Step) -> None:
    stage.world.etcd.lose_answer(step.node, done=False)


def _compact(stage: Stage, step: Step) -> None:
    stage.world.compact()


def _lease_vanishes(stage: Stage, step: Step) -> str | None:
    """etcd revokes the lease of a living node, as it does after a pause of its own leader."""
    etcd = stage.world.etcd
    kv = etcd.get(stage.world.keys.session(stage.host(step.node).name))
    if kv is None or not etcd.is_running:
        return "it has no lease"
    etcd.expire(LeaseId(kv.lease))
    return None


def _all_leases_vanish(stage: Stage, step: Step) -> str | None:
    found = [_lease_vanishes(stage, step.model_copy(update={"node": str(node)})) for node in stage.world.hosts]
    return "nobody has a lease" if all(found) else None


def _leases_extended(stage: Stage, step: Step) -> str | None:
    """An election gives every lease its whole time again, and one follows another."""
    etcd = stage.world.etcd
    if not etcd.is_running:
        return "it is down"
    etcd.elect(True)
    stage.hold("elections", step.for_s, lambda: etcd.elect(False))
    return None


def _false_renewals(stage: Stage, step: Step) -> None:
    etcd = stage.world.etcd
    etcd.deceive(step.node, True)
    stage.hold(f"renewals {step.node}", step.for_s, lambda: etcd.deceive(step.node, False))


def _watch_breaks(stage: Stage, step: Step) -> None:
    stage.world.etcd.break_watches(step.node)


def _watch_repeats(stage: Stage, step: Step) -> None:
    stage.world.etcd.repeat(step.node, int(step.number))


def _no_space(stage: Stage, step: Step) -> None:
    etcd = stage.world.etcd

    def free() -> None:
        etcd.full = False

    etcd.full = True
    stage.hold("space", step.for_s, free)


NORMAL_S = 0.001
_NODE = (Takes.NODE,)

OF_THE_STORE: tuple[Fault, ...] = (
    Fault(
        name="etcd-stops",
        kind="store",
        weight=1.0,
        for_s=(0.1, 8),
        do=_stops,
        about="all members of the store are down for a while",
    ),
    Fault(
        name="etcd-stops-for-long",
        kind="store",
        weight=0.5,
        for_s=(5, 60),
        do=_long_outage,
        about="as etcd-stops, for much longer than the hold, where the agents' promises keep the guests",
    ),
    Fault(
        name="store-slow",
        kind="store",
        weight=1.5,
        takes=_NODE,
        number=(0.005, 1.5),
        for_s=(0.2, 10),
        do=_slow,
        about="every call of one node to the store takes so many seconds: messages are delayed",
    ),
    Fault(
        name="store-slow-for-all",
        kind="store",
        weight=0.5,
        number=(0.005, 1.0),
        for_s=(0.2, 5),
        do=_slow_for_all,
        about="every call of every node takes so many seconds",
    ),
    Fault(
        name="watch-lags",
        kind="store",
        weight=2.0,
        takes=_NODE,
        number=(0.005, 2.0),
        for_s=(0.2, 15),
        do=_lag,
        about="one node hears of changes so many seconds later than others do",
    ),
    Fault(
        name="watch-breaks",
        kind="store",
        weight=1.5,
        takes=_NODE,
        do=_watch_breaks,
        about="a node's watch loses its connection, and what was on its way",
    ),
    Fault(
        name="watch-repeats",
        kind="store",
        weight=1.5,
        takes=_NODE,
        number=(1, 20),
        counts=True,
        do=_watch_repeats,
        about="a node's watch delivers its last n changes a second time",
    ),
    Fault(
        name="answer-lost",
        kind="store",
        weight=4.0,
        takes=_NODE,
        do=_lose_answer,
        about="a node's next write is done, and the answer is lost",
    ),
    Fault(
        name="request-lost",
        kind="store",
        weight=2.0,
        takes=_NODE,
        do=_lose_request,
        about="a node's next write is not done, and nobody says so",
    ),
    Fault(name="compacted", kind="store", weight=1.0, do=_compact, about="the store forgets its history"),
    Fault(
        name="lease-vanishes",
        kind="lease",
        weight=1.5,
        takes=_NODE,
        do=_lease_vanishes,
        about="the lease of a living node is revoked",
    ),
    Fault(
        name="all-leases-vanish",
        kind="lease",
        weight=0.5,
        do=_all_leases_vanish,
        about="the store's leader was paused for longer than the time to live: all living leases are revoked",
    ),
    Fault(
        name="leases-extended",
        kind="lease",
        weight=0.0,
        for_s=(0.1, 10),
        do=_leases_extended,
        about="the store elects one leader after another: all leases begin anew, also of the dead; "
        "drawn as all-leases-vanish",
    ),
    Fault(
        name="false-renewals",
        kind="lease",
        weight=1.0,
        takes=_NODE,
        for_s=(0.5, 10),
        do=_false_renewals,
        about="a node's renewals are acknowledged and count for nothing",
    ),
    Fault(
        name="no-space",
        kind="store",
        weight=0.4,
        for_s=(0.1, 6),
        do=_no_space,
        about="the store's quota is used up: it can be read, not written",
    ),
)
