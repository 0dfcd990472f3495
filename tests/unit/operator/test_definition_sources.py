"""Definitions that are not kept in etcd, as operators say them: by verb and by document."""

from pathlib import Path

import pytest

from tests.unit.operator.cluster import Cluster, xml_of
from vmha.model.domain_xml import default_uuid
from vmha.model.errors import Rejected
from vmha.model.ids import VmName
from vmha.model.vm import VmSpec
from vmha.operator import vms
from vmha.operator.apply import commit, prepare
from vmha.operator.document import load_document
from vmha.operator.export import export

UUID = "6f9619ff-8b86-4011-b42d-00c04fc964ff"
OTHER = "7f9619ff-8b86-4011-b42d-00c04fc964ff"


async def applied(cluster: Cluster, text: str) -> VmSpec:
    await commit(cluster.client, await prepare(cluster.client, load_document(text, file="c.yaml", base=Path())))
    return await stored(cluster)


async def stored(cluster: Cluster) -> VmSpec:
    spec = (await cluster.client.read()).vms[VmName("web")].spec
    assert spec is not None
    return spec.value


async def test_what_can_be_read_here_is_learned_here(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "web.xml"
    file.write_text(xml_of("web", uuid=UUID, memory_mib=512))
    spec = await applied(cluster, f"vms:\n  - name: web\n    definition: {{file: {file}}}")
    assert (spec.uuid, spec.memory_mib, spec.xml) == (UUID, 512, "")
    assert spec.definition is not None
    assert spec.definition.file == str(file)


async def test_search_path_is_searched_in_order(cluster: Cluster, tmp_path: Path) -> None:
    for folder, mib in (("a", 300), ("b", 200)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "web.xml").write_text(xml_of("web", memory_mib=mib))
    (tmp_path / "b/web").write_text(xml_of("web", memory_mib=100))
    spec = await vms.add_vm(cluster.client, "web", "", definition={"path": [f"{tmp_path}/b", f"{tmp_path}/a"]})
    assert spec.memory_mib == 100


async def test_what_nobody_can_read_here_is_what_the_operator_says_or_a_name_gives(cluster: Cluster) -> None:
    spec = await vms.add_vm(cluster.client, "web", "", definition={"persistent": True})
    assert (spec.uuid, spec.memory_mib) == (default_uuid("test", "web"), 1)
    _, spec = await vms.edit(cluster.client, "web", uuid=UUID, memory_mib=2048)
    assert (spec.uuid, spec.memory_mib) == (UUID, 2048)
    _, spec = await vms.edit(cluster.client, "web", priority=7)
    assert (spec.uuid, spec.memory_mib, spec.priority) == (UUID, 2048, 7)


async def test_definition_that_can_be_read_and_is_not_the_vms_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "web.xml"
    file.write_text(xml_of("db", uuid=UUID))
    with pytest.raises(Rejected, match=r"web\.xml: the domain XML's <name> is 'db'"):
        await vms.add_vm(cluster.client, "web", "", definition={"file": str(file)})
    file.write_text(xml_of("web", uuid=UUID))
    with pytest.raises(Rejected, match=f"uuid {OTHER}: .*web.xml has {UUID}"):
        await vms.add_vm(cluster.client, "web", "", definition={"file": str(file)}, uuid=OTHER)
    with pytest.raises(Rejected, match="is no regular file"):
        await vms.add_vm(cluster.client, "web", "", definition={"file": str(tmp_path)})
    assert (await cluster.client.read()).vms == {}


async def test_uuid_that_another_vm_has_is_refused_wherever_it_comes_from(cluster: Cluster) -> None:
    await vms.add_vm(cluster.client, "db", xml_of("db", uuid=UUID))
    with pytest.raises(Rejected, match=f"{UUID} is vm db's"):
        await vms.add_vm(cluster.client, "web", "", definition={"persistent": True}, uuid=UUID)


async def test_exported_document_changes_nothing_when_it_is_applied(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "web.xml"
    file.write_text(xml_of("web", uuid=UUID, memory_mib=512))
    text = (
        f"vms:\n  - name: web\n    definition: {{file: {file}}}\n    saved_state: {{directory: /gfs/saves}}\n"
        "    priority: 7\n"
    )
    before = await applied(cluster, text)
    again = export(await cluster.client.read())
    assert "saved_state" in again
    assert "xml:" not in again
    assert await applied(cluster, again) == before


async def test_vm_moves_between_etcd_and_a_file_and_keeps_its_identity(cluster: Cluster) -> None:
    await vms.add_vm(cluster.client, "web", xml_of("web", uuid=UUID, memory_mib=512))
    _, outside = await vms.edit(cluster.client, "web", definition={"persistent": True})
    assert (outside.xml, outside.uuid, outside.memory_mib) == ("", UUID, 512)
    _, inside = await vms.edit(cluster.client, "web", xml=xml_of("web", uuid=UUID, memory_mib=256))
    assert (inside.definition, inside.uuid, inside.memory_mib) == (None, UUID, 256)
