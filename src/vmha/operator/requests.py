"""Operations asked for once: written down for the leader, who answers beside them."""

from dataclasses import replace

from vmha.model.errors import Rejected
from vmha.model.ids import NodeName, SessionId, VmName
from vmha.model.keys import encode
from vmha.model.records import Candidate, Phase, Request, Verb
from vmha.model.restart import RestartKind
from vmha.model.vm import Desired, MigrationStyle
from vmha.operator import hand
from vmha.operator.client import Edit, OperatorClient, Reading
from vmha.operator.errors import RefusedByCluster, unknown_name
from vmha.operator.known import find_vm
from vmha.operator.reasons import checked_reason
from vmha.policy.asked.cancel import waiting_migrations, why_nothing
from vmha.policy.asked.migrations import refused_style
from vmha.policy.asked.start_on import STARTS, pick, refused, why_not_now
from vmha.policy.members.membership import moment_of_one_reading
from vmha.policy.placing.placement import survey
from vmha.policy.plan import judge_all
from vmha.policy.state.hands_off import forbids_request
from vmha.policy.state.snapshot import Snapshot
from vmha.store.port import Exists, Put

EXPIRES_S = 3600.0
"""A request that could not begin for this long is given up."""


async def submit(
    client: OperatorClient,
    verb: Verb,
    *,
    vm: str | None = None,
    node: str | None = None,
    style: MigrationStyle | None = None,
    kind: RestartKind | None = None,
    expires_s: float = EXPIRES_S,
    why: str = "",
) -> Request:
    """Ask the leader. What can be seen to be impossible is not asked for: nothing is written then.

    Args:
        client: The cluster.
        verb: What to do.
        vm: The vm it is about (all but ``confirm-off``).
        node: Where to migrate or relocate to, or which node is off.
        style: How to migrate, this once; as the vm's definition says if left out.
        kind: How to restart; stop and start if left out.
        expires_s: When to give up if it could not even begin, in seconds.
        why: For those who wonder later, in the journal.

    Raises:
        UnknownName: no such vm or node; the message has the near names.
        RefusedByCluster: the target can not receive vms now, or the vm does not run.
        Rejected: ``why`` is too long.
    """
    why = checked_reason(why)
    request = new_request(client, verb, vm=vm, node=node, style=style, kind=kind, expires_s=expires_s)

    def decide(reading: Reading) -> Edit[Request]:
        check(request, reading.snapshot, client.clock.wall())
        asked = _about_a_session(request, reading.snapshot)
        key = client.keys.request(request.id)
        concerned = [Exists(client.keys.vm_spec(request.vm))] if request.vm else []
        return Edit(result=asked, ops=[Put(key, encode(asked))], compares=concerned, told=[hand.asked(asked, why)])

    return await client.change(decide)


def new_request(
    client: OperatorClient,
    verb: Verb,
    *,
    vm: str | None = None,
    node: str | None = None,
    style: MigrationStyle | None = None,
    kind: RestartKind | None = None,
    expires_s: float = EXPIRES_S,
) -> Request:
    """As ``submit``'s; nothing is written."""
    return Request(
        id=client.new_request_id(),
        verb=verb,
        vm=VmName(vm) if vm is not None else None,
        node=NodeName(node) if node is not None else None,
        style=style,
        kind=kind,
        author=client.author,
        asked_at=client.clock.wall(),
        expires_at=client.clock.wall() + expires_s,
    )


def _about_a_session(request: Request, snapshot: Snapshot) -> Request:
    """A word that a node is off is about the session that its author saw, not about one that begins after it."""
    view = snapshot.nodes.get(request.node) if request.verb is Verb.CONFIRM_OFF and request.node else None
    return replace(request, session=view.session_id or SessionId("")) if view else request


def check(request: Request, snapshot: Snapshot, wall: float) -> None:
    """Raises: UnknownName, Rejected, RefusedByCluster: it can be seen to be impossible."""
    if request.verb is Verb.CANCEL:
        _check_cancel(request, snapshot)
        return
    if request.verb is not Verb.CONFIRM_OFF:
        _check_vm(request, snapshot)
    if request.node is None:
        if request.verb is Verb.CONFIRM_OFF:
            raise Rejected(f"{request.verb}: which node?", accepted=", ".join(sorted(snapshot.nodes)))
        return
    if request.node not in snapshot.nodes:
        raise unknown_name("node", request.node, snapshot.nodes)
    if request.verb in STARTS:
        _check_start(request, snapshot, wall)
    if request.verb in (Verb.MIGRATE, Verb.RELOCATE):
        verdict = judge_all(snapshot, moment_of_one_reading(snapshot, wall=wall))[request.node]
        if not verdict.may_receive:
            message = f"{request.node} can not take {request.vm}: {request.node} {verdict.refusal}"
            refusal = Candidate(node=request.node, refusal=verdict.refusal)
            raise RefusedByCluster(message, candidates=(refusal,))


def _check_start(request: Request, snapshot: Snapshot, wall: float) -> None:
    """As the leader will see it: what each node says is told now, and nothing is asked for then."""
    assert request.vm
    vm = snapshot.vms[request.vm]
    if refusal := why_not_now(request, vm):
        raise RefusedByCluster(refusal)
    if vm.placement is None or vm.placement.value.phase is Phase.STOPPED:
        verdicts = judge_all(snapshot, moment_of_one_reading(snapshot, wall=wall))
        choice = pick(request, vm, survey(snapshot, verdicts, wall))
        if choice.node is None:
            raise RefusedByCluster(refused(request, choice), candidates=choice.candidates)


def _check_cancel(request: Request, snapshot: Snapshot) -> None:
    vm = find_vm(snapshot, request.vm or "")
    placement = vm.placement.value if vm.placement else None
    is_moving = placement is not None and (
        placement.phase is Phase.MIGRATING or (placement.phase is Phase.ASSIGNED and placement.arrival)
    )
    if not is_moving and not waiting_migrations(vm, snapshot):
        raise RefusedByCluster(why_nothing(vm))


def _check_vm(request: Request, snapshot: Snapshot) -> None:
    vm = find_vm(snapshot, request.vm or "")
    assert vm.spec
    if off := forbids_request(request, vm, snapshot):
        raise RefusedByCluster(f"{vm.name}: {off.in_full}")
    if wrong := refused_style(request, vm):
        raise RefusedByCluster(wrong)
    wanted = vm.spec.value.desired
    if request.verb not in (Verb.CONFIRM_GONE, *STARTS) and wanted in (Desired.STOPPED, Desired.DISABLED):
        how = "enable" if wanted is Desired.DISABLED else "start"
        raise RefusedByCluster(f"{vm.name} is {wanted}; start it with: vmha vm {how} {vm.name}")
