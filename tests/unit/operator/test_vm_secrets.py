"""A password of a screen that comes into etcd with a definition: that is said, once, and never what it is."""

import json
from pathlib import Path

from tests.unit.operator.cluster import Cluster, xml_of
from vmha.model.settings import FenceSecrets
from vmha.operator import vms
from vmha.operator.apply import commit, prepare
from vmha.operator.document import Loaded, load_document
from vmha.operator.export import export
from vmha.operator.vm_secrets import password_brought, passwords_brought

SECRET = "s3cr3t-of-the-screen"


def with_screen(password: str) -> str:
    return xml_of("web").replace("</domain>", f"<devices><graphics type='vnc' passwd='{password}'/></devices></domain>")


def loaded(text: str) -> Loaded:
    return load_document(text, file="c.yaml", base=Path())


async def brought(cluster: Cluster, document: Loaded) -> list[str]:
    return passwords_brought({name: xml for name, (xml, _) in document.xmls.items()}, await cluster.client.read())


async def test_password_that_a_document_brings_is_told_once_and_not_said(cluster: Cluster) -> None:
    document = loaded(f"vms: [{{name: web, xml: {json.dumps(with_screen(SECRET))}}}]\n")
    (line,) = await brought(cluster, document)
    assert line.startswith("web: passwd of <graphics type='vnc'> can be read by everybody who reads the cluster")
    assert "vnc_password" in line
    assert SECRET not in line
    plan = await prepare(cluster.client, document)
    assert SECRET not in str(plan.changes)
    await commit(cluster.client, plan)
    assert await brought(cluster, document) == []
    journal = [value for key, value in cluster.contents().items() if key.startswith(cluster.keys.journal(""))]
    assert SECRET not in str(journal)


def test_password_that_a_vm_has_already_is_not_told_again_and_another_is() -> None:
    assert password_brought("web", with_screen(SECRET), before=with_screen(SECRET)) == []
    assert len(password_brought("web", with_screen("another"), before=with_screen(SECRET))) == 1
    assert password_brought("web", xml_of("web"), before=with_screen(SECRET)) == []


async def test_what_a_doctor_says_of_stored_fence_secrets_changes_nothing_else(cluster: Cluster) -> None:
    """``vmha export``, the one word changed, ``vmha apply``: passwords that are there stay as they are."""
    device = "{agent: fence_ipmilan, options: {ip: 10.0.0.1, password: hunter2}}"
    stored = f"config: {{fencing: {{secrets: stored}}}}\nnodes: [{{name: h1, fence: [{device}]}}]\n"
    await commit(cluster.client, await prepare(cluster.client, loaded(stored)))
    await vms.add_vm(cluster.client, "web", with_screen(SECRET))
    text = export(await cluster.client.read()).replace("secrets: stored", "secrets: files")
    plan = await prepare(cluster.client, loaded(text))
    assert {(change.kind, change.action) for change in plan.changes if change.action != "unchanged"} == {
        ("config", "changed")
    }
    await commit(cluster.client, plan)
    assert (await cluster.client.read()).config.fencing.secrets is FenceSecrets.FILES
