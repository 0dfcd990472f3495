"""libvirt's errors in this project's families, once, at the border. Its own words are always kept."""

from typing import TYPE_CHECKING

from vmha.hypervisor.port import DomainMissing, HypervisorUnavailable
from vmha.model.errors import Refused, VmhaError

if TYPE_CHECKING:
    import libvirt


def words(error: "libvirt.libvirtError") -> str:
    return error.get_error_message() or str(error)


def is_missing(error: "libvirt.libvirtError") -> bool:
    import libvirt

    return error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN


def is_connection_lost(error: "libvirt.libvirtError") -> bool:
    """Whether the call failed for want of a connection. A migration reports its *target's* connection so as well."""
    import libvirt

    code, domain = error.get_error_code(), error.get_error_domain()
    if code in (libvirt.VIR_ERR_INVALID_CONN, libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_RPC):
        return True
    return domain == libvirt.VIR_FROM_RPC and code in (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_SYSTEM_ERROR)


def translate(error: "libvirt.libvirtError", what: str) -> VmhaError:
    """The error of a call about one domain; ``what`` says which, e.g. "resume web"."""
    import libvirt

    message = f"{what}: {words(error)}"
    if is_missing(error):
        return DomainMissing(message)
    # The timeout is another call's: "cannot acquire state change lock", a QEMU that does not answer its monitor.
    if is_connection_lost(error) or error.get_error_code() == libvirt.VIR_ERR_OPERATION_TIMEOUT:
        return HypervisorUnavailable(message)
    return Refused(message)
