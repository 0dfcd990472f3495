"""How the services of a cluster are: in one word, where, and what their vms do. And waiting for one as a whole."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from vmha.model.ids import NodeName, RequestId, VmName
from vmha.model.records import Verb
from vmha.model.service import Service
from vmha.model.vm import Desired
from vmha.operator.client import OperatorClient
from vmha.operator.follow import End, Goal, Sighting, in_words, request_ended
from vmha.operator.requests import submit
from vmha.operator.services import find_service
from vmha.policy.members.membership import moment_of_one_reading
from vmha.policy.placing.placement import survey
from vmha.policy.placing.services import leading
from vmha.policy.plan import judge_all
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.telling.explain import VmState, VmSummary, summarize

_AT_REST = (VmState.STOPPED, VmState.DISABLED)
_UP = (VmState.RUNNING, VmState.PAUSED, VmState.MIGRATING)


class ServiceState(StrEnum):
    RUNNING = "running"  # all of it that is to run, on one node
    APART = "apart"  # all of it that is to run, on several nodes: they are being brought together
    PARTLY = "partly running"
    STOPPED = "stopped"
    DISABLED = "disabled"
    WAITING = "waiting"  # nothing runs of what is to run


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberLine:
    """``state`` None: there is no such vm (any more)."""

    name: str
    state: VmState | None
    node: NodeName | None
    desired: Desired | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLine:
    """``node``: where the vm is that leads, which is where the others go."""

    name: str
    state: ServiceState
    node: NodeName | None
    leading: VmName | None
    failover_domain: str | None
    recovery: str
    vms: tuple[MemberLine, ...]


def service_lines(snapshot: Snapshot, *, wall: float) -> list[ServiceLine]:
    return [_line(service, snapshot, wall) for _, service in sorted(snapshot.services.items())]


def service_line(snapshot: Snapshot, name: str, *, wall: float) -> ServiceLine:
    """Raises: UnknownName."""
    return _line(find_service(snapshot, name), snapshot, wall)


def as_plain(line: ServiceLine) -> dict[str, Any]:
    return asdict(line)


def _line(service: Service, snapshot: Snapshot, wall: float) -> ServiceLine:
    verdicts = judge_all(snapshot, moment_of_one_reading(snapshot, wall=wall))
    found = leading(service, survey(snapshot, verdicts, wall))
    members = []
    for name in map(VmName, service.members):
        view = snapshot.vms.get(name)
        if view is None or view.spec is None:
            members.append(MemberLine(name=name, state=None, node=None, desired=None, text="is not defined"))
        else:
            members.append(_member(summarize(view, snapshot, verdicts)))
    return ServiceLine(
        name=service.name,
        state=_state(members),
        node=found[1] if found else None,
        leading=found[0] if found else None,
        failover_domain=service.failover_domain,
        recovery=str(service.recovery),
        vms=tuple(members),
    )


def _member(summary: VmSummary) -> MemberLine:
    node = summary.node if summary.state not in _AT_REST else None
    text = in_words(summary)
    return MemberLine(name=summary.name, state=summary.state, node=node, desired=summary.desired, text=text)


def _state(members: Iterable[MemberLine]) -> ServiceState:
    known = [member for member in members if member.state is not None]
    wanted = [member for member in known if member.desired is Desired.RUNNING]
    up = [member for member in wanted if member.state in _UP]
    if not wanted:
        is_off = known and all(member.desired is Desired.DISABLED for member in known)
        is_down = all(member.state in _AT_REST for member in known)
        return ServiceState.PARTLY if not is_down else ServiceState.DISABLED if is_off else ServiceState.STOPPED
    if len(up) < len(wanted):
        return ServiceState.PARTLY if up else ServiceState.WAITING
    return ServiceState.RUNNING if len({member.node for member in up}) == 1 else ServiceState.APART


# --- as a whole


def service_is(client: OperatorClient, name: str, desired: Desired) -> Goal:
    """All its vms are as wanted: running on one node, or down."""

    def goal(snapshot: Snapshot) -> Sighting:
        line = service_line(snapshot, name, wall=client.clock.wall())
        wanted = ServiceState.RUNNING if desired is Desired.RUNNING else None
        is_down = line.state in (ServiceState.STOPPED, ServiceState.DISABLED)
        if line.state is wanted or (wanted is None and is_down):
            return Sighting(text=service_in_words(line), end=End.DONE)
        overruled = next((vm for vm in line.vms if not _is_on_its_way(vm, desired)), None)
        if overruled is not None:
            return Sighting(text=f"{overruled.name} is to be {overruled.desired} now", end=End.FAILED)
        return Sighting(text=_what_is_missing(line, desired))

    return goal


def _is_on_its_way(vm: MemberLine, desired: Desired) -> bool:
    down = (Desired.STOPPED, Desired.DISABLED)
    return vm.desired in (None, desired) or (desired in down and vm.desired in down)


def _what_is_missing(line: ServiceLine, desired: Desired) -> str:
    is_up = desired is Desired.RUNNING
    missing = [vm.text for vm in line.vms if vm.state is not None and (vm.state is VmState.RUNNING) is not is_up]
    return "; ".join(missing) or service_in_words(line)


def service_in_words(line: ServiceLine) -> str:
    where = f" on {line.node}" if line.node and line.state is ServiceState.RUNNING else ""
    apart = f": {', '.join(vm.text for vm in line.vms)}" if line.state is ServiceState.APART else ""
    return f"service {line.name} is {line.state}{where}{apart}"


async def move(client: OperatorClient, name: str, to: str | None, *, why: str = "") -> tuple[RequestId, VmName]:
    """Ask for the migration of the vm that leads; the others follow it.

    Raises:
        UnknownName: no such service or node.
        RefusedByCluster: the node can not take all of them, or nothing of it runs.
    """
    snapshot = await client.read()
    line = service_line(snapshot, name, wall=client.clock.wall())
    vm = line.leading or VmName(line.vms[0].name)
    request = await submit(client, Verb.MIGRATE, vm=vm, node=to, why=why)
    return request.id, vm


def service_has_moved(client: OperatorClient, name: str, request: RequestId, vm: VmName) -> Goal:
    """``vm`` has migrated, and all others that run are where it is."""
    first = request_ended(client, request, vm=vm)

    def goal(snapshot: Snapshot) -> Sighting:
        led = first(snapshot)
        if led.end is not End.DONE:
            return led
        line = service_line(snapshot, name, wall=client.clock.wall())
        asked = snapshot.requests.get(request)
        if asked is not None and asked.node is not None and line.node != asked.node:
            text = f"not all vms of service {name} could follow {vm} to {asked.node}; it is on {line.node}"
            return Sighting(text=f"{text}: {_where(line)}", end=End.FAILED)
        can_run = [vm for vm in line.vms if vm.desired is Desired.RUNNING and vm.state is not VmState.WAITING]
        if all(vm.node == line.node and vm.state is VmState.RUNNING for vm in can_run):
            return Sighting(text=service_in_words(line), end=End.DONE)
        return Sighting(text=_where(line))

    return goal


def _where(line: ServiceLine) -> str:
    return "; ".join(vm.text for vm in line.vms)
