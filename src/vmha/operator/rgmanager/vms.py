"""The attributes of a ``<vm>``, one function each: what it becomes in a document, or why it does not become anything.

What vmha can not do is left out and told, never approximated.
"""

import difflib
import shlex
from collections.abc import Callable, Mapping

from vmha.operator.rgmanager import transports
from vmha.operator.rgmanager.actions import translate_action
from vmha.operator.rgmanager.draft import Draft, Ground
from vmha.operator.rgmanager.findings import Findings
from vmha.operator.rgmanager.gather import VmSource
from vmha.operator.rgmanager.source import Attribute
from vmha.operator.rgmanager.status_program import begin_probe, end_probe, tolerate
from vmha.operator.rgmanager.values import (
    DURATION,
    TRUE_WORDS,
    find_number,
    find_seconds,
    is_autostart,
    is_exclusive,
    is_true_word,
    was_autostart,
)

_ENDED_DISABLED = "a guest that powers itself off, or is ended by hand, is stopped (on_guest_shutdown, on_outside_stop)"
_ENDED_RESTARTED = (
    "a guest that powers itself off, or is ended by hand, is started again (on_guest_shutdown: stop leaves it)"
)
"""RGManager could not tell these from a crash: its policy held for all of them."""

RECOVERIES = ("restart", "relocate", "disable", "restart-disable")


def translate_attributes(source: VmSource, ground: Ground, found: Findings) -> Draft:
    """Everything but the definition."""
    draft = Draft(source=source, ground=ground, found=found)
    for name, attribute in source.attributes.items():
        reader = _READERS.get(name)
        if reader is None:
            near = difflib.get_close_matches(name, _READERS, n=1)
            hint = f", did you mean {near[0]}?" if near else ""
            draft.left(attribute, f"is no attribute of a vm{hint}", accepted=near[0] if near else "")
        else:
            reader(draft, attribute)
    if "recovery" not in source.attributes and ground.central:
        draft.changed(source.element, "no recovery: restart, as documented (central processing relocated such a vm)")
    for action in source.actions:
        translate_action(draft, action)
    end_probe(draft)
    _desired(draft)
    return draft


def _desired(draft: Draft) -> None:
    if draft.ground.start and draft.is_wanted:
        draft.fields["desired"] = "running"


def _domain(draft: Draft, at: Attribute) -> None:
    name = draft.ground.domains.find(at.value)
    if name is None:
        known = ", ".join(draft.ground.domains.taken)
        text = "there is no such failover domain: the vm may run everywhere, as RGManager let it (log message #66)"
        draft.changed(at, text, accepted=known)
    elif name in draft.ground.domains.nowhere:
        draft.refusals.append(f"failover domain {name} is restricted, and was not taken")
        draft.left(at, "that failover domain is restricted and was not taken; without it the vm could run anywhere")
    elif name in draft.ground.domains.everywhere:
        draft.changed(at, "that failover domain was not taken; it is not restricted, so the vm may run everywhere")
    else:
        draft.fields["failover_domain"] = name
        if name == at.value:
            draft.taken(at, f"failover_domain: {name}")
        else:
            draft.changed(at, f"failover_domain: {name}; upper and lower case count in vmha", accepted=name)


def _autostart(draft: Draft, at: Attribute) -> None:
    draft.is_wanted = is_autostart(at.value)
    was = was_autostart(at.value)
    if not draft.is_wanted:
        draft.fields["autostart"] = False
    if draft.is_wanted and not was:
        text = "on, as it was meant; RGManager read it as off"
        draft.changed(at, f"{text}. {_autostart_words(draft)}", accepted="1, 0")
    else:
        draft.changed(at, _autostart_words(draft))


def _autostart_words(draft: Draft) -> str:
    if not draft.is_wanted:
        return (
            "autostart: false: after an outage of the whole cluster it stays down; found running it is adopted, and "
            "from then on it is wanted running"
        )
    if draft.ground.start:
        return "desired: running, because --start was given"
    return "adding a vm starts nothing: found running it is adopted and kept running, else start it (or use --start)"


def _exclusive(draft: Draft, at: Attribute) -> None:
    if not is_exclusive(at.value):
        draft.taken(at, "not exclusive")
        return
    rank = min(find_number(at.value) or 1, 1000)
    draft.fields["exclusive"] = rank
    if rank > 1 and not draft.ground.central:
        draft.changed(at, f"exclusive: {rank}; RGManager compared these numbers in central mode only")
    else:
        draft.taken(at, f"exclusive: {rank}")


