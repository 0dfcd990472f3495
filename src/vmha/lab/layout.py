"""The nouns of a lab: which machines it has, what they are called, their addresses, and where their files lie.

Pure: it reads and writes nothing. Every other module of the lab takes names, addresses and paths from here.
"""

import difflib
import json
import zlib
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from vmha.model.errors import NotThere, Rejected

LAN_PREFIX = "10.97.0"
STORAGE_PREFIX = "10.97.1"
LAN_BRIDGE = "lan"
STORAGE_BRIDGE = "storage"
SWITCH_ADDRESS = f"{LAN_PREFIX}.254"
SWITCH_PORT = 24410
FENCE_AGENT = "/run/vmha-lab/bin/fence_vmha_lab"  # in every host: the power switch by the standard fence agent API
STORAGE_ADDRESS = f"{STORAGE_PREFIX}.254"
STORAGE_PORT = 10809
ETCD_CLIENT_PORT = 2379
ETCD_PEER_PORT = 2380
LIBVIRT_PORT = 16509
ETCD_FIRST_OCTET = 201
MAX_HOSTS = 100
CLUSTER = "lab"
PEERS_SECRET = "peers.secret"  # all agents of a lab share it; beside the machines' directories, and a copy in each

# What a box sees of the lab's own: commands of its front panel (poweroff, reboot) and the fence program.
BOX_BIN = "/run/vmha-lab/bin"


class Kind(StrEnum):
    HOST = "host"
    ETCD = "etcd"


class Link(StrEnum):
    LAN = "lan"
    STORAGE = "storage"


class Tier(StrEnum):
    """Whose rights the lab runs with."""

    ROOT = "root"
    USER = "user"  # an ordinary user: everything lives in one user namespace, where that user is root


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """One machine of the lab."""

    name: str
    kind: Kind
    octet: int

    @property
    def address(self) -> str:
        return f"{LAN_PREFIX}.{self.octet}"

    @property
    def storage_address(self) -> str:
        return f"{STORAGE_PREFIX}.{self.octet}"

    @property
    def links(self) -> tuple[Link, ...]:
        """An etcd member has no business on the storage network."""
        return (Link.LAN, Link.STORAGE) if self.kind is Kind.HOST else (Link.LAN,)

    def cable(self, link: Link) -> str:
        """The lab's end of the cable; the machine's end is eth0 (lan) or eth1 (storage)."""
        return f"{link.value[:3]}{self.octet}"

    def mac(self, link: Link) -> str:
        """Fixed: an address that changes at a power cycle leaves stale neighbours behind for half a minute."""
        return f"02:00:0a:61:{0 if link is Link.LAN else 1:02x}:{self.octet:02x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSpec:
    """Everything that was decided before the first process of a lab starts."""

    dir: str
    hosts: int
    etcd: int
    tier: Tier
    python: str
    python_path: tuple[str, ...]  # where a box's python looks for packages; the one of vmha first
    visible: tuple[str, ...]  # what a box must find at the same place: python and all packages
    profile: str = "default"
    agents: bool = True

    @property
    def nodes(self) -> tuple[NodeSpec, ...]:
        return self.host_specs + self.etcd_specs

    @property
    def host_specs(self) -> tuple[NodeSpec, ...]:
        return tuple(NodeSpec(name=f"h{i}", kind=Kind.HOST, octet=i) for i in range(1, self.hosts + 1))

    @property
    def etcd_specs(self) -> tuple[NodeSpec, ...]:
        return tuple(
            NodeSpec(name=f"etcd-{i}", kind=Kind.ETCD, octet=ETCD_FIRST_OCTET + i - 1) for i in range(1, self.etcd + 1)
        )

    @property
    def source(self) -> str:
        """The directory that holds the package vmha."""
        return self.python_path[0]

    @property
    def etcd_endpoints(self) -> tuple[str, ...]:
        return tuple(f"{member.address}:{ETCD_CLIENT_PORT}" for member in self.etcd_specs)

    @property
    def cgroup_name(self) -> str:
        """Follows from the directory, which is locked: whoever holds the lock may sweep a cgroup of this name."""
        return f"vmha-lab-{zlib.crc32(self.dir.encode()):08x}"

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "LabSpec":
        raw = json.loads(text)
        raw["tier"] = Tier(raw["tier"])
        raw["visible"] = tuple(raw["visible"])
        raw["python_path"] = tuple(raw["python_path"])
        return cls(**raw)


@dataclass(frozen=True, slots=True)
class LabDir:
    """The files of one lab. Everything the lab writes lies below ``path``."""

    path: Path

    MARKER = ".vmha-lab"

    @property
    def marker(self) -> Path:
        """Says that this directory is the lab's own to empty."""
        return self.path / self.MARKER

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def spec(self) -> Path:
        return self.path / "lab.json"

    @property
    def pids(self) -> Path:
        return self.path / "pids.json"

    @property
    def control(self) -> Path:
        return self.path / "control.sock"

    @property
    def etcd(self) -> Path:
        """A unix socket behind which a living etcd member answers, for clients outside the lab."""
        return self.path / "etcd.sock"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def log(self) -> Path:
        return self.path / "lab.log"

    @property
    def storage(self) -> Path:
        return self.path / "storage"

    @property
    def new_root(self) -> Path:
        """Where each box builds its root before it moves in; seen by that box alone."""
        return self.path / "root"

    def node(self, name: str) -> Path:
        return self.path / name

    def image(self, name: str) -> Path:
        return self.storage / f"{name}.img"

    @property
    def own_entries(self) -> tuple[Path, ...]:
        """The lab's own files, boxes apart."""
        fixed = (self.spec, self.pids, self.control, self.etcd, self.events, self.log, self.storage, self.new_root)
        return (*fixed, self.path / PEERS_SECRET, self.lock, self.marker)


def find_node(spec: LabSpec, name: str) -> NodeSpec:
    """The machine called ``name``.

    Raises:
        NotThere: there is none; the message names the near ones.
    """
    for node in spec.nodes:
        if node.name == name:
            return node
    raise unknown_name("node", name, [node.name for node in spec.nodes])


def find_link(node: NodeSpec, link: str) -> Link:
    """Raises: Rejected when this machine has no such link."""
    accepted = [known.value for known in node.links]
    if link not in accepted:
        raise Rejected(f"{node.name} has no link {link!r}", accepted=", ".join(accepted))
    return Link(link)


def unknown_name(what: str, name: str, known: list[str]) -> NotThere:
    """One line: what is unknown, and the near names, or all of them when none is near."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return NotThere(f"no {what} {name!r}: did you mean {' or '.join(near)}?")
    there = f"there are {', '.join(known)}" if known else "there are none"
    return NotThere(f"no {what} {name!r}: {there}")
