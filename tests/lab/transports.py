"""What the hosts of a lab need to migrate by tls and ssh: certificates, keys, and an sshd in each host.

Everything is made below the lab's directory and seen by its hosts alone; the machine's own ssh and libvirt are not
touched.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.cluster import Cluster
from tests.lab.conftest import wait_until
from tests.support.certificates import Authority

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
        authority = Authority(self._made / "ca")
        known = ""
        for host, address in ADDRESSES.items():
            etc = self.etc(host)
            crt, key = authority.issue(host, usage="serverAuth,clientAuth", at=f"IP:{address},DNS:{host}")
            _lay_out_certificates(etc / "pki", authority.ca, crt, key)
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


def _lay_out_certificates(pki: Path, ca: Path, crt: Path, key: Path) -> None:
    """Where libvirtd and QEMU look for them when nobody tells them otherwise."""
    layout = {
        "CA/cacert.pem": ca,
        "libvirt/servercert.pem": crt,
        "libvirt/clientcert.pem": crt,
        "libvirt/private/serverkey.pem": key,
        "libvirt/private/clientkey.pem": key,
        "qemu/ca-cert.pem": ca,
        "qemu/server-cert.pem": crt,
        "qemu/client-cert.pem": crt,
        "qemu/server-key.pem": key,
        "qemu/client-key.pem": key,
    }
    for name, source in layout.items():
        (pki / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, pki / name)
