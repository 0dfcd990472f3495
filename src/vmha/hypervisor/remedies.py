"""What to do about a migration whose way to the target is barred: libvirt's own words, and the remedy after them.

Pure. libvirt has no codes for these, and they come from ssh, GnuTLS and QEMU; unknown words pass as they are. "here"
is the host that the guest is to leave: its libvirtd goes to the target's as a client.
"""

import re
from urllib.parse import urlsplit

from vmha.model.transport import Transport, transport_of

_LISTENS: dict[Transport | None, str] = {
    Transport.TCP: "no libvirtd listens there: start libvirtd-tcp.socket on the target, or set another transport",
    Transport.TLS: "no libvirtd listens there: give the target certificates and start its libvirtd-tls.socket",
    Transport.SSH: "no sshd listens there: start it on the target, or set another transport",
}
_REMEDIES = (
    (
        r"remote host identification has changed",
        "the target shows another ssh key than root here has noted: find out why; if it is right, ssh-keygen -R {host} "
        "and note the new one (ssh-keyscan {host})",
    ),
    (
        r"host key verification failed",
        "root here does not know the target's ssh key: put it into /etc/ssh/ssh_known_hosts (ssh-keyscan {host})",
    ),
    (r"permission denied \(", "root's ssh key here is not accepted there: put it into the target's authorized_keys"),
    (
        r"no route to host|network is unreachable|connection timed out",
        "nothing answers at {host}: see the target's migration_address, and the way to it from here",
    ),
    (
        r"unable to resolve address|could not resolve hostname|name or service not known",
        "{host} is no address and resolves to none here: set the target's migration_address",
    ),
    (
        r"unable to read tls confirmation",
        "the target does not accept this host's certificate: both need one of the same authority "
        "(here /etc/pki/libvirt/clientcert.pem, and /etc/pki/CA/cacert.pem there)",
    ),
    (
        r"failed to verify peer's certificate|does not match the hostname",
        "the target's certificate has to be of the authority in /etc/pki/CA/cacert.pem here, and to name {host}",
    ),
    (
        r"execute qemu command 'object-add'.*(credentials|certificate)|tls directory not configured",
        "QEMU needs certificates of one authority in /etc/pki/qemu, here and on the target: ca-cert, server-cert, "
        "server-key, client-cert, client-key (.pem)",
    ),
    (
        r"certificate .*(has|is) expired|not yet active",
        "a certificate below /etc/pki has ended, or not begun (openssl x509 -noout -dates -in FILE): renew it; "
        "libvirtd reads its own anew when it is restarted",
    ),
    (
        r"cannot read ca certificate|failed validation against|certificate is not trusted|known issuer",
        "libvirt needs certificates of one authority, here and on the target: /etc/pki/CA/cacert.pem, and below "
        "/etc/pki/libvirt clientcert.pem, servercert.pem and their keys",
    ),
    (r"virt-ssh-helper|nc: command not found|nc: not found", "the target needs virt-ssh-helper (libvirt-daemon) or nc"),
)


_MEMORY = re.compile(r"unable to connect to server at '[^']*:(49[1-9]\d\d|[56]\d{4})'")
_MEMORY_REMEDY = (
    "a guest's memory does not come in there: let TCP 49152 to 49215 of the target through (migration_port_min, _max "
    "in its qemu.conf), or migrate tunnelled"
)


_SHOUTING = re.compile(r"@{5,}.*?(?=(Offending|Host key for) )", re.DOTALL)
"""ssh's, about a key that has changed: ten lines before it says which."""


def with_remedy(message: str, target_uri: str) -> str:
    if remedy := _find(message.lower(), target_uri):
        return f"{_SHOUTING.sub('', message)}; {remedy}"
    return message


def _find(message: str, target_uri: str) -> str | None:
    if _MEMORY.search(message):
        return _MEMORY_REMEDY
    if "connection refused" in message:
        return _LISTENS.get(transport_of(target_uri))
    host = urlsplit(target_uri).hostname or target_uri
    found = (remedy for pattern, remedy in _REMEDIES if re.search(pattern, message, re.DOTALL))
    remedy = next(found, None)
    return remedy.format(host=host) if remedy else None
