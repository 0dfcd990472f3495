"""What is read of libvirt, in blocking calls that run in a lane's thread.

The reading of the whole host takes two calls and one more for each domain's metadata, and none of them needs a QEMU to
answer: a frozen guest must not hide the others. Questions that do need one (the statistics of a job) are asked apart.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vmha.hypervisor.port import DomainMissing, HostCapacity, Tag
from vmha.hypervisor.real.translate import is_missing
from vmha.hypervisor.states import Job, Mark, RawState
from vmha.model import domain_xml
from vmha.model.domain_xml import TagFacts
from vmha.model.migration import Arrival, MigrationProgress

if TYPE_CHECKING:
    import libvirt

MONITOR_STUCK_MS = 500
"""A QEMU whose monitor has been silent for that long is not asked anything more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawDomain:
    """A domain as libvirt shows it; ``state`` and ``reason`` are libvirt's numbers."""

    name: str
    uuid: str
    state: int
    reason: int
    is_persistent: bool
    tag: TagFacts | None

    @property
    def mark(self) -> Mark:
        return mark_of(self.tag)

    @property
    def has_qemu(self) -> bool:
        return self.state != RawState.SHUTOFF


def mark_of(tag: TagFacts | None) -> Mark:
    try:
        return Mark(tag.handover) if tag is not None else Mark.NONE
    except ValueError:
        return Mark.STANDING  # a mark of a later version: still not a user's pause


def tag_of(found: TagFacts) -> Tag:
    mark = mark_of(found)
    return Tag(
        cluster=found.cluster, vm=found.vm, epoch=found.epoch, second=mark is Mark.SECOND, aside=mark is Mark.ASIDE
    )


def read_domains(connection: "libvirt.virConnect") -> tuple[RawDomain, ...]:
    """Every domain of the host, sorted by name. One that goes away while it is read is left out."""
    import libvirt

    persistent = {each.UUIDString() for each in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_PERSISTENT)}
    # NOWAIT: without it a QEMU that holds its job lock keeps the whole list waiting for 30 s.
    every = connection.getAllDomainStats(
        libvirt.VIR_DOMAIN_STATS_STATE, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
    )
    found = []
    for domain, stats in every:
        try:
            tag = read_tag(domain)
        except DomainMissing:
            continue
        found.append(
            RawDomain(
                name=domain.name(),
                uuid=domain.UUIDString(),
                state=int(stats.get("state.state", RawState.NOSTATE)),
                reason=int(stats.get("state.reason", 0)),
                is_persistent=domain.UUIDString() in persistent,
                tag=tag,
            )
        )
    return tuple(sorted(found, key=lambda raw: raw.name))


def read_tag(domain: "libvirt.virDomain") -> TagFacts | None:
    """
    Raises:
        DomainMissing: it has gone.
    """
    import libvirt

    try:
        element = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, domain_xml.NAMESPACE)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_METADATA:
            return None
        # Of a transient domain whose QEMU has just ended libvirt says that it has no persistent definition.
        if is_missing(error) or error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID:
            raise DomainMissing(f"{domain.name()} has gone") from error
        raise
    return domain_xml.read_tag_element(element)


def write_tag(domain: "libvirt.virDomain", tag: TagFacts | None) -> None:
    """Set or take off the tag of a running domain."""
    import libvirt

    element = None if tag is None else domain_xml.tag_element(tag, qualified=False)
    key = None if tag is None else domain_xml.PREFIX
    domain.setMetadata(
        libvirt.VIR_DOMAIN_METADATA_ELEMENT, element, key, domain_xml.NAMESPACE, libvirt.VIR_DOMAIN_AFFECT_LIVE
    )


def read_jobs(connection: "libvirt.virConnect", names: tuple[str, ...], answers: dict[str, Job]) -> None:
    """Ask for the jobs of ``names``; each answer is put down as it comes, for whoever gives up waiting."""
    for name in names:
        answers[name] = read_job(connection, name)


