"""The key of what browsers are shown is the dashboard's, which may harm no guest: it opens nothing else.

Sockets speak TLS as etcd's members and libvirtd do, with the authority's files.
"""

import socket
import ssl
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import pytest

from vmha.pki.authority import Authority, Kind, Step

NOW = datetime.now(UTC)
HERE = "127.0.0.1"


def files(authority: Authority, kind: Kind, name: str = "kvm1") -> Path:
    return authority.issue(kind, name, (HERE,), now=NOW, days=10).folder


def context(kind: int, *, of: Path, trusting: Path) -> ssl.SSLContext:
    """Of a server that asks for a certificate, or of a client that has one to show."""
    made = ssl.SSLContext(kind)
    made.load_cert_chain(of / "cert.pem", of / "key.pem")
    made.load_verify_locations(trusting)
    made.verify_mode = ssl.CERT_REQUIRED
    return made


def speak(server: ssl.SSLContext, client: ssl.SSLContext) -> str:
    """'' when each was let in by the other; else why not."""
    why: list[str] = []

    def answer(listening: socket.socket) -> None:
        try:
            with server.wrap_socket(listening.accept()[0], server_side=True) as there:
                there.sendall(b"in")
        except OSError as error:
            why.append(str(error))

    with socket.create_server((HERE, 0)) as listening:
        answering = Thread(target=answer, args=(listening,))
        answering.start()
        try:
            with (
                closing(socket.create_connection((HERE, listening.getsockname()[1]), timeout=60)) as plain,
                client.wrap_socket(plain, server_hostname=HERE) as here,
            ):
                assert here.recv(2) == b"in"
        except (OSError, AssertionError) as error:
            why.append(str(error))
        answering.join()
    return "; ".join(why)


@pytest.mark.parametrize("kind", [Kind.NODE, Kind.OPERATOR, Kind.READER, Kind.ROOT])
def test_whoever_speaks_to_etcd_is_let_in_by_it(authority: Authority, kind: Kind) -> None:
    """Or the next one would show nothing."""
    member = context(ssl.PROTOCOL_TLS_SERVER, of=files(authority, Kind.ETCD), trusting=authority.ca)
    assert speak(member, context(ssl.PROTOCOL_TLS_CLIENT, of=files(authority, kind), trusting=authority.ca)) == ""


def test_it_is_no_client_of_etcd_and_of_no_agent(authority: Authority) -> None:
    stolen = context(ssl.PROTOCOL_TLS_CLIENT, of=files(authority, Kind.WEB), trusting=authority.ca)
    for kind in (Kind.ETCD, Kind.NODE):
        there = context(ssl.PROTOCOL_TLS_SERVER, of=files(authority, kind), trusting=authority.ca)
        assert "certificate verify failed" in speak(there, stolen)


def test_it_can_not_pose_as_etcd_or_as_a_host_though_it_has_their_address(authority: Authority) -> None:
    stolen = files(authority, Kind.WEB)
    posing = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    posing.load_cert_chain(stolen / "cert.pem", stolen / "key.pem")
    for kind in (Kind.NODE, Kind.OPERATOR):
        client = context(ssl.PROTOCOL_TLS_CLIENT, of=files(authority, kind), trusting=authority.ca)
        assert "certificate verify failed" in speak(posing, client)
    browser = ssl.create_default_context(cafile=str(authority.for_browsers))
    assert speak(posing, browser) == ""


def test_browsers_trust_nothing_else_of_the_cluster(authority: Authority) -> None:
    browsers = files(authority, Kind.WEB) / "ca.pem"
    assert browsers.read_bytes() == authority.for_browsers.read_bytes()
    node = files(authority, Kind.NODE)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(node / "cert.pem", node / "key.pem")
    assert "certificate verify failed" in speak(server, ssl.create_default_context(cafile=str(browsers)))


def test_what_browsers_trust_changes_with_the_authority_and_is_as_good_for_as_long(authority: Authority) -> None:
    def posing() -> ssl.SSLContext:
        of = files(authority, Kind.WEB)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(of / "cert.pem", of / "key.pem")
        return server

    before, had = posing(), ssl.create_default_context(cafile=str(authority.for_browsers))
    authority.rotate(Step.BEGIN, now=NOW, days=100)
    authority.rotate(Step.SWITCH, now=NOW, days=100)
    assert [one.is_current for one in authority.issued()] == [False]
    after = posing()
    assert [one.is_current for one in authority.issued()] == [True]
    both = ssl.create_default_context(cafile=str(authority.for_browsers))
    assert [speak(before, both), speak(after, both)] == ["", ""]
    assert "verify failed" in speak(after, had)
    authority.rotate(Step.FINISH, now=NOW, days=100)
    new = ssl.create_default_context(cafile=str(authority.for_browsers))
    assert speak(after, new) == ""
    assert "verify failed" in speak(before, new)
    until = [ssl.cert_time_to_seconds(str(ca["notAfter"])) for ca in new.get_ca_certs()]
    assert until == [known.expires.timestamp() for _, known in authority.trusted()]
