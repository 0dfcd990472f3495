"""Nodes and their fence devices.

RGManager's cluster tried a node's fence *methods* in order, and a method had succeeded only when *all* of its devices
had: two power supplies, say. vmha's devices are alternatives, any one of which proves that the node is off. A method
with several devices is therefore not taken: the first supply switched off would pass as a proof while the second one
feeds the host. Neither are agents that do not cut power. Those that take the storage away prove something only where
every host registered with it before (cman's ``<unfence>`` did that); a host that never did reads as "off" and writes.
"""

from typing import Any

from pydantic import ValidationError

from vmha.model.document import what_is_wrong
from vmha.model.vm import FenceDeviceSpec, NodeSpec
from vmha.operator.rgmanager.fence_passwords import Passwords
from vmha.operator.rgmanager.findings import Findings
from vmha.operator.rgmanager.source import Attribute, Element

_BY_HAND = "leaves the host running; it can be set up by hand, as a fence device with role: storage"
_STORAGE = f"takes the storage away and {_BY_HAND}"
_PORT = f"closes a port of a network and {_BY_HAND}"
NOT_POWER = {
    "fence_scsi": _STORAGE,
    "fence_mpath": _STORAGE,
    "fence_sanlock": "is the storage's lock, not a power switch",
    "fence_brocade": _PORT,
    "fence_sanbox2": _PORT,
    "fence_mcdata": _PORT,
    "fence_vixel": _PORT,
    "fence_cisco_mds": _PORT,
    "fence_ifmib": _PORT,
    "fence_kdump": "waits for a crash dump and switches nothing off",
    "fence_pcmk": "hands the work to Pacemaker",
    "fence_manual": "waits for a person: that is vmha node confirm-off NODE",
    "fence_ack_manual": "waits for a person: that is vmha node confirm-off NODE",
    "fence_heuristics_ping": "switches nothing off",
    "fence_dummy": "switches nothing off",
}
_ACTIONS = ("action", "option")
_DIALECT = "the agent's own option"


def translate_nodes(root: Element, found: Findings, passwords: Passwords) -> dict[str, dict[str, Any]]:
    """The nodes by name, as they stand in a document, in the order of the file."""
    devices = _fence_devices(root, found)
    used: set[str] = set()
    nodes: dict[str, dict[str, Any]] = {}
    lists = root.named("clusternodes")
    if not lists:
        found.left(root, "has no <clusternodes>: no node is imported")
    for element in (node for group in lists for node in group.children):
        if element.tag != "clusternode":
            found.left_whole(element, "is not known here")
            continue
        name = element.attributes.get("name", "")
        if not _is_a_node(element, name, nodes, found):
            continue
        fence = _fence_of(element, devices, used, found, passwords)
        nodes[name] = {"name": name, **({"fence": fence} if fence else {})}
    for name, device in devices.items():
        if name not in used:
            found.left_all(device.all_attributes(but=("agent",)), "no node that was taken uses this device")
    return nodes


def _is_a_node(element: Element, name: str, nodes: dict[str, dict[str, Any]], found: Findings) -> bool:
    attribute = element.find_attribute("name")
    if attribute is None:
        found.left(element, "has no name", accepted="a name")
        return False
    if name in nodes:
        found.left(attribute, "there is a node of this name already; the first one counts", accepted="each name once")
        return False
    try:
        NodeSpec(name=name)
    except ValidationError as error:
        found.left(attribute, what_is_wrong(error.errors(include_url=False)[0]))
        return False
    found.taken(attribute, f'the node {name}; its /etc/vmha/vmha.toml must say node = "{name}"')
    for other in element.all_attributes(but=("name",)):
        match other.name:
            case "nodeid" | "votes":
                found.left(other, "vmha counts no votes: etcd's own members keep the quorum")
            case _:
                found.left(other, "is not known here", accepted="name, nodeid, votes")
    for child in element.children:
        if child.tag != "fence":
            why = "vmha's network addresses are in each node's /etc/vmha/vmha.toml" if child.tag == "altname" else ""
            found.left_whole(child, why or "is not known here")
    return True


def _fence_devices(root: Element, found: Findings) -> dict[str, Element]:
    devices: dict[str, Element] = {}
    for element in (device for group in root.named("fencedevices") for device in group.children):
        name = element.attributes.get("name", "")
        if element.tag != "fencedevice":
            found.left_whole(element, "is not known here")
        elif not name:
            found.left_whole(element, "has no name, so no node can use it")
        elif name in devices:
            found.left_whole(element, f"there is a device {name} already; the first one counts")
        else:
            devices[name] = element
            agent = element.find_attribute("agent")
            if agent is None:
                found.left(element, "has no agent", accepted="the name of a fence agent, such as fence_ipmilan")
            elif agent.value in NOT_POWER:
                found.left(agent, f"{agent.value} {NOT_POWER[agent.value]}", accepted="an agent that cuts power")
            else:
                found.taken(agent, f"agent: {agent.value}")
    return devices