def read_job(connection: "libvirt.virConnect", name: str) -> Job:
    import libvirt

    try:
        domain = connection.lookupByName(name)
        control, _, since_ms = domain.controlInfo()
        if control == libvirt.VIR_DOMAIN_CONTROL_OCCUPIED and since_ms > MONITOR_STUCK_MS:
            return Job.UNKNOWN
        stats = domain.jobStats()
    except libvirt.libvirtError as error:
        # "migration statistics are available only on the source host": this is the target.
        is_target = error.get_error_code() == libvirt.VIR_ERR_OPERATION_UNSUPPORTED
        return Job.INCOMING if is_target else Job.UNKNOWN
    is_leaving = stats.get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT
    return Job.MIGRATING_OUT if is_leaving and stats.get("type") != libvirt.VIR_DOMAIN_JOB_NONE else Job.NONE


def read_progress(connection: "libvirt.virConnect", name: str) -> MigrationProgress | None:
    """None when ``name`` is not here or does not migrate out."""
    import libvirt

    try:
        stats = connection.lookupByName(name).jobStats()
    except libvirt.libvirtError as error:
        if is_missing(error) or error.get_error_code() == libvirt.VIR_ERR_OPERATION_UNSUPPORTED:
            return None
        raise
    if (
        stats.get("operation") != libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT
        or stats.get("type") == libvirt.VIR_DOMAIN_JOB_NONE
    ):
        return None
    pages_per_s, page_bytes = _find_number(stats, "memory_dirty_rate"), _find_number(stats, "memory_page_size")
    return MigrationProgress(
        elapsed_s=int(stats.get("time_elapsed", 0)) / 1000,
        remaining_bytes=int(stats.get("data_remaining", 0)),
        total_bytes=int(stats.get("data_total", 0)),
        expected_downtime_ms=_find_number(stats, "downtime"),
        iteration=_find_number(stats, "memory_iteration"),
        dirty_bytes_per_s=None if pages_per_s is None else pages_per_s * (page_bytes or 4096),
        throttle_percent=_find_number(stats, "auto_converge_throttle"),
    )


def _find_number(stats: dict[str, Any], key: str) -> int | None:
    return int(stats[key]) if key in stats else None


def read_arrival(connection: "libvirt.virConnect", name: str) -> Arrival | None:
    """Of the migration that brought ``name`` here: libvirt keeps the statistics of a domain's last job."""
    import libvirt

    kept = libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
    try:
        stats = connection.lookupByName(name).jobStats(kept)
    except libvirt.libvirtError as error:
        if is_missing(error) or error.get_error_code() in (
            libvirt.VIR_ERR_OPERATION_INVALID,
            libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
        ):
            return None
        raise
    if stats.get("operation") != libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN or "time_elapsed" not in stats:
        return None
    return Arrival(total_s=int(stats["time_elapsed"]) / 1000, downtime_s=int(stats.get("downtime", 0)) / 1000)


def find_departure(stats: dict[str, Any]) -> Arrival | None:
    """In what libvirt says of a job that is over, at its host. None: it took no guest away, or that is not said."""
    import libvirt

    if stats.get("operation") != libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT or not stats.get("success", True):
        return None
    total_ms, downtime_ms = _find_number(stats, "time_elapsed"), _find_number(stats, "downtime")
    if total_ms is None or downtime_ms is None:
        return None
    return Arrival(total_s=total_ms / 1000, downtime_s=downtime_ms / 1000)


def read_capacity(connection: "libvirt.virConnect") -> HostCapacity:
    info = connection.getInfo()
    qemu, library = connection.getVersion(), connection.getLibVersion()
    return HostCapacity(
        memory_mib=int(info[1]),
        vcpus=int(info[2]),
        hypervisor=f"{connection.getType()} {_version(qemu)}, libvirt {_version(library)}",
    )


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
