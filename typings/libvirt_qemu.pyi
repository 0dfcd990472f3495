# The one call of libvirt-python's QEMU-specific half in use.
from libvirt import virDomain

def qemuAgentCommand(domain: virDomain, cmd: str, timeout: int, flags: int) -> str: ...
