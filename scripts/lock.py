"""Prints requirements.lock: the exact versions of everything that pyproject.toml asks for, as installed right now.

Run it with the Python whose environment works (``make lock`` does): it walks from vmha's own requirements to theirs and
notes the version of each that it finds installed. The libvirt binding is left out, because it has to fit the host's
libvirt: it comes with Debian's python3-libvirt, or is built by the extra ``libvirt``.
"""

import sys
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

BUILD = ("hatchling", "editables")
LEFT_OUT = frozenset({"vmha", "libvirt-python"})
HEAD = """\
# Made by `make lock`: the versions that the tests passed with. Also usable as constraints (pip install -c).
# libvirt-python is not here: it has to fit the host's libvirt (see docs/install.md)."""


def closure(names: list[Requirement]) -> dict[str, str]:
    """Versions by name of all that is required, directly or not, on this machine."""
    found: dict[str, str] = {}
    walked: set[tuple[str, frozenset[str]]] = set()
    while names:
        wanted = names.pop()
        name = canonicalize_name(wanted.name)
        key = (name, frozenset(wanted.extras))
        if key in walked:
            continue
        walked.add(key)
        installed = distribution(name)
        if name not in LEFT_OUT:
            found[name] = installed.version
        for line in installed.requires or ():
            requirement = Requirement(line)
            extras = wanted.extras or {""}
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
                names.append(requirement)
    return found


def main() -> int:
    try:
        versions = closure([Requirement("vmha[dev]"), *map(Requirement, BUILD)])
    except PackageNotFoundError as error:
        print(f"lock: {error.name} is not installed: scripts/bootstrap dev", file=sys.stderr)
        return 1
    print(HEAD)
    for name, version in sorted(versions.items()):
        print(f"{name}=={version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
