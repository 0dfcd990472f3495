"""What vmha needs of a hypervisor on its own node.

Two adapters pass one contract suite: ``libvirt_adapter.LibvirtHypervisor`` and ``simulated.SimulatedHypervisor``.
Every call is bounded by its own deadline; an event only says "look again", the inventory is the truth.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from vmha.hypervisor.ways import Ways
from vmha.model.errors import Refused, Rejected, Retryable
from vmha.model.ids import Epoch, VmName
from vmha.model.migration import Arrival, MigrationProgress


class HypervisorUnavailable(Retryable):
    """libvirtd is not there, is frozen, or did not answer in time. Says nothing about guests: unknown is not absent."""


class DomainMissing(Refused):
    """No such domain on this node."""


class DomainExists(Refused):
    """A domain of this name or uuid is already here."""


class StartFailed(Rejected):
    """The hypervisor said why it could not start the guest."""


class MigrationFailed(Refused):
    """The migration ended with an error. Does not say where the guest is: look at both sides."""


class GuestAgentMissing(Refused):
    """The domain has no channel to a guest agent, so that nobody inside could answer."""


class GuestAgentSilent(Refused):
    """There is a channel, and no guest agent answers on it."""


class SaveFailed(Refused):
    """The guest's memory could not be written; it runs on."""


