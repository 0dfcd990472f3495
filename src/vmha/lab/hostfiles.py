"""The files below /etc of a machine: what makes it a host of its own for libvirt, vmha and the C library.

Written once, at the first power-on, and kept over power cuts, except /etc/vmha/vmha.toml and /etc/hosts, which follow
the lab's plan at every power-on.
"""

import os
import shlex
import shutil
import sys
from pathlib import Path

from vmha.hypervisor.boxed import libvirtd_conf, qemu_conf
from vmha.lab.boxplan import HOME
from vmha.lab.layout import CLUSTER, PEERS_SECRET, STORAGE_ADDRESS, SWITCH_ADDRESS, Kind, LabSpec, NodeSpec

_DIRECTORIES = (
    "etc/libvirt",
    "etc/vmha",
    "var/cache/libvirt",
    "var/lib/libvirt",
    "var/lib/vmha",
    "var/log/libvirt/qemu",
    "var/log/vmha",
    "var/tmp",
    HOME[1:],
)
# What programs of the real machine look up in /etc; everything else stays outside.
_COPIED = (
    "passwd",
    "group",
    "nsswitch.conf",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    "localtime",
    "services",
    "protocols",
    "bash.bashrc",
    "profile",
    "gai.conf",
    "python3",
    "python3.11",
    "ssl/openssl.cnf",
    "qemu",
    "terminfo",
)
# Only libvirt-daemon-system makes these; without the user libvirt-qemu libvirtd refuses to start.
_PASSWD = ("libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin",)
_GROUP = ("libvirt-qemu:x:64055:", "kvm:x:64056:", "libvirt:x:64057:")
_VMHA = """\
cluster = "{cluster}"
node = "{node}"
endpoints = [{endpoints}]
address = "{address}"
migration_address = "{address}"
run_dir = "/run/vmha"
watchdog = "/dev/watchdog"
libvirt_uri = "qemu:///system"
metrics_listen = "127.0.0.1:9590"
log_level = "info"
peers_secret_file = "{peers_secret}"
"""
_SECRET_FILE = f"/etc/vmha/{PEERS_SECRET}"


def prepare(spec: LabSpec, node: NodeSpec, root: Path) -> None:
    """Make ``root`` (the machine's directory) ready to be switched on."""
    for directory in _DIRECTORIES:
        (root / directory).mkdir(parents=True, exist_ok=True)
    etc = root / "etc"
    (etc / "hosts").write_text(hosts_file(spec))
    if node.kind is Kind.HOST:
        (etc / "vmha/vmha.toml").write_text(vmha_toml(spec, node))
        _share_secret(root)
    if (etc / "machine-id").exists():
        return
    _copy_system_files(etc)
    _add_lines(etc / "passwd", _PASSWD)
    _add_lines(etc / "group", _GROUP)
    for name, target in (("run", "/run"), ("lock", "/run/lock")):
        if not os.path.lexists(root / "var" / name):
            (root / "var" / name).symlink_to(target)
    uuid = new_uuid()
    (etc / "hostname").write_text(f"{node.name}\n")
    (etc / "libvirt/libvirtd.conf").write_text(libvirtd_conf(uuid))
    (etc / "libvirt/qemu.conf").write_text(qemu_conf(node.address, host=node.address))
    hook = etc / "libvirt/hooks/qemu"
    hook.parent.mkdir(parents=True, exist_ok=True)
    hook.write_text(gate_hook())
    hook.chmod(0o755)
    (etc / "machine-id").write_text(uuid.replace("-", "") + "\n")  # last: it says that all of this is done


def _share_secret(root: Path) -> None:
    """The agents' secret: made with the lab's first host, one for all of its hosts."""
    shared, here = root.parent / PEERS_SECRET, root / _SECRET_FILE[1:]
    if not shared.exists():
        shared.touch(mode=0o600)
        shared.write_text(f"{new_uuid()}{new_uuid()}\n")
    here.touch(mode=0o600)
    here.write_bytes(shared.read_bytes())


def hosts_file(spec: LabSpec) -> str:
    lines = ["127.0.0.1 localhost"]
    lines += [f"{node.address} {node.name}" for node in spec.nodes]
    lines += [f"{node.storage_address} {node.name}-storage" for node in spec.host_specs]
    lines += [f"{SWITCH_ADDRESS} power-switch", f"{STORAGE_ADDRESS} storage"]
    return "".join(f"{line}\n" for line in lines)


def vmha_toml(spec: LabSpec, node: NodeSpec) -> str:
    endpoints = ", ".join(f'"{endpoint}"' for endpoint in spec.etcd_endpoints)
    return _VMHA.format(
        cluster=CLUSTER, node=node.name, endpoints=endpoints, address=node.address, peers_secret=_SECRET_FILE
    )


def gate_hook() -> str:
    """libvirt's qemu hook: vmha's start gate. Every start of a guest waits for it: no Python where none is needed."""
    source = Path(__file__).resolve().parents[2]
    program = f"import sys; sys.path.insert(0, {str(source)!r}); from vmha.fencing.gate import main; sys.exit(main())"
    return (
        "#!/bin/sh\n"
        'case "$2 $3" in\n"start begin"|"migrate begin")\n'
        f'    exec {shlex.quote(sys.executable)} -IS -c {shlex.quote(program)} "$@" ;;\n'
        "esac\n"
    )


def new_uuid() -> str:
    """A fresh random uuid, by the kernel."""
    return Path("/proc/sys/kernel/random/uuid").read_text().strip()


def _copy_system_files(etc: Path) -> None:
    for name in _COPIED:
        source, target = Path("/etc") / name, etc / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if source.is_symlink():
                target.symlink_to(os.readlink(source))
            elif source.is_dir():
                shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
            else:
                shutil.copyfile(source, target)
        except (FileNotFoundError, FileExistsError, PermissionError, shutil.Error):
            continue  # not on this machine, or not ours to read: the programs do without


def _add_lines(path: Path, lines: tuple[str, ...]) -> None:
    known = {line.split(":")[0] for line in path.read_text().splitlines()} if path.exists() else set()
    with path.open("a") as file:
        file.writelines(f"{line}\n" for line in lines if line.split(":")[0] not in known)
