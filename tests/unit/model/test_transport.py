"""The way of a migration, by what the node says and what the vm says."""

import pytest

from vmha.model.transport import DEFAULT_URI, Route, Transport, route
from vmha.model.vm import Migration
from vmha.node.settings import NodeSettings

KEYFILE = "qemu+ssh://vm@{address}:2222/system?keyfile=/etc/vmha/id"


@pytest.mark.parametrize(
    ("node_uri", "transport", "target_uri"),
    [
        (DEFAULT_URI, None, "qemu+tcp://10.1.0.2/system"),
        (DEFAULT_URI, "tcp", "qemu+tcp://10.1.0.2/system"),
        (DEFAULT_URI, "tls", "qemu+tls://10.1.0.2/system"),
        (DEFAULT_URI, "ssh", "qemu+ssh://10.1.0.2/system?no_tty=1"),
        ("qemu+tcp://{address}:16510/system", "tcp", "qemu+tcp://10.1.0.2:16510/system"),
        ("qemu://{address}/system", "tls", "qemu://10.1.0.2/system"),
        (KEYFILE, None, "qemu+ssh://vm@10.1.0.2:2222/system?keyfile=/etc/vmha/id&no_tty=1"),
        (KEYFILE, "ssh", "qemu+ssh://vm@10.1.0.2:2222/system?keyfile=/etc/vmha/id&no_tty=1"),
        (KEYFILE, "tls", "qemu+tls://10.1.0.2/system"),
        ("qemu+ssh://{address}/system?no_tty=0", None, "qemu+ssh://10.1.0.2/system?no_tty=1"),
        ("qemu+libssh2://{address}/system", None, "qemu+libssh2://10.1.0.2/system"),
    ],
)
def test_the_vms_transport_counts_before_the_nodes_which_may_say_more_of_the_same(
    node_uri: str, transport: str | None, target_uri: str
) -> None:
    asked = Transport(transport) if transport else None
    assert route("10.1.0.2", node_uri=node_uri, transport=asked, is_tunnelled=False).target_uri == target_uri


@pytest.mark.parametrize(
    ("transport", "is_tunnelled", "encrypts_memory"),
    [("tcp", False, False), ("ssh", False, False), ("ssh", True, False), ("tls", False, True), ("tls", True, False)],
)
def test_qemu_encrypts_the_memory_of_a_tls_migration_unless_libvirtds_connection_carries_it(
    transport: str, is_tunnelled: bool, encrypts_memory: bool
) -> None:
    way = route("h2", node_uri=DEFAULT_URI, transport=Transport(transport), is_tunnelled=is_tunnelled)
    assert (way.is_tunnelled, way.encrypts_memory) == (is_tunnelled, encrypts_memory)


def test_a_node_that_speaks_tls_encrypts_the_memory_of_vms_that_say_nothing() -> None:
    assert route("h2", node_uri="qemu+tls://{address}/system", transport=None, is_tunnelled=False).encrypts_memory


def test_an_address_of_six_is_put_in_brackets() -> None:
    assert route("fd00::2", node_uri=DEFAULT_URI, transport=None, is_tunnelled=False) == Route(
        target_uri="qemu+tcp://[fd00::2]/system", data_uri="tcp://[fd00::2]", is_tunnelled=False, encrypts_memory=False
    )


@pytest.mark.parametrize(
    "uri", ["", "qemu+tls://h2/system", "{address}", "qemu+ssh:///system?host={address}", "{adress}"]
)
def test_a_uri_that_names_no_target_is_refused_with_what_is_accepted(uri: str) -> None:
    with pytest.raises(ValueError, match="migration_uri") as error:
        NodeSettings(endpoints=("etcd:2379",), migration_uri=uri)
    assert f"{uri!r} names no target (accepted: a URI such as qemu+tls://{{address}}/system" in str(error.value)


def test_a_definition_without_a_transport_goes_as_its_node_does() -> None:
    assert (Migration().transport, Migration().tunnelled) == (None, False)
