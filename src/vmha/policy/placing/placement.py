"""Which node takes a vm: feasible first, then rank. Ties go by soft rules, then the fewest vms, then by name."""

from collections.abc import Container, Iterable, Mapping
from functools import lru_cache
from itertools import islice

from vmha.model.ids import NodeName, Revision, VmName
from vmha.model.records import Candidate, Failure, Phase, Placement, SeenState
from vmha.model.vm import VmSpec
from vmha.policy.members.membership import Verdict
from vmha.policy.placing.affinity import forbidden, has_soft_rules, took, unmet
from vmha.policy.placing.alike import Look, Rank, Refused, too_much_at_once
from vmha.policy.placing.choice import Choice
from vmha.policy.placing.exclusive import clash
from vmha.policy.placing.failover_domain import Score
from vmha.policy.placing.field import Field
from vmha.policy.placing.load import Load
from vmha.policy.placing.preferences import Preferences
from vmha.policy.placing.services import apart, reserved, took_a_place
from vmha.policy.placing.ties import tie
from vmha.policy.state.census import Census
from vmha.policy.state.census import take as take_census
from vmha.policy.state.reservation import NOTHING, Size, size_of
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.state.transitions import CLOCKS_DIFFER_S

FAILED_START_REST_S = 5.0
"""A node on which a start failed is passed over for this long, doubled by each further failure there."""
LONGEST_REST_S = 300.0
LOOKED_AT_ALL = 32
"""In a larger cluster a choice looks no further than the nodes that can be the best, where it can tell."""
ABLE_AT_MOST = 8
"""There, so many that differ by nothing but how much they carry are enough to tell why one of them was taken."""
NAMED_AT_MOST = 16
"""A choice names so many nodes. It is written into etcd with each placement: all of 500 would be 20 kB, for each vm."""


def take(node: NodeName, spec: VmSpec, ground: Field, *, starting: bool) -> None:
    """This plan gives the node one more vm."""
    load = ground.loads.setdefault(node, Load())
    load.vms += 1
    need = ground.size_of(spec)
    load.memory_mib += need.memory_mib
    load.vcpus += need.vcpus
    load.starting += 1 if starting else 0
    ground.starting += 1 if starting else 0
    if ground.ties.member_of:
        took_a_place(spec.name, node, ground)
    if ground.snapshot.rules:
        took(spec.name, node, ground)
    if spec.exclusive:
        load.exclusive.append(VmName(spec.name))
    if ground.answers is not None:
        ground.answers.clear()
    for nodes in ground.looked_at.values():
        nodes.by_load.took(node)


def find_better(
    spec: VmSpec, ground: Field, owner: NodeName, *, after: Revision, failures: Iterable[Failure]
) -> tuple[NodeName | None, float | None]:
    """The most preferred node above ``owner`` that can take the vm and joined after revision ``after``.

    None: none can. Then also in how many seconds one may that only rests after a failure.
    """
    domain = ground.domain_of(spec)
    if domain is None:
        return None, None  # without a failover domain no node is preferred over another
    able: list[tuple[tuple[int, int], int, int, NodeName]] = []
    retries: list[float] = []
    for rank, name in ground.preferences.better_than(owner, domain):
        if not _joined_after(name, after, ground):
            continue
        refusal, retry_in_s = _refusal(name, spec, ground, Score.BEST, failures=failures, avoid={}, moving=True)
        if not refusal:
            wishes = unmet(name, spec, ground) if ground.snapshot.rules else 0
            able.append((rank, wishes, ground.loads[name].vms, name))
        elif retry_in_s is not None:
            retries.append(retry_in_s)
    return (min(able)[-1], None) if able else (None, min(retries, default=None))


def _joined_after(node: NodeName, revision: Revision, ground: Field) -> bool:
    beat = ground.snapshot.nodes[node].beat
    return beat is not None and beat.created > revision


