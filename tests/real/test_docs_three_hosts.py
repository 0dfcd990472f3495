"""The tutorial for three real hosts on one that a real systemd boots: what a lab's hosts, without one, are spared.

Its first host and the administrator's machine are one here, and nobody misses etcd's other members. What three hosts do
is in tests/lab/test_three_hosts.py.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.booted_host import Host, booted
from tests.support.deb_host import CHECKOUT, PATIENT, UNIT_PATH, UNITS, Typist, commands, furnish
from tests.support.doc_story import ROOT
from tests.support.waiting import look_until

pytestmark = pytest.mark.real

HOME, ADMIN = "/run/kvm1", "/run/admin"
VENV = Path(sys.prefix)
PYTHON = f"{CHECKOUT}/{VENV.relative_to(ROOT)}/bin/python" if VENV.is_relative_to(ROOT) else sys.executable
PROGRAM = f"""#!/bin/sh
export PYTHONPATH={CHECKOUT}/src PYTHONDONTWRITEBYTECODE=1
exec {PYTHON} """
PROGRAMS = {"vmha": f'{PROGRAM} -m vmha "$@"\n', "python": f'{PROGRAM} "$@"\n'}
OTHERS = {"libvirt-guests.service": "[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=multi-user.target\n"}
PAGE = (ROOT / "docs/tutorial/three-hosts.md").read_text()
PAGE = PAGE.replace(",10.0.0.12:2379,10.0.0.13:2379", "")
PAGE = PAGE.replace("/usr/share/doc/vmha/examples/etcd.default", f"{CHECKOUT}/deploy/etcd/etcd.default")
FURNISH = f"""\
ip addr add 10.0.0.11/32 dev lo
mkdir -p {HOME} {ADMIN}
ln -s /opt/vmha/bin/vmha /usr/local/bin/vmha"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    units = {"outside": UNITS | OTHERS, "has_joined": False, "unit_path": UNIT_PATH}
    with booted(tmp_path, programs=PROGRAMS, furnish=furnish(FURNISH), **units) as host:
        try:
            yield host
        finally:
            print(
                host.run("systemctl", "status", "--no-pager", "--all", "vmha-guard", "vmha-agent", "etcd", "libvirtd")
            )


def test_units_of_a_host_are_set_up_as_the_tutorial_writes_it(host: Host) -> None:
    look_until(lambda: host.is_active("etcd", "libvirtd", "libvirt-guests"), what="Debian's packages have begun them")
    host.type("systemctl enable etcd libvirt-guests")
    typists = {"admin": Typist(host, ADMIN), "each": Typist(host, HOME), "booted": Typist(host, HOME)}
    for told in commands(PAGE, *typists):
        if "scp " in told.written:
            host.type(f"cp -r {ADMIN}/pki/issued/*-kvm1 {ADMIN}/peers.secret {HOME}")
        elif told.line == "vmha status":
            break
        else:
            typists[told.on].type(told, as_written=True)
        if "libvirtd-tls.socket" in told.written:
            host.type("virsh capabilities")  # once it knows its QEMU, which takes a busy machine long, it answers
        if "disable --now" in told.written:
            assert not host.is_active("etcd")
            assert not host.is_active("libvirt-guests")
        if "$example" in told.written:
            alone = "s|^ETCD_INITIAL_CLUSTER=.*|ETCD_INITIAL_CLUSTER=kvm1=https://10.0.0.11:2380|"
            host.type(f"sed -i '{alone}' /etc/default/etcd")
    assert host.type("stat -c '%G %a' /etc/etcd/server.key").split() == ["etcd", "640"]
    at_boot = host.type("systemctl is-enabled etcd libvirtd-tls.socket vmha-guard vmha-agent").split()
    assert at_boot == ["enabled"] * 4
    assert "Id" in host.type("virsh -c qemu+tls://10.0.0.11/system list")

    def is_online() -> bool:
        said = host.run("/usr/local/bin/vmha", "node", "list", "--json")
        return said.startswith("[") and [one["condition"] for one in json.loads(said)] == ["online"]

    look_until(is_online, what="it is online", **PATIENT)
