"""Passwords among the options of fence devices: they stand in etcd, where every role that reads the cluster reads them.

Said of each that a document brings anew; with ``fencing.secrets: files`` such a document is refused. What is stored
already is told by ``vmha doctor`` alone.
"""

from collections.abc import Iterator

from vmha.model.ids import NodeName
from vmha.model.secret_names import names_a_secret
from vmha.model.settings import FenceSecrets
from vmha.model.vm import FenceDeviceSpec, NodeSpec
from vmha.operator.document import ClusterDocument
from vmha.operator.yaml_source import Complaint
from vmha.policy.state.snapshot import Snapshot

REMEDY = "password_script: a program on the hosts that prints it; most fence agents take one"


def refused_secrets(document: ClusterDocument, snapshot: Snapshot) -> Iterator[Complaint]:
    """By the settings that the document brings, or else by the cluster's."""
    if (document.config or snapshot.config).fencing.secrets is not FenceSecrets.FILES:
        return
    for index, node in enumerate(document.nodes or ()):
        for place, device in enumerate(node.fence):
            for option in sorted(filter(names_a_secret, device.options)):
                text = f"a secret, and fencing.secrets is files (accepted: {REMEDY})"
                yield Complaint(path=("nodes", index, "fence", place, "options", option), text=text)


def secrets_brought(document: ClusterDocument, snapshot: Snapshot) -> list[str]:
    """In words, for whoever applies it; never the secrets themselves."""
    lines = []
    for node in document.nodes or ():
        known = _secrets(snapshot, node.name)
        for device in node.fence:
            new = [one for one in sorted(filter(names_a_secret, device.options)) if _secret(device, one) not in known]
            if new:
                lines.append(
                    f"{device.agent} of {node.name}: {', '.join(new)} can be read by everybody who reads the cluster; "
                    f"keep it out of etcd by {REMEDY}"
                )
    return lines


def _secrets(snapshot: Snapshot, node: str) -> set[tuple[str, str, str]]:
    view = snapshot.nodes.get(NodeName(node))
    spec: NodeSpec | None = view.spec.value if view and view.spec else None
    return {_secret(device, option) for device in (spec.fence if spec else ()) for option in device.options}


def _secret(device: FenceDeviceSpec, option: str) -> tuple[str, str, str]:
    return device.agent, option, device.options[option]
