"""Options of ``vmha vm add`` and ``vm edit``: where a vm's definition is, and whether its memory is kept."""

from pathlib import Path
from typing import Annotated, Any

import typer

Xml = Annotated[Path | None, typer.Option("--xml", help="libvirt domain XML, kept in etcd; - reads standard input.")]
XmlAtStart = Annotated[
    str | None, typer.Option("--xml-at-start", help="A file on a shared file system, read by a node at each start.")
]
XmlPath = Annotated[
    str | None, typer.Option("--xml-path", help="Directories (DIR:DIR) searched for NAME, NAME.xml at each start.")
]
Persistent = Annotated[
    bool, typer.Option("--persistent", help="Start what each host's own libvirt has defined under that name.")
]
GivenUuid = Annotated[str | None, typer.Option("--uuid", help="The uuid of a definition that is not kept in etcd.")]
GivenMemory = Annotated[int | None, typer.Option("--memory", help="Its memory in MiB, until a start has read it.")]
Saved = Annotated[
    str | None,
    typer.Option("--saved-state", help="A shared directory that keeps its memory over a stop; '' takes it away."),
]


def definition_fields(
    *,
    xml: Path | None,
    xml_at_start: str | None,
    xml_path: str | None,
    persistent: bool,
    uuid: str | None,
    memory: int | None,
    saved_state: str | None,
    is_new: bool,
) -> dict[str, Any]:
    """What ``VmSpec`` calls them; ``xml`` is read. Raises: Rejected, naming the options."""
    from vmha.cli.files import read_text
    from vmha.model.errors import Rejected

    given = [
        option
        for option, value in (
            ("--xml", xml),
            ("--xml-at-start", xml_at_start),
            ("--xml-path", xml_path),
            ("--persistent", persistent or None),
        )
        if value is not None
    ]
    accepted = "exactly one of --xml, --xml-at-start, --xml-path, --persistent"
    if len(given) > 1 or (is_new and not given):
        raise Rejected(f"{' and '.join(given) or 'no definition'} given", accepted=accepted)
    fields: dict[str, Any] = {}
    match given:
        case ["--xml"]:
            assert xml
            fields["xml"] = read_text(xml, what="--xml")
        case ["--xml-at-start"]:
            fields["definition"] = {"file": xml_at_start}
        case ["--xml-path"]:
            fields["definition"] = {"path": [folder for folder in (xml_path or "").split(":") if folder]}
        case ["--persistent"]:
            fields["definition"] = {"persistent": True}
    for option, key, value in (("--uuid", "uuid", uuid), ("--memory", "memory_mib", memory)):
        if value is None:
            continue
        if given == ["--xml"]:
            raise Rejected(f"{option} {value}: follows from the XML", accepted="it with another option than --xml")
        fields[key] = value
    if saved_state is not None:
        fields["saved_state"] = {"directory": saved_state} if saved_state else None
    return fields