def survey(
    snapshot: Snapshot,
    verdicts: dict[NodeName, Verdict],
    wall: float,
    census: Census | None = None,
    preferences: Preferences | None = None,
) -> Field:
    """Counts what every node carries: a vm on its way counts at both ends.

    ``census``, ``preferences``: of this snapshot and these verdicts, by whoever has them already.
    """
    census = take_census(snapshot.vms) if census is None else census
    eligible = frozenset(name for name, verdict in verdicts.items() if verdict.may_receive)
    ground = Field(
        snapshot=snapshot,
        verdicts=verdicts,
        wall=wall,
        preferences=preferences or Preferences(eligible=eligible, domains=snapshot.domains),
        loads={name: Load() for name in snapshot.nodes},
        ties=tie(snapshot, census.astir.values()),
    )
    loads = ground.loads
    for place, crowd in census.crowds.items():
        if place.node is not None:
            load = loads.setdefault(place.node, Load())
            load.vms += len(crowd.vms)
            load.memory_mib += crowd.size.memory_mib
            load.vcpus += crowd.size.vcpus
    for vm in census.astir.values():
        if vm.placement is None or vm.placement.value.phase in (Phase.STOPPED, Phase.DEPARTED):
            for seen in snapshot.observations(vm) if vm.seen and vm.spec else ():
                loads[seen.node].vms += seen.state is SeenState.RUNNING  # about to be adopted
            continue
        placement = vm.placement.value
        need = size_of(vm.spec.value, placement) if vm.spec else NOTHING
        is_moving = placement.phase is Phase.MIGRATING or (placement.phase is Phase.ASSIGNED and placement.arrival)
        is_at_work = _is_at_work(placement, snapshot)
        ground.migrating += is_moving and is_at_work
        for node in (placement.node, placement.target):
            if node is None:
                continue
            load = ground.loads.setdefault(node, Load())
            load.vms += 1
            load.memory_mib += need.memory_mib
            load.vcpus += need.vcpus
            load.migrating += is_moving and is_at_work
            if vm.spec and vm.spec.value.exclusive:
                load.exclusive.append(vm.name)
            is_starting = placement.phase is Phase.ASSIGNED or _is_starting(placement, vm.seen.get(node))
            if is_starting and is_at_work and not is_moving:
                load.starting += 1
                ground.starting += 1
    return ground


def _is_at_work(placement: Placement, snapshot: Snapshot) -> bool:
    """What a lost node had begun takes nobody's turn: it waits for a proof, perhaps for days."""
    holder = snapshot.nodes.get(placement.node) if placement.node else None
    return placement.session is None or (holder is not None and holder.session_id == placement.session)


def _is_starting(placement: Placement, seen: object) -> bool:
    state = getattr(seen, "state", None)
    return placement.phase is Phase.HELD and state in (None, SeenState.STARTING)


def choose_leading(
    spec: VmSpec,
    ground: Field,
    *,
    failures: Iterable[Failure] = (),
    avoid: dict[NodeName, str] | None = None,
) -> Choice:
    """As ``choose``, and the others of its service are to follow it there."""
    is_free = VmName(spec.name) in ground.ties.free
    ground.ties.free.add(VmName(spec.name))
    choice = choose(spec, ground, failures=failures, avoid=avoid)
    if choice.node is None and not is_free:
        ground.ties.free.discard(VmName(spec.name))
    return choice


