"""One uuid, one vm, also when two operators give it away at the same time."""

import asyncio
from pathlib import Path

import pytest

from tests.unit.operator.cluster import Cluster, xml_of
from vmha.model.errors import Refused, Rejected
from vmha.model.ids import VmName
from vmha.operator import vms
from vmha.operator.apply import commit, prepare
from vmha.operator.document import load_document

UUID = "6f1b2c3d-0000-4000-8000-000000000001"
OTHER = "6f1b2c3d-0000-4000-8000-000000000002"


def claims(cluster: Cluster) -> set[str]:
    prefix = cluster.keys.uuid("")
    return {key.removeprefix(prefix) for key in cluster.contents() if key.startswith(prefix)}


def document(*pairs: tuple[str, str]) -> str:
    entries = (
        f"  - name: {name}\n    xml: <domain><name>{name}</name><uuid>{uuid}</uuid><memory>1</memory></domain>\n"
        for name, uuid in pairs
    )
    return "vms:\n" + "".join(entries)


async def apply(cluster: Cluster, text: str, *, prune: bool = False) -> None:
    await commit(
        cluster.client, await prepare(cluster.client, load_document(text, file="c.yaml", base=Path()), prune=prune)
    )


async def test_two_vms_added_at_once_with_one_uuid_are_one_vm_and_one_refusal(cluster: Cluster) -> None:
    cluster.etcd.slow("first", 0.02)  # both have read before either writes
    cluster.etcd.slow("second", 0.02)
    results = await asyncio.gather(
        vms.add_vm(cluster.new_client("first"), "a", xml_of("a", uuid=UUID)),
        vms.add_vm(cluster.new_client("second"), "b", xml_of("b", uuid=UUID.upper())),
        return_exceptions=True,
    )
    refusals = [result for result in results if isinstance(result, Rejected)]
    there = [vm.name for vm in (await cluster.client.read()).vms.values()]
    assert len(refusals) == len(there) == 1
    assert f"{UUID} is vm {there[0]}'s" in str(refusals[0])


async def test_vm_edited_and_vm_added_at_once_with_one_uuid_do_not_both_get_it(cluster: Cluster) -> None:
    await vms.add_vm(cluster.client, "a", xml_of("a", uuid=OTHER))
    cluster.etcd.slow("first", 0.02)
    cluster.etcd.slow("second", 0.02)
    results = await asyncio.gather(
        vms.edit(cluster.new_client("first"), "a", xml=xml_of("a", uuid=UUID)),
        vms.add_vm(cluster.new_client("second"), "b", xml_of("b", uuid=UUID)),
        return_exceptions=True,
    )
    assert [type(result) for result in results].count(Rejected) == 1


async def test_removed_or_edited_vm_gives_its_uuid_back(cluster: Cluster) -> None:
    await vms.add_vm(cluster.client, "a", xml_of("a", uuid=UUID))
    assert claims(cluster) == {UUID}
    await vms.edit(cluster.client, "a", xml=xml_of("a", uuid=OTHER))
    assert claims(cluster) == {OTHER}
    await vms.remove_vm(cluster.client, "a")
    assert claims(cluster) == set()
    await vms.add_vm(cluster.client, "b", xml_of("b", uuid=UUID))


async def test_vm_of_before_there_were_claims_keeps_its_uuid_and_can_be_removed(cluster: Cluster) -> None:
    await vms.add_vm(cluster.client, "a", xml_of("a", uuid=UUID))
    cluster.delete(cluster.keys.uuid(UUID))
    with pytest.raises(Rejected, match="is vm a's"):
        await vms.add_vm(cluster.client, "b", xml_of("b", uuid=UUID))
    await vms.remove_vm(cluster.client, "a")
    await vms.add_vm(cluster.client, "b", xml_of("b", uuid=UUID))


async def test_claim_that_was_left_behind_keeps_nobody_from_the_uuid(cluster: Cluster) -> None:
    await vms.add_vm(cluster.client, "a", xml_of("a", uuid=UUID))
    cluster.delete(cluster.keys.vm_spec(VmName("a")))  # by a version that knows no claims
    assert (await vms.add_vm(cluster.client, "b", xml_of("b", uuid=UUID))).uuid == UUID


async def test_document_moves_uuids_between_its_vms_and_frees_those_of_pruned_ones(cluster: Cluster) -> None:
    await apply(cluster, document(("a", UUID), ("b", OTHER)))
    assert claims(cluster) == {UUID, OTHER}
    await apply(cluster, document(("a", OTHER), ("b", UUID)))
    assert claims(cluster) == {UUID, OTHER}
    await apply(cluster, document(("c", UUID)), prune=True)
    assert claims(cluster) == {UUID}
    assert {vm.name for vm in (await cluster.client.read()).vms.values()} == {"c"}


async def test_document_and_vm_added_at_once_with_one_uuid_do_not_both_get_it(cluster: Cluster) -> None:
    prepared = await prepare(cluster.client, load_document(document(("a", UUID)), file="c.yaml", base=Path()))
    await vms.add_vm(cluster.client, "b", xml_of("b", uuid=UUID))
    with pytest.raises(Refused, match="changed by others"):
        await commit(cluster.client, prepared)
