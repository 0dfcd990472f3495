"""What the machine must have before a lab can be built, and the one line that says what is missing."""

import glob
import os
import shutil
from collections.abc import Callable

from vmha.model.errors import Rejected

# The directories of system programs: an ordinary user's PATH often lacks the sbin ones.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

INSTALL = (
    "apt-get install --no-install-recommends libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients "
    "qemu-system-x86 iproute2 etcd-server etcd-client"
)

_PROGRAMS = {
    "libvirtd": "libvirt-daemon",
    "virsh": "libvirt-clients",
    "qemu-system-x86_64": "qemu-system-x86",
    "ip": "iproute2",
    "etcd": "etcd-server",
    "etcdctl": "etcd-client",
}
_QEMU_DRIVERS = ("/usr/lib/*/libvirt/connection-driver/libvirt_driver_qemu.so",)

NO_NAMESPACES = (
    "this machine does not let us build hosts here (no namespaces: {reason}); "
    "`vmha sim` shows the same cluster on virtual hosts"
)


def search_path() -> str:
    """The caller's PATH, and the system directories after it."""
    return f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}"


def find_program(name: str) -> str | None:
    return shutil.which(name, path=search_path())


def missing_packages(find: Callable[[str], str | None] = find_program) -> list[str]:
    """Debian's names of the packages whose programs are not here."""
    missing = [package for program, package in _PROGRAMS.items() if find(program) is None]
    if "libvirt-daemon" not in missing and not any(glob.glob(pattern) for pattern in _QEMU_DRIVERS):
        missing.append("libvirt-daemon-driver-qemu")
    return missing


def require_packages(find: Callable[[str], str | None] = find_program) -> None:
    """Raises: Rejected with one line that names the missing packages and the command that installs them."""
    missing = missing_packages(find)
    if missing:
        raise Rejected(f"missing {', '.join(missing)}: {INSTALL}")
