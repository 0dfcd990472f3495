"""The whole cluster as an operator sees it: derived from one snapshot, stored nowhere."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from types import NoneType
from typing import Any, cast

from vmha.model.clock import Clock, Patience
from vmha.model.holds import Hold
from vmha.model.ids import NodeName, Revision, SessionId, Term, VmName
from vmha.model.records import ArmedLevel, HealthState, Observation, Phase, SeenState
from vmha.operator import rebalancing
from vmha.operator import survival as told_survival
from vmha.operator.rebalancing import RebalanceLine, rebalance_line
from vmha.policy.deciding.autostart import settling
from vmha.policy.deciding.restored import in_words, not_heard_of
from vmha.policy.members.mass_loss import is_mass_loss
from vmha.policy.members.membership import Condition, Verdict, judge, moment_of_one_reading
from vmha.policy.members.schema import SchemaStanding, standing
from vmha.policy.members.schema import in_words as schema_in_words
from vmha.policy.placing.exclusive import company
from vmha.policy.placing.field import Field
from vmha.policy.placing.placement import survey
from vmha.policy.state.census import Census, take
from vmha.policy.state.snapshot import Moment, NodeView, Snapshot, VmView
from vmha.policy.telling import another_store
from vmha.policy.telling.explain import VmState, VmSummary, summarize
from vmha.policy.telling.explain_relations import told_apart
from vmha.policy.telling.explain_rules import broken
from vmha.policy.telling.left_overs import of_all_vms
from vmha.policy.telling.proofs import in_full
from vmha.policy.telling.survival import Survival, survival


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderLine:
    node: NodeName
    session: SessionId
    since: float
    term: Term


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLine:
    """One node. ``vms`` counts what it holds or is to hold; memory in MiB, 0 when it is not known.

    ``memory_for_vms_mib`` and ``vcpus_for_vms``: what it may carry, after reserve and overcommit; 0: not limited.
    """

    name: NodeName
    condition: Condition
    eligible: bool
    why_not: str
    session: SessionId | None
    armed: ArmedLevel
    vms: int
    memory_mib: int
    memory_used_mib: int
    vcpus: int
    memory_for_vms_mib: int
    vcpus_for_vms: int
    vcpus_used: int
    address: str
    migration_address: str
    hypervisor: str
    version: str
    reads: int = 0  # the newest schema of a cluster that its agent reads; 0: not known
    maintenance: bool
    maintenance_why: str
    since: float
    notes: tuple[str, ...] = ()
    fencing: str = ""  # how its fencing goes, in words, while there is any


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    cluster: str
    revision: Revision
    leader: LeaderLine | None
    nodes: tuple[NodeLine, ...]
    vms: tuple[VmSummary, ...]
    warnings: tuple[str, ...]
    verdicts: dict[NodeName, Verdict] = field(default_factory=dict)
    pause: Hold | None = None
    schema: SchemaStanding | None = None
    survival: Survival | None = None  # of the loss of any one node; None: not asked for
    rebalance: RebalanceLine | None = None  # None: the cluster does not rebalance by itself

    def count(self) -> Counter[VmState]:
        return Counter(vm.state for vm in self.vms)


def overview(
    snapshot: Snapshot,
    *,
    cluster: str,
    wall: float,
    alarms: Sequence[str] = (),
    store_id: str = "",
    asks_survival: Clock | None = None,
) -> Overview:
    """Everything that ``vmha status`` shows. ``alarms``: what etcd itself says is wrong with it; ``store_id``: its id.

    ``asks_survival``: also whether the loss of any one node would be survived, looked at for so long by this clock as a
    verb does. That takes as long as all the rest, and much longer in a large cluster without room.
    """
    moment = moment_of_one_reading(snapshot, wall=wall)
    verdicts = {name: judge(view, snapshot, moment) for name, view in sorted(snapshot.nodes.items())}
    vms = tuple(summarize(snapshot.vms[name], snapshot, verdicts) for name in sorted(snapshot.vms))
    census = take(snapshot.vms)
    ground = survey(snapshot, verdicts, wall, census)
    nodes = tuple(_node_line(view, verdicts[name], ground, wall) for name, view in sorted(snapshot.nodes.items()))
    warnings = _warnings(
        snapshot,
        nodes,
        vms,
        verdicts,
        wall,
        braked=snapshot.config.fencing.mass_loss_brake and is_mass_loss(verdicts),
    )
    return Overview(
        cluster=cluster,
        revision=snapshot.revision,
        leader=_leader_line(snapshot),
        nodes=nodes,
        vms=vms,
        warnings=(*map(_of_etcd, alarms), *_of_another(snapshot, verdicts, store_id), *warnings),
        verdicts=verdicts,
        pause=snapshot.pause.value if snapshot.pause else None,
        schema=standing(snapshot),
        survival=_survival(snapshot, moment, verdicts, census, asks_survival) if asks_survival else None,
        rebalance=rebalance_line(snapshot, ground),
    )


def _of_another(snapshot: Snapshot, verdicts: dict[NodeName, Verdict], store_id: str) -> list[str]:
    left = another_store.left_at_another(snapshot, verdicts, store_id)
    return [f"{another_store.say_left(snapshot, left, store_id)}: {another_store.REMEDY}"] if left else []


def _survival(
    snapshot: Snapshot, moment: Moment, verdicts: dict[NodeName, Verdict], census: Census, clock: Clock
) -> Survival:
    goes_on = Patience(clock, told_survival.PATIENCE_S)
    return survival(snapshot, moment, verdicts=verdicts, census=census, goes_on=goes_on)


def as_plain(shown: Overview) -> dict[str, Any]:
    """The one object of ``vmha status --json``."""
    return {
        "cluster": shown.cluster,
        "revision": shown.revision,
        "leader": asdict(shown.leader) if shown.leader else None,
        "pause": asdict(shown.pause) if shown.pause else None,
        "schema": _plain_schema(shown.schema) if shown.schema else None,
        "loss_of_any_one_node": told_survival.as_plain(shown.survival) if shown.survival else None,
        "rebalance": rebalancing.as_plain(shown.rebalance) if shown.rebalance else None,
        "nodes": [_plain(node) for node in shown.nodes],
        "vms": [plain_vm(vm) for vm in shown.vms],
        "warnings": list(shown.warnings),
    }


def _plain_schema(found: SchemaStanding) -> dict[str, Any]:
    return {
        "version": found.version,
        "next": found.next,
        "waits_for": [{"node": node, "why": why} for node, why in found.waits_for],
        "too_old": [node for node, _ in found.too_old],
    }


def plain_vm(summary: VmSummary) -> dict[str, Any]:
    """One vm of a listing: without the candidates, which ``vmha vm why`` has."""
    return _plain(summary, without="candidates")


def _plain(record: Any, *, without: str = "") -> dict[str, Any]:
    """As ``asdict``, which copies each value deeply: of ten thousand vms that takes longer than all the rest."""
    plain, kind = {}, cast(type, type(record))
    for name in _names_of(kind):
        if name != without:
            value = getattr(record, name)
            plain[name] = value if isinstance(value, _SIMPLE) else asdict(value)
    return plain


_SIMPLE = (str, int, float, tuple, NoneType)


@cache
def _names_of(kind: type) -> tuple[str, ...]:
    return tuple(one.name for one in fields(cast(Any, kind)))


def _leader_line(snapshot: Snapshot) -> LeaderLine | None:
    if snapshot.leader is None:
        return None
    record = snapshot.leader.value
    return LeaderLine(
        node=record.node, session=record.session, since=record.since, term=Term(int(snapshot.leader.created))
    )


def _node_line(view: NodeView, verdict: Verdict, ground: Field, wall: float) -> NodeLine:
    load, room = ground.loads[view.name], ground.room_of(view.name)
    status, spec = view.current_status, view.spec.value if view.spec else None
    session = view.session.value if view.session else None
    is_here = verdict.condition is not Condition.OFFLINE
    return NodeLine(
        name=view.name,
        condition=verdict.condition,
        eligible=verdict.may_receive,
        why_not=verdict.refusal,
        session=view.session_id,
        armed=view.beat.value.armed if view.beat and is_here else ArmedLevel.NONE,
        vms=load.vms,
        memory_mib=(spec.memory_mib if spec else None) or (status.memory_mib if status else 0),
        memory_used_mib=load.memory_mib,
        vcpus=(spec.vcpus if spec else None) or (status.vcpus if status else 0),
        memory_for_vms_mib=room.memory_mib,
        vcpus_for_vms=room.vcpus,
        vcpus_used=load.vcpus,
        address=(status.address if status else "") or (session.address if session else ""),
        migration_address=(spec.migration_address if spec else None) or (status.migration_address if status else ""),
        hypervisor=status.hypervisor if status else "",
        version=session.version if session else "",
        reads=session.reads if session else 0,
        maintenance=bool(spec and spec.maintenance),
        maintenance_why=spec.maintenance_why if spec else "",
        since=session.since if session else 0.0,
        notes=status.notes if status else (),
        fencing=in_full(view.fencing.value, wall)
        if view.fencing and (view.attempt or view.is_cut_off_its_storage or view.switched_off)
        else "",
    )


def _overfull(node: NodeLine) -> Iterator[str]:
    """A hand, an edit or a smaller host has put more on it than it may carry: told, and left alone."""
    for used, most, what in (
        (node.memory_used_mib, node.memory_for_vms_mib, "MiB"),
        (node.vcpus_used, node.vcpus_for_vms, "vcpus"),
    ):
        if most and used > most:
            yield f"node {node.name} carries vms of {used} {what}, and has {most} for them"


_PAUSED = SeenState.PAUSED
_ALARMING = (Condition.SUSPECT, Condition.FENCING, Condition.LOST, Condition.UNFIT)


def _warnings(
    snapshot: Snapshot,
    nodes: tuple[NodeLine, ...],
    vms: tuple[VmSummary, ...],
    verdicts: dict[NodeName, Verdict],
    wall: float,
    *,
    braked: bool,
) -> list[str]:
    """The worst first."""
    said = [_twice(snapshot, vm.name) for vm in vms if vm.state is VmState.DUPLICATE]
    odd = [vm for vm in snapshot.vms.values() if any(map(_is_odd, vm.seen.values()))]
    said += [words for vm in odd for words in _copies(snapshot, vm)]
    if record := snapshot.unsettled:
        said.append(
            f"{in_words(record)}; nothing is started, moved or recovered until every node has said what runs on it "
            f"({', '.join(not_heard_of(snapshot)) or 'all have; a moment more'})"
        )
    said += schema_in_words(standing(snapshot))
    if snapshot.leader is None:
        said.append("there is no leader: nothing is started, moved or recovered until one is elected")
    if braked:
        said.append("most nodes fell silent at once: waiting for the network before anything is recovered")
    said += [
        f"node {node.name} {node.why_not}{f'; fencing: {node.fencing}' if node.fencing else ''}"
        for node in nodes
        if node.condition in _ALARMING
    ]
    said += [f"vm {vm.name} has departed: {vm.reason}" for vm in vms if vm.state is VmState.DEPARTED]
    said += [
        f"vm {vm.name} on {vm.node} is {vm.health}: {vm.health_text}"
        for vm in vms
        if vm.health in (HealthState.FAILING, HealthState.UNKNOWN) and vm.state in (VmState.RUNNING, VmState.STARTING)
    ]
    said += [
        f"vm {vm.name} on {seen.node}: its QEMU answers nothing; it was stopped, or is stuck"
        for vm in odd
        for seen in snapshot.observations(vm)
        if seen.silent
    ]
    said += [words for node in nodes for words in _overfull(node)]
    said += [f"vm {vm.name} runs unmanaged on {vm.node}" for vm in vms if vm.state is VmState.UNMANAGED]
    said += company(snapshot)
    said += told_apart(snapshot, vms)
    said += [one.text for one in broken(snapshot)]
    said += of_all_vms(snapshot)
    said += [str(found)] if (found := settling(snapshot, verdicts, wall)) else []
    joined = set(map(str, snapshot.nodes))
    said += [
        f"failover domain {domain.name} names {member.node}, which has not joined"
        for domain in snapshot.domains.values()
        for member in domain.members
        if member.node not in joined
    ]
    said += [f"unreadable value: {problem}" for _, problem in sorted(snapshot.problems.items())]
    return said


def _of_etcd(alarm: str) -> str:
    if alarm == "NOSPACE":
        return (
            "etcd has used up its space (alarm NOSPACE): nothing can be written, so nodes can not show that they live "
            "and end their guests unless failsafe holds; make room: etcdctl compact, defrag, alarm disarm"
        )
    return f"etcd has raised the alarm {alarm}: do not trust it, see its log"


def _is_odd(seen: Observation) -> bool:
    """There may be something to say of what was seen: of few vms there is."""
    return seen.silent or seen.state is _PAUSED or bool(seen.also_standing)


def _copies(snapshot: Snapshot, vm: VmView) -> list[str]:
    """Second copies that stand still: paused by vmha or by somebody, and one too many either way."""
    placement = vm.placement.value if vm.placement else None
    beside = [
        f"a second guest of vm {vm.name} stands on {seen.node} beside it: {name}"
        for seen in snapshot.observations(vm)
        for name in seen.also_standing
    ]
    if placement is None or placement.phase is not Phase.HELD:
        return beside
    return beside + [
        f"a second copy of vm {vm.name} stands on {seen.node}, paused; {placement.node} holds it"
        for seen in snapshot.observations(vm)
        if seen.node != placement.node and seen.state is SeenState.PAUSED
    ]


def _twice(snapshot: Snapshot, name: VmName) -> str:
    seen = snapshot.observations(snapshot.vms[name])
    beside = [f"{one.node} as {guest}" for one in seen for guest in one.also_running]
    places = ", ".join([*(one.node for one in seen), *beside])
    return f"vm {name} RUNS TWICE: seen on {places}"