def choose(
    spec: VmSpec,
    ground: Field,
    *,
    owner: NodeName | None = None,
    failures: Iterable[Failure] = (),
    avoid: dict[NodeName, str] | None = None,
    prefer: NodeName | None = None,
    moving: bool = False,
) -> Choice:
    """Rank every node for one vm.

    Args:
        owner: where it runs now, for ``nofailback``.
        failures: starts that failed, for the rest a node takes after one.
        avoid: nodes ruled out by the caller, each with its words.
        prefer: taken first among the nodes that can (a restart in place).
        moving: by migration, not by a start.
    """
    avoid, failures, need, has_rules = avoid or {}, tuple(failures), ground.size_of(spec), bool(ground.snapshot.rules)
    is_plain = not (has_rules or spec.exclusive or ground.ties.member_of or ground.ties.withheld)
    asked, answers = (spec.failover_domain, need.memory_mib, need.vcpus), ground.answers
    if not is_plain or owner or failures or avoid or prefer or moving:
        answers = None
    if answers is not None and (answered := answers.get(asked)) is not None:
        return answered
    ranking, eligible = ground.ranking(spec, owner), ground.eligible
    able: list[Rank] = []
    refused: list[Refused] = []
    retries: list[float] = []

    def look_at(name: NodeName) -> bool:
        points, priority = ranking.find(name) if name in eligible else (Score.ILLEGAL, 0)
        refusal, retry_in_s = _refusal(
            name, spec, ground, points, failures=failures, avoid=avoid, moving=moving, need=need
        )
        if retry_in_s is not None:
            retries.append(retry_in_s)
        if refusal:
            refused.append((name, points, refusal))
            return False
        wishes = unmet(name, spec, ground) if has_rules else 0
        able.append((0 if name == prefer else 1, -points, priority, wishes, ground.loads[name].vms, name))
        return True

    is_plain = is_plain and ranking.others is not Score.ILLEGAL
    first = {*avoid, *([prefer] if prefer else [])}
    is_small = len(ground.verdicts) <= LOOKED_AT_ALL or (has_rules and has_soft_rules(spec, ground))
    if is_small and not is_plain:
        for name in ground.verdicts:
            look_at(name)
    else:
        spoken_of = first.union(failure.node for failure in failures) if failures else first
        look = Look(
            nodes=ground.alike(moving=moving),
            need=need,
            is_plain=is_plain,
            others=ranking.others,
            apart=spoken_of | ranking.members.keys() if spoken_of else ranking.members,
            able=able,
            refused=refused,
            closer=look_at,
        )
        _look_at_most(look, spoken_of, ranking.members, is_small=is_small)
        refused.sort()
    named = _named(able, refused, first=first, members=ranking.members)
    choice = Choice(
        node=min(able)[-1] if able else None,
        candidates=named,
        unnamed=len(ground.verdicts) - len(named),
        retry_in_s=min(retries) if retries else None,
    )
    if answers is not None:
        answers[asked] = choice
    return choice


def able_nodes(
    spec: VmSpec,
    ground: Field,
    *,
    failures: Iterable[Failure] = (),
    avoid: Mapping[NodeName, str],
    prefer: NodeName | None = None,
    among: Iterable[NodeName] | None = None,
    rests: list[float] | None = None,
) -> list[tuple[tuple[int, int, int], NodeName]]:
    """All nodes that can take it by a start, the more preferred first, each with its preference: less is better.

    ``among``: eligible ones that are asked; None: all. ``rests``: here is told in how many seconds others may.
    """
    ranking, failures, found = ground.ranking(spec, None), tuple(failures), []
    for name in ground.eligible if among is None else among:
        points, priority = ranking.find(name)
        refusal, rest_s = _refusal(name, spec, ground, points, failures=failures, avoid=avoid, moving=False)
        if not refusal:
            found.append(((0 if name == prefer else 1, -points, priority), name))
        elif rest_s is not None and rests is not None:
            rests.append(rest_s)
    return sorted(found)


def _look_at_most(
    look: Look, spoken_of: set[NodeName], members: Mapping[NodeName, tuple[Score, int]], *, is_small: bool
) -> None:
    """Nodes that differ by more than their load, and of the others all in a small cluster. In a large one the best, the
    worst, and some that refuse: where no node is able, all that might have been were looked at.
    """
    verdicts, by_load = look.nodes.verdicts, look.nodes.by_load
    for name in spoken_of:
        if name in verdicts:
            look.closer(name)
    for name, (points, priority) in members.items():
        if name in verdicts and name not in spoken_of:
            look.at_member(name, points, priority)
    shut = (name for name in by_load.shut if name not in look.apart)
    if is_small:
        look.at_open(by_load.order, at_most=len(by_load.order))
        look.at_shut(shut)
        return
    met = look.at_open(by_load.order, at_most=ABLE_AT_MOST)
    look.at_open(islice(reversed(by_load.order), len(by_load.order) - met), at_most=1)
    look.at_shut(islice(shut, NAMED_AT_MOST))


