"""A host that a real systemd boots, with Debian's etcd, a real libvirtd and nothing of vmha: for pages typed there.

What is read there is the machine's; what is written is a layer above it, in the host's memory.
"""

from pathlib import Path

from tests.support.booted_host import Host
from tests.support.doc_story import LOOK_S, ROOT, Told, is_shown, story
from tests.support.host_init import LIBVIRTD_CONF, QEMU_CONF, USERS
from tests.support.waiting import look_until

UUID = "5d0f0a11-8c1e-4a53-9c07-0d2f6a1c0b77"
CHECKOUT = "/run/checkout"
UNIT_PATH = "/etc/systemd/system:/run/units"
WRITTEN = ("etc", "var", "usr/local", "root")
PATIENT = {"within_s": 90.0, "each_s": 0.3}  # each look is a process

# Debian's unit of etcd, and libvirt's much as it ships them.
UNITS = {
    "etcd.service": Path("/lib/systemd/system/etcd.service").read_text(),
    "libvirtd.service": """\
[Unit]
Wants=libvirtd.socket
[Service]
Type=notify
ExecStart=/usr/sbin/libvirtd --timeout 120
KillMode=process
Restart=on-failure
[Install]
WantedBy=multi-user.target
Also=libvirtd.socket
""",
    "libvirtd.socket": """\
[Socket]
ListenStream=/run/libvirt/libvirt-sock
Service=libvirtd.service
RemoveOnStop=yes
[Install]
WantedBy=sockets.target
""",
} | {
    f"libvirtd-{transport}.socket": f"""\
[Unit]
Before=libvirtd.service
BindsTo=libvirtd.socket
After=libvirtd.socket
[Socket]
ListenStream={port}
Service=libvirtd.service
[Install]
WantedBy=sockets.target
"""
    for transport, port in (("tcp", 16509), ("tls", 16514))
}


def furnish(more: str = "") -> str:
    """For ``booted``. ``more``: shell commands of the test's own."""
    places = [(one, f"/{one}", f"/{one}") for one in WRITTEN] + [("checkout", str(ROOT), CHECKOUT)]
    layers = "".join(
        f"mkdir -p {place} /run/layers/{one}/upper /run/layers/{one}/work\n"
        f"mount -t overlay overlay -o lowerdir={lower},upperdir=/run/layers/{one}/upper,workdir=/run/layers/{one}/work"
        f" {place}\n"
        for one, lower, place in places
    )
    return f"""\
mount -t tmpfs -o mode=755 tmpfs /run
{layers}
mount -t tmpfs tmpfs /etc/systemd/system
for one in /dev/watchdog*; do [ ! -e "$one" ] || mount --bind /dev/null "$one"; done
mkdir -p /run/lock /run/libvirt /etc/libvirt /var/lib/libvirt /var/log/libvirt/qemu /var/cache/libvirt
grep -q libvirt-qemu: /etc/passwd || printf '%s' '{USERS[0]}' >>/etc/passwd
grep -q libvirt-qemu: /etc/group || printf '%s' '{USERS[1]}' >>/etc/group
cat >/etc/libvirt/libvirtd.conf <<'END'
{LIBVIRTD_CONF.format(uuid=UUID)}
END
cat >/etc/libvirt/qemu.conf <<'END'
{QEMU_CONF}
END
ip link set lo up
{more}"""


def commands(text: str, *places: str) -> list[Told]:
    """Of a page, those for these places."""
    return [told for told in story(text) if told.on in places and not told.not_run]


class Typist:
    """Types a page's commands in a folder of the host; what is exported there stays."""

    def __init__(self, host: Host, folder: str = CHECKOUT, *, environment: str = "") -> None:
        self.host, self._kept = host, [f"cd {folder}", *([f"export {environment}"] if environment else [])]

    def type(self, told: Told, *, as_written: bool = False) -> str:
        """``as_written``: also where something else is run instead elsewhere. Returns what it printed."""
        line = told.written if as_written else told.line
        seen = [self._run(line)]
        if told.only_looks and not is_shown(told.shown, seen[0]):

            def look() -> bool:
                seen[0] = self._run(line)
                return is_shown(told.shown, seen[0])

            look_until(look, what=f"{line} prints {told.shown}", within_s=LOOK_S, each_s=0.3)
        assert is_shown(told.shown, seen[0]), f"{line}: the page says\n{told.shown}\nit printed\n{seen[0]}"
        return seen[0]

    def type_all(self, text: str, *places: str, as_written: bool = False) -> list[str]:
        return [self.type(told, as_written=as_written) for told in commands(text, *places)]

    def _run(self, line: str) -> str:
        printed = self.host.type("\n".join([*self._kept, line]))
        if line.startswith(("export ", "set -a")):
            self._kept.append(line)
        return printed
