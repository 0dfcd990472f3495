"""A state of the model: the store, the hosts with their agents, and what is under way on the network.

Everything is a tuple of numbers and words. ``canonical`` renames revisions and epochs by the order in which they
stand in the state: no decision asks for more than whether two are the same, or which epoch is the higher one.
"""

from typing import NamedTuple

from .values import BEAT, COUNTED, EPOCHS, HOLD, LEADER, PLACEMENT, SESSIONS, renamed


class Slot(NamedTuple):
    """One key of the store."""

    key: str
    created: int
    modified: int
    value: int


class Txn(NamedTuple):
    """A transaction: ``compares`` are (kind, key, revision), ``ops`` (key, number of the value or 0 to delete)."""

    label: str
    compares: tuple[tuple[str, str, int], ...]
    ops: tuple[tuple[str, int], ...]


class Standing(NamedTuple):
    """How the agent's session stood when an answer came."""

    session: str
    created: int
    modified: int
    age: int
    armed: bool
    over: bool


class Answer(NamedTuple):
    """To a question of a worker. ``revision`` is one of the placement."""

    kind: str
    ok: bool
    revision: int
    value: int
    standing: Standing


class Work(NamedTuple):
    """What the agent does about the vm, up to the question that is open: a transaction or the start of QEMU."""

    action: str
    read: Slot | None
    answers: tuple[Answer, ...]
    txn: Txn | None
    start: int  # the epoch of the QEMU that is being started; 0: none


class Beat(NamedTuple):
    """A beat on its way: sent ``age`` ticks ago by the node's clock."""

    age: int
    before: int  # the age of the last committed one when it was sent
    txn: Txn
    revision: int = 0  # it is committed, and the answer is on its way


class Agent(NamedTuple):
    """The agent process. ``session`` '': it has none."""

    paused: bool = False  # it gets no processor time, or hangs
    session: str = ""
    created: int = 0
    modified: int = 0  # the last beat that it knows to be committed
    age: int = 0  # ticks since the last committed beat was sent, by the node's clock
    armed: bool = False
    over: bool = False
    published: int = -1  # the epoch of the guest in the published inventory, 0 none; -1: nothing published
    beat: Beat | None = None
    work: Work | None = None
    publication: tuple[Txn, int] | None = None  # and what it publishes
    term: int = 0
    step: Txn | None = None  # of a plan
    mirror: tuple[tuple[Slot, ...], tuple[int, ...]] | None = None  # where the mirror stands still; None: it follows


class Host(NamedTuple):
    power: str = "on"  # on, off, frozen
    boot: int = 1
    frozen_for: int = 0
    cut: bool = False
    lag: int = 0  # ticks that the node's clock has lost since the guard's last beat
    guard: str = "idle"
    guarded: str = ""  # the session that the guard counts
    age: int = 0  # of its last beat, as the guard knows it
    quiet: int = 0  # true ticks since a beat of this node was committed
    guest: int = 0  # the epoch of the QEMU that runs; 0: none
    granted: tuple[int, str] = (0, "")
    queued: int = 0  # a start that a dead agent had asked of libvirt
    agent: Agent | None = None


class State(NamedTuple):
    store: tuple[Slot, ...]
    hosts: tuple[Host, ...]
    loose: tuple[Txn, ...] = ()  # of processes that died: they may still be committed
    faults: int = 0  # how many more there may be


def initial(nodes: int, faults: int) -> State:
    return State(store=(), hosts=(Host(agent=Agent()),) * nodes, faults=faults)


def is_running(host: Host) -> bool:
    return host.guest != 0 and host.power == "on"


def find(store: tuple[Slot, ...], key: str) -> Slot | None:
    for slot in store:
        if slot.key == key:
            return slot
    return None


def put_host(state: State, at: int, host: Host) -> State:
    hosts = state.hosts
    return State(state.store, (*hosts[:at], host, *hosts[at + 1 :]), state.loose, state.faults)


def older(age: int) -> int:
    return min(age + 1, HOLD)


# --- renaming


class _Names:
    def __init__(self) -> None:
        self.revisions: dict[tuple[str, int], int] = {}
        self.last: dict[str, int] = {}
        self.epochs: dict[int, int] = {}
        self.sessions: dict[str, str] = {"": ""}
        self.used: dict[str, int] = {}

    def revision(self, key: str, old: int) -> int:
        if old == 0 or key not in COUNTED:
            return old and 1
        new = self.revisions.get((key, old))
        if new is None:
            new = self.revisions[key, old] = self.last[key] = self.last.get(key, 0) + 1
        return new

    def session(self, old: str) -> str:
        new = self.sessions.get(old)
        if new is None:
            node = old.partition("-")[0]
            self.used[node] = self.used.get(node, 0) + 1
            new = self.sessions[old] = f"{node}-{self.used[node]}"
        return new

    def key(self, key: str) -> str:
        if not key.startswith("fencing/"):
            return key
        return "fencing/" + self.session(key.partition("/")[2])

    def value(self, number: int) -> int:
        return renamed(number, self.epochs[EPOCHS[number]], self.session(SESSIONS[number]))


