"""libvirt's own words for a way that is barred, as seen on real hosts, and what is said after them."""

import pytest

from vmha.hypervisor.remedies import with_remedy

TCP, TLS = "qemu+tcp://10.1.0.2/system", "qemu+tls://10.1.0.2/system"
SSH = "qemu+ssh://10.1.0.2/system?no_tty=1"
QEMU = "internal error: unable to execute QEMU command 'object-add': "


@pytest.mark.parametrize(
    ("uri", "message", "remedy"),
    [
        (TCP, "unable to connect to server at '10.1.0.2:16509': Connection refused", "libvirtd-tcp.socket"),
        (TCP, "unable to connect to server at '10.1.0.2:49152': Connection timed out", "49152 to 49215"),
        (TCP, "unable to connect to server at '10.1.0.2:49153': Connection refused", "49152 to 49215"),
        (TLS, "unable to connect to server at '10.1.0.2:16514': Connection refused", "libvirtd-tls.socket"),
        (SSH, "Cannot recv data: ssh: connect to host 10.1.0.2 port 22: Connection refused", "no sshd listens there"),
        (
            SSH,
            "Cannot recv data: Host key verification failed.: Connection reset by peer",
            "/etc/ssh/ssh_known_hosts (ssh-keyscan 10.1.0.2)",
        ),
        (TLS, "The client certificate /etc/pki/libvirt/clientcert.pem has expired", "renew it"),
        (SSH, "Cannot recv data: root@10.1.0.2: Permission denied (publickey).", "authorized_keys"),
        (TCP, "unable to connect to server at '10.1.0.2:16509': No route to host", "migration_address"),
        (TCP, "unable to connect to server at '10.1.0.2:16509': Network is unreachable", "migration_address"),
        (
            "qemu+tcp://h2/system",
            "Unable to resolve address 'h2' service '16509'",
            "h2 is no address",
        ),
        (TLS, "Unable to read TLS confirmation: Input/output error", "does not accept this host's certificate"),
        (TLS, "authentication failed: Failed to verify peer's certificate", "to name 10.1.0.2"),
        (TLS, "Cannot read CA certificate '/etc/pki/CA/cacert.pem': No such file or directory", "clientcert.pem"),
        (
            TLS,
            "Our own certificate /etc/pki/libvirt/clientcert.pem failed validation against /etc/pki/CA/cacert.pem: "
            "The certificate hasn't got a known issuer.",
            "libvirt needs certificates of one authority",
        ),
        (
            TLS,
            f"{QEMU}Unable to access credentials /etc/pki/qemu/ca-cert.pem: No such file or directory",
            "QEMU needs certificates of one authority in /etc/pki/qemu",
        ),
        (
            TLS,
            f"{QEMU}Our own certificate /etc/pki/qemu/client-cert.pem failed validation against "
            "/etc/pki/qemu/ca-cert.pem: The certificate hasn't got a known issuer",
            "QEMU needs certificates of one authority in /etc/pki/qemu",
        ),
    ],
)
def test_what_bars_the_way_is_followed_by_its_remedy(uri: str, message: str, remedy: str) -> None:
    said = with_remedy(message, uri)
    assert said.startswith(f"{message}; ")
    assert remedy in said.removeprefix(message)


@pytest.mark.parametrize("message", ["operation aborted: canceled by client", "Unsafe migration: ..."])
def test_other_words_pass_as_they_are(message: str) -> None:
    assert with_remedy(message, TLS) == message


def test_ssh_that_shouts_about_a_changed_key_is_told_shortly() -> None:
    said = with_remedy(
        "Cannot recv data: @@@@@@@@@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @@@@@@@@@ SOMEONE IS NASTY "
        "Offending ED25519 key in /etc/ssh/ssh_known_hosts:3 Host key verification failed.",
        SSH,
    )
    assert said.startswith("Cannot recv data: Offending ED25519 key in /etc/ssh/ssh_known_hosts:3 Host key")
    assert "ssh-keygen -R 10.1.0.2" in said