def _recovery(draft: Draft, at: Attribute) -> None:
    accepted = "" if at.value in RECOVERIES else ", ".join(RECOVERIES)
    policy = "restart-disable" if accepted and "disable" in at.value else at.value
    if policy not in RECOVERIES:
        draft.left(at, "is no recovery policy: restart, the default, is in force", accepted=accepted)
        return
    draft.fields["recovery"] = policy
    match policy:
        case "restart":
            draft.taken(at, "recovery: restart")
        case "disable":
            draft.fields |= {"on_guest_shutdown": "stop", "on_outside_stop": "stop"}
            draft.changed(at, f"recovery: disable, for a crash; {_ENDED_DISABLED}")
        case _:
            draft.changed(at, f"recovery: {policy}, for a crash; {_ENDED_RESTARTED}", accepted=accepted)


def _max_restarts(draft: Draft, at: Attribute) -> None:
    number = find_number(at.value)
    if number is None:
        draft.left(at, "is no number: restarts are not limited", accepted="a whole number, 0: no limit")
        return
    draft.fields["max_restarts"] = number
    draft.taken(at, f"max_restarts: {number}, counted in etcd: agents and migrations do not reset it")


def _restart_expire_time(draft: Draft, at: Attribute) -> None:
    seconds = find_seconds(at.value)
    if seconds is None:
        draft.left(at, "is no duration: restarts are never forgotten, as RGManager had it", accepted=DURATION)
        return
    draft.fields["restart_window_s"] = seconds
    draft.taken(at, f"restart_window_s: {seconds}")


def _no_kill(draft: Draft, at: Attribute) -> None:
    if is_true_word(at.value):
        draft.fields["no_kill"] = True
        draft.taken(at, "no_kill: true")
    elif at.value in ("", "0", "no", "false", "off", "NO", "FALSE", "OFF"):
        draft.taken(at, "no_kill: false")
    else:
        draft.left(at, "is no truth value; no_kill: false, as RGManager read it", accepted=", ".join(TRUE_WORDS))


def _migrate(draft: Draft, at: Attribute) -> None:
    draft.migration["style"] = "live" if at.value == "live" else "pause"
    told = f"migration.style: {draft.migration['style']}"
    if at.value in ("live", "pause"):
        draft.taken(at, told)
    else:
        draft.changed(at, f"{told}, as RGManager took whatever was not live", accepted="live, pause")


def _migration_mapping(draft: Draft, at: Attribute) -> None:
    for item in at.value.split(","):
        node, colon, address = (part.strip() for part in item.partition(":"))
        if not colon or not node or not address:
            draft.left(at, f"{item!r} names no address", accepted="node:address,node:address")
        elif node not in draft.ground.nodes:
            nodes = ", ".join(draft.ground.nodes)
            draft.left(
                at, f"{node!r} is no node (RGManager compared parts of names; here they are exact)", accepted=nodes
            )
        elif draft.addresses.setdefault(node, address) != address:
            draft.left(at, f"{node} is mapped twice; the first one counts", accepted="each node once")
    if draft.addresses:
        draft.taken(at, "migration_address of its nodes")
    draft.mapping = dict.fromkeys(draft.addresses, at)


def _migrate_options(draft: Draft, at: Attribute) -> None:
    try:
        words = shlex.split(at.value)
    except ValueError as error:
        draft.left(at, f"can not be taken apart: {error}")
        return
    left = iter(words)
    for word in left:
        option, equals, value = word.partition("=")
        match option:
            case "--live" | "--p2p" | "--direct" | "--verbose" | "--abort-on-error":
                draft.taken(at, f"{option}: vmha sees to it by itself")
            case "--tunnelled":
                draft.migration["tunnelled"] = True
                draft.taken(at, "migration.tunnelled: true")
            case "--auto-converge":
                draft.migration["auto_converge"] = True
                draft.taken(at, "migration.auto_converge: true")
            case "--bandwidth":
                _bandwidth(draft, at, value if equals else next(left, ""))
            case "--unsafe":
                draft.left(at, "--unsafe is never given to libvirt: caches on both sides would ruin the disk")
            case _:
                draft.left(at, f"{word}: vmha passes no free options on", accepted="--auto-converge, --bandwidth MIB/S")


