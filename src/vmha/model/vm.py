"""A vm as its operator describes it, and the failover domains it may name. Stored in etcd and written in YAML alike."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from vmha.model.document import NAME_PATTERN, Document
from vmha.model.health import Probe, named_once
from vmha.model.relations import Needs, Rank
from vmha.model.rules import Labels
from vmha.model.secret_names import names_a_secret
from vmha.model.settings import Gate, MemoryRatio, ReserveMib, VcpuRatio
from vmha.model.source import DefinitionSource, SavedState
from vmha.model.standing import Failback, OnPause
from vmha.model.transport import Transport

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=63)]
Percentage = Annotated[int, Field(ge=0, le=100)]


class Desired(StrEnum):
    """What the operator wants of a vm."""

    AS_FOUND = "as-found"  # just added: neither started nor stopped; settled by what is seen running
    RUNNING = "running"
    STOPPED = "stopped"
    DISABLED = "disabled"  # stopped, and asking for a start is refused until it is enabled


class Recovery(StrEnum):
    """What to do when a vm fails on a healthy node (RGManager's four)."""

    RESTART = "restart"  # here first, elsewhere when that fails
    RELOCATE = "relocate"  # elsewhere first
    DISABLE = "disable"
    RESTART_DISABLE = "restart-disable"  # here, until max_restarts is used up, then disabled


class MigrationStyle(StrEnum):
    LIVE = "live"  # copied while it runs, as often as it takes
    PAUSE = "pause"  # it stands still while its memory is copied once (RGManager's)
    POST_COPY = "post-copy"  # live, and if that does not end: it goes on at its target, and fetches what is missing


class Handover(StrEnum):
    SAFE = "safe"  # target left paused until its claim is recorded
    LIBVIRT = "libvirt"  # libvirt switches by itself: only where the storage has a lock


class AfterShutdown(StrEnum):
    """What to do when the guest powered itself off, or somebody destroyed it by hand."""

    RESTART = "restart"
    STOP = "stop"


class ShutdownBy(StrEnum):
    """How a guest is asked to shut itself down."""

    ACPI = "acpi"  # its power button
    AGENT = "agent"  # the guest agent in it
    AGENT_THEN_ACPI = "agent-then-acpi"  # the agent first; its power button if that does not answer, or ends nothing


class OnDuplicate(StrEnum):
    """What to do with a copy that runs where nobody granted it, while the holder's runs too."""

    PAUSE = "pause"
    DESTROY = "destroy"
    ALARM = "alarm"


class Migration(Document):
    style: MigrationStyle = MigrationStyle.LIVE
    handover: Handover = Handover.SAFE
    timeout_s: Annotated[float, Field(ge=5, le=86400)] = 600.0
    bandwidth_mib_s: Annotated[int, Field(ge=1)] | None = None
    max_downtime_ms: Annotated[int, Field(ge=1, le=60000)] | None = None
    auto_converge: bool = False
    auto_converge_initial: Annotated[int, Field(ge=1, le=99)] | None = Field(default=None, description="Per cent.")
    auto_converge_increment: Annotated[int, Field(ge=1, le=99)] | None = Field(default=None, description="Per cent.")
    parallel_connections: Annotated[int, Field(ge=2, le=64)] | None = None
    compress: bool = Field(default=False, description="Send only what has changed in a page (XBZRLE).")
    post_copy_after_s: Annotated[float, Field(ge=1, le=86400)] | None = Field(
        default=None, description="In style post-copy: when it switches; 30 if neither this nor the next is given."
    )
    post_copy_after_passes: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="The same, by how often the memory was gone through."
    )
    post_copy_bandwidth_mib_s: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="For what is sent unasked after the switch."
    )
    transport: Transport | None = Field(default=None, description="None: as the migration_uri of the node it leaves.")
    tunnelled: bool = Field(default=False, description="Memory through libvirtd's connection, not from QEMU to QEMU.")

    @model_validator(mode="after")
    def _what_goes_together(self) -> Self:
        for field in ("auto_converge_initial", "auto_converge_increment"):
            if getattr(self, field) is not None and not self.auto_converge:
                raise ValueError(f"{field}: {getattr(self, field)}: goes with auto_converge: true only")
        if self.tunnelled and self.parallel_connections is not None:
            raise ValueError(
                "tunnelled: true: does not go with parallel_connections; libvirtd has one connection for it"
            )
        if self.compress and self.parallel_connections is not None:
            raise ValueError("compress: true: does not go with parallel_connections; QEMU has one or the other")
        if wrong := why_no_post_copy(self, self.style):
            raise ValueError(wrong)
        if self.post_copy_after_s is not None and self.post_copy_after_s >= self.timeout_s:
            raise ValueError(
                f"post_copy_after_s: {self.post_copy_after_s:g}: would never come, timeout_s is {self.timeout_s:g} "
                f"(accepted: less than that)"
            )
        return self


def why_no_post_copy(how: Migration, style: MigrationStyle) -> str:
    """Why a vm whose settings are ``how`` does not migrate in this style; '': it does."""
    if style is not MigrationStyle.POST_COPY:
        return ""
    if how.handover is not Handover.LIBVIRT:
        return (
            f"style: post-copy: does not go with handover: {how.handover} (accepted: handover: libvirt, or style: "
            "live or pause): its guest runs at the target before its memory is there, so it can not be left standing "
            "there until that is on record; and a link or a host that breaks before all is there costs the guest"
        )
    if how.parallel_connections is not None:
        return "style: post-copy: does not go with parallel_connections; QEMU has one or the other"
    if how.tunnelled:
        return (
            "style: post-copy: does not go with tunnelled: true; the target fetches memory, and a tunnel only brings it"
        )
    return ""