def _named(
    able: list[Rank], refused: list[Refused], *, first: Container[NodeName], members: Container[NodeName]
) -> tuple[Candidate, ...]:
    """The candidates that a choice names, by name: all, or in a large cluster those that explain it.

    Of the able ones the best, and the worst, which tells what made the difference; of the refused ones those that the
    caller spoke of, then members of the failover domain.
    """
    if len(able) + len(refused) > NAMED_AT_MOST:
        room = max(NAMED_AT_MOST // 2, NAMED_AT_MOST - len(refused))
        if len(able) > room:
            able.sort()
            able = [*able[: room - 1], able[-1]]
        refused = sorted(refused, key=lambda node: (node[0] not in first, node[0] not in members))
        refused = refused[: NAMED_AT_MOST - len(able)]
    named = [(rank[-1], -rank[1], "") for rank in able]
    named += [(name, int(points), refusal) for name, points, refusal in refused]
    named.sort()
    return tuple([_candidate(*one) for one in named])


@lru_cache(maxsize=10_000)
def _candidate(node: NodeName, score: int, refusal: str) -> Candidate:
    """Where many vms are placed at once, most choices name the same ones."""
    return Candidate(node=node, score=score, refusal=refusal)


def left_of(rest_s: float, since: float, wall: float) -> float:
    """How much is left of a rest that another host's wall clock began, in seconds; 0: nothing.

    A clock that was set wrong by a day must not make a vm wait for a day: what lies in the future by more than
    ``CLOCKS_DIFFER_S`` says nothing about how long ago it was. A placement's dates are set right first
    (``transitions.by_our_clock``).
    """
    left = min(rest_s, since + rest_s - wall)  # whatever the clocks say, no longer than it is
    return 0.0 if left <= 0 or since - wall > CLOCKS_DIFFER_S else left


def _refusal(
    node: NodeName,
    spec: VmSpec,
    ground: Field,
    points: Score,
    *,
    failures: Iterable[Failure],
    avoid: Mapping[NodeName, str],
    moving: bool,
    need: Size | None = None,
) -> tuple[str, float | None]:
    """Why a node can not take the vm ('' when it can), and in how many seconds that may have passed by itself.

    ``need``: its size, by whoever asks for many nodes.
    """
    verdict = ground.verdicts[node]
    if not verdict.may_receive:
        return verdict.refusal, None
    if node in avoid:
        return avoid[node], None
    if points is Score.ILLEGAL:
        domain = ground.domain_of(spec)
        return f"is not in the restricted failover domain {domain.name if domain else ''}", None
    load = ground.loads[node]
    if (spec.exclusive or load.exclusive) and (words := clash(spec, load)):
        return words, None
    kept = NOTHING
    if ground.ties.member_of:
        if words := apart(node, spec, ground):
            return words, None
        kept += reserved(node, spec, ground)
    if ground.ties.withheld:
        kept += ground.ties.withheld.get(node, NOTHING)
    if ground.snapshot.rules and (words := forbidden(node, spec, ground)):
        return words, None
    need = ground.size_of(spec) if need is None else need
    room = ground.room_of(node)
    if not room.takes(need, load.memory_mib + kept.memory_mib, load.vcpus + kept.vcpus):
        return room.refusal(need, load.taken + kept), None
    at_work, most = load.migrating if moving else load.starting, ground.at_once(moving=moving)
    if at_work >= most:
        return too_much_at_once(at_work, most, moving), None
    if failures and (here := [failure for failure in failures if failure.node == node]):
        rest = min(LONGEST_REST_S, FAILED_START_REST_S * 2 ** (len(here) - 1))
        left = left_of(rest, here[-1].at, ground.wall)
        if left > 0:
            return f"failed to {'receive' if here[-1].moving else 'start'} it: {here[-1].error}", left
    return "", None
