"""The YAML document of ``vmha apply`` and ``vmha export``: what it may hold, and reading it with every error at once.

A document names objects; what it does not name is left alone. Of an object that it names it gives the whole
definition: a field left out has its default, save for what is an operation rather than a definition (a vm's
``desired``, a node's ``maintenance``), which then stays as it is.
"""

import json
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, create_model, model_validator

from vmha.model.document import Document, keys_of, short, what_is_wrong
from vmha.model.errors import Rejected
from vmha.model.rules import Rule
from vmha.model.service import Service
from vmha.model.settings import ClusterConfig
from vmha.model.source import DefinitionSource, Uuid
from vmha.model.vm import (
    FailoverDomain,
    NodeSpec,
    VmSpec,
)
from vmha.operator.definition import FOLLOWS
from vmha.operator.yaml_source import Complaint, Path, YamlSource, parse_yaml

_NOT_IN_A_DOCUMENT = ("xml", "definition", *FOLLOWS, "desired_why")
"""Fields of a spec that follow from the XML, or from who asked, or that a document has a word of its own for."""


class _VmEntryBase(Document):
    xml: str | None = Field(default=None, description="libvirt domain XML; its <name> must be the vm's name.")
    xml_file: str | None = Field(default=None, description="Or a file that holds it, relative to the document.")

    definition: DefinitionSource | None = Field(default=None, description="Or where a node reads it at each start.")
    uuid: Uuid | None = Field(default=None, description="With definition: the uuid that it has.")
    memory_mib: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="With definition: what it takes, until a start has read it."
    )

    @model_validator(mode="after")
    def _one_definition(self) -> Self:
        given = [key for key in ("xml", "xml_file", "definition") if getattr(self, key) is not None]
        if len(given) != 1:
            said = " and ".join(given) or "none"
            raise ValueError(
                f"xml, xml_file, definition: exactly one of the three is needed, {said} is given "
                "(accepted: xml, xml_file or definition)"
            )
        for key in ("uuid", "memory_mib"):
            if getattr(self, key) is not None and self.definition is None:
                raise ValueError(f"{key}: follows from the XML (accepted: only together with definition)")
        return self


_SPEC_FIELDS: dict[str, Any] = {
    name: (info.annotation, info) for name, info in VmSpec.model_fields.items() if name not in _NOT_IN_A_DOCUMENT
}
VmEntry: type[_VmEntryBase] = create_model("VmEntry", __base__=_VmEntryBase, **_SPEC_FIELDS)
"""A vm in a document: a ``VmSpec`` without what follows from its XML."""


class ClusterDocument(Document):
    """The whole document. A list that is absent is left alone, also by ``--prune``."""

    schema_version: int = Field(default=1, ge=1, le=1, alias="schema")
    config: ClusterConfig | None = None
    failover_domains: tuple[FailoverDomain, ...] | None = None
    nodes: tuple[NodeSpec, ...] | None = None
    vms: tuple[VmEntry, ...] | None = None  # type: ignore[valid-type]
    services: tuple[Service, ...] | None = None
    rules: tuple[Rule, ...] | None = None


"""The model behind each mapping of a document, by its path without list positions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A document that is well formed by itself. ``xmls``: the XML of each vm, and the file it is from ('': inline)."""

    document: ClusterDocument
    source: YamlSource
    xmls: dict[str, tuple[str, str]]

    def refuse(self, complaints: list[Complaint]) -> None:
        """Raises: Rejected with a line for each, if there are any."""
        if complaints:
            raise _rejected(self.source, complaints)


def load_document(text: str, *, file: str, base: FilePath) -> Loaded:
    """Read a document, and the XML files it names.

    Args:
        text: The YAML.
        file: What to call it in errors.
        base: The directory that ``xml_file`` is relative to.

    Raises:
        Rejected: one line for each thing that is wrong: file, line, field, value, what is accepted.
    """
    source = parse_yaml(text, file=file)
    data = {} if source.data is None else source.data
    if not isinstance(data, dict):
        raise Rejected(
            f"{file}:1: the document is {short(data)}", accepted=f"keys: {', '.join(keys_of(ClusterDocument, ()))}"
        )
    complaints = [*source.twice]
    document: ClusterDocument | None = None
    try:
        # JSON mode: strict about types (no "5" for 5), yet it takes words for enums and lists for tuples.
        document = ClusterDocument.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        complaints += [_complaint(found) for found in error.errors(include_url=False)]
    complaints += _named_twice(data)
    xmls = _read_xmls(data, base, complaints)
    if complaints or document is None:
        raise _rejected(source, complaints)
    return Loaded(document=document, source=source, xmls=xmls)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a document."""
    return ClusterDocument.model_json_schema(by_alias=True)


def _rejected(source: YamlSource, complaints: list[Complaint]) -> Rejected:
    ordered = sorted(complaints, key=lambda complaint: source.line_of(complaint.path))
    return Rejected("\n".join(source.say(complaint) for complaint in ordered))


def _read_xmls(data: dict[str, Any], base: FilePath, complaints: list[Complaint]) -> dict[str, tuple[str, str]]:
    """The XML of each vm. Works on what was written, so that a missing file is told along with everything else."""
    xmls: dict[str, tuple[str, str]] = {}
    for index, item in enumerate(_list_of(data, "vms")):
        name, inline, file = (item.get(key) for key in ("name", "xml", "xml_file"))
        if item.get("definition") is not None:
            xmls[str(name)] = ("", "")
            continue
        if not isinstance(file, str):
            xmls[str(name)] = (str(inline), "")
            continue
        try:
            xmls[str(name)] = ((base / file).read_text(encoding="utf-8"), str(base / file))
        except UnicodeDecodeError as error:
            text = f"{file!r}: {base / file} is not UTF-8 text: byte {error.start}"
            complaints.append(Complaint(path=("vms", index, "xml_file"), text=text))
        except (OSError, ValueError) as error:
            words = str(getattr(error, "strerror", None) or error).lower()
            text = f"{file!r}: {base / file}: {words} (accepted: a file, relative to the document)"
            complaints.append(Complaint(path=("vms", index, "xml_file"), text=text))
    return xmls


def _list_of(data: dict[str, Any], section: str) -> list[dict[str, Any]]:
    """The mappings of a list, an empty one for whatever is none: the model complains of that."""
    items = data.get(section)
    return [item if isinstance(item, dict) else {} for item in items] if isinstance(items, list) else []


def _named_twice(data: dict[str, Any]) -> list[Complaint]:
    found = []
    for section in ("failover_domains", "nodes", "vms", "services", "rules"):
        seen: set[str] = set()
        for index, item in enumerate(_list_of(data, section)):
            name = item.get("name")
            if isinstance(name, str) and name in seen:
                found.append(Complaint(path=(section, index, "name"), text=f"{name!r}: named twice (accepted: once)"))
            seen.add(str(name))
    return found


def _complaint(found: Any) -> Complaint:
    path: Path = tuple(found["loc"])
    return Complaint(path=path, text=what_is_wrong(found, keys=keys_of(ClusterDocument, path[:-1])))
