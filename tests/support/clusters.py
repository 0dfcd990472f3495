"""A cluster as a book of keys, for tests of the policy: put records in, read a snapshot out, apply a plan's steps.

Steps are applied as the product's own executor writes them, compares and all, so that a step decided on the past loses
here as it would in the store. ``record`` keeps every commit for the invariants' checker.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vmha.leader.executor import Executor
from vmha.model.domain_xml import default_uuid
from vmha.model.holds import Hold, PauseMode
from vmha.model.ids import Epoch, LeaseId, NodeName, RequestId, Revision, SessionId, Term, VmName
from vmha.model.keys import Keys, encode
from vmha.model.records import (
    ArmedLevel,
    BeatRecord,
    FenceRecord,
    LeaderRecord,
    NodeStatus,
    Observation,
    Outcome,
    Phase,
    Placement,
    Reason,
    Request,
    RunEnd,
    SeenState,
    SessionRecord,
    Verb,
)
from vmha.model.rules import Rule
from vmha.model.service import Service
from vmha.model.settings import ClusterConfig, Profile, Proof
from vmha.model.vm import Desired, FailoverDomain, FailoverDomainMember, FenceDeviceSpec, NodeSpec, VmSpec
from vmha.policy.asked.requests import aging
from vmha.policy.plan import plan
from vmha.policy.state.assemble import Assembler
from vmha.policy.state.snapshot import Moment, Snapshot
from vmha.policy.state.steps import EvictSession, FenceNode, Plan, Step
from vmha.sim.world.record import CommitLine, Written
from vmha.store.journal import Journal
from vmha.store.port import Compare, Created, Delete, Exists, Modified, Op, Put, Settled

KEYS = Keys("t")
WHY = Reason(rule="test", text="the test says so")
WALL = 1_700_000_000.0
EVERYTHING = Revision(1 << 30)
"""As ``looked_for``: this node has looked for every vm."""

SETTINGS = ClusterConfig(profile=Profile.TUNED)
TIMING = SETTINGS.clockwork
SUSPECT_S, LOST_S = TIMING.suspect_s, TIMING.dead_after_s


@dataclass(slots=True)
class _Clock:
    at: float = 0.0

    def now(self) -> float:
        return self.at

    def wall(self) -> float:
        return WALL + self.at


@dataclass(frozen=True, slots=True)
class _Entry:
    value: bytes
    created: int
    modified: int


@dataclass(slots=True)
class Book:
    """The store. ``at`` is the clock of everybody who reads or writes here, in seconds."""

    clock: _Clock = field(default_factory=_Clock)
    record: list[CommitLine] = field(default_factory=list)
    revision: int = 1
    term: int = 0
    leader_node: str = "n1"
    _entries: dict[str, _Entry] = field(default_factory=dict)
    _written_at: dict[str, float] = field(default_factory=dict)

    # --- the store

    def txn(self, compares: list[Compare], ops: list[Op]) -> bool:
        if not all(self._holds(compare) for compare in compares):
            return False
        self.revision += 1
        for op in ops:
            self._written_at[op.key.removeprefix(KEYS.prefix)] = self.clock.at
            match op:
                case Put(key=key, value=value):
                    old = self._entries.get(key)
                    self._entries[key] = _Entry(value, old.created if old else self.revision, self.revision)
                case Delete(key=key):
                    self._entries.pop(key, None)
        written = tuple(
            Written(key=op.key.removeprefix(KEYS.prefix), value=op.value if isinstance(op, Put) else None) for op in ops
        )
        self.record.append(CommitLine(at_s=self.clock.at, revision=self.revision, written=written))
        return True

    def _holds(self, compare: Compare) -> bool:
        entry = self._entries.get(compare.key)
        match compare:
            case Created(revision=revision):
                return (entry.created if entry else 0) == revision
            case Modified(revision=revision):
                return (entry.modified if entry else 0) == revision
            case Exists():
                return entry is not None
            case Settled(key=prefix, revision=revision):
                return all(e.modified <= revision for key, e in self._entries.items() if key.startswith(prefix))

    def put(self, key: str, record: Any) -> None:
        self.txn([], [Put(key, encode(record))])

    def delete(self, key: str) -> None:
        self.txn([], [Delete(key)])

    def snapshot(self) -> Snapshot:
        assembler = Assembler(KEYS)
        for key in sorted(self._entries):
            entry = self._entries[key]
            assembler.put(
                key,
                entry.value,
                created=Revision(entry.created),
                modified=Revision(entry.modified),
                lease=LeaseId(0),
            )
        return assembler.snapshot(Revision(self.revision))

    def contents(self) -> dict[str, bytes]:
        return {key: entry.value for key, entry in self._entries.items()}

    # --- what is in it

    def configure(self, config: ClusterConfig = SETTINGS) -> "Book":
        self.put(KEYS.config, config)
        return self

    def node(
        self,
        name: str,
        *,
        session: str | None = None,
        lease: bool = True,
        status: bool = True,
        spec: Mapping[str, Any] | None = None,
        armed: ArmedLevel = ArmedLevel.GUARD,
        fence: bool = False,
        age_s: float = 3600.0,
        **about: Any,
    ) -> "Book":
        """A node that is online, for ``age_s``. ``spec``: what the operator says; ``about``: fields of its status."""
        node = NodeName(name)
        known = SessionId(session or f"s-{name}")
        devices = (FenceDeviceSpec(agent="fence_test"),) if fence else ()
        self.put(KEYS.node_spec(node), NodeSpec(name=name, **{"fence": devices, **(spec or {})}))
        beat = BeatRecord(
            session=known, boot_id="b", count=1, armed=armed, hold_s=TIMING.hold_s, dead_after_s=TIMING.dead_after_s
        )
        self.put(KEYS.beat(node), replace(beat, armed=ArmedLevel.NONE))
        self.put(KEYS.beat(node), beat)
        if lease:
            record = SessionRecord(node=node, session=known, since=WALL - age_s, version="1", address=name)
            self.put(KEYS.session(node), record)
        if status:
            fields: dict[str, Any] = {"eligible": True, "armed": armed, "memory_mib": 16384, "vcpus": 8}
            fields |= {"looked_for": EVERYTHING} | about
            self.put(KEYS.node_status(node), NodeStatus(node=node, session=known, **fields))
        return self

    def session(self, name: str, **fields: Any) -> "Book":
        """The session that ``node`` has begun, with other fields."""
        key = KEYS.session(NodeName(name))
        view = self.snapshot().nodes[NodeName(name)]
        assert view.session
        self.put(key, replace(view.session.value, **fields))
        return self

    def offline(self, name: str) -> "Book":
        """Known, and without a session."""
        self.put(KEYS.node_spec(NodeName(name)), NodeSpec(name=name))
        return self

    def domain(self, name: str, *members: str, **flags: bool) -> "Book":
        """``members`` in order of preference (all of one rank when it is not ``ordered``)."""
        ranked = tuple(FailoverDomainMember(node=node, priority=rank) for rank, node in enumerate(members, start=1))
        self.put(KEYS.domain(name), FailoverDomain(name=name, members=ranked, **flags))
        return self

    def service(self, name: str, *members: str, **fields: Any) -> "Book":
        self.put(KEYS.service(name), Service(name=name, members=members, **fields))
        return self

    def rule(self, name: str, **fields: Any) -> "Book":
        self.put(KEYS.rule(name), Rule(name=name, **fields))
        return self

    def vm(self, name: str, *, desired: Desired = Desired.RUNNING, **fields: Any) -> "Book":
        given = {"xml": "<domain/>", "uuid": default_uuid("t", name), **fields}
        spec = VmSpec(name=name, desired=desired, **given)
        self.put(KEYS.vm_spec(VmName(name)), spec)
        return self

    def placed(self, vm: str, node: str | None, *, phase: Phase = Phase.HELD, epoch: int = 1, **fields: Any) -> "Book":
        """A claim. Held, stopping, migrating: by the node's session ``s-<node>`` unless ``session`` is given."""
        held = phase in (Phase.HELD, Phase.STOPPING, Phase.MIGRATING, Phase.DEPARTED)
        given = {
            "session": SessionId(f"s-{node}") if held else None,
            "reason": WHY,
            "since": self.clock.wall(),
            **fields,
        }
        new = Placement(vm=VmName(vm), epoch=Epoch(epoch), phase=phase, node=NodeName(node) if node else None, **given)
        self.put(KEYS.placement(VmName(vm)), new)
        return self

    def put_placement(self, placement: Placement) -> "Book":
        """As its holder writes it."""
        self.put(KEYS.placement(placement.vm), placement)
        return self

    def ended(self, vm: str, last_node: str, ended: RunEnd, *, epoch: int = 1, **fields: Any) -> "Book":
        return self.placed(
            vm, None, phase=Phase.STOPPED, epoch=epoch, last_node=NodeName(last_node), ended=ended, **fields
        )

    def seen(
        self, node: str, vm: str, state: SeenState = SeenState.RUNNING, *, session: str | None = None, **fields: Any
    ) -> "Book":
        known = SessionId(session or f"s-{node}")
        observation = Observation(vm=VmName(vm), node=NodeName(node), session=known, state=state, **fields)
        self.put(KEYS.observation(NodeName(node), VmName(vm)), observation)
        return self

    def running(self, vm: str, node: str, *, epoch: int = 1, **spec: Any) -> "Book":
        """Defined, held and seen running."""
        return self.vm(vm, **spec).placed(vm, node, epoch=epoch).seen(node, vm, epoch=Epoch(epoch))

    def fenced(self, session: str, node: str, proof: Proof = Proof.GUARD_ELAPSED, *, last_beat: int = 0) -> "Book":
        record = FenceRecord(
            session=SessionId(session),
            node=NodeName(node),
            proof=proof,
            how="",
            at=WALL,
            by=NodeName("n1"),
            last_beat=Revision(last_beat),
        )
        self.put(KEYS.fencing(SessionId(session)), record)
        return self

    def request(
        self, verb: Verb, *, name: str = "r1", vm: str | None = None, node: str | None = None, **fields: Any
    ) -> "Book":
        asked = Request(
            id=RequestId(name),
            verb=verb,
            vm=VmName(vm) if vm else None,
            node=NodeName(node) if node else None,
            author="ann",
            asked_at=self.clock.wall(),
            **fields,
        )
        self.put(KEYS.request(RequestId(name)), asked)
        return self

    # --- reading and planning

    def moment(self, **fields: Any) -> Moment:
        fields.setdefault("known_s", {name: self.clock.at - self._since(name) for name in aging(self.snapshot())})
        return Moment(now=self.clock.now(), wall=self.clock.wall(), **fields)

    def _since(self, name: str) -> float:
        """When what ages under this name was written."""
        kind, _, what = name.partition("/")
        vm = what.partition("@")[0]
        return self._written_at[name if kind != "holds" else f"vms/{vm}/freeze" if vm else "pause"]

    def freeze(self, vm: str, **fields: Any) -> "Book":
        self.put(KEYS.freeze(VmName(vm)), Hold(author="ann", **fields))
        return self

    def pause(self, mode: PauseMode, **fields: Any) -> "Book":
        self.put(KEYS.pause, Hold(author="ann", mode=mode, **fields))
        return self

    def plan(self, **moment: Any) -> Plan:
        return plan(self.snapshot(), self.moment(**moment))

    def placement(self, vm: str) -> Placement | None:
        view = self.snapshot().vms.get(VmName(vm))
        return view.placement.value if view and view.placement else None

    def claim(self, vm: str) -> Placement:
        """Its placement, which must exist."""
        found = self.placement(vm)
        assert found is not None, f"{vm} has no placement"
        return found

    def answered(self, name: str = "r1") -> Outcome:
        found = self.outcome(name)
        assert found is not None, f"request {name} has no outcome"
        return found

    def spec(self, vm: str) -> VmSpec:
        view = self.snapshot().vms[VmName(vm)]
        assert view.spec
        return view.spec.value

    def outcome(self, name: str = "r1") -> Outcome | None:
        return self.snapshot().outcomes.get(RequestId(name))

    # --- leading

    def elect(self, node: str = "n1") -> "Book":
        """A new leader: the old one's writes are refused from now on."""
        self.delete(KEYS.leader)
        self.put(KEYS.leader, LeaderRecord(node=NodeName(node), session=SessionId(f"s-{node}"), since=WALL))
        self.leader_node, self.term = node, self.revision
        return self

    def apply(self, step: Step, decided_on: Snapshot, *, term: int | None = None) -> bool:
        """One step, as the executor would write it. Power cuts always succeed here."""
        if isinstance(step, FenceNode):
            step = EvictSession(
                node=step.node,
                session=step.session,
                beat_created=step.beat_created,
                beat_modified=step.beat_modified,
                proof=Proof.POWER_OFF_CONFIRMED,
                how="off",
                reason=step.reason,
            )
        leader = NodeName(self.leader_node)
        executor = Executor(
            store=None,  # type: ignore[arg-type]  # only its transactions are asked for
            keys=KEYS,
            clock=self.clock,
            node=leader,
            term=Term(self.term),
            journal=_journal(self, leader),
        )
        compares, ops = executor._transaction(step, decided_on)
        return self.txn([Created(KEYS.leader, Revision(self.term if term is None else term)), *compares], ops)

    def carry_out(self, made: Plan, decided_on: Snapshot) -> int:
        """How many of the plan's steps were written."""
        return sum(self.apply(step, decided_on) for step in made.steps)

    def lead(self, *, rounds: int = 8, **moment: Any) -> int:
        """Plan and write until a plan proposes nothing. Returns after how many rounds.

        Raises:
            AssertionError: it never ends.
        """
        for done in range(rounds):
            decided_on = self.snapshot()
            made = plan(decided_on, self.moment(**moment))
            if not made.steps:
                return done
            self.carry_out(made, decided_on)
        raise AssertionError(f"plans follow plans without end: {self.plan(**moment).steps}")


def _journal(book: Book, by: NodeName) -> Journal:
    """Entries of one name must not collide: the revision makes each unique."""
    journal = Journal(None, KEYS, book.clock, by, days=lambda: 7)  # type: ignore[arg-type]  # no lease is asked for
    journal._count = iter(range(book.revision * 100, book.revision * 100 + 100))  # type: ignore[assignment]
    return journal


def cluster(*nodes: str, **fields: Any) -> Book:
    """Online nodes under the leadership of the first."""
    book = Book().configure()
    for name in nodes:
        book.node(name, **fields)
    return book.elect(nodes[0])
