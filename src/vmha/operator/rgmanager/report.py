"""An import, shown: the document as YAML, and the findings as lines or as plain data."""

from dataclasses import asdict
from typing import Any

from vmha.operator.export import to_yaml
from vmha.operator.rgmanager.fence_passwords import FOLDER
from vmha.operator.rgmanager.findings import Kind, printable
from vmha.operator.rgmanager.translate import Imported, of_kind

_TITLES = {
    Kind.TAKEN: "Taken",
    Kind.CHANGED: "Changed in meaning",
    Kind.NOT_TAKEN: "Not taken",
}


def as_yaml(imported: Imported) -> str:
    """The document for ``vmha apply``, with a head that says where it is from."""
    whence = f"{imported.file}, cluster {imported.cluster}, config_version {imported.config_version or 'unknown'}"
    head = [f"# From {printable(whence)}", "# Look at it, then: vmha apply FILE"]
    if imported.has_secrets:
        head.append("# It holds secrets of fence devices, which vmha apply refuses as they are: the report names them.")
    if imported.passwords:
        head.append(f"# Programs in {FOLDER} print fence devices' passwords, on each node: the report names them.")
    return "\n".join([*head, to_yaml(imported.document)])


def as_lines(imported: Imported) -> list[str]:
    """The report, for people: a summary, then a line for each finding, the kinds apart."""
    lines = [summary(imported)]
    for what, count in imported.counts.items():
        if count.left_out:
            lines.append(f"  not taken of the {what}: {printable(', '.join(count.left_out))}")
    for kind, title in _TITLES.items():
        findings = of_kind(imported, kind)
        if findings:
            lines += ["", f"{title} ({len(findings)}):", *(f"  {each.say(imported.file)}" for each in findings)]
    return lines


def summary(imported: Imported) -> str:
    counts = ", ".join(f"{count.taken} of {count.found} {what}" for what, count in imported.counts.items())
    return f"{imported.file}: {counts} taken"


def as_plain(imported: Imported) -> dict[str, Any]:
    """The report, for programs. The document is not in it: it may hold secrets."""
    return {
        "file": imported.file,
        "cluster": imported.cluster,
        "config_version": imported.config_version,
        "counts": {what: asdict(count) for what, count in imported.counts.items()},
        "complete": imported.is_complete,
        "programs": [f"{FOLDER}/{name}" for name in imported.passwords],
        "findings": [{**asdict(finding), "kind": str(finding.kind)} for finding in imported.findings],
    }
