"""A vm's libvirt XML, read and marked without a hypervisor.

What is read: the few facts that placement needs (name, uuid, memory, vcpus). What is written: the uuid, when there is
none, and the **tag**, an element of vmha's own namespace in the domain's ``<metadata>`` that says whose guest this is
and under which epoch it was started::

    <metadata><vmha:vm xmlns:vmha="https://vmha.dev/xmlns/domain/1" cluster="prod" name="web" epoch="7"/></metadata>

Writing is surgery on the text, not a rewrite of a parsed tree: everything else stays byte for byte, so that other
programs' metadata, comments and ``qemu:commandline`` with its namespace prefix come through unharmed.

This module does not judge a definition: libvirt does that at the start. It refuses what vmha itself cannot work with,
and document types, whose entities could swell without bound.
"""

import re
import uuid as uuids
from dataclasses import dataclass
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from vmha.model.document import short
from vmha.model.errors import Rejected
from vmha.model.ids import Epoch, VmName

NAMESPACE = "https://vmha.dev/xmlns/domain/1"
PREFIX = "vmha"
MAX_BYTES = 1 << 20
"""The largest definition taken, in bytes of UTF-8: libvirt's own are some thousand, and etcd refuses 1.5 MiB."""

_MOST_DIGITS = 18
"""Of a number that is read: no host has more, and Python refuses to read one of thousands."""
_MOST_DIGITS_OF_EPOCH = 70
"""More could not be read where the observation of it is (``MOST_BITS``), and the guest would be unknown to all."""

_UUID_SPACE = uuids.UUID("5a0a4f5c-3b7e-5d0b-9d5c-6f1c6b8f2a11")
_BINARY = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}
_MEMORY_UNITS = "b, KB, KiB, MB, MiB, GB, GiB, TB, TiB"
_DECLARATION = re.compile(r"\A\ufeff?\s*(?:<\?xml\s[^>]*\?>)?")
_START_TAG = re.compile(rb"""<(?:[^>"']|"[^"]*"|'[^']*')*>""")


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainFacts:
    """What vmha needs to know of a definition. ``memory_mib`` is rounded up; ``kind`` is libvirt's word (kvm, qemu)."""

    name: VmName
    uuid: str | None
    memory_mib: int
    vcpus: int
    kind: str


def parse_domain(xml: str) -> DomainFacts:
    """Read a definition.

    Raises:
        Rejected: naming the line, the element or the value at fault, and what is accepted.
    """
    root = read_root(xml)
    return DomainFacts(
        name=_name(root),
        uuid=_uuid(root),
        memory_mib=_memory_mib(root),
        vcpus=_vcpus(root),
        kind=root.get("type", ""),
    )


def read_root(xml: str) -> Element:
    """The ``<domain>`` element. Raises: Rejected."""
    if (size := len(xml.encode(errors="replace"))) > MAX_BYTES:
        raise Rejected(f"the domain XML has {size} bytes", accepted=f"at most {MAX_BYTES} bytes")
    try:
        root: Element = fromstring(_DECLARATION.sub(_keep_lines, xml, count=1), forbid_dtd=True)
    except ParseError as error:
        line, column = error.position
        raise Rejected(f"the domain XML is broken at line {line}, column {column + 1}: {_words(error)}") from error
    except DefusedXmlException as error:
        message = "the domain XML has a document type declaration (<!DOCTYPE> or entities)"
        raise Rejected(message, accepted="a plain <domain> element") from error
    except (ValueError, UnicodeError) as error:
        raise Rejected(f"the domain XML is not text: {error}") from error
    if root.tag != "domain":
        raise Rejected(f"the XML's root element is <{root.tag}>", accepted="<domain>")
    return root


def default_uuid(cluster: str, vm: str) -> str:
    """The uuid of a vm whose definition has none: the same on every host and after every restart."""
    return str(uuids.uuid5(_UUID_SPACE, f"{cluster}/{vm}"))


class TagFacts(NamedTuple):
    """The tag as read. ``handover`` is the adapter's own mark of a guest left standing by a migration, else empty."""

    cluster: str
    vm: VmName
    epoch: Epoch
    handover: str = ""


