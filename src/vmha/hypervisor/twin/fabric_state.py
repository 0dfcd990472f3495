"""The nouns of the simulated world: hosts, guests, migrations under way, and the lines of its history."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from vmha.hypervisor.port import DomainState, HostTraits, Tag
from vmha.hypervisor.states import Mark
from vmha.model import domain_xml
from vmha.model.migration import Arrival
from vmha.model.transport import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long things take, in seconds of the event loop's time. The defaults are a real host's."""

    start_s: float = 0.3
    shutdown_s: float = 1.0
    destroy_s: float = 0.2
    migration_s: float = 0.5  # all of it, the next two included
    switch_s: float = 0.02  # the source stands, the target is not complete yet
    reply_s: float = 0.02  # the target is complete, the source does not know
    refusal_s: float = 0.02
    save_s: float = 0.4  # writing a guest's memory to a file; reading it takes as long
    cut_noticed_s: float = 8.0  # until libvirt's keepalive gives up a migration over a dead link
    told_s: float = 0.0  # until an event of what happened to a guest is delivered
    silent_s: float = 10.0  # until it is noticed that a QEMU answers nothing
    link_lost_s: float = 20.0  # until the connection between two QEMUs does not outlive it


class Deed(StrEnum):
    """What the history says of a guest from an instant on."""

    RUNS = "runs"
    STANDS = "stands"  # its QEMU is there, its processors are not running
    ENDS = "ends"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One line of the truth. ``time`` is the clock's ``now``; ``epoch`` is None for a guest without a tag."""

    time: float
    host: str
    vm: str
    deed: Deed
    epoch: int | None
    stale: bool = False  # its memory is older than what another copy of it has done since
    sent_by_hand_over: tuple[str, ...] = ()  # the hosts from which hands' migrations brought it here, with one tag


@dataclass(slots=True, eq=False)
class Memory:
    """What moves with a guest: there is one of it however many QEMUs hold a copy."""

    obeys_acpi: bool = True
    shutdown_asked: bool = False
    is_hung: bool = False  # its processors run, and nothing inside answers
    has_agent: bool = False
    agent_refuses: bool = False  # to shut the guest down: whoever made the guest has forbidden it that
    agent_was_told: bool = False  # to shut the guest down

    @property
    def obeys(self) -> bool:
        """When it is asked to shut down."""
        return self.obeys_acpi or self.agent_was_told


@dataclass(slots=True, eq=False, kw_only=True)
class Guest:
    """One QEMU on one host."""

    name: str
    uuid: str
    xml: str
    host: "Host"
    state: DomainState
    reason: str
    tag: Tag | None
    memory: Memory
    mark: Mark = Mark.NONE
    since: float = 0.0
    is_starting: bool = False
    sent_by_hand_over: tuple[str, ...] = ()  # begins anew with each new epoch
    is_stale: bool = False  # another copy of its memory ran after this one was made
    ends_with_libvirtd: bool = False  # half arrived: the next libvirtd of its host ends it
    runs_with_libvirtd: bool = False  # stopped by a migration that broke: the next libvirtd lets it run
    migration: "Migration | None" = None
    halved: "Migration | None" = None  # a post-copy that was broken in two here, and can be taken up again
    arrival: Arrival | None = None  # the migration that brought it here, once it was complete
    is_saving: bool = False
    is_frozen: bool = False  # SIGSTOP to this QEMU alone
    frozen_at: float = 0.0
    waiting: list[Callable[[], None]] = field(default_factory=list)  # what it was asked since
    runs_before: int | None = None  # restored: how often it had begun to run when its memory was saved


class Leg(StrEnum):
    """How far a migration is."""

    COPYING = "copying"
    PULLING = "pulling"  # post-copy: the target runs, and fetches what it lacks from the source
    SWITCHING = "switching"  # all memory is sent, the source stands, the target does not know yet
    ARRIVED = "arrived"  # the target is complete, the source does not know yet
    OVER = "over"


@dataclass(slots=True, eq=False, kw_only=True)
class Migration:
    """One migration under way; ``outcome`` is for whoever asked, if it still listens."""

    source: Guest
    target: Guest | None
    outcome: "asyncio.Future[None]"
    is_live: bool
    is_paused_at_target: bool
    began: float
    duration_s: float
    stopped_at: float | None = None  # the source's last instruction
    downtime_s: float = 0.0  # by post-copy there is none: the switch is one instant here
    is_untold: bool = False  # its source's libvirtd is not the one that began it
    leg: Leg = Leg.COPYING
    may_post_copy: bool = False
    switches_half_way: bool = False  # a hand's, to post-copy
    passes: int = 1
    left_s: float = 0.0  # of pulling
    stalled_s: float = 0.0
    is_closed: bool = False  # the target's libvirtd has given the source up


@dataclass(slots=True, kw_only=True)
class Defined:
    """A persistent definition on a host."""

    xml: str
    autostart: bool = False
    managed_save: bool = False


TRAITS = HostTraits(kind="qemu", arch="x86_64", machines=("pc", "q35"), cpu="<cpu>simulated</cpu>")


@dataclass(slots=True, eq=False)
class Host:
    name: str
    addresses: frozenset[str]
    memory_mib: int
    vcpus: int
    transports: frozenset[Transport] = frozenset(Transport)  # what its libvirtd, or an sshd, listens for
    doors: dict[int, float] = field(default_factory=dict)  # ports that its agent has opened, and until when
    shuts_memory_out: bool = False  # a firewall before the ports where QEMU awaits it
    qemu_authority: str = "everybody's"  # which has signed QEMU's certificates; '': there are none
    lost_servers: set[str] = field(default_factory=set)  # of disks (host:port), which it does not reach
    lists_tls_clients: bool = True  # in its libvirtd's settings, by name
    traits: HostTraits = TRAITS
    has_power: bool = True
    is_frozen: bool = False
    has_libvirtd: bool = True
    is_libvirtd_frozen: bool = False
    log: dict[str, tuple[str, str]] = field(default_factory=dict)  # on disk: how each vm last ended here, and a mark
    guests: dict[str, Guest] = field(default_factory=dict)
    definitions: dict[str, Defined] = field(default_factory=dict)  # by name; they outlive a power cut
    listeners: list[Callable[[str, int, int], None]] = field(default_factory=list)
    on_connection: list[Callable[[bool], None]] = field(default_factory=list)
    on_reboot: list[Callable[[str], None]] = field(default_factory=list)
    on_migration: list[Callable[[str], None]] = field(default_factory=list)  # its first pass, at the source
    on_silence: list[Callable[[str], None]] = field(default_factory=list)  # a QEMU answers nothing, or again
    on_departure: list[Callable[[str, Arrival], None]] = field(default_factory=list)
    waiting: list[Callable[[], None]] = field(default_factory=list)  # what a thaw sets going again


def has_switched(guest: Guest) -> bool:
    """Whether it is the source of a post-copy migration whose guest goes on, or went on, at its target."""
    return guest.state is DomainState.OUTGOING and guest.reason in ("postcopy", "postcopy_failed")


def tag_in(xml: str) -> Tag | None:
    found = domain_xml.read_tag(xml)
    return None if found is None else Tag(cluster=found[0], vm=found[1], epoch=found[2])
