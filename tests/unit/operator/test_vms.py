"""Adding, changing, removing vms; desired state. What is wrong is refused as a whole: nothing is written."""

from typing import Any

import pytest

from tests.unit.operator.cluster import Cluster, xml_of
from vmha.model.errors import Rejected
from vmha.model.ids import VmName
from vmha.model.vm import Desired
from vmha.operator import domains, vms
from vmha.operator.errors import UnknownName

UUID = "6f9619ff-8b86-4011-b42d-00c04fc964ff"


async def test_a_vm_that_is_added_is_neither_started_nor_stopped(cluster: Cluster) -> None:
    spec = await vms.add_vm(cluster.client, "web", xml_of("web", uuid=UUID, memory_mib=512))
    assert (spec.desired, spec.uuid, spec.memory_mib) == (Desired.AS_FOUND, UUID, 512)


async def test_a_vm_without_a_uuid_always_gets_the_same(cluster: Cluster) -> None:
    first = await vms.add_vm(cluster.client, "web", xml_of("web"))
    await vms.remove_vm(cluster.client, "web")
    second = await vms.add_vm(cluster.client, "web", xml_of("web"), start=True)
    assert first.uuid == second.uuid
    assert (second.desired, second.desired_why) == (Desired.RUNNING, "started by operator")


async def test_a_node_preference_becomes_an_ordered_failover_domain(cluster: Cluster) -> None:
    cluster.join("h1", "h2", "h3")
    spec = await vms.add_vm(cluster.client, "web", xml_of("web"), node_preference=["h2", "h1"])
    domain = (await cluster.client.read()).domains["web"]
    assert spec.failover_domain == "web"
    assert domain.ordered
    assert [(member.node, member.priority) for member in domain.members] == [("h2", 1), ("h1", 2)]


BAD = [
    pytest.param("a b", xml_of("a b"), {}, ["vm a b: name", "'a b'"], id="name that no key can hold"),
    pytest.param("web", xml_of("web"), {}, ["there is a vm web already"], id="name in use"),
    pytest.param("new", xml_of("web"), {}, ["<name>", "'web'", "another vm", "'new'"], id="xml of another vm"),
    pytest.param("new", xml_of("newer"), {}, ["<name>", "'newer'", "'new', the vm's name"], id="xml of another name"),
    pytest.param("new", xml_of("new", uuid=UUID), {}, ["<uuid>", UUID, "web"], id="uuid in use"),
    pytest.param("new", xml_of("new", uuid=UUID.upper()), {}, ["<uuid>", "web"], id="uuid in use, in capitals"),
    pytest.param("new", "<domain>\n<name>new</nam>", {}, ["broken at line 2"], id="broken xml"),
    pytest.param("new", "<domain><memory>1</memory></domain>", {}, ["no <name>"], id="xml without a name"),
    pytest.param("new", "", {}, ["broken"], id="no xml at all"),
    pytest.param("new", xml_of("new"), {"priority": -1}, ["priority", "-1", "0"], id="value out of range"),
    pytest.param("new", xml_of("new"), {"colour": "red"}, ["colour", "unknown key"], id="unknown field"),
    pytest.param("new", xml_of("new"), {"failover_domain": "hme"}, ["'hme'", "home"], id="unknown failover domain"),
    pytest.param("new", xml_of("new"), {"node_preference": ["h1", "h9"]}, ["h9", "h1, h2"], id="preferring no node"),
    pytest.param("new", xml_of("new"), {"node_preference": ["h1", "h1"]}, ["h1", "twice"], id="preferring one twice"),
    pytest.param("new", xml_of("new"), {"node_preference": [""]}, ["node"], id="preferring nothing"),
    pytest.param(
        "home", xml_of("home"), {"node_preference": ["h2"]}, ["failover domain home already"], id="domain in use"
    ),
]


@pytest.mark.parametrize(("name", "xml", "fields", "said"), BAD)
async def test_a_bad_definition_is_refused_as_a_whole(
    cluster: Cluster, name: str, xml: str, fields: dict[str, Any], said: list[str]
) -> None:
    cluster.join("h1", "h2")
    await vms.add_vm(cluster.client, "web", xml_of("web", uuid=UUID))
    await domains.add_domain(cluster.client, _domain("home", "h1"))
    before = cluster.contents()
    with pytest.raises(Rejected) as refused:
        await vms.add_vm(cluster.client, name, xml, **fields)
    for words in said:
        assert words in str(refused.value)
    assert cluster.contents() == before


def _domain(name: str, *nodes: str) -> domains.FailoverDomain:
    return domains.FailoverDomain.model_validate({"name": name, "members": [{"node": node} for node in nodes]})


