"""What one machine of the lab is made of, as data: its addresses, its programs, and what of the real machine it sees.

Pure: the lab's pid 1 computes a plan at each power-on and writes it down; the box reads it and builds itself from it.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from vmha.lab.layout import (
    BOX_BIN,
    ETCD_CLIENT_PORT,
    ETCD_PEER_PORT,
    Kind,
    LabDir,
    LabSpec,
    NodeSpec,
)

# Of the root directory a box sees everything read-only except these: its own, or none of its business.
HIDDEN = frozenset(
    {"etc", "var", "run", "tmp", "dev", "proc", "sys", "boot", "media", "mnt", "srv", "lost+found", "root"}
)
HOME = "/var/root"
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CONFIG = "/etc/vmha/vmha.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A program that the box's init keeps running. ``stop_s``: how long it may take to end when asked."""

    name: str
    argv: tuple[str, ...]
    stop_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxPlan:
    name: str
    boot_id: str
    directory: str  # the machine's own files: etc and var survive a power cut
    new_root: str
    lab_directory: str
    visible: tuple[str, ...]
    network: tuple[str, ...]  # iproute2 commands that the box runs on itself
    environment: dict[str, str]
    services: tuple[Service, ...]
    commands: dict[str, str]  # shell scripts in BOX_BIN, by name

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "BoxPlan":
        raw = json.loads(text)
        services = tuple(
            Service(name=s["name"], argv=tuple(s["argv"]), stop_s=s["stop_s"]) for s in raw.pop("services")
        )
        visible, network = tuple(raw.pop("visible")), tuple(raw.pop("network"))
        return cls(services=services, visible=visible, network=network, **raw)


def plan_box(spec: LabSpec, node: NodeSpec, boot_id: str) -> BoxPlan:
    directory = LabDir(Path(spec.dir))
    return BoxPlan(
        name=node.name,
        boot_id=boot_id,
        directory=str(directory.node(node.name)),
        new_root=str(directory.new_root),
        lab_directory=spec.dir,
        visible=spec.visible,
        network=_network(node),
        environment=box_environment(spec),
        services=_host_services(spec) if node.kind is Kind.HOST else (_etcd_service(spec, node),),
        commands=_commands(spec),
    )


def box_environment(spec: LabSpec) -> dict[str, str]:
    """The environment of every program in a box, also of those that come in by ``vmha lab exec``."""
    return {
        "PATH": f"{BOX_BIN}:{os.path.dirname(spec.python)}:{_SYSTEM_PATH}",
        "HOME": HOME,
        "LANG": "C.UTF-8",
        "PYTHONPATH": ":".join(spec.python_path),
        "ETCDCTL_API": "3",
        "ETCDCTL_ENDPOINTS": ",".join(spec.etcd_endpoints),
    }


def python_command(spec: LabSpec, module: str, *arguments: str) -> tuple[str, ...]:
    """Run ``main()`` of one of the lab's own modules in a bare interpreter: no site-packages, so it starts quickly."""
    code = f"import sys; sys.path.insert(0, {spec.source!r}); from {module} import main; sys.exit(main())"
    return (spec.python, "-I", "-S", "-c", code, *arguments)


def etcd_argv(spec: LabSpec, node: NodeSpec) -> tuple[str, ...]:
    client = f"http://{node.address}:{ETCD_CLIENT_PORT}"
    peer = f"http://{node.address}:{ETCD_PEER_PORT}"
    members = ",".join(f"{member.name}=http://{member.address}:{ETCD_PEER_PORT}" for member in spec.etcd_specs)
    options = {
        "name": node.name,
        "data-dir": "/var/lib/etcd",
        "listen-client-urls": f"{client},http://127.0.0.1:{ETCD_CLIENT_PORT}",
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": members,
        "initial-cluster-state": "new",
        "initial-cluster-token": spec.cgroup_name,
        "heartbeat-interval": "100",
        "election-timeout": "1000",
        "pre-vote": "true",
        "auto-compaction-mode": "revision",
        "auto-compaction-retention": "20000",
        "quota-backend-bytes": "2147483648",
        "logger": "zap",
        "log-outputs": "stderr",
    }
    return ("etcd", *(f"--{option}={value}" for option, value in options.items()))


def _etcd_service(spec: LabSpec, node: NodeSpec) -> Service:
    return Service(name="etcd", argv=etcd_argv(spec, node), stop_s=5.0)


def _host_services(spec: LabSpec) -> tuple[Service, ...]:
    """In the order they start; they stop in the reverse order."""
    libvirtd = Service(name="libvirtd", argv=("libvirtd", "--listen"), stop_s=5.0)
    if not spec.agents:
        return (libvirtd,)
    guard = (spec.python, "-m", "vmha.fencing.guard", "--config", _CONFIG)
    agent = (spec.python, "-m", "vmha", "agent", "--config", _CONFIG)
    return (
        libvirtd,
        Service(name="guard", argv=guard, stop_s=5.0),
        Service(name="agent", argv=agent, stop_s=20.0),
    )


def _network(node: NodeSpec) -> tuple[str, ...]:
    addresses = (("eth0", node.address), ("eth1", node.storage_address))[: len(node.links)]
    lines = ["link set lo up"]
    for device, address in addresses:
        lines += [f"addr add {address}/24 dev {device}", f"link set {device} up"]
    return tuple(lines)


def _commands(spec: LabSpec) -> dict[str, str]:
    """The front panel: the machine's own poweroff wants systemd, which a box does not have."""
    fence = python_command(spec, "vmha.lab.fence_program")
    return {
        "poweroff": _panel(spec, "TERM", "POWER_OFF"),
        "halt": _panel(spec, "TERM", "POWER_OFF"),
        "reboot": _panel(spec, "INT", "RESTART"),
        "fence_vmha_lab": f'#!/bin/sh\nexec {_shell_words(fence)} "$@"\n',
    }


def _panel(spec: LabSpec, signal_name: str, command: str) -> str:
    """Asked politely, init stops the services; with -f the machine is off at once, by reboot(2)."""
    code = f"import sys; sys.path.insert(0, {spec.source!r}); from vmha.lab import linux; linux.reboot(linux.{command})"
    now = _shell_words((spec.python, "-I", "-S", "-c", code))
    return f'#!/bin/sh\ncase "$1" in -f|--force) exec {now} ;; esac\nexec kill -{signal_name} 1\n'


def _shell_words(words: tuple[str, ...]) -> str:
    return " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
