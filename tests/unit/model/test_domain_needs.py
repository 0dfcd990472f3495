"""What a definition needs of its host, as libvirt writes it down."""

import pytest

from vmha.model.domain_needs import NetworkDisk, Server, needs_of


def domain(devices: str, os: str = "<type machine='pc-9'>hvm</type>") -> str:
    return f"<domain><os>{os}</os><devices>{devices}</devices></domain>"


def disk(source: str) -> str:
    return f"<disk type='network' device='disk'>{source}<target dev='vda'/></disk>"


def served(protocol: str, hosts: str) -> tuple[str, ...]:
    found = needs_of(domain(disk(f"<source protocol='{protocol}' name='x'>{hosts}</source>"))).disks
    return tuple(str(server) for one in found for server in one.servers)


def test_files_devices_and_sockets_of_the_host_are_paths() -> None:
    needs = needs_of(
        domain(
            "<disk type='file'><source file='/a.img'/></disk><disk type='block'><source dev='/dev/san/b'/></disk>"
            "<disk type='file' device='cdrom'/>"
            + disk("<source protocol='nbd' name='x'><host transport='unix' socket='/run/nbd'/></source>")
        )
    )
    assert needs.paths == ("/a.img", "/dev/san/b", "/run/nbd")
    assert needs.disks == ()
    assert needs.machine == "pc-9"


@pytest.mark.parametrize(
    ("protocol", "hosts", "servers"),
    [
        ("nbd", "<host name='10.0.0.9' port='10810'/>", ("10.0.0.9:10810",)),
        ("nbd", "<host name='10.0.0.9'/>", ("10.0.0.9:10809",)),
        ("nbd", "<host name='fd00::9' port='10809' transport='tcp'/>", ("[fd00::9]:10809",)),
        ("nbd", "<host name='[fd00::9]'/>", ("[fd00::9]:10809",)),
        ("iscsi", "<host name='san.example'/>", ("san.example:3260",)),
        ("gluster", "<host name='g1'/><host name='g2' port='24008'/>", ("g1:24007", "g2:24008")),
        ("rbd", "<host name='m1'/><host name='m2' port='6789'/>", ("m1:3300 or 6789", "m2:6789")),
        ("https", "<host name='h'/>", ("h:443",)),
        ("nfs", "<host name='h'/>", ("h:2049",)),
        ("ssh", "<host name='h'/>", ("h:22",)),
        ("rbd", "", ()),
        ("tftp", "<host name='h'/>", ()),
        ("gluster", "<host name='h' transport='rdma'/>", ()),
        ("nbd", "<host name='h' port='many'/>", ()),
        ("nbd", "<host name='h' port='²'/>", ()),
        ("nbd", f"<host name='h' port='{'9' * 5000}'/>", ()),
        ("nbd", "<host name='h' port='0'/>", ()),
        ("nbd", "<host/>", ()),
        ("unheard-of", "<host name='h'/>", ()),
    ],
)
def test_servers_are_named_with_their_port_or_the_protocols_own(
    protocol: str, hosts: str, servers: tuple[str, ...]
) -> None:
    assert served(protocol, hosts) == servers


def test_layers_beneath_a_disk_and_disks_of_a_host_adapter_are_needed_too() -> None:
    base = "<backingStore type='network'><source protocol='nbd' name='b'><host name='base'/></source></backingStore>"
    adapter = (
        "<hostdev mode='subsystem' type='scsi'><source protocol='iscsi' name='i'><host name='san'/></source></hostdev>"
    )
    found = needs_of(domain(f"<disk type='file'><source file='/a'/>{base}</disk>{adapter}"))
    assert found.paths == ("/a",)
    assert found.disks == (
        NetworkDisk(protocol="nbd", servers=(Server("base", (10809,)),)),
        NetworkDisk(protocol="iscsi", servers=(Server("san", (3260,)),)),
    )


@pytest.mark.parametrize("xml", ["", "<domain", "<network/>", "<domain/>"])
def test_definition_that_says_nothing_of_it_or_can_not_be_read_needs_nothing(xml: str) -> None:
    needs = needs_of(xml)
    assert (needs.machine, needs.paths, needs.disks) == ("", (), ())
