"""Passwords among the options of fence devices: in etcd every role that reads the cluster reads them.

So a document that brings one is refused, unless ``fencing.secrets`` is ``stored``; then it is said of each. What a node
has stored already is neither refused nor told again, whatever the setting says: ``vmha doctor`` names it, and the node
goes on being fenced with it.
"""

from collections.abc import Iterator

from vmha.model.ids import NodeName
from vmha.model.secret_names import find_script_option
from vmha.model.settings import FenceSecrets
from vmha.model.vm import FenceDeviceSpec, NodeSpec
from vmha.operator.document import ClusterDocument
from vmha.operator.yaml_source import Complaint
from vmha.policy.state.snapshot import Snapshot

BY_A_PROGRAM = "a program on the hosts that prints it"
BY_AN_AGENT = "a fence agent of your own on the hosts that adds it (docs/howto/fencing-with-ipmi.md)"
BY_STORING = "in config fencing: {secrets: stored}, and everybody who reads the cluster reads it"


def refused_secrets(document: ClusterDocument, snapshot: Snapshot) -> Iterator[Complaint]:
    """By the settings that the document brings, or else by the cluster's."""
    if (document.config or snapshot.config).fencing.secrets is not FenceSecrets.FILES:
        return
    for index, node in enumerate(document.nodes or ()):
        known = _secrets(snapshot, node.name)
        for place, device in enumerate(node.fence):
            for option in _brought(device, known):
                text = f"a secret, and fencing.secrets is files (accepted: {instead_of(option)}; or {BY_STORING})"
                yield Complaint(path=("nodes", index, "fence", place, "options", option), text=text)


def secrets_brought(document: ClusterDocument, snapshot: Snapshot) -> list[str]:
    """In words, for whoever applies it; never the secrets themselves."""
    return [
        f"{device.agent} of {node.name}: {', '.join(new)} can be read by everybody who reads the cluster; keep it out "
        f"of etcd by {', '.join(dict.fromkeys(map(instead_of, new)))}"
        for node in document.nodes or ()
        for known in (_secrets(snapshot, node.name),)
        for device in node.fence
        if (new := _brought(device, known))
    ]


def instead_of(option: str) -> str:
    """What is to be given to the fence agent instead of this option."""
    script = find_script_option(option)
    return f"{script}: {BY_A_PROGRAM}" if script else BY_AN_AGENT


def _brought(device: FenceDeviceSpec, known: set[str]) -> list[str]:
    return [option for option in device.secret_options if device.options[option] not in known]


def _secrets(snapshot: Snapshot, node: str) -> set[str]:
    """Of one node, whatever the device: another address of it or another of its programs shows them to nobody new."""
    view = snapshot.nodes.get(NodeName(node))
    spec: NodeSpec | None = view.spec.value if view and view.spec else None
    return {device.options[option] for device in (spec.fence if spec else ()) for option in device.secret_options}
