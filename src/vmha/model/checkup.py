"""A check-up: what ``vmha doctor`` asks every agent, and what each says of its own host and of its ways to the others.

Both are on the asker's lease, so that nothing of it stays. Nothing is decided on it.
"""

from dataclasses import dataclass, field

from vmha.model.ids import NodeName, SessionId

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """``checkups/<id>``. First of everything but processors; then, with ``cpus`` of the answers, of those alone.

    ``cpus``: for each node, what a guest of it may have been given (``HostTraits.cpu``).
    """

    schema: int = SCHEMA
    id: str
    author: str = ""
    at: float = 0.0
    cpus: dict[NodeName, str] = field(default_factory=dict)
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

    ``at``: by the node's wall clock, when it was answered. ``unreached``: nodes that libvirt here does not reach, and
    why. ``unseen``: for each vm that may run here, the disks that this host does not see; ``lacking``: the
    machine type that its QEMU has not. ``unfit_cpus``: nodes whose
    guests could not run on this processor; None: it was not asked.
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
    unseen: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)
    domains: tuple[Kept, ...] = ()
    unfit_cpus: tuple[NodeName, ...] | None = None
