"""What is known of a file that holds a guest's memory: whether all of it is there, and whose it is. Pure.

A file that is being written begins with another word than one that is complete (libvirt changes it last), so that a
torn one is known for what it is, by libvirt and by whoever reads its first bytes.
"""

from vmha.hypervisor.port import StartFailed, Tag
from vmha.model import domain_xml
from vmha.model.errors import Rejected

COMPLETE = b"LibvirtQemudSave"
"""The first bytes of a file that holds a whole memory."""
TORN = b"LibvirtQemudPart"


def retagged(xml: str, path: str, *, name: str, uuid: str, saved: Tag, tag: Tag) -> str:
    """The definition in a saved file, with ``tag`` in place of its own.

    Raises:
        StartFailed: it is another vm's, or of another run.
    """
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
