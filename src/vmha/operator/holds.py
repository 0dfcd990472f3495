"""Hands off, as an operator puts it down and lifts it: one vm is frozen, or the whole cluster is paused.

What a hold keeps from being done is refused in words at once, and nothing is written then; what is so already is fine.
"""

from vmha.model.errors import Rejected
from vmha.model.holds import Hold, PauseMode
from vmha.model.ids import VmName
from vmha.model.keys import encode
from vmha.model.records import Phase
from vmha.model.vm import Desired
from vmha.operator import hand
from vmha.operator.client import Edit, OperatorClient, Reading
from vmha.operator.errors import RefusedByCluster
from vmha.operator.known import find_vm
from vmha.operator.reasons import checked_reason
from vmha.policy.state.hands_off import hands_off, starts_are_paused
from vmha.policy.state.snapshot import Snapshot, VmView
from vmha.store.port import Compare, Delete, Exists, Put

LONGEST_S = 366 * 86400.0


async def freeze(client: OperatorClient, name: str, *, reason: str = "", for_s: float = 0.0) -> Hold:
    """Leave a vm alone: no start, stop, migration or recovery of it until it is unfrozen, or ``for_s`` have passed.

    Frozen already, it is frozen anew: with this author, reason and time.

    Raises:
        UnknownName, Rejected
    """
    hold = new_hold(client, reason, for_s, PauseMode.ALL)

    def decide(reading: Reading) -> Edit[Hold]:
        vm = find_vm(reading.snapshot, name)
        ops = [Put(client.keys.freeze(vm.name), encode(hold))]
        told = [hand.frozen(vm, hold)]
        return Edit(result=hold, ops=ops, compares=[Exists(client.keys.vm_spec(vm.name))], told=told)

    return await client.change(decide)


async def unfreeze(client: OperatorClient, name: str, *, why: str = "") -> Hold | None:
    """Returns what was lifted; None: it was not frozen. Raises: UnknownName, Rejected."""
    why = checked_reason(why)

    def decide(reading: Reading) -> Edit[Hold | None]:
        vm = find_vm(reading.snapshot, name)
        if vm.freeze is None:
            return Edit(result=None)
        key = client.keys.freeze(vm.name)
        told = [hand.unfrozen(vm, vm.freeze.value, client.author, why)]
        return Edit(result=vm.freeze.value, ops=[Delete(key)], compares=[reading.unchanged(key)], told=told)

    return await client.change(decide)


async def pause(client: OperatorClient, mode: PauseMode, *, reason: str = "", for_s: float = 0.0) -> Hold:
    """Pause the whole cluster: its starts, or everything. Paused already, it is paused anew. Raises: Rejected."""
    hold = new_hold(client, reason, for_s, mode)

    def decide(reading: Reading) -> Edit[Hold]:
        before = reading.snapshot.pause
        told = [hand.paused(hold, before.value if before else None)]
        return Edit(result=hold, ops=[Put(client.keys.pause, encode(hold))], told=told)

    return await client.change(decide)


async def resume(client: OperatorClient) -> Hold | None:
    """Returns what was lifted; None: it was not paused."""

    def decide(reading: Reading) -> Edit[Hold | None]:
        paused = reading.snapshot.pause
        if paused is None:
            return Edit(result=None)
        key = client.keys.pause
        told = [hand.resumed(paused.value, client.author)]
        return Edit(result=paused.value, ops=[Delete(key)], compares=[reading.unchanged(key)], told=told)

    return await client.change(decide)


def unless_on_hold(client: OperatorClient, reading: Reading, name: str, wanted: Desired) -> list[Compare]:
    """What must still hold when a desired state is written that has something done about the vm.

    Raises:
        RefusedByCluster: it would not be done now.
    """
    vm = reading.snapshot.vms[VmName(name)]
    if refusal := why_held_up(vm, wanted, reading.snapshot):
        raise RefusedByCluster(f"{name}: {refusal}")
    return [reading.unchanged(client.keys.freeze(vm.name)), reading.unchanged(client.keys.pause)]


def why_held_up(vm: VmView, wanted: Desired, snapshot: Snapshot) -> str:
    """Why a vm that is not ``wanted`` so yet does not come to be so now; '' when no hold is the cause."""
    placement = vm.placement.value if vm.placement else None
    is_down = placement is None or placement.phase is Phase.STOPPED
    off = hands_off(vm, snapshot)
    if off is None and wanted is Desired.RUNNING and is_down:
        off = starts_are_paused(snapshot)
    if off is None or wanted is Desired.AS_FOUND:
        return ""
    if is_down and wanted is not Desired.RUNNING:
        return ""  # it is so: nothing has to be done
    return off.in_full


def new_hold(client: OperatorClient, reason: str, for_s: float, mode: PauseMode) -> Hold:
    if not 0 <= for_s <= LONGEST_S:
        raise Rejected(
            f"for: {for_s:g} s", accepted=f"more than 0, at most {LONGEST_S:g} s; or none: until it is lifted"
        )
    reason = checked_reason(reason)
    return Hold(author=client.author, reason=reason, at=client.clock.wall(), for_s=for_s, mode=mode)
