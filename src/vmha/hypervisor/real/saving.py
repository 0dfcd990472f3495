"""A guest's memory in a file, and the definitions that a host keeps of its own: libvirt's part, in blocking calls."""

from typing import TYPE_CHECKING

from vmha.hypervisor.port import HostDefinition, Tag
from vmha.hypervisor.real.translate import is_missing
from vmha.hypervisor.saved_file import retagged
from vmha.model.digest import digest

if TYPE_CHECKING:
    import libvirt


def find_definition(connection: "libvirt.virConnect", name: str) -> str | None:
    import libvirt

    try:
        domain = connection.lookupByName(name)
        if not domain.isPersistent():
            return None
        return domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
    except libvirt.libvirtError as error:
        if is_missing(error):
            return None
        raise


def read_definitions(connection: "libvirt.virConnect") -> tuple[HostDefinition, ...]:
    import libvirt

    found = []
    for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_PERSISTENT):
        try:
            found.append(
                HostDefinition(
                    name=domain.name(),
                    uuid=domain.UUIDString(),
                    definition=digest(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)),
                    autostart=bool(domain.autostart()),
                    managed_save=bool(domain.hasManagedSaveImage()),
                )
            )
        except libvirt.libvirtError as error:
            if not is_missing(error):
                raise
    return tuple(sorted(found, key=lambda one: one.name))


def saved_xml(connection: "libvirt.virConnect", path: str, *, name: str, uuid: str, saved: Tag, tag: Tag) -> str:
    """See ``retagged``."""
    import libvirt

    xml = connection.saveImageGetXMLDesc(path, libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE)
    return retagged(xml, path, name=name, uuid=uuid, saved=saved, tag=tag)


def abort_save(connection: "libvirt.virConnect", name: str) -> bool:
    """Call off a save that takes too long. Whether the guest is still there."""
    import libvirt

    try:
        domain = connection.lookupByName(name)
        if domain.isActive():
            domain.abortJob()
        return bool(domain.isActive())
    except libvirt.libvirtError as error:
        if is_missing(error):
            return False
        raise
