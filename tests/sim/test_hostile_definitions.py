"""Definitions that a hand has put into etcd, or into a file: each start that fails says why, and ends no agent."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.sim.probes import placement, put
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.ids import VmName
from vmha.model.vm import Desired, VmSpec
from vmha.operator import vms

Place = Callable[[Cluster, str], Awaitable[None]]

OWN = "11111111-2222-3333-4444-555555555555"
OTHER = "99999999-2222-3333-4444-555555555555"


def domain(body: str = "", *, attributes: str = "", name: str = "web", memory: str = "<memory>1048576</memory>") -> str:
    return f"<domain type='kvm'{attributes}><name>{name}</name>{memory}{body}</domain>"


STARTS = {
    "a blank in a namespace": domain(attributes=" xmlns:q='a b'"),
    "a tab in one of metadata": domain("<metadata><q:a xmlns:q='&#9;'/></metadata>"),
    "a control character in one": domain(attributes=" xmlns:q='&#x9f;'"),
    "an old mark": domain("<metadata><vm xmlns='https://vmha.dev/xmlns/domain/1' name='x' epoch='²'/></metadata>"),
    "a hundred thousand elements deep": domain("<a>" * 100_000 + "</a>" * 100_000),
    "an encoding that the text does not have": f"<?xml version='1.0' encoding='utf-16'?>{domain()}",
    "empty uuid": domain("<uuid> </uuid>"),
}
FAILS = {
    "no XML": ("no xml", "broken at line 1"),
    "half of one": ("<domain><name>web</name>", "broken at line 1"),
    "a brace in a namespace": (domain(attributes=" xmlns:q='a}b'"), "a namespace with a '}' in it"),
    "another thing": ("<network/>", "root element is <network>"),
    "entities": (f"<!DOCTYPE a [<!ENTITY b 'c'>]>{domain()}", "document type"),
    "a null character": (domain("<a>\0</a>"), "broken at line 1"),
    "no name": ("<domain><memory>1024</memory></domain>", "no <name>"),
    "another's name": (domain(name="db"), "its <name> is 'db' (accepted: 'web', the vm's name)"),
    "a name in pieces": (domain(name="web<x>2</x>"), "<name> has an element in it"),
    "another's uuid": (domain(f"<uuid>{OTHER}</uuid>"), f"its <uuid> is {OTHER}, the cluster knows web as {OWN}"),
    "a uuid that is none": (domain("<uuid>²</uuid>"), "<uuid> is '²'"),
    "memory of thousands of digits": (domain(memory=f"<memory>{'9' * 5000}</memory>"), "a whole number above 0"),
    "memory of no digits": (domain(memory="<memory>²</memory>"), "<memory> is '²'"),
    "more than a megabyte": (domain("<a/>" * 300_000), "bytes"),
}


async def put_into_etcd(cluster: Cluster, xml: str) -> None:
    spec = VmSpec(name="web", xml=xml, uuid=OWN, memory_mib=1024, desired=Desired.RUNNING)
    await put(cluster, cluster.world.keys.vm_spec(VmName("web")), spec)


async def put_into_a_file(cluster: Cluster, xml: str) -> None:
    cluster.world.fabric.files.held["/gfs/web.xml"] = xml
    where = {"file": "/gfs/web.xml"}
    await vms.add_vm(cluster.hands.operator, "web", "", start=True, definition=where, uuid=OWN)


def failures(cluster: Cluster) -> list[str]:
    found = placement(cluster, "web")
    return [failure.error for failure in found.failures] if found else []


async def others_are_decided_on(cluster: Cluster) -> None:
    assert cluster.world.crashes == []
    await cluster.hands.add("mail", memory_mib=1024, vcpus=1, start=True)
    await until(lambda: len(cluster.where("mail")) == 1, what="another vm starts", timeout_s=10.0)


@pytest.mark.parametrize("place", [put_into_etcd, put_into_a_file])
@pytest.mark.parametrize("xml", STARTS.values(), ids=STARTS)
def test_definition_that_libvirt_takes_starts(xml: str, place: Place) -> None:
    async def scene(cluster: Cluster) -> None:
        await place(cluster, xml)
        await until(lambda: len(cluster.where("web")) == 1, what="it starts", timeout_s=10.0)
        await others_are_decided_on(cluster)

    in_cluster(scene)


@pytest.mark.parametrize("place", [put_into_etcd, put_into_a_file])
@pytest.mark.parametrize(("xml", "words"), FAILS.values(), ids=FAILS)
def test_definition_that_can_not_be_worked_with_is_a_start_that_fails_in_words(
    xml: str, words: str, place: Place
) -> None:
    async def scene(cluster: Cluster) -> None:
        await place(cluster, xml)
        await until(lambda: any(words in said for said in failures(cluster)), what="it says why", timeout_s=10.0)
        await asyncio.sleep(20.0)  # and tried again
        await others_are_decided_on(cluster)
        assert (cluster.where("web"), cluster.where("db")) == ([], [])

    in_cluster(scene)