def read_tag(xml: str) -> tuple[str, VmName, Epoch] | None:
    """The tag of a whole definition: cluster, vm, epoch. None when there is none, or none that can be read.

    Raises:
        Rejected: this is no definition at all.
    """
    metadata = read_root(xml).find("metadata")
    element = None if metadata is None else metadata.find(f"{{{NAMESPACE}}}vm")
    tag = None if element is None else _tag_of(element)
    return None if tag is None else (tag.cluster, tag.vm, tag.epoch)


def read_tag_element(xml: str) -> TagFacts | None:
    """The tag from its element alone, as libvirt hands metadata out (it takes the namespace off)."""
    try:
        return _tag_of(fromstring(xml, forbid_dtd=True))
    except (ParseError, DefusedXmlException, ValueError):
        return None


def tag_element(tag: TagFacts, *, qualified: bool = True) -> str:
    """The tag as an element. Unqualified is what libvirt's setMetadata takes: it adds the namespace itself."""
    start = f'<{PREFIX}:vm xmlns:{PREFIX}="{NAMESPACE}"' if qualified else "<vm"
    handover = f" handover={quoteattr(tag.handover)}" if tag.handover else ""
    return f'{start} cluster={quoteattr(tag.cluster)} name={quoteattr(tag.vm)} epoch="{int(tag.epoch)}"{handover}/>'


def tagged(xml: str, *, cluster: str, vm: str, epoch: int, uuid: str, handover: str = "") -> str:
    """``xml`` with the tag in place of any older one, and with ``uuid`` when it has none of its own.

    Raises:
        Rejected: this is no definition at all.
    """
    root = read_root(xml)
    tag = tag_element(TagFacts(cluster, VmName(vm), Epoch(epoch), handover))
    own = "" if (root.findtext("uuid") or "").strip() else f"<uuid>{uuid}</uuid>"
    text = _DECLARATION.sub("", xml, count=1)  # it may name an encoding that this text no longer has
    return _splice(text.encode(), tag.encode(), own.encode()).decode()


def _keep_lines(match: re.Match[str]) -> str:
    return "\n" * match.group().count("\n")


def _words(error: ParseError) -> str:
    words = expat.ErrorString(error.code) or "not well-formed"
    return f"{words}, or a namespace with a '}}' in it" if words == expat.errors.XML_ERROR_SYNTAX else words


def _find_text(root: Element, tag: str) -> str | None:
    """None: there is no such element. libvirt would take in the text of elements in it: another name, say."""
    element = root.find(tag)
    if element is not None and len(element):
        raise Rejected(f"the domain XML's <{tag}> has an element in it", accepted="text alone")
    return None if element is None else element.text or ""


def _name(root: Element) -> VmName:
    name = _find_text(root, "name")
    if name is None:
        raise Rejected("the domain XML has no <name>")
    accepted = "a name without '/', control characters, or blanks at its ends"
    if not name.strip():
        raise Rejected("the domain XML's <name> is empty", accepted=accepted)
    if name != name.strip() or "/" in name or not name.isprintable():
        raise Rejected(f"the domain XML's <name> is {short(name)}", accepted=accepted)
    return VmName(name)


def _uuid(root: Element) -> str | None:
    text = (_find_text(root, "uuid") or "").strip()
    if not text:
        return None
    # Python's own parser also takes braces and urn:uuid:, which libvirt does not.
    if not re.fullmatch(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}", text):
        raise Rejected(
            f"the domain XML's <uuid> is {short(text)}", accepted="e.g. 6f9619ff-8b86-4011-b42d-00c04fc964ff"
        )
    return str(uuids.UUID(text))


