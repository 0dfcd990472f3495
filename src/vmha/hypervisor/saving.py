"""A guest's memory in a file, and the definitions that a host keeps of its own: libvirt's part, in blocking calls.

A file that is being written begins with another word than one that is complete (libvirt changes it last), so that a
torn one is known for what it is, by libvirt and by whoever reads its first bytes.
"""

from typing import TYPE_CHECKING

from vmha.hypervisor.port import HostDefinition, StartFailed, Tag
from vmha.hypervisor.translate import is_missing
from vmha.model import domain_xml
from vmha.model.digest import digest
from vmha.model.errors import Rejected

if TYPE_CHECKING:
    import libvirt

COMPLETE = b"LibvirtQemudSave"
"""The first bytes of a file that holds a whole memory."""
TORN = b"LibvirtQemudPart"


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
    """The definition in a saved file, with ``tag`` in place of its own.

    Raises:
        StartFailed: it is another vm's, or of another run.
    """
    import libvirt

    xml = connection.saveImageGetXMLDesc(path, libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE)
    return retagged(xml, path, name=name, uuid=uuid, saved=saved, tag=tag)


def retagged(xml: str, path: str, *, name: str, uuid: str, saved: Tag, tag: Tag) -> str:
    """See ``saved_xml``; the twin has the same rule."""
    try:
        facts, found = domain_xml.parse_domain(xml), domain_xml.read_tag(xml)
        if (facts.name, (facts.uuid or "").lower()) != (name, uuid.lower()):
            raise StartFailed(f"{path} holds {facts.name} ({facts.uuid}), not {name} ({uuid})")
        if found != (saved.cluster, saved.vm, saved.epoch):
            of = f"epoch {found[2]}" if found else "no run of vmha's"
            raise StartFailed(f"{path} holds the memory of {of}, not of epoch {saved.epoch}")
        return domain_xml.tagged(xml, cluster=tag.cluster, vm=tag.vm, epoch=tag.epoch, uuid=uuid)
    except Rejected as error:
        if isinstance(error, StartFailed):
            raise
        raise StartFailed(f"{path}: {error}") from error


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
