"""Verbs about a service as a whole that are the verbs of its vms, said of all of them in one transaction.

What the leader does with several requests that are one word: ``vmha.policy.asked.as_one``.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from vmha.model.errors import Rejected
from vmha.model.holds import Hold, PauseMode
from vmha.model.ids import VmName
from vmha.model.keys import encode
from vmha.model.records import Request, Verb
from vmha.model.restart import RestartKind
from vmha.model.service import Service
from vmha.model.vm import Desired
from vmha.operator import hand
from vmha.operator.client import Edit, OperatorClient, Reading
from vmha.operator.errors import RefusedByCluster
from vmha.operator.follow import End, Goal, Sighting, request_ended, wait
from vmha.operator.holds import new_hold
from vmha.operator.reasons import checked_reason
from vmha.operator.requests import check, new_request, submit
from vmha.operator.service_view import ServiceState, service_in_words, service_line
from vmha.operator.services import find_service, members_of, set_desired
from vmha.policy.asked.migrations import pick, refused
from vmha.policy.members.membership import moment_of_one_reading
from vmha.policy.placing.placement import survey
from vmha.policy.placing.services import leading
from vmha.policy.plan import judge_all
from vmha.policy.state.snapshot import Snapshot
from vmha.store.port import Compare, Delete, Exists, Op, Put


async def restart(
    client: OperatorClient, name: str, *, kind: RestartKind | None = None, why: str = ""
) -> list[Request]:
    """Ask for the restart of all its vms that are wanted running: they end in reverse and start in order.

    A kind that keeps the QEMUs has all guests boot again where they run, at once. ``why``: for those who wonder later,
    in the journal, as with the other verbs here.

    Raises:
        UnknownName: no such service.
        Rejected: ``why`` is too long.
        RefusedByCluster: one of its vms can not be restarted now, or none is wanted running.
    """

    def ask(service: Service, running: Sequence[str], _: Snapshot) -> list[Request]:
        return [new_request(client, Verb.RESTART, vm=vm, kind=kind) for vm in running]

    return await _ask_as_one(client, name, ask, why)


async def relocate(client: OperatorClient, name: str, *, to: str | None = None, why: str = "") -> list[Request]:
    """Ask for all its vms that are wanted running to be stopped, in reverse, and started on another node, in order.

    Raises:
        UnknownName: no such service or node.
        RefusedByCluster: no node, or not the one that is named, can take all of them; none is wanted running.
    """

    def ask(service: Service, running: Sequence[str], snapshot: Snapshot) -> list[Request]:
        first, *others = running
        asked = new_request(client, Verb.RELOCATE, vm=first, node=to)
        check(asked, snapshot, client.clock.wall())
        _check_room(service, asked, snapshot, client.clock.wall())
        return [asked, *(new_request(client, Verb.RESTART, vm=vm) for vm in others)]

    return await _ask_as_one(client, name, ask, why)


def all_ended(client: OperatorClient, name: str, asked: Sequence[Request]) -> Goal:
    """All of them are done, and the service is as a whole again; or one was refused, or failed."""
    goals = [request_ended(client, request.id, vm=request.vm) for request in asked]

    def goal(snapshot: Snapshot) -> Sighting:
        seen = [each(snapshot) for each in goals]
        open_ones = [sighting for sighting in seen if sighting.end is None]
        if open_ones:
            return open_ones[-1]
        line = service_line(snapshot, name, wall=client.clock.wall())
        if wrong := next((sighting for sighting in seen if sighting.end is not End.DONE), None):
            return replace(wrong, text=f"{wrong.text}; {service_in_words(line)}")
        is_whole = line.state is ServiceState.RUNNING
        return Sighting(text=service_in_words(line), end=End.DONE if is_whole else None)

    return goal


async def cancel_move(client: OperatorClient, name: str, *, why: str = "") -> Request:
    """Call off the migration of the vm that leads: the service stays where it is.

    Raises:
        UnknownName: no such service.
        RefusedByCluster: nothing of it migrates, or the others already follow one that has moved.
    """
    line = service_line(await client.read(), name, wall=client.clock.wall())
    vm = line.leading or VmName(line.vms[0].name)
    try:
        return await submit(client, Verb.CANCEL, vm=vm, why=why)
    except RefusedByCluster as error:
        if line.state is not ServiceState.APART:
            raise
        text = f"{vm} has moved to {line.node} already, and the others of service {name} follow it; to go back: "
        raise RefusedByCluster(f"{text}vmha service migrate {name} --to NODE") from error


async def start_on(
    client: OperatorClient, name: str, node: str, *, is_enable: bool, timeout_s: float, why: str = ""
) -> Service:
    """Start it on that node, this once: its first vm there, to its end; then the others are wanted beside it.

    Raises:
        UnknownName: no such service or node.
        Rejected: one of its vms is disabled, and they are to be started.
        RefusedByCluster: it runs already, or that node can not take it, or a vm of it is on hold.
        OperationFailed, TimedOut: it was not started there.
    """
    snapshot = await client.read()
    service = find_service(snapshot, name)
    members = members_of(service, snapshot)
    if not members:
        raise RefusedByCluster(f"no vm of service {name} is defined")
    line = service_line(snapshot, name, wall=client.clock.wall())
    if line.node is not None:
        raise RefusedByCluster(f"{service_in_words(line)}; move it with: vmha service migrate {name} --to {node}")
    disabled = [spec for spec in members if spec.desired is Desired.DISABLED]
    if disabled and not is_enable:
        since = disabled[0].desired_why or "no reason given"
        message = f"{disabled[0].name} of service {name} is disabled ({since})"
        raise Rejected(message, accepted=f"vmha service enable {name} --on {node}")
    verb = Verb.ENABLE if is_enable else Verb.START
    request = await submit(client, verb, vm=members[0].name, node=node, why=why)
    await wait(client, request_ended(client, request.id, vm=members[0].name), timeout_s=timeout_s)
    return await set_desired(client, name, Desired.RUNNING, is_enable=is_enable, why=why)


async def freeze(client: OperatorClient, name: str, *, reason: str = "", for_s: float = 0.0) -> Service:
    """Hands off all its vms, in one transaction. As ``holds.freeze``. Raises: UnknownName, Rejected."""
    hold = new_hold(client, reason, for_s, PauseMode.ALL)

    def decide(reading: Reading) -> Edit[Service]:
        service = find_service(reading.snapshot, name)
        members = [VmName(spec.name) for spec in members_of(service, reading.snapshot)]
        ops: list[Op] = [Put(client.keys.freeze(vm), encode(hold)) for vm in members]
        compares: list[Compare] = [Exists(client.keys.vm_spec(vm)) for vm in members]
        compares.append(reading.unchanged(client.keys.service(name)))
        told = [hand.frozen(reading.snapshot.vms[vm], hold) for vm in members]
        return Edit(result=service, ops=ops, compares=compares, told=told)

    return await client.change(decide)


async def unfreeze(client: OperatorClient, name: str, *, why: str = "") -> dict[str, Hold]:
    """Returns what was lifted, by vm; empty: none was frozen. Raises: UnknownName, Rejected."""
    why = checked_reason(why)

    def decide(reading: Reading) -> Edit[dict[str, Hold]]:
        service = find_service(reading.snapshot, name)
        frozen = {
            spec.name: held.value
            for spec in members_of(service, reading.snapshot)
            if (held := reading.snapshot.vms[VmName(spec.name)].freeze) is not None
        }
        keys = [client.keys.freeze(VmName(vm)) for vm in frozen]
        views = reading.snapshot.vms
        told = [hand.unfrozen(views[VmName(vm)], held, client.author, why) for vm, held in frozen.items()]
        compares = [reading.unchanged(key) for key in keys]
        return Edit(result=frozen, ops=[Delete(key) for key in keys], compares=compares, told=told)

    return await client.change(decide)


async def _ask_as_one(
    client: OperatorClient, name: str, ask: Callable[[Service, Sequence[str], Snapshot], list[Request]], why: str
) -> list[Request]:
    """``ask`` gets the vms that are wanted running, in their order."""
    why = checked_reason(why)

    def decide(reading: Reading) -> Edit[list[Request]]:
        service = find_service(reading.snapshot, name)
        running = [spec.name for spec in members_of(service, reading.snapshot) if spec.desired is Desired.RUNNING]
        if not running:
            line = service_line(reading.snapshot, name, wall=client.clock.wall())
            verb = "enable" if line.state is ServiceState.DISABLED else "start"
            raise RefusedByCluster(f"{service_in_words(line)}; start it with: vmha service {verb} {name}")
        asked = ask(service, running, reading.snapshot)
        asked = [replace(request, together=asked[0].id) for request in asked]
        for request in asked:
            check(request, reading.snapshot, client.clock.wall())
        ops: list[Op] = [Put(client.keys.request(request.id), encode(request)) for request in asked]
        compares: list[Compare] = [Exists(client.keys.vm_spec(VmName(vm))) for vm in running]
        compares.append(reading.unchanged(client.keys.service(name)))
        told = [hand.asked(request, why) for request in asked]
        return Edit(result=asked, ops=ops, compares=compares, told=told)

    return await client.change(decide)


def _check_room(service: Service, asked: Request, snapshot: Snapshot, wall: float) -> None:
    """Nothing is stopped for a node that can not take all of them.

    The one that leads now is looked at: where it may go, the others may follow, and there is room for all.
    """
    ground = survey(snapshot, judge_all(snapshot, moment_of_one_reading(snapshot, wall=wall)), wall)
    found = leading(service, ground)
    if found is None:
        return
    vm, here = found
    if asked.node == here:
        text = f"service {service.name} is on {here}; restart it there: vmha service restart {service.name}"
        raise RefusedByCluster(text)
    probe = replace(asked, vm=vm)
    choice = pick(probe, snapshot.vms[vm], here, ground, moving=False)
    if choice.node is None:
        raise RefusedByCluster(f"{refused(probe, choice)}; nothing was stopped", candidates=choice.candidates)