async def test_removing_a_vm_deletes_its_definition_notes_that_and_touches_nothing_else(
    cluster: Cluster,
) -> None:
    cluster.join("h1")
    spec = await vms.add_vm(cluster.client, "web", xml_of("web"), start=True)
    cluster.run("web", "h1")
    before = cluster.state()
    await vms.remove_vm(cluster.client, "web")
    del before[cluster.keys.vm_spec(VmName("web"))]
    del before[cluster.keys.uuid(spec.uuid)]
    (noted,) = (await cluster.client.read()).removed.values()
    assert (noted.value.vm, noted.value.uuid, noted.value.by) == ("web", spec.uuid, "operator")
    after = cluster.state()
    del after[cluster.keys.removed(noted.value.id)]
    assert after == before


async def test_each_removal_of_a_name_is_noted_apart(cluster: Cluster) -> None:
    for _ in range(2):
        await vms.add_vm(cluster.client, "web", xml_of("web"))
        await vms.remove_vm(cluster.client, "web")
    assert len((await cluster.client.read()).removed) == 2


@pytest.mark.parametrize("verb", ["remove", "start", "stop", "disable", "enable", "edit"])
async def test_an_unknown_name_suggests_the_near_ones_and_does_nothing(cluster: Cluster, verb: str) -> None:
    await vms.add_vm(cluster.client, "webserver", xml_of("webserver"))
    before = cluster.contents()
    name = "websever"
    asked = {
        "remove": lambda: vms.remove_vm(cluster.client, name),
        "start": lambda: vms.set_desired(cluster.client, name, Desired.RUNNING),
        "stop": lambda: vms.set_desired(cluster.client, name, Desired.STOPPED),
        "disable": lambda: vms.set_desired(cluster.client, name, Desired.DISABLED),
        "enable": lambda: vms.enable(cluster.client, name),
        "edit": lambda: vms.edit(cluster.client, name, priority=1),
    }[verb]
    with pytest.raises(UnknownName, match="did you mean webserver"):
        await asked()
    assert cluster.contents() == before


async def test_a_disabled_vm_is_started_by_enabling_it_only(cluster: Cluster) -> None:
    await vms.add_vm(cluster.client, "web", xml_of("web"))
    await vms.set_desired(cluster.client, "web", Desired.DISABLED)
    with pytest.raises(Rejected, match=r"disabled by operator.*vmha vm enable web"):
        await vms.set_desired(cluster.client, "web", Desired.RUNNING)
    assert (await vms.enable(cluster.client, "web")).desired is Desired.RUNNING


async def test_stopping_a_disabled_vm_leaves_it_disabled(cluster: Cluster) -> None:
    await vms.add_vm(cluster.client, "web", xml_of("web"))
    await vms.set_desired(cluster.client, "web", Desired.DISABLED)
    assert (await vms.set_desired(cluster.client, "web", Desired.STOPPED)).desired is Desired.DISABLED


async def test_what_is_so_already_is_a_success_and_writes_nothing(cluster: Cluster) -> None:
    await vms.add_vm(cluster.client, "web", xml_of("web"), start=True)
    before = cluster.etcd.revision
    await vms.set_desired(cluster.client, "web", Desired.RUNNING)
    await vms.enable(cluster.client, "web")
    await vms.edit(cluster.client, "web", priority=100)
    assert cluster.etcd.revision == before


async def test_an_edit_keeps_what_it_does_not_name(cluster: Cluster) -> None:
    await vms.add_vm(cluster.client, "web", xml_of("web", uuid=UUID), start=True, priority=5)
    old, new = await vms.edit(cluster.client, "web", xml=xml_of("web", uuid=UUID, memory_mib=128))
    assert (old.memory_mib, new.memory_mib) == (64, 128)
    assert (new.priority, new.desired, new.desired_why) == (5, Desired.RUNNING, "started by operator")


async def test_an_edit_to_something_impossible_changes_nothing(cluster: Cluster) -> None:
    await vms.add_vm(cluster.client, "web", xml_of("web"))
    before = cluster.contents()
    with pytest.raises(Rejected, match="priority"):
        await vms.edit(cluster.client, "web", priority=5000)
    assert cluster.contents() == before


async def test_what_follows_from_the_xml_is_not_taken_for_set(cluster: Cluster) -> None:
    await vms.add_vm(cluster.client, "web", xml_of("web", uuid=UUID, memory_mib=512))
    with pytest.raises(Rejected, match=r"memory_mib: 4096: it follows from the vm's XML \(512\) .*--xml FILE"):
        await vms.edit(cluster.client, "web", memory_mib=4096, priority=7)
    old, new = await vms.edit(cluster.client, "web", memory_mib=512)
    assert old == new
    assert new.priority != 7
