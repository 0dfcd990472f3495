"""By which ways vms would leave a node for the others: as their own definitions say, or as the node's settings do.

Pure. A vm that names a transport or a tunnel goes its own way; which of these may run at both ends is asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from vmha.model.ids import NodeName, VmName
from vmha.model.transport import Route, route
from vmha.model.vm import VmSpec
from vmha.policy.placing.may_run import MayRun
from vmha.policy.state.snapshot import NodeView, Snapshot

NAMED_AT_MOST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """From one node to another. ``vms``: some of those that go by it; none: what says nothing of its own would."""

    to: NodeName
    route: Route
    vms: tuple[VmName, ...] = ()


def migration_address(node: NodeView) -> str:
    """'': nobody has said one."""
    said = node.spec.value.migration_address if node.spec else None
    return said or (node.current_status.migration_address if node.current_status else "")


def ways_from(me: NodeName, snapshot: Snapshot, *, node_uri: str) -> Iterator[tuple[NodeName, str, list[Way]]]:
    """Each other node with a status, its address, and the different ways to it; the node's own comes first.

    An address of '' has none.
    """
    may = MayRun(snapshot)
    own_ways = [vm.spec.value for _, vm in sorted(snapshot.vms.items()) if vm.spec and _is_special(vm.spec.value)]
    here = [spec for spec in own_ways if may.run(spec, me)]
    for name, view in sorted(snapshot.nodes.items()):
        if name == me or view.current_status is None:
            continue
        address = migration_address(view)
        if not address:
            yield name, "", []
            continue
        by: dict[Route, list[VmName]] = {}
        by[route(address, node_uri=node_uri, transport=None, is_tunnelled=False)] = []
        for spec in here:
            if may.run(spec, name):
                how = spec.migration
                own = route(address, node_uri=node_uri, transport=how.transport, is_tunnelled=how.tunnelled)
                by.setdefault(own, []).append(VmName(spec.name))
        yield name, address, [Way(to=name, route=one, vms=tuple(vms[:NAMED_AT_MOST])) for one, vms in by.items()]


def _is_special(spec: VmSpec) -> bool:
    return spec.migration.transport is not None or spec.migration.tunnelled
