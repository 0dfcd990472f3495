"""One migration out of this host: peer to peer, with the guest left standing at the target when the order says so.

Peer to peer, because it goes on when this agent dies; otherwise a death in the last phase leaves no side running. The
order's data address goes with it, unless libvirtd's own connection carries the memory: libvirt's guess is the target's
host name, which may resolve nowhere. VIR_MIGRATE_UNSAFE is never given: libvirt refuses storage that would be cached on
both sides, and rightly.

An error here never says where the guest is. When the last reply is lost, libvirt lets the source run again while the
target is complete; with ``paused_at_target`` that target only stands, and whoever ordered the migration looks at both.
"""

import asyncio
import contextlib
from typing import TYPE_CHECKING

from vmha.hypervisor.answers import heed
from vmha.hypervisor.port import DomainMissing, HypervisorUnavailable, MigrationFailed, MigrationOrder
from vmha.hypervisor.real.calling import call
from vmha.hypervisor.real.connection import Channels
from vmha.hypervisor.real.reading import mark_of, read_job, read_tag
from vmha.hypervisor.real.translate import translate, words
from vmha.hypervisor.remedies import with_remedy
from vmha.hypervisor.states import Job, Mark, Paused, RawState
from vmha.model import domain_xml
from vmha.model.errors import Refused, Rejected, VmhaError

if TYPE_CHECKING:
    import libvirt

PREPARE_TIMEOUT_S = 5.0
ABORT_TIMEOUT_S = 10.0
"""How long an aborted migration may take to end: libvirt needs up to a quarter of a second."""


async def carry_out(channels: Channels, order: MigrationOrder) -> None:
    """Migrate; returns when the guest is complete at the target and gone here.

    Cancelled, it leaves the migration going: an agent that stops must not undo it.

    Raises:
        DomainMissing, MigrationFailed, HypervisorUnavailable
        Refused: it has arrived here itself and was not let go yet.
    """
    import libvirt

    what = f"migrate {order.name} to {order.target_uri}"
    try:
        destination_xml = await channels.act.call(
            lambda connection: _prepare(connection, order), what=what, timeout_s=PREPARE_TIMEOUT_S
        )
    except libvirt.libvirtError as error:
        problem = translate(error, what)
        passes = isinstance(problem, (DomainMissing, HypervisorUnavailable))
        raise problem if passes else MigrationFailed(str(problem)) from error
    except Rejected as error:  # libvirt takes definitions that can not be marked
        raise MigrationFailed(f"{what}: {error}") from error
    params = _params(order, destination_xml)
    flags = _flags(order)

    def migrate(connection: "libvirt.virConnect") -> None:
        connection.lookupByName(order.name).migrateToURI3(order.target_uri, params, flags)

    try:
        async with asyncio.timeout(order.timeout_s):
            begun = await channels.migrate.begin(migrate)
    except TimeoutError as error:
        raise MigrationFailed(f"{what}: not begun within {order.timeout_s:g} s, others are under way") from error
    begun.future.add_done_callback(heed)
    done, _ = await asyncio.wait([begun.future], timeout=order.timeout_s)
    overdue = ""
    if not done:
        overdue = f"took longer than {order.timeout_s:g} s and was aborted: "
        with contextlib.suppress(VmhaError, libvirt.libvirtError):
            await channels.act.call(
                lambda connection: connection.lookupByName(order.name).abortJob(),
                what=f"abort the migration of {order.name}",
                timeout_s=PREPARE_TIMEOUT_S,
            )
        done, _ = await asyncio.wait([begun.future], timeout=ABORT_TIMEOUT_S)
    if not done:
        begun.future.cancel()
        raise MigrationFailed(f"{what}: {overdue}libvirtd has not ended it yet")
    try:
        begun.future.result()
    except libvirt.libvirtError as error:
        # A lost connection to our own libvirtd reads like one between the two: either way, look at both sides.
        raise MigrationFailed(f"{what}: {overdue}{with_remedy(words(error), order.target_uri)}") from error


