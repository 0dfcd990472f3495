"""The witness guest's libvirt definition."""

import uuid
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from vmha.lab.layout import STORAGE_ADDRESS, STORAGE_PORT

_NAMESPACE = uuid.UUID("6f1c2b0e-6d4f-5b0c-9a67-1f6a3b1d7c10")

# An IDE disk: the BIOS busy-polls for virtio, 12 % of a core instead of 2.
# cache none: a migration is safe only if no host keeps blocks of its own.
_TEMPLATE = """\
<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>{memory_mib}</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os>
  <features><acpi/></features>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type='network' device='disk'>
      <driver name='qemu' type='raw' cache='none'/>
      <source protocol='nbd' name={export}>
        <host name='{address}' port='{port}'/>
        <reconnect delay='20'/>
      </source>
      <target dev='{target}' bus='{bus}'/>
    </disk>
    <controller type='usb' model='none'/>
    <serial type='pty'/>
    <panic model='isa'/>
    <memballoon model='none'/>
  </devices>
</domain>
"""
_TARGETS = {"ide": "hda", "sata": "sda"}

_QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
_PAYLOAD = """\
  <qemu:commandline>
    <qemu:arg value='-device'/><qemu:arg value={loader}/>
  </qemu:commandline>
</domain>"""


def witness_domain_xml(
    name: str,
    memory_mib: int = 16,
    *,
    bus: str = "ide",
    export: str | None = None,
    address: str = STORAGE_ADDRESS,
    port: int = STORAGE_PORT,
) -> str:
    """A guest called ``name`` that boots from the export of the same name (or ``export``).

    The uuid follows from the name, so that two definitions of one vm are the same domain for libvirt.
    ``bus``: ide or sata. ``address`` and ``port``: where the storage server is; the lab's own unless told.
    """
    return _TEMPLATE.format(
        name=escape(name),
        uuid=uuid.uuid5(_NAMESPACE, name),
        memory_mib=memory_mib,
        export=quoteattr(export or name),
        address=escape(address),
        port=port,
        target=_TARGETS[bus],
        bus=bus,
    )


def with_payload(xml: str, file: Path) -> str:
    """The same guest with ``file`` in its memory, from its fifth MiB on: so much more is copied by its migrations."""
    named = xml.replace("<domain ", f"<domain xmlns:qemu='{_QEMU_NAMESPACE}' ", 1)
    loader = quoteattr(f"loader,file={file},addr=0x400000,force-raw=on")
    return named.replace("</domain>", _PAYLOAD.format(loader=loader))
