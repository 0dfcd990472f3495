"""``cluster.conf`` to a document: the whole translation, in the order in which one thing depends on another.

Pure but for the reader of definitions that is handed in. Whatever the file holds, the answer is a document that
``vmha apply`` can read, and a finding for every element and attribute; only a file that is no ``cluster.conf`` at all
is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from vmha.model.document import what_is_wrong
from vmha.model.errors import Rejected
from vmha.model.vm import FenceDeviceSpec
from vmha.operator.document import VmEntry
from vmha.operator.rgmanager.definitions import Definition, ReadFile, find_definition, left_in_place
from vmha.operator.rgmanager.draft import Draft, Ground
from vmha.operator.rgmanager.failover import translate_domains
from vmha.operator.rgmanager.fence_passwords import Passwords
from vmha.operator.rgmanager.findings import Finding, Findings, Kind
from vmha.operator.rgmanager.gather import VmSource, gather_vms
from vmha.operator.rgmanager.members import translate_nodes
from vmha.operator.rgmanager.needs import translate_needs
from vmha.operator.rgmanager.services import translate_services
from vmha.operator.rgmanager.source import Attribute, Element, parse_conf
from vmha.operator.rgmanager.surroundings import is_central, is_disabled, tell_cluster, tell_rm
from vmha.operator.rgmanager.vms import translate_attributes

PERSISTENT = (
    "the definition of this host's libvirt, {path}, read now and kept in etcd from here on; other hosts may have "
    "another one: compare, then undefine it everywhere (and take autostart marks off)"
)
IN_PLACE = (
    "definition: {source}, read by a node at each start; its uuid and memory are learned where they can be read, "
    "else say them (uuid, memory_mib)"
)
FALLBACK = "RGManager started the host's own definition when the file was missing; vmha says that it is missing"
FILE = "{path}, read now and kept in etcd from here on; to change it later: vmha vm edit NAME --xml FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many objects of a kind the file names, how many are in the document, and the names of those that are not.

    A name that the file uses twice is one object taken and one left out.
    """

    taken: int
    found: int
    left_out: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        return self.taken == self.found


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """``document`` as ``vmha apply`` takes it. ``cluster`` and ``config_version`` as written in the file.

    ``passwords``: of fence devices, by the name of the program that is to print each; the document has its path.
    """

    file: str
    cluster: str
    config_version: str
    document: dict[str, Any]
    findings: tuple[Finding, ...]
    counts: dict[str, Count] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_complete(self) -> bool:
        """Every node, failover domain and vm is in the document."""
        return all(count.is_complete for count in self.counts.values())

    @property
    def has_secrets(self) -> bool:
        """The document holds some of fence devices."""
        devices = (device for node in self.document["nodes"] for device in node.get("fence", ()))
        return any(FenceDeviceSpec.model_validate(device).secret_options for device in devices)


def translate(
    data: bytes,
    *,
    file: str,
    read: ReadFile,
    xml_dirs: Sequence[str] = (),
    start: bool = False,
    in_place: bool = False,
) -> Imported:
    """Translate a ``cluster.conf``.

    Args:
        data: The file.
        file: What to call it in findings.
        read: Reads the definitions of vms.
        xml_dirs: Where definitions are looked for before the places that the file names.
        in_place: definitions stay where they are, and are read at each start; nothing is read now.
        start: vms with autostart are wanted running; otherwise nothing is started by applying the document.

    Raises:
        Rejected: it is no ``cluster.conf``; names file and line.
    """
    root = parse_conf(data, file=file)
    found = Findings()
    rm = next(iter(root.named("rm")), Element(tag="rm", path="rm", line=root.line))
    for extra in root.named("rm")[1:]:
        found.left_whole(extra, "there is an <rm> already; the first one counts")
    if not root.named("rm"):
        found.left(root, "has no <rm>: no vm is imported")
    tell_cluster(root, found)
    tell_rm(rm, found)
    passwords = Passwords()
    nodes = translate_nodes(root, found, passwords)
    domains = translate_domains(rm, nodes, found, central=is_central(rm))
    sources = gather_vms(rm, found)
    ground = Ground(
        domains=domains,
        nodes=tuple(nodes),
        vms=tuple(source.name.value for source in sources),
        central=is_central(rm),
        start=start and not is_disabled(rm),
    )
    vms = _Vms(ground, found, read, xml_dirs, in_place=in_place).translate(sources)
    _addresses(vms.drafts, nodes, found)
    document = {"failover_domains": list(domains.taken.values()), "nodes": list(nodes.values()), "vms": vms.entries}
    if services := translate_services(vms.drafts, vms.entries, found):
        document["services"] = services
    tell_the_rest(root, found)
    return Imported(
        file=file,
        cluster=root.attributes.get("name", ""),
        config_version=root.attributes.get("config_version", ""),
        document=document,
        findings=found.in_order(),
        counts=_counts(root, rm, document),
        passwords=passwords.programs,
    )


def tell_the_rest(root: Element, found: Findings) -> None:
    """What belongs to something that was left out as a whole has no finding of its own so far."""
    told = {(f.line, f.element, f.attribute) for f in found.in_order()}
    for element in root.walk():
        for attribute in element.all_attributes():
            if (element.line, element.path, attribute.name) not in told:
                found.left(attribute, "belongs to something that was not taken")


