"""libvirtd's settings inside a box that has no cgroups, namespaces or security driver of its own to give.

The lab's hosts and nodes in containers are such boxes. QEMU runs as the box's root, and owners stay as they are,
because there is one user; its log goes straight to a file, because there is no virtlogd.
"""

_LIBVIRTD = """\
host_uuid = "{uuid}"
listen_tls = 0
listen_tcp = 1
listen_addr = "0.0.0.0"
auth_tcp = "none"
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_group = "root"
keepalive_interval = 2
keepalive_count = 3
log_outputs = "3:stderr"
"""
_QEMU = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
migration_address = "{address}"
keepalive_interval = 2
keepalive_count = 3
"""


def libvirtd_conf(uuid: str) -> str:
    """``libvirtd.conf`` of the host with that uuid."""
    return _LIBVIRTD.format(uuid=uuid)


def qemu_conf(address: str, *, host: str = "") -> str:
    """``qemu.conf``. ``address``: where memory is received; ``host``: the name that is told to the sender, if any."""
    return _QEMU.format(address=address) + (f'migration_host = "{host}"\n' if host else "")
