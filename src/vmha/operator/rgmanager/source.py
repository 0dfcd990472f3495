"""``cluster.conf`` as a tree that knows its line numbers.

Read with expat alone. Document types are refused, and with them every entity that a file could define: nothing swells,
nothing is fetched. Size, depth and the number of elements are bounded.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from vmha.model.errors import Rejected

MAX_BYTES = 4 << 20
MAX_ELEMENTS = 100_000
MAX_DEPTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One attribute, and the element that it is written on."""

    element: "Element"
    name: str
    value: str


@dataclass(slots=True, kw_only=True, eq=False)
class Element:
    """``path`` names it as a person would look for it: ``rm/vm[db1]``; the root is left out."""

    tag: str
    path: str
    line: int
    attributes: dict[str, str] = field(default_factory=dict)
    children: list["Element"] = field(default_factory=list)
    text: str = ""

    def find_attribute(self, name: str) -> Attribute | None:
        value = self.attributes.get(name)
        return None if value is None else Attribute(element=self, name=name, value=value)

    def all_attributes(self, *, but: tuple[str, ...] = ()) -> list[Attribute]:
        return [Attribute(element=self, name=k, value=v) for k, v in self.attributes.items() if k not in but]

    def named(self, tag: str) -> list["Element"]:
        return [child for child in self.children if child.tag == tag]

    def walk(self) -> Iterator["Element"]:
        """This element and all below it, in the order of the file."""
        yield self
        for child in self.children:
            yield from child.walk()


def parse_conf(data: bytes, *, file: str) -> Element:
    """The ``<cluster>`` of a file.

    Raises:
        Rejected: it is no such file; names file and line, and what is accepted.
    """
    if len(data) > MAX_BYTES:
        raise Rejected(f"{file}: has {len(data)} bytes", accepted=f"at most {MAX_BYTES} bytes")
    builder = _Builder(file)
    try:
        builder.parser.Parse(data, True)
    except expat.ExpatError as error:
        words = expat.ErrorString(error.code) or "not well-formed"
        raise Rejected(f"{file}:{error.lineno}: broken XML: {words}", accepted="the XML of cluster.conf") from error
    except (LookupError, ValueError) as error:  # an encoding that Python does not know, or that is not one of text
        raise Rejected(f"{file}:1: broken XML: {error}", accepted="XML in UTF-8") from error
    assert builder.root is not None, "expat takes no document without an element"
    return builder.root


class _Builder:
    def __init__(self, file: str) -> None:
        self.root: Element | None = None
        self._file = file
        self._open: list[Element] = []
        self._count = 0
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    def _refuse(self, what: str, accepted: str) -> Rejected:
        return Rejected(f"{self._file}:{self.parser.CurrentLineNumber}: {what}", accepted=accepted)

    def _doctype(self, *_: object) -> None:
        raise self._refuse("a document type declaration (<!DOCTYPE> or entities)", "a plain <cluster> element")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > MAX_ELEMENTS or len(self._open) >= MAX_DEPTH:
            raise self._refuse("the file is too large", f"at most {MAX_ELEMENTS} elements, nested {MAX_DEPTH} deep")
        if not self._open and tag != "cluster":
            raise self._refuse(f"the root element is <{tag}>", "<cluster>")
        element = Element(
            tag=tag, path=self._path_of(tag, attributes), line=self.parser.CurrentLineNumber, attributes=attributes
        )
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def _path_of(self, tag: str, attributes: dict[str, str]) -> str:
        if not self._open:
            return tag
        name = attributes.get("name") or attributes.get("ref")
        here = f"{tag}[{name}]" if name else tag
        return here if len(self._open) == 1 else f"{self._open[-1].path}/{here}"

    def _end(self, _: str) -> None:
        self._open.pop()

    def _text(self, text: str) -> None:
        self._open[-1].text += text
