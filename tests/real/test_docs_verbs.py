"""The verbs of pages that ask a cluster, typed at one: a real etcd, real agents, and hypervisors that are twins."""

import asyncio
from pathlib import Path

import pytest

from tests.support.doc_story import ROOT, code_blocks, play
from tests.support.etcd import RealEtcd
from tests.support.members import real_cluster
from tests.unit.operator.cluster import xml_of
from vmha.model.ids import NodeName
from vmha.model.keys import encode
from vmha.model.vm import NodeSpec
from vmha.store.port import Put

pytestmark = pytest.mark.real


async def test_verbs_of_the_pages_do_at_a_cluster_what_they_say(tmp_path: Path) -> None:
    """Two hosts are there; the third, ``kvm3``, is one that never comes back."""
    for vm in ("web", "shop"):
        (tmp_path / f"{vm}.xml").write_text(xml_of(vm))
    (document,) = code_blocks((ROOT / "docs/howto/from-pacemaker.md").read_text(), "yaml")
    (tmp_path / "vmha.yaml").write_text(document)
    with RealEtcd() as etcd:
        async with real_cluster(etcd, names=("kvm1", "kvm2")) as cluster:
            kvm3 = NodeName("kvm3")
            await cluster.store.txn([], [Put(cluster.keys.node_spec(kvm3), encode(NodeSpec(name=kvm3)))])
            environment = {"VMHA_ENDPOINTS": etcd.endpoints[0], "VMHA_CLUSTER": cluster.keys.cluster}

            async def typed(page: str, on: str = "", **other: str) -> dict[str, str]:
                text = (ROOT / page).read_text()
                for word, instead in other.items():
                    text = text.replace(word, instead)
                told = play(text, environment=environment, directory=tmp_path, on=on, in_process=True)
                return await asyncio.to_thread(dict, told)

            await typed("docs/howto/from-pacemaker.md", "vmha")
            await cluster.until_runs("web", "kvm1")
            foretold = await typed("docs/explanation/planner.md", "cluster", n1="kvm1")
            assert "web" in foretold["vmha plan --if 'node kvm1 lost'"]
            await typed("docs/howto/two-hosts-and-a-witness.md")
            await typed("docs/howto/upgrade.md")
            assert "shop" not in (tmp_path / "vmha-before.json").read_text()
            assert kvm3 not in (await cluster.operator.read()).nodes
            await typed("README.md", "cluster", web="shop", **{",kvm3": ""})
            for vm in ("web", "shop"):
                await cluster.until_runs(vm, "kvm2")
