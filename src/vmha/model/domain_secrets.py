"""Passwords that stand in a vm's definition as they are: of its screens (VNC, SPICE).

Those of disks do not: libvirt keeps them on the hosts, and the definition names them. What a ``qemu:commandline`` says
is not looked at.
"""

import re

from vmha.model.domain_xml import read_root
from vmha.model.errors import Rejected

REMEDY = "vnc_password or spice_password in qemu.conf on the hosts, or vnc_sasl; and no passwd in its XML"
"""What keeps it out of the definition."""

_NAMES = ("passwd", "password")
_MAY_HAVE_ONE = re.compile(r"\b(?:passwd|password)\s*=")


def find_passwords(xml: str) -> dict[str, str]:
    """Where in the definition one stands, in words, and the password."""
    if not _MAY_HAVE_ONE.search(xml):
        return {}
    try:
        root = read_root(xml)
    except Rejected:
        return {}
    found: dict[str, str] = {}
    for element in root.iter():
        for name in _NAMES:
            if value := element.get(name):
                kind = f" type='{element.get('type')}'" if element.get("type") else ""
                found[f"{name} of <{element.tag}{kind}>"] = value
    return found


def say_readable(vm: str, places: list[str]) -> str:
    """Never the passwords themselves."""
    return f"{vm}: {', '.join(places)} can be read by everybody who reads the cluster"
