"""A check-up: what ``vmha doctor`` asks every agent, and what each says of its own host and of its ways to the others.

Both are on the asker's lease, so that nothing of it stays. Nothing is decided on it.
"""

from dataclasses import dataclass, field

from vmha.model.ids import NodeName, SessionId

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where a host listens for a while as its QEMU would for a guest's memory (``hypervisor/ways.py``).

    ``encrypts``: with QEMU's certificates. If not, ``trouble`` says what is wrong with them; '': nobody can know.
    """

    port: int
    encrypts: bool = False
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Barred:
    """A way that some vms would go (``vms`` names some of them), and why it can not be gone."""

    to: NodeName
    transport: str
    vms: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unserved:
    """A server of disks that does not answer here, and why. ``vms`` names some of those that need it, ``more`` counts
    the others.

    ``is_spared``: each of their disks has another server, which answers.
    """

    server: str
    protocol: str
    why: str
    vms: tuple[str, ...]
    more: int = 0
    is_spared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """``checkups/<id>``. First of everything but processors; then, with what was answered, of those and of doors alone.

    ``cpus``: for each node, what a guest of it may have been given (``HostTraits.cpu``). ``doors``: those that the
    nodes have opened. ``patience_s``: how long the asker waits for an answer; doors stay open for longer than that.
    """

    schema: int = SCHEMA
    id: str
    author: str = ""
    at: float = 0.0
    cpus: dict[NodeName, str] = field(default_factory=dict)
    doors: dict[NodeName, Door] = field(default_factory=dict)
    patience_s: float = 15.0
    only_domains: bool = False  # nothing else is asked; an older agent answers all of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A domain that a host's libvirt knows: it runs there, or is defined there."""

    name: str
    uuid: str
    runs: bool = False
    autostart: bool = False
    ours: bool = False  # it bears this cluster's tag
    state: str = ""  # the hypervisor's; "": an older agent, which does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckupAnswer:
    """``checkups/<id>/answers/<node>``. ``trouble``: why the agent could not look; the rest is empty then.

    ``at``: by the node's wall clock, when it was answered. ``unreached``: nodes that libvirt here does not reach as the
    node's settings have migrations go, and why; ``barred``: vms that go another way, where that is barred. ``by_tls``:
    nodes that some would go to by TLS; ``tls_lets_in``: why libvirtd here lets others in by it than hosts ('': it does
    not). ``door``: where this host listens. ``unseen``: for each vm that may run here, the disks that this host does
    not see; ``lacking``: the machine type that its QEMU has not; ``more``: how many vms these two leave out.
    ``unserved``: servers of such vms' disks that do not answer here; ``more_unserved``: how many of them are left out.

    Of the second question (None: it was not asked): ``unfit_cpus``: nodes whose guests could not run on this processor;
    ``shut``: nodes to which a guest's memory would not come, and why; ``distrusted``: to which it would not encrypted.
    """

    schema: int = SCHEMA
    node: NodeName
    session: SessionId
    at: float
    trouble: str = ""
    kind: str = ""
    arch: str = ""
    machines: tuple[str, ...] = ()
    cpu: str = ""
    reached: tuple[NodeName, ...] = ()
    unreached: dict[NodeName, str] = field(default_factory=dict)
    barred: tuple[Barred, ...] = ()
    by_tls: tuple[NodeName, ...] = ()
    tls_lets_in: str = ""
    door: Door | None = None
    unseen: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)
    more: int = 0
    unserved: tuple[Unserved, ...] = ()
    more_unserved: int = 0
    domains: tuple[Kept, ...] = ()
    unfit_cpus: tuple[NodeName, ...] | None = None
    shut: dict[NodeName, str] | None = None
    distrusted: dict[NodeName, str] | None = None