def _bandwidth(draft: Draft, at: Attribute, value: str) -> None:
    number = find_number(value)
    if not number:
        draft.left(at, f"--bandwidth {value!r}: is no bandwidth", accepted="MiB/s, a whole number above 0")
        return
    draft.migration["bandwidth_mib_s"] = number
    draft.taken(at, f"migration.bandwidth_mib_s: {number}")


def _use_virsh(draft: Draft, at: Attribute) -> None:
    if find_number(at.value) == 0:
        draft.changed(at, "vmha speaks to libvirt alone; the xm command is not used")
    else:
        draft.taken(at, "vmha speaks to libvirt")


def _file(draft: Draft, at: Attribute) -> None:
    """Told when the definition is looked for."""


def _hypervisor(draft: Draft, at: Attribute) -> None:
    if at.value in ("auto", "qemu"):
        draft.taken(at, "QEMU is what vmha is for")
    elif at.value == "xen":
        text = 'vmha is made for QEMU and not tried with Xen; it would need libvirt_uri = "xen:///" on the nodes'
        draft.left(at, text, accepted="qemu, auto")
    else:
        draft.left(at, "is no hypervisor that RGManager knew", accepted="qemu, auto")


def _hypervisor_uri(draft: Draft, at: Attribute) -> None:
    if at.value in ("auto", "qemu:///system"):
        draft.taken(at, "libvirt_uri is qemu:///system unless a node's settings say otherwise")
    else:
        draft.left(at, f'is a setting of each node: libvirt_uri = "{at.value}" in /etc/vmha/vmha.toml')


def _snapshot(draft: Draft, at: Attribute) -> None:
    if not at.value:
        draft.taken(at, "no saved state")
        return
    if not at.value.startswith("/") or ".." in at.value.split("/"):
        draft.left(at, "is no absolute path: no state is saved", accepted="a directory that every node sees")
        return
    draft.fields["saved_state"] = {"directory": at.value}
    text = f"saved_state.directory: {at.value}; used once at most, and a vm that can not use it boots"
    draft.changed(at, f"{text}. What RGManager left there is not restored")


def _depend(draft: Draft, at: Attribute) -> None:
    """Told when all vms are known (needs.py)."""


def _status_program(draft: Draft, at: Attribute) -> None:
    if not at.value:
        draft.taken(at, "no status program")
        return
    begin_probe(draft, at)


def _enforce_timeouts(draft: Draft, at: Attribute) -> None:
    if is_true_word(at.value):
        draft.taken(at, "vmha enforces timeouts always")
    else:
        draft.changed(at, "vmha enforces timeouts always; RGManager without this never did")


def _tolerance(draft: Draft, at: Attribute) -> None:
    tolerate(draft, at)


def _of_children(draft: Draft, at: Attribute) -> None:
    draft.left(at, "had no effect on a vm of its own in RGManager either")


def _priority(draft: Draft, at: Attribute) -> None:
    draft.left(at, "was an attribute of services, and had no effect on a vm")


_READERS: Mapping[str, Callable[[Draft, Attribute], None]] = {
    "domain": _domain,
    "autostart": _autostart,
    "exclusive": _exclusive,
    "recovery": _recovery,
    "max_restarts": _max_restarts,
    "restart_expire_time": _restart_expire_time,
    "migration_mapping": _migration_mapping,
    "migrate": _migrate,
    "migrate_options": _migrate_options,
    "tunnelled": transports.tunnelled,
    "use_virsh": _use_virsh,
    "xmlfile": _file,
    "path": _file,
    "snapshot": _snapshot,
    "depend": _depend,
    "depend_mode": _depend,
    "status_program": _status_program,
    "hypervisor": _hypervisor,
    "hypervisor_uri": _hypervisor_uri,
    "migration_uri": transports.migration_uri,
    "no_kill": _no_kill,
    "priority": _priority,
    "__enforce_timeouts": _enforce_timeouts,
    "__max_failures": _tolerance,
    "__failure_expire_time": _tolerance,
    "__independent_subtree": _of_children,
    "__max_restarts": _of_children,
    "__restart_expire_time": _of_children,
}