def canonical(state: State) -> State:
    names = _Names()
    found: set[int] = set()
    _gather(state, found)
    names.epochs = {old: new for new, old in enumerate(sorted(found), 1)}
    names.epochs[0] = 0
    for at, host in enumerate(state.hosts):  # living sessions are named first
        if host.agent:
            names.session(host.agent.session)
        names.session(host.guarded)
        if slot := find(state.store, BEAT[at]):
            names.session(SESSIONS[slot.value])
    store = tuple(sorted(_slot(slot, names) for slot in state.store))
    hosts = tuple(_host(host, at, names) for at, host in enumerate(state.hosts))
    loose = tuple(sorted({_txn(txn, names) for txn in state.loose}))
    return State(store, hosts, loose, state.faults)


def _gather(state: State, found: set[int]) -> None:
    def values(slots: tuple[Slot, ...]) -> None:
        for slot in slots:
            found.add(EPOCHS[slot.value])

    def txn(one: Txn | None) -> None:
        if one is not None:
            for _, value in one.ops:
                found.add(EPOCHS[value])

    values(state.store)
    for one in state.loose:
        txn(one)
    for host in state.hosts:
        found.update((host.guest, host.granted[0], host.queued))
        agent = host.agent
        if agent is None:
            continue
        found.add(max(0, agent.published))
        txn(agent.step)
        if agent.publication:
            txn(agent.publication[0])
            found.add(agent.publication[1])
        if agent.mirror:
            values(agent.mirror[0])
        if agent.work:
            work = agent.work
            found.add(work.start)
            txn(work.txn)
            if work.read:
                found.add(EPOCHS[work.read.value])
            for answer in work.answers:
                found.add(answer.value if answer.kind == "inventory" else EPOCHS[answer.value])
    found.discard(0)


def _slot(slot: Slot, names: _Names) -> Slot:
    key = slot.key
    created, modified = names.revision(key, slot.created), names.revision(key, slot.modified)
    return Slot(names.key(key), created, modified, names.value(slot.value))


def _txn(txn: Txn, names: _Names) -> Txn:
    compares = tuple((kind, names.key(key), names.revision(key, revision)) for kind, key, revision in txn.compares)
    return Txn(txn.label, compares, tuple((names.key(key), names.value(value)) for key, value in txn.ops))


def _host(host: Host, at: int, names: _Names) -> Host:
    epochs = names.epochs
    power, boot, frozen_for, cut, lag, guard, guarded, age, quiet, guest, granted, queued, agent = host
    now_granted = (epochs[granted[0]], names.session(granted[1]))
    now_agent = _agent(agent, BEAT[at], names) if agent else None
    return Host(
        power,
        boot,
        frozen_for,
        cut,
        lag,
        guard,
        names.session(guarded),
        age,
        quiet,
        epochs[guest],
        now_granted,
        epochs[queued],
        now_agent,
    )


def _agent(agent: Agent, beat: str, names: _Names) -> Agent:
    paused, session, created, modified, age, armed, over, published, sent, work, publication, term, step, mirror = agent
    session, created = names.session(session), names.revision(beat, created)
    modified, term = names.revision(beat, modified), names.revision(LEADER, term)
    if published > 0:
        published = names.epochs[published]
    if sent:
        revision = names.revision(beat, sent.revision)
        sent = Beat(sent.age, sent.before, _txn(sent.txn, names), revision)
    if work:
        work = _work(work, beat, names)
    if publication:
        publication = (_txn(publication[0], names), names.epochs[publication[1]])
    if step:
        step = _txn(step, names)
    if mirror:
        mirror = (tuple(_slot(slot, names) for slot in mirror[0]), mirror[1])
    return Agent(
        paused, session, created, modified, age, armed, over, published, sent, work, publication, term, step, mirror
    )


def _work(work: Work, beat: str, names: _Names) -> Work:
    answers = tuple(
        Answer(
            one.kind,
            one.ok,
            names.revision(PLACEMENT, one.revision),
            names.epochs[one.value] if one.kind == "inventory" else names.value(one.value),
            Standing(
                names.session(one.standing.session),
                names.revision(beat, one.standing.created),
                names.revision(beat, one.standing.modified),
                one.standing.age,
                one.standing.armed,
                one.standing.over,
            ),
        )
        for one in work.answers
    )
    read = _slot(work.read, names) if work.read else None
    txn = _txn(work.txn, names) if work.txn else None
    return Work(work.action, read, answers, txn, names.epochs[work.start])
