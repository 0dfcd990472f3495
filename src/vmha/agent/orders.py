"""What a worker asks of the hypervisor, and how it calls what the hypervisor answers: values made of values."""

from vmha.hypervisor.port import Ending, MigrationOrder, Tag
from vmha.model.ids import Epoch
from vmha.model.records import Placement, RunEnd
from vmha.model.transport import route
from vmha.model.vm import Handover, Migration, MigrationStyle
from vmha.policy.state.snapshot import NodeView

ENDED = {
    Ending.GUEST_SHUTDOWN: (RunEnd.GUEST_SHUTDOWN, "its guest powered itself off"),
    Ending.DESTROYED: (RunEnd.DESTROYED, "somebody ended it by hand"),
    Ending.HOST_SHUTDOWN: (RunEnd.CRASHED, "its QEMU was told to end"),
    Ending.SAVED: (RunEnd.SAVED, "somebody saved it by hand"),
    Ending.PANICKED: (RunEnd.CRASHED, "its guest panicked"),
    Ending.CRASHED: (RunEnd.CRASHED, "its QEMU died"),
    Ending.INCOMING_FAILED: (RunEnd.CRASHED, "it did not arrive"),
    Ending.UNKNOWN: (RunEnd.CRASHED, "it is gone, and nobody saw it end"),
}
"""How a run ended, for its record, and in words."""


def migration_order(
    placement: Placement, how: Migration, target: NodeView | None, *, cluster: str, migration_uri: str
) -> MigrationOrder:
    """The migration that ``placement`` asks for."""
    style = placement.style or how.style
    way = route(_migration_address(target), node_uri=migration_uri, transport=how.transport, is_tunnelled=how.tunnelled)
    return MigrationOrder(
        name=placement.vm,
        target_uri=way.target_uri,
        data_uri=way.data_uri,
        tunnelled=way.is_tunnelled,
        encrypts_memory=way.encrypts_memory,
        tag=Tag(cluster=cluster, vm=placement.vm, epoch=Epoch(placement.epoch + 1)),
        live=style is not MigrationStyle.PAUSE,
        paused_at_target=how.handover is Handover.SAFE,
        timeout_s=how.timeout_s,
        bandwidth_mib_s=how.bandwidth_mib_s,
        max_downtime_ms=how.max_downtime_ms,
        auto_converge=how.auto_converge,
        auto_converge_initial=how.auto_converge_initial,
        auto_converge_increment=how.auto_converge_increment,
        parallel_connections=how.parallel_connections,
        compress=how.compress,
        post_copy=style is MigrationStyle.POST_COPY,
        post_copy_bandwidth_mib_s=how.post_copy_bandwidth_mib_s if style is MigrationStyle.POST_COPY else None,
    )


def _migration_address(target: NodeView | None) -> str:
    if target is None:
        return ""
    if target.spec and target.spec.value.migration_address:
        return target.spec.value.migration_address
    return target.status.value.migration_address if target.status else ""
