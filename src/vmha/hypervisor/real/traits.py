"""What a guest from elsewhere would find on this host, in blocking calls: machine types, and a processor that does.

The processor compared is the ``host-model`` of the source: the most that a guest of it can have been given. A guest
with a lesser one may be able to go where that one can not.
"""

from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, tostring

from defusedxml.ElementTree import fromstring

from vmha.hypervisor.port import HostTraits

if TYPE_CHECKING:
    import libvirt

KVM, QEMU = "kvm", "qemu"


def read_traits(connection: "libvirt.virConnect") -> HostTraits:
    host = fromstring(connection.getCapabilities(), forbid_dtd=True)
    arch = host.findtext("host/cpu/arch") or ""
    guests = [one for one in host.iterfind("guest/arch") if one.get("name") == arch]
    kinds = {one.get("type") for guest in guests for one in guest.iterfind("domain")}
    kind = KVM if KVM in kinds else QEMU
    machines = {one.text or "" for guest in guests for one in guest.iterfind("machine")}
    can = fromstring(connection.getDomainCapabilities(None, arch, None, kind, 0), forbid_dtd=True)
    return HostTraits(kind=kind, arch=arch, machines=tuple(sorted(machines - {""})), cpu=_cpu_of(can, arch))


def _cpu_of(capabilities: Element, arch: str) -> str:
    mode = capabilities.find("cpu/mode[@name='host-model']")
    if mode is None or mode.get("supported") != "yes" or mode.find("model") is None:
        return ""
    cpu = Element("cpu", mode="custom", match="exact")
    for part in mode:
        if part.tag in ("model", "vendor", "feature"):
            part.attrib.pop("fallback", None)
            cpu.append(part)
    return " ".join(tostring(cpu, encoding="unicode").split())


def compare(connection: "libvirt.virConnect", cpu: str) -> bool:
    own = read_traits(connection)
    return connection.compareHypervisorCPU(None, own.arch, None, own.kind, cpu, 0) > 0
