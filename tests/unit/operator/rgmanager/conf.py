"""Making cluster.conf files for tests, and reading what became of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.unit.operator.cluster import xml_of
from vmha.operator.document import Loaded, load_document
from vmha.operator.rgmanager.findings import Finding, Kind
from vmha.operator.rgmanager.report import as_yaml
from vmha.operator.rgmanager.source import parse_conf
from vmha.operator.rgmanager.translate import Imported, translate

SAMPLES = Path(__file__).parents[3] / "data/rgmanager"
NODES = '<clusternodes><clusternode name="n1"/><clusternode name="n2"/><clusternode name="n3"/></clusternodes>'


class Files:
    """Definitions by path; remembers which were looked for."""

    def __init__(self, files: Mapping[str, str] | None = None) -> None:
        self.files = dict(files or {})
        self.asked: list[str] = []

    def __call__(self, path: str) -> str | None:
        self.asked.append(path)
        return self.files.get(path)


def definitions(*names: str) -> Files:
    """Each vm where its host's libvirt keeps it."""
    return Files({f"/etc/libvirt/qemu/{name}.xml": xml_of(name) for name in names})


def conf(rm: str, *, nodes: str = NODES, rm_attributes: str = "") -> bytes:
    """A file with this inside ``<rm>``."""
    return f'<cluster name="c" config_version="1">{nodes}<rm {rm_attributes}>\n{rm}\n</rm></cluster>'.encode()


def imported(data: bytes, files: Files | None = None, **options: Any) -> Imported:
    result = translate(data, file="cluster.conf", read=files or definitions("web", "db"), **options)
    assert_nothing_is_lost(data, result)
    assert_readable(result)
    return result


def assert_nothing_is_lost(data: bytes, result: Imported) -> None:
    """Every attribute of the file has a finding, with its value."""
    told = {(f.line, f.element, f.attribute) for f in result.findings}
    for element in parse_conf(data, file="cluster.conf").walk():
        for name in element.attributes:
            assert (element.line, element.path, name) in told, f"{element.path} {name} is not told of"


def assert_readable(result: Imported) -> Loaded:
    """``vmha apply`` can read the document, and finds in it what the import put there."""
    loaded = load_document(as_yaml(result), file="vmha.yaml", base=Path())
    assert [vm.name for vm in loaded.document.vms or ()] == [vm["name"] for vm in result.document["vms"]]
    return loaded


def vm_of(result: Imported, name: str = "web") -> dict[str, Any]:
    (found,) = [vm for vm in result.document["vms"] if vm["name"] == name]
    return found


def findings(result: Imported, attribute: str, kind: Kind | None = None) -> list[Finding]:
    return [f for f in result.findings if f.attribute == attribute and kind in (None, f.kind)]


def only(result: Imported, attribute: str) -> Finding:
    (found,) = findings(result, attribute)
    return found