def _fence_of(
    node: Element, devices: dict[str, Element], used: set[str], found: Findings, passwords: Passwords
) -> list[dict[str, Any]] | None:
    chain: list[dict[str, Any]] = []
    methods = [method for fence in node.named("fence") for method in fence.children]
    for method in methods:
        if method.tag != "method":
            found.left_whole(method, "is not known here")
            continue
        here = method.named("device")
        for other in (child for child in method.children if child.tag != "device"):
            found.left_whole(other, "is not known here")
        if len(here) > 1:
            text = (
                "a method of several devices: all of them must be off to prove that the node is, and vmha would "
                "believe the first one; use an agent that switches them together"
            )
            found.left_whole(method, text)
            continue
        if not here:
            found.left(method, "has no device")
            continue
        device = _device(here[0], node.attributes["name"], devices, used, found, passwords)
        attribute = method.find_attribute("name")
        if device:
            chain.append(device)
            if attribute:
                found.taken(attribute, f"its device is tried as number {len(chain)}")
    if not chain:
        text = "no fence device of it was taken: its guard, and a watchdog where there is one, fence it without set-up"
        found.changed(node, text)
    return chain or None


def _device(
    element: Element, node: str, devices: dict[str, Element], used: set[str], found: Findings, passwords: Passwords
) -> dict[str, Any] | None:
    name = element.find_attribute("name")
    if name is None:
        found.left(element, "has no name", accepted=_names(devices))
        return None
    shared = devices.get(name.value)
    if shared is None:
        found.left(name, "there is no such fence device", accepted=_names(devices))
        return None
    agent = shared.attributes.get("agent", "")
    own = [a for a in element.all_attributes(but=("name",)) if a.name not in _ACTIONS]
    common = [a for a in shared.all_attributes(but=("name", "agent")) if a.name not in _ACTIONS]
    actions = [a for e in (shared, element) for a in e.all_attributes() if a.name in _ACTIONS]
    problem = _problem(agent, actions)
    given = {a.name: a for a in (*common, *own)}
    try:
        spec = FenceDeviceSpec(agent=agent or "none", options={key: a.value for key, a in given.items()})
    except ValidationError as error:
        problem = problem or what_is_wrong(error.errors(include_url=False)[0])
    for key, attribute in given.items():
        if set(key) & set("=\n\r\0 ") or set(attribute.value) & set("\n\r\0"):
            problem = problem or f"the option {key!r} does not fit into one line"
    if problem:
        found.left(name, problem)
        return None
    found.taken(name, f"the fence device {agent}")
    told = [(attribute, given) for attribute in own]
    if name.value not in used:
        used.add(name.value)
        label = shared.find_attribute("name")
        assert label
        found.taken(label, "its options go to each node that uses it")
        told += [(attribute, {a.name: a for a in common}) for attribute in common]
    for attribute, beside in told:
        if not passwords.tell(attribute, beside, name.value, node, found):
            found.taken(attribute, f"{_DIALECT} {attribute.name}")
    _tell_actions(actions, found)
    spec = spec.model_copy(update={"options": passwords.options(given, name.value, node)})
    return spec.model_dump(mode="json", exclude_defaults=True)


def _problem(agent: str, actions: list[Attribute]) -> str:
    if not agent:
        return "its fence device has no agent"
    if agent in NOT_POWER:
        return f"{agent} {NOT_POWER[agent]}; it can not prove that nothing runs any more"
    for action in actions:
        if action.value.lower() not in ("off", "reboot", "poweroff", "cycle", ""):
            return f"{action.name}={action.value!r} does not switch the node off (accepted: off, reboot)"
    return ""


def _tell_actions(actions: list[Attribute], found: Findings) -> None:
    for action in actions:
        if action.value.lower() in ("off", "poweroff", ""):
            found.taken(action, "vmha always switches off, and looks that it is off")
        else:
            found.changed(
                action,
                "vmha switches off and leaves it off; to have it on again after that: fencing.afterwards",
            )


def _names(devices: dict[str, Element]) -> str:
    return ", ".join(sorted(devices)) or "a <fencedevice> of that name, and there is none"