class _Vms:
    def __init__(
        self, ground: Ground, found: Findings, read: ReadFile, xml_dirs: Sequence[str], *, in_place: bool
    ) -> None:
        self._in_place = in_place
        self.entries: list[dict[str, Any]] = []
        self.drafts: list[Draft] = []
        self._ground = ground
        self._found = found
        self._read = read
        self._xml_dirs = xml_dirs
        self._uuids: dict[str, str] = {}

    def translate(self, sources: Sequence[VmSource]) -> "_Vms":
        for source in sources:
            inner = Findings()
            draft = translate_attributes(source, self._ground, inner)
            definition = self._left_in_place(draft) if self._in_place else self._read_now(draft)
            entry = self._entry(draft, definition) if definition else None
            if draft.refusals or entry is None:
                self._found.absorb(inner, refused="the vm is not taken")
                self._found.left(source.name, f"this vm is not taken: {'; '.join(draft.refusals)}")
                continue
            self._found.absorb(inner)
            self._found.taken(source.name, f"the vm {source.name.value}")
            self.entries.append(entry)
            self.drafts.append(draft)
        translate_needs(self.drafts, self.entries, self._found)
        return self

    def _left_in_place(self, draft: Draft) -> dict[str, Any]:
        xmlfile, path = (draft.source.attributes.get(key) for key in ("xmlfile", "path"))
        source = left_in_place(xmlfile=xmlfile.value if xmlfile else "", path=path.value if path else "")
        text = IN_PLACE.format(source=", ".join(f"{key}: {value}" for key, value in source.items()))
        chosen = xmlfile or path
        if chosen is None:
            draft.changed(draft.source.element, text)
        else:
            draft.changed(chosen, f"{text}. {FALLBACK}" if xmlfile else text)
        if xmlfile and path:
            draft.left(path, "xmlfile is given too, and counts")
        return {"definition": source}

    def _read_now(self, draft: Draft) -> dict[str, Any] | None:
        name = draft.source.name.value
        xmlfile, path = (draft.source.attributes.get(key) for key in ("xmlfile", "path"))
        try:
            definition = find_definition(
                name,
                xmlfile=xmlfile.value if xmlfile else "",
                path=path.value if path else "",
                xml_dirs=self._xml_dirs,
                read=self._read,
            )
            owner = self._uuids.setdefault(definition.facts.uuid or name, name)
            if owner != name:
                words = f"{definition.path}: the domain XML's <uuid> {definition.facts.uuid} is vm {owner}'s"
                raise Rejected(words, accepted="a uuid of its own, or none")
        except Rejected as error:
            draft.refusals.append(str(error))
            for attribute in (xmlfile, path):
                if attribute:
                    draft.left(attribute, "the vm is not taken; its name says why")
            return None
        _tell_definition(draft, definition, xmlfile, path)
        return {"xml": definition.xml}

    def _entry(self, draft: Draft, definition: dict[str, Any]) -> dict[str, Any] | None:
        name = draft.source.name.value
        entry: dict[str, Any] = {"name": name, **draft.fields}
        if draft.migration:
            entry["migration"] = draft.migration
        entry |= definition
        try:
            VmEntry.model_validate(entry)
        except ValidationError as error:
            for wrong in error.errors(include_url=False):
                draft.refusals.append(f"{'.'.join(map(str, wrong['loc']))}: {what_is_wrong(wrong)}")
            return None
        return entry


def _tell_definition(draft: Draft, found: Definition, xmlfile: Attribute | None, path: Attribute | None) -> None:
    text = (PERSISTENT if found.is_persistent else FILE).format(path=found.path)
    chosen = xmlfile or path
    if chosen is None:
        draft.changed(draft.source.element, f"definition: {text}")
        return
    places = [xmlfile.value] if xmlfile else [f"{folder}/{found.facts.name}.xml" for folder in chosen.value.split(":")]
    fell_back = found.is_persistent and found.path not in places
    draft.changed(chosen, f"there is no such file; {text}" if fell_back else text)
    if xmlfile and path:
        draft.left(path, "xmlfile is given too, and counts")


def _addresses(drafts: Sequence[Draft], nodes: dict[str, dict[str, Any]], found: Findings) -> None:
    """migration_mapping was a vm's; in vmha a node has one address for all."""
    for draft in drafts:
        for node, address in draft.addresses.items():
            known = nodes[node].setdefault("migration_address", address)
            if known != address:
                text = f"{node} has the migration address {known} already: in vmha a node has one for all vms"
                found.left(draft.mapping[node], text, about=f"vm {draft.source.name.value}")


def _counts(root: Element, rm: Element, document: dict[str, list[dict[str, Any]]]) -> dict[str, Count]:
    nodes = [child for group in root.named("clusternodes") for child in group.named("clusternode")]
    domains = [child for group in rm.named("failoverdomains") for child in group.named("failoverdomain")]
    running = [child for child in rm.children if child.tag in ("vm", "service")]
    vms = [element for child in running for element in child.walk() if element.tag == "vm"]
    return {
        "nodes": _count(nodes, document["nodes"]),
        "failover domains": _count(domains, document["failover_domains"]),
        "vms": _count(vms, document["vms"]),
    }


def _count(found: Sequence[Element], taken: Sequence[dict[str, Any]]) -> Count:
    left = [each.attributes.get("name") or each.attributes.get("ref") or f"in line {each.line}" for each in found]
    for entry in taken:
        if entry["name"] in left:
            left.remove(entry["name"])
    return Count(taken=len(taken), found=len(found), left_out=tuple(left))


def of_kind(imported: Imported, kind: Kind) -> list[Finding]:
    return [finding for finding in imported.findings if finding.kind is kind]
