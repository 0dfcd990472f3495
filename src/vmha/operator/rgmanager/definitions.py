"""Where a vm's domain XML is: RGManager looked for it by file, by search path, or left it to the host's libvirt.

A file that is not there was no error to RGManager: it then started whatever the host's libvirt had under that name.
The importer follows the same order, looks into the directories that it was given first, and says where it looked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from vmha.model.domain_xml import DomainFacts, parse_domain
from vmha.model.errors import Rejected

PERSISTENT_DIR = "/etc/libvirt/qemu"
"""Where a host's libvirt keeps persistent definitions of QEMU guests."""

ReadFile = Callable[[str], str | None]
"""A file's text; None: there is none. Raises Rejected when there is one that can not be read as text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """``is_persistent``: it is a host's own, and other hosts may have another one."""

    xml: str
    facts: DomainFacts
    path: str
    is_persistent: bool


def find_definition(name: str, *, xmlfile: str, path: str, xml_dirs: Sequence[str], read: ReadFile) -> Definition:
    """The first file there is, in RGManager's order.

    Args:
        name: The vm's name, which the XML must have too.
        xmlfile, path: The vm's attributes; empty when it has none.
        xml_dirs: Directories to look into before any other.
        read: The files.

    Raises:
        Rejected: there is none (the message names every place), or the one found is no definition of this vm.
    """
    places = candidates(name, xmlfile=xmlfile, path=path, xml_dirs=xml_dirs)
    for place in places:
        text = read(place)
        if text is None:
            continue
        try:
            facts = parse_domain(text)
        except Rejected as error:
            raise Rejected(f"{place}: {error}") from error
        if facts.name != name:
            raise Rejected(f"{place}: the domain XML's <name> is {str(facts.name)!r}", accepted=f"{name!r}")
        return Definition(xml=text, facts=facts, path=place, is_persistent=place == persistent(name))
    looked = ", ".join(places)
    raise Rejected(
        f"its definition was not found; looked for {looked}",
        accepted=f"a directory with {name}.xml, --xml-dir DIR (on a host: virsh dumpxml --inactive {name})",
    )


def candidates(name: str, *, xmlfile: str, path: str, xml_dirs: Sequence[str]) -> list[str]:
    """Every file that may hold it, the first choice first, none twice."""
    if "/" in name or name in (".", ".."):
        return []
    places = [f"{folder.rstrip('/')}/{end}" for folder in xml_dirs for end in _ends(name, xmlfile)]
    if xmlfile:
        places.append(xmlfile)
    elif path and path != "/etc/xen":
        places += [f"{folder.rstrip('/')}/{end}" for folder in path.split(":") if folder for end in _ends(name, "")]
    return list(dict.fromkeys([*places, persistent(name)]))


def persistent(name: str) -> str:
    return f"{PERSISTENT_DIR}/{name}.xml"


def _ends(name: str, xmlfile: str) -> list[str]:
    given = PurePosixPath(xmlfile).name
    return [*([given] if given else []), name, f"{name}.xml"]


def left_in_place(*, xmlfile: str, path: str) -> dict[str, object]:
    """``definition`` of a document: where RGManager looked at each start, in its order."""
    if xmlfile:
        return {"file": xmlfile}
    folders = [folder for folder in path.split(":") if folder]
    if folders and path != "/etc/xen":
        return {"path": folders}
    return {"persistent": True}