class DomainState(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"  # by a user, an I/O error, a watchdog ...: see reason
    INCOMING = "incoming"  # being migrated in, not complete: never resume it
    ARRIVED = "arrived"  # migrated in completely and left paused for the hand-over
    OUTGOING = "outgoing"  # paused at the source by a migration that is in its last phase or has failed
    SHUTTING_DOWN = "shutting_down"
    CRASHED = "crashed"  # kept by on_crash=preserve: its QEMU still exists
    SHUTOFF = "shutoff"  # a persistent definition without a QEMU


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """What vmha writes into a domain's metadata: whose it is and under which epoch it was started.

    ``second``: it ran while the rightful one did, and was paused for that. Once written it stays as long as the tag.
    ``aside``: it was paused because the rightful one may run, and may be that itself. Once written it stays until the
    guest runs.
    """

    cluster: str
    vm: VmName
    epoch: Epoch
    second: bool = False
    aside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainView:
    name: str
    uuid: str
    state: DomainState
    reason: str = ""
    tag: Tag | None = None
    persistent: bool = False
    migrating: bool = False  # a migration out of this node is in progress
    silent: bool = False  # it should run, and its QEMU has answered nothing for a while: stopped, or stuck


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDefinition:
    """A persistent definition that the host's own libvirt keeps, whether it runs or not.

    ``definition``: digest of its XML, less metadata. ``managed_save``: a start by hand would go on from that memory.
    """

    name: str
    uuid: str
    definition: str
    autostart: bool = False
    managed_save: bool = False


class Ending(StrEnum):
    """How a domain ended, concluded from the order of lifecycle events, not from one of them."""

    GUEST_SHUTDOWN = "guest_shutdown"
    DESTROYED = "destroyed"
    CRASHED = "crashed"  # its QEMU died
    PANICKED = "panicked"  # the guest's kernel gave up
    MIGRATED = "migrated"  # it left for another host
    SAVED = "saved"
    HOST_SHUTDOWN = "host_shutdown"
    INCOMING_FAILED = "incoming_failed"  # a guest on its way in that never ran here
    UNKNOWN = "unknown"  # nobody saw it end


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCapacity:
    memory_mib: int
    vcpus: int
    hypervisor: str  # e.g. "QEMU 7.2.0, libvirt 9.0.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTraits:
    """What a guest that comes from another host would have to find here.

    ``cpu``: the processor that a guest of this host may be given, as XML for ``compare_cpu``; '' if libvirt names none.
    ``machines``: the machine types that QEMU has here, sorted.
    """

    kind: str  # kvm, or qemu where there is only emulation
    arch: str
    machines: tuple[str, ...]
    cpu: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationOrder:
    """One migration out of this node, peer to peer between the two libvirtds.

    ``paused_at_target`` leaves the guest standing at the target so that its new holder can be recorded first.
    ``tag`` is what the guest carries at the target from the first moment on.
    ``post_copy``: it may be switched (``start_post_copy``); needs ``paused_at_target`` to be false.
    ``takes_up``: nothing new, but the two halves of one that was switched and has lost its connection.
    """

    name: str
    target_uri: str  # the target's libvirtd, e.g. qemu+tcp://10.0.0.2/system
    data_uri: str  # where its memory goes, e.g. tcp://10.0.0.2: always by address, never by name
    tag: Tag
    live: bool = True
    paused_at_target: bool = True
    timeout_s: float = 600.0
    bandwidth_mib_s: int | None = None
    max_downtime_ms: int | None = None
    auto_converge: bool = False
    auto_converge_initial: int | None = None  # per cent of the guest's processors
    auto_converge_increment: int | None = None
    parallel_connections: int | None = None
    compress: bool = False
    tunnelled: bool = False  # memory through the libvirtds' connection: data_uri is of no account
    encrypts_memory: bool = False  # QEMU's own TLS; never tunnelled as well
    post_copy: bool = False
    post_copy_bandwidth_mib_s: int | None = None
    takes_up: bool = False

    def again(self) -> "MigrationOrder":
        return replace(self, takes_up=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainEvent:
    """Look again at ``name``. ``ending`` is set when the domain ended. An empty name means: look at everything."""

    name: str
    kind: str  # libvirt's word, for the journal: started, resumed, suspended, stopped, ...
    ending: Ending | None = None


class Hypervisor(Protocol):
    async def open(self) -> None:
        """Connect and begin to deliver events; reconnects by itself from then on."""

    async def close(self) -> None: ...

    def subscribe(self, listener: Callable[[DomainEvent], None]) -> None:
        """``listener`` is called on the event loop's thread."""

    def find_ending(self, name: str) -> Ending | None:
        """How the last run of ``name`` ended, if this adapter saw it. Forgotten when the domain starts again."""

    def find_departure(self, name: str) -> Arrival | None:
        """What the migration took that has taken the last run of ``name`` away from here, if this adapter heard it. Of
        one by post-copy nobody else knows. Forgotten when the domain starts again here.
        """

    async def recall_migration(self, name: str) -> str | None:
        """The mark of the migration by which the last run of ``name`` here has left: what the hypervisor wrote down.

        For the time in which no agent listened. Two migrations never have the same; it is no date, and says nothing of
        before and after. None: it ended otherwise, or nobody knows.

        Raises:
            HypervisorUnavailable: what it wrote down can not be read just now.
        """

    async def inventory(self) -> tuple[DomainView, ...]:
        """Every domain of this node with a QEMU, and persistent definitions without one (SHUTOFF)."""

    async def capacity(self) -> HostCapacity: ...

    async def traits(self) -> HostTraits: ...

    async def compare_cpu(self, cpu: str) -> bool:
        """By the hypervisor's own comparison: may a guest with another host's ``HostTraits.cpu`` run here?"""

    @property
    def ways(self) -> Ways:
        """From here to other hosts, for whoever wants to try them."""

    async def start(self, xml: str, *, timeout_s: float = 60.0) -> None:
        """Create a transient domain from ``xml`` (which carries the tag) and let it run.

        Raises:
            StartFailed, DomainExists, HypervisorUnavailable
        """

    async def find_definition(self, name: str) -> str | None:
        """The persistent definition of ``name`` that this host's libvirt keeps: what it would start next."""

    async def definitions(self) -> tuple[HostDefinition, ...]:
        """All of them, sorted by name."""

    async def save(self, name: str, path: str, *, timeout_s: float) -> None:
        """Write the guest's memory to the file ``path`` and end it. Returns when it is gone and the file complete.

        Raises:
            SaveFailed: it runs on, and there is no file.
            DomainMissing
            HypervisorUnavailable: it may still be written, and the guest be gone then.
        """

    async def restore(self, path: str, *, name: str, uuid: str, saved: Tag, tag: Tag, timeout_s: float) -> None:
        """Let a guest go on from a saved file, as a transient domain that carries ``tag``.

        Args:
            name, uuid, saved: what the file has to hold, or it is refused.

        Raises:
            StartFailed: nothing was started.
            DomainExists, HypervisorUnavailable
        """

    async def resume(self, name: str) -> None:
        """Refused for a second copy: its memory is older than the disk, or differs from it."""

    async def suspend(self, name: str) -> None: ...

    async def shutdown(self, name: str, *, by_agent: bool = False) -> None:
        """Ask the guest to power off, by its power button (ACPI) or its own agent; it may take its time.

        Raises:
            DomainMissing, HypervisorUnavailable
            GuestAgentMissing, GuestAgentSilent: with ``by_agent``; nobody in it has heard the question.
            Refused: it can not be asked so, now or ever.
        """

    async def reboot(self, name: str) -> None:
        """Ask the guest to boot again, by its agent or by ACPI; returns at once. Its QEMU goes on."""

    async def reset(self, name: str) -> None:
        """As the reset button does: the guest is not asked. Its QEMU goes on."""

    def boots_again(self, name: str) -> int:
        """How often this adapter has heard the guest begin to boot again in the same QEMU, asked for or not."""

    async def destroy(self, name: str, *, timeout_s: float = 30.0) -> None:
        """End the QEMU. Returns when it is gone. A missing domain is no error here."""

    async def migrate(self, order: MigrationOrder) -> None:
        """Returns when the guest is complete at the target and gone here.

        Raises:
            MigrationFailed: the guest may be on either side; look.
            HypervisorUnavailable
        """

    async def start_post_copy(self, name: str) -> None:
        """Let a guest that is being copied go on at its target at once, which fetches what it lacks. The source stands
        from then on, and never runs again.

        Raises:
            MigrationFailed: it has not switched: it is not being copied by an order that allowed it.
            DomainMissing
            HypervisorUnavailable: it may have switched.
        """

    async def migration_progress(self, name: str) -> MigrationProgress | None: ...

    async def read_arrival(self, name: str) -> Arrival | None:
        """What the migration that brought ``name`` here took. None: none did, or nobody knows any more."""

    async def abort_migration(self, name: str) -> None:
        """The guest stays here. No migration to abort is no error, nor one whose memory is all at the target: it ends
        as it would have ended.

        Raises:
            DomainMissing, HypervisorUnavailable
        """

    async def ping_agent(self, name: str, *, timeout_s: float) -> None:
        """Returns when the guest's own agent has answered.

        Raises:
            GuestAgentMissing, GuestAgentSilent, DomainMissing, HypervisorUnavailable
        """

    async def set_tag(self, name: str, tag: Tag | None) -> None:
        """Change the tag of a running domain; None takes it off."""