class VmSpec(Document):
    """``vms/<vm>/spec``: the definition and the desired state."""

    name: Name
    xml: str = Field(default="", description="libvirt domain XML; its <name> must be the vm's name.")
    definition: DefinitionSource | None = Field(default=None, description="Where it is instead, read at each start.")
    uuid: str = Field(description="Identity of the guest; unique in the cluster.")
    desired: Desired = Desired.AS_FOUND
    desired_why: str = Field(default="", description="Who or what set the desired state, and why.")
    failover_domain: Name | None = None
    priority: Annotated[int, Field(ge=0, le=1000)] = 100
    memory_mib: Annotated[int, Field(ge=1)] = 1
    vcpus: Annotated[int, Field(ge=0)] = Field(default=0, description="0: not known, and not counted.")
    recovery: Recovery = Recovery.RESTART
    max_restarts: Annotated[int, Field(ge=0)] = Field(default=0, description="0: no limit")
    restart_window_s: Annotated[float, Field(ge=0)] = Field(default=0.0, description="0: never forgotten")
    on_guest_shutdown: AfterShutdown = AfterShutdown.RESTART
    on_outside_stop: AfterShutdown = AfterShutdown.RESTART
    on_duplicate: OnDuplicate = OnDuplicate.PAUSE
    start_timeout_s: Annotated[float, Field(ge=1, le=86400)] = 60.0
    stop_timeout_s: Annotated[float, Field(ge=1, le=86400)] = 120.0
    shutdown_by: ShutdownBy = Field(default=ShutdownBy.ACPI, description="How the guest is asked to shut down.")
    no_kill: bool = Field(default=False, description="Never end the guest by force when it ignores a shutdown.")
    migration: Migration = Migration()
    autostart: bool = Field(default=True, description="false: it stays down after the whole cluster was down.")
    exclusive: Rank = Field(
        default=0, description="Wants its node for itself; 1 is the most important, 0: it does not."
    )
    depends_on: Needs = Field(default=(), description="Vms that it needs; a name alone is a hard need.")
    on_pause: OnPause = OnPause()
    failback: Failback = Failback()
    probes: Annotated[tuple[Probe, ...], AfterValidator(named_once)] = Field(
        default=(), description="What tells whether the guest is ready, and whether it is alive."
    )
    saved_state: SavedState | None = Field(default=None, description="Keep its memory over a stop.")

    @model_validator(mode="after")
    def _one_definition(self) -> Self:
        if bool(self.xml) == (self.definition is not None):
            raise ValueError("xml, definition: exactly one of the two is needed (accepted: xml or definition)")
        return self


class FailoverDomainMember(Document):
    node: Name
    priority: Annotated[int, Field(ge=0, le=100)] = Field(default=0, description="1 is tried first; 0: as the first")


class FailoverDomain(Document):
    """``domains/<name>``: which nodes a vm prefers, in RGManager's terms.

    ``ordered``: priorities count. ``restricted``: never outside the members. ``nofailback``: once running on a member
    it stays there when a more preferred one returns.
    """

    name: Name
    ordered: bool = False
    restricted: bool = False
    nofailback: bool = False
    members: tuple[FailoverDomainMember, ...]

    @model_validator(mode="after")
    def _members_once(self) -> Self:
        names = [member.node for member in self.members]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"members: {', '.join(twice)}: named twice (accepted: each node once)")
        if not names:
            raise ValueError("members: a failover domain needs at least one node")
        return self


class FenceRole(StrEnum):
    """What a fence agent is asked for."""

    POWER = "power"  # cuts the node's power
    STORAGE = "storage"  # cuts the node off from its disks: its guests may go on, and write nothing
    VERIFY = "verify"  # switches nothing: after another cut the power, its status must say "off" too


class FenceDeviceSpec(Document):
    """One fence agent of a node: a program of the standard fence agent API and its options."""

    agent: Annotated[str, StringConstraints(min_length=1)]
    role: FenceRole = FenceRole.POWER
    options: dict[str, str] = Field(default_factory=dict)
    timeout_s: Annotated[float, Field(ge=1, le=600)] = 20.0
    retries: Annotated[int, Field(ge=0, le=10)] = 1
    has_status: bool = Field(default=True, description="false: it can not tell the state; its word for off suffices.")

    @property
    def secret_options(self) -> tuple[str, ...]:
        """Names of those that hold a password, not the place of one."""
        return tuple(sorted(name for name, value in self.options.items() if value and names_a_secret(name)))


class NodeCapacity(Document):
    """Overrides the cluster's ``capacity`` on this node, field by field."""

    reserve_mib: ReserveMib | None = None
    memory_overcommit: MemoryRatio | None = None
    vcpu_overcommit: VcpuRatio | None = None


class NodeSpec(Document):
    """``nodes/<node>/spec``: what the operator says about a node."""

    name: Name
    maintenance: bool = Field(default=False, description="Drained: its vms leave by migration and none comes.")
    maintenance_why: str = ""
    fence: tuple[FenceDeviceSpec, ...] = ()
    migration_address: str | None = Field(default=None, description="Overrides the address the agent reports.")
    memory_mib: Annotated[int, Field(ge=1)] | None = Field(default=None, description="Overrides what the host reports.")
    vcpus: Annotated[int, Field(ge=1)] | None = Field(default=None, description="Overrides what the host reports.")
    capacity: NodeCapacity = NodeCapacity()
    gate: Gate | None = Field(default=None, description="Overrides the cluster's start gate on this node.")
    labels: Labels = Field(default_factory=dict, description="What placement rules tell nodes apart by.")
