"""What the hosts of a lab need to migrate by tls and ssh: certificates, keys, and an sshd in each host.

Everything is made below the lab's directory and seen by its hosts alone; the machine's own ssh and libvirt are not
touched.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from tests.lab.cluster import Cluster
from tests.lab.conftest import wait_until
from tests.support.certificates import Authority
from tests.support.secured import now
from vmha.pki.authority import CERT, KEY, Kind, Step
from vmha.pki.authority import Authority as Pki
from vmha.pki.libvirt_layout import RELOAD, lay_out

ADDRESSES = {"h1": "10.97.0.1", "h2": "10.97.0.2", "h3": "10.97.0.3"}
TLS_PORT = 16514
_SSH_CONFIG = """\
Host *
  IdentityFile /etc/ssh/id
  GlobalKnownHostsFile /etc/ssh/known_hosts
  UserKnownHostsFile /dev/null
"""
_SSHD_CONFIG = """\
HostKey /etc/ssh/host_key
AuthorizedKeysFile /etc/ssh/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
PidFile /run/sshd.pid
"""


class Equipment:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._made = cluster.lab.path / "equipment"

    def install(self) -> None:
        self._made.mkdir()
        self.pki = Pki.create(self._made / "pki", cluster="lab", now=now(), days=2)
        known = ""
        for host, address in ADDRESSES.items():
            self.issue(host)
            self.hand_out(host)
            self._make_key(f"host-{host}")
            self._make_key(f"root-{host}")
            known += f"{address} {self._public(f'host-{host}')}"
        for host in ADDRESSES:
            etc = self.etc(host)
            ssh = etc / "ssh"
            ssh.mkdir(parents=True, exist_ok=True)
            (ssh / "ssh_config").write_text(_SSH_CONFIG)
            (ssh / "sshd_config").write_text(_SSHD_CONFIG)
            (ssh / "known_hosts").write_text(known)
            (ssh / "authorized_keys").write_text("".join(self._public(f"root-{peer}") for peer in ADDRESSES))
            shutil.copy(self._made / f"host-{host}", ssh / "host_key")
            shutil.copy(self._made / f"root-{host}", ssh / "id")
            (etc / "shadow").write_text("root:*:::::::\n")  # without it systemd's name service calls root locked
            self.cluster.lab.sh(host, "mkdir -p /run/sshd && /usr/sbin/sshd")
            self.cluster.lab.sh(host, "sed -i 's/^listen_tls = 0/listen_tls = 1/' /etc/libvirt/libvirtd.conf")
            self.restart_libvirtd(host)

    def issue(self, host: str) -> None:
        self.pki.issue(Kind.NODE, host, (ADDRESSES[host],), now=now(), days=2)

    def rotate(self, step: Step) -> None:
        self.pki.rotate(step, now=now(), days=2)

    def hand_out(self, host: str) -> None:
        """What was issued for it, to where libvirt and QEMU look."""
        issued = self.pki.folder / f"issued/node-{host}"
        lay_out(issued, root=self.cluster.lab.path / host, group=None, now=now())

    def tell_libvirtd(self, host: str) -> None:
        """To read its certificates again. It is the same process before and after."""
        same = 'test "$before" = "$(pidof libvirtd)"'
        self.cluster.lab.sh(host, f"before=$(pidof libvirtd) && {RELOAD} && {same}")

    @contextmanager
    def instead_of(self, host: str, name: str, text: str) -> Iterator[None]:
        """Another content of a file below the host's /etc."""
        path = self.etc(host) / name
        right = path.read_text()
        path.write_text(text)
        try:
            yield
        finally:
            path.write_text(right)

    def other_authority(self) -> str:
        """The certificate of an authority that has signed nothing here."""
        return Authority(self._made / "other").ca.read_text()

    def expired_certificate(self, host: str) -> tuple[str, str]:
        """With its key: of the right authority, for this host, until yesterday."""
        long_ago = now() - timedelta(days=10)
        old = self.pki.issue(Kind.NODE, f"{host}-old", (ADDRESSES[host],), now=long_ago, days=9).folder
        pair = (old / CERT).read_text(), (old / KEY).read_text()
        self.pki.forget(Kind.NODE, f"{host}-old")
        return pair

    def another_host_key(self) -> str:
        """A public key that no host here has."""
        self._make_key("nobody")
        return self._public("nobody")

    @contextmanager
    def ports_shut(self, host: str, ports: str) -> Iterator[None]:
        """A firewall that drops what comes to these of the host's ports."""
        rule = f"INPUT -p tcp --dport {ports} -j DROP"
        self.cluster.lab.sh(host, f"iptables -A {rule}")
        try:
            yield
        finally:
            self.cluster.lab.sh(host, f"iptables -D {rule}")

    def etc(self, host: str) -> Path:
        return self.cluster.lab.path / host / "etc"

    def restart_libvirtd(self, host: str) -> None:
        """Guests live on; the agent notices and connects anew."""
        lab = self.cluster.lab
        old = lab.sh(host, "pidof libvirtd")
        lab.sh(host, f"kill -9 {old}")
        wait_until("another libvirtd runs", lambda: lab.sh(host, "pidof libvirtd", code=None) not in ("", old))
        wait_until("it answers", lambda: not lab.sh(host, "virsh list --name 2>&1 >/dev/null || echo no", code=None))

    def _make_key(self, name: str) -> None:
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._made / name)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def _public(self, name: str) -> str:
        return (self._made / f"{name}.pub").read_text()
