"""Restarts of all vms of a service that are asked for as one: they end in reverse, and start in their order.

Each vm has a request of its own, and all of these name the first (``Request.together``). Nothing more is remembered:

* one is stopped when those behind it, whose requests are open, are down;
* one that is down is started again when the requests of those before it are answered, whatever the answer is.

Whoever is not of the service any more waits for nobody. That one of them can not be stopped or started costs the others
no more than the wait for it, which ``vmha vm why`` names.
"""

from vmha.model.ids import VmName
from vmha.model.records import Phase, Request, Verb
from vmha.model.restart import IN_PLACE
from vmha.policy.deciding.decision import Decision
from vmha.policy.placing.field import Field
from vmha.policy.state.snapshot import VmView
from vmha.policy.state.steps import Waiting

_DOWN = (Phase.STOPPED, Phase.DEPARTED)


def wait_for_its_turn(request: Request, vm: VmView, ground: Field) -> Decision | None:
    """None: nothing keeps it from being stopped now (or it is not to be stopped), or started again if it is down."""
    placement = vm.placement.value if vm.placement else None
    if request.together is None or placement is None or not _is_stopped_for(request):
        return None
    if placement.phase is Phase.STOPPED:
        first = _others(request, vm, ground, behind=False)
        text = "of its service is restarted first"
    else:
        first = [name for name in _others(request, vm, ground, behind=True) if not _is_down(name, ground)]
        text = "of its service ends first"
    return Decision(waiting=Waiting(vm=vm.name, text=f"{', '.join(first)} {text}")) if first else None


def _is_stopped_for(request: Request) -> bool:
    return request.verb is Verb.RELOCATE or (request.verb is Verb.RESTART and request.kind not in IN_PLACE)


def _others(request: Request, vm: VmView, ground: Field, *, behind: bool) -> list[VmName]:
    """Those behind it, or before it, whose requests are of the same word and not answered yet."""
    service = ground.ties.member_of.get(vm.name)
    if service is None:
        return []
    at = service.members.index(vm.name)
    members = service.members[at + 1 :] if behind else service.members[:at]
    asked = {
        each.vm
        for each in ground.snapshot.requests.values()
        if each.together == request.together and ground.snapshot.is_open(each)
    }
    return [VmName(name) for name in members if name in asked]


def _is_down(name: VmName, ground: Field) -> bool:
    view = ground.snapshot.vms.get(name)
    return view is None or view.placement is None or view.placement.value.phase in _DOWN