def _memory_mib(root: Element) -> int:
    element = root.find("memory")
    if element is None:
        raise Rejected("the domain XML has no <memory>")
    text = (_find_text(root, "memory") or "").strip()
    unit = element.get("unit") or "KiB"
    scale = _memory_scale(unit)
    if scale is None:
        raise Rejected(f"the domain XML's <memory> has the unit {short(unit)}", accepted=_MEMORY_UNITS)
    if not _is_whole(text) or int(text) == 0:
        raise Rejected(f"the domain XML's <memory> is {short(text)}", accepted="a whole number above 0")
    return -(-int(text) * scale // (1 << 20))


def _memory_scale(unit: str) -> int | None:
    """Bytes of one ``unit``, by libvirt's rule: a bare letter or "iB" counts in 1024s, a plain "B" in 1000s."""
    if unit in ("b", "byte", "bytes"):
        return 1
    power = _BINARY.get(unit[:1].lower())
    match unit[1:].lower():
        case _ if power is None:
            return None
        case "" | "ib":
            return int(1024**power)
        case "b":
            return int(1000**power)
    return None


def _vcpus(root: Element) -> int:
    text = (_find_text(root, "vcpu") or "1").strip()
    if not _is_whole(text) or int(text) == 0:
        raise Rejected(f"the domain XML's <vcpu> is {short(text)}", accepted="a whole number above 0")
    return int(text)


def _is_whole(text: str, *, digits: int = _MOST_DIGITS) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= digits


def _tag_of(element: Element) -> TagFacts | None:
    cluster, name, epoch = (element.get(key, "") for key in ("cluster", "name", "epoch"))
    if not name or not _is_whole(epoch, digits=_MOST_DIGITS_OF_EPOCH):
        return None
    return TagFacts(cluster, VmName(name), Epoch(int(epoch)), element.get("handover", ""))


_DEEPEST_THAT_MATTERS = 4
_SEPARATOR = "\x1f"
"""Between an element's namespace and its name: no XML may contain it, so no namespace is refused for having it."""


class _Spots:
    """Where the surgery cuts: byte spans of the elements that matter, found in one pass of expat."""

    def __init__(self, data: bytes) -> None:
        self.root_start_end = 0
        self.name_end: int | None = None
        self.metadata: tuple[int, int] | None = None  # span of its start tag
        self.old_tags: list[tuple[int, int]] = []
        self.uuid: tuple[int, int] | None = None
        self._data = data
        self._open: list[tuple[str, int, int]] = []  # element, start and end of its start tag
        parser = expat.ParserCreate("utf-8", _SEPARATOR)
        parser.StartElementHandler = lambda name, _: self._start(name, parser.CurrentByteIndex)
        parser.EndElementHandler = lambda _: self._end(parser.CurrentByteIndex)
        try:
            parser.Parse(data, True)
        except expat.ExpatError as error:
            raise Rejected(f"the domain XML can not be marked: {error}") from error
        finally:
            # Else the two would hold each other, and the XML with them.
            parser.StartElementHandler = parser.EndElementHandler = None

    @property
    def _path(self) -> tuple[str, ...]:
        """The outermost elements that are open, as many as matter: elements may lie a hundred thousand deep."""
        return tuple(name for name, _, _ in self._open[:_DEEPEST_THAT_MATTERS])

    def _start(self, name: str, index: int) -> None:
        match = _START_TAG.match(self._data, index)
        assert match is not None, "expat took a start tag that is none"
        self._open.append((name, index, match.end()))
        if self._path == ("domain",):
            self.root_start_end = match.end()
        elif self._path == ("domain", "metadata") and self.metadata is None:
            self.metadata = match.span()

    def _end(self, index: int) -> None:
        path = self._path
        _, start, start_end = self._open.pop()
        # At an empty element expat reports the place after it, at any other the place of its end tag.
        is_empty = self._data[start:start_end].endswith(b"/>")
        end = start_end if is_empty else self._data.index(b">", index) + 1
        if path == ("domain", "name") and self.name_end is None:
            self.name_end = end
        elif path == ("domain", "uuid") and self.uuid is None:
            self.uuid = (start, end)
        elif path == ("domain", "metadata", f"{NAMESPACE}{_SEPARATOR}vm"):
            self.old_tags.append((start, end))


def _splice(data: bytes, tag: bytes, uuid: bytes) -> bytes:
    spots = _Spots(data)
    after_name = spots.name_end or spots.root_start_end
    cuts: list[tuple[int, int, bytes]] = [(start, end, b"") for start, end in spots.old_tags]
    if uuid:
        start, end = spots.uuid or (after_name, after_name)
        cuts.append((start, end, uuid))
    if spots.metadata is None:
        cuts.append((after_name, after_name, b"<metadata>" + tag + b"</metadata>"))
    else:
        start, end = spots.metadata
        is_empty = data[start:end].endswith(b"/>")
        cuts.append((start, end, b"<metadata>" + tag + b"</metadata>") if is_empty else (end, end, tag))
    for start, end, text in sorted(cuts, reverse=True):
        data = data[:start] + text + data[end:]
    return data