def _prepare(connection: "libvirt.virConnect", order: MigrationOrder) -> str:
    """The definition for the target; settings that must be made before the migration begins are made."""
    import libvirt

    domain = connection.lookupByName(order.name)
    xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE)
    if order.max_downtime_ms is not None:
        domain.migrateSetMaxDowntime(order.max_downtime_ms)
    return domain_xml.tagged(
        xml,
        cluster=order.tag.cluster,
        vm=order.tag.vm,
        epoch=order.tag.epoch,
        uuid=domain.UUIDString(),
        handover=_mark(domain, order),
    )


def _mark(domain: "libvirt.virDomain", order: MigrationOrder) -> Mark:
    if not order.paused_at_target:
        return Mark.NONE
    state, reason, *_ = domain.state()
    if (state, reason) != (RawState.PAUSED, Paused.USER):
        return Mark.STANDING
    if mark_of(read_tag(domain)).is_handover:
        raise Refused(f"{order.name} stands here for its own hand-over: it has to be let go first")
    return Mark.PAUSED


def _params(order: MigrationOrder, destination_xml: str) -> dict[str, object]:
    import libvirt

    params: dict[str, object] = {} if order.tunnelled else {libvirt.VIR_MIGRATE_PARAM_URI: order.data_uri}
    if not order.takes_up:  # it is there already, with its definition
        params[libvirt.VIR_MIGRATE_PARAM_DEST_XML] = destination_xml
    if order.bandwidth_mib_s is not None:
        params[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = order.bandwidth_mib_s
    if order.post_copy_bandwidth_mib_s is not None:
        params[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH_POSTCOPY] = order.post_copy_bandwidth_mib_s
    if order.auto_converge_initial is not None:
        params[libvirt.VIR_MIGRATE_PARAM_AUTO_CONVERGE_INITIAL] = order.auto_converge_initial
    if order.auto_converge_increment is not None:
        params[libvirt.VIR_MIGRATE_PARAM_AUTO_CONVERGE_INCREMENT] = order.auto_converge_increment
    if order.parallel_connections is not None:
        params[libvirt.VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS] = order.parallel_connections
    if order.compress:
        params[libvirt.VIR_MIGRATE_PARAM_COMPRESSION] = "xbzrle"
    return params


def _flags(order: MigrationOrder) -> int:
    import libvirt

    flags = libvirt.VIR_MIGRATE_PEER2PEER
    if order.live:
        flags |= libvirt.VIR_MIGRATE_LIVE
    if order.paused_at_target:
        flags |= libvirt.VIR_MIGRATE_PAUSED
    if order.auto_converge:
        flags |= libvirt.VIR_MIGRATE_AUTO_CONVERGE
    if order.parallel_connections is not None:
        flags |= libvirt.VIR_MIGRATE_PARALLEL
    if order.compress:
        flags |= libvirt.VIR_MIGRATE_COMPRESSED
    if order.post_copy:
        flags |= libvirt.VIR_MIGRATE_POSTCOPY
    if order.takes_up:
        flags |= libvirt.VIR_MIGRATE_POSTCOPY_RESUME
    if order.tunnelled:
        flags |= libvirt.VIR_MIGRATE_TUNNELLED
    if order.encrypts_memory:
        flags |= libvirt.VIR_MIGRATE_TLS
    return flags


async def start_post_copy(channels: Channels, name: str) -> None:
    """See the port. libvirt answers once QEMU has been told; the source's state says when it has switched.

    Raises:
        DomainMissing, MigrationFailed, HypervisorUnavailable
    """

    def work(connection: "libvirt.virConnect") -> None:
        connection.lookupByName(name).migrateStartPostCopy()

    try:
        await call(channels.act, work, f"let {name} go on at its target", PREPARE_TIMEOUT_S)
    except (DomainMissing, HypervisorUnavailable):
        raise
    except Refused as error:
        raise MigrationFailed(str(error)) from error


async def abort(channels: Channels, name: str) -> None:
    """See the port."""

    def work(connection: "libvirt.virConnect") -> None:
        import libvirt

        if read_job(connection, name) is Job.NONE:
            return  # another job, somebody's save, is not ours to abort
        try:
            connection.lookupByName(name).abortJob()
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
                raise

    await call(channels.act, work, f"abort the migration of {name}", PREPARE_TIMEOUT_S)
