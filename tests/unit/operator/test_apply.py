"""Applying documents, and exporting them."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.virtual_time import run_virtual
from tests.unit.operator.cluster import Cluster, xml_of
from vmha.model.errors import Refused, Rejected
from vmha.model.ids import NodeName, VmName
from vmha.model.vm import Desired
from vmha.operator import nodes, vms
from vmha.operator.apply import ApplyPlan, commit, prepare
from vmha.operator.document import load_document
from vmha.operator.export import export
from vmha.operator.fence_secrets import secrets_brought

DOCUMENT = """\
config:
  profile: tuned
failover_domains:
  - name: home
    ordered: true
    members: [{node: h1, priority: 1}, {node: h2, priority: 2}]
nodes:
  - name: h2
    memory_mib: 4096
vms:
  - name: web
    failover_domain: home
    migration: {style: pause}
    xml: <domain><name>web</name><memory unit='MiB'>64</memory></domain>
  - name: db
    desired: running
    xml: <domain><name>db</name><memory unit='MiB'>64</memory></domain>
"""


async def apply(cluster: Cluster, text: str, *, prune: bool = False) -> ApplyPlan:
    plan = await prepare(cluster.client, load_document(text, file="c.yaml", base=Path()), prune=prune)
    await commit(cluster.client, plan)
    return plan


def actions(plan: ApplyPlan) -> dict[str, str]:
    return {f"{change.kind} {change.name}".strip(): change.action for change in plan.changes}


async def test_a_document_creates_what_it_names(cluster: Cluster) -> None:
    cluster.join("h1")
    before = cluster.etcd.revision
    plan = await apply(cluster, DOCUMENT)
    assert actions(plan) == {
        "config": "changed",
        "node h2": "created",
        "failover domain home": "created",
        "vm web": "created",
        "vm db": "created",
    }
    assert cluster.etcd.revision == before + 1  # all of it, or nothing
    snapshot = await cluster.client.read()
    web, db = (vms.find_spec(snapshot, name).value for name in ("web", "db"))
    assert (web.desired, web.migration.style, web.failover_domain) == (Desired.AS_FOUND, "pause", "home")
    assert (db.desired, db.desired_why) == (Desired.RUNNING, "running by a document that operator applied")


async def test_applying_twice_changes_nothing(cluster: Cluster) -> None:
    cluster.join("h1")
    await apply(cluster, DOCUMENT)
    before = cluster.etcd.revision
    plan = await apply(cluster, DOCUMENT)
    assert plan.is_empty
    assert set(actions(plan).values()) == {"unchanged"}
    assert cluster.etcd.revision == before


async def test_the_diff_names_each_field_with_old_and_new(cluster: Cluster) -> None:
    cluster.join("h1")
    await apply(cluster, DOCUMENT)
    plan = await prepare(cluster.client, load_document(DOCUMENT.replace("pause", "live"), file="c.yaml", base=Path()))
    (change,) = [change for change in plan.changes if change.action == "changed"]
    assert [(field.field, field.old, field.new) for field in change.fields] == [("migration.style", "pause", "live")]


async def test_preparing_writes_nothing(cluster: Cluster) -> None:
    cluster.join("h1")
    before = cluster.contents()
    plan = await prepare(cluster.client, load_document(DOCUMENT, file="c.yaml", base=Path()))
    assert not plan.is_empty
    assert cluster.contents() == before


async def test_a_vm_that_somebody_started_is_not_stopped_by_a_document_that_does_not_say(cluster: Cluster) -> None:
    cluster.join("h1")
    await apply(cluster, DOCUMENT)
    await vms.set_desired(cluster.client, "web", Desired.RUNNING)
    await nodes.drain(cluster.client, "h2", why="new memory")
    plan = await apply(cluster, DOCUMENT)
    assert plan.is_empty
    snapshot = await cluster.client.read()
    assert vms.find_spec(snapshot, "web").value.desired is Desired.RUNNING
    spec = snapshot.nodes[NodeName("h2")].spec
    assert spec is not None
    assert spec.value.maintenance


async def test_what_the_document_does_not_name_is_left_alone(cluster: Cluster) -> None:
    cluster.join("h1")
    await vms.add_vm(cluster.client, "old", xml_of("old"))
    before = cluster.contents()
    await apply(cluster, DOCUMENT)
    after = cluster.contents()
    assert {key: after[key] for key in before} == before


async def test_pruning_forgets_vms_and_stops_none(cluster: Cluster) -> None:
    cluster.join("h1", "h2")
    await apply(cluster, DOCUMENT)
    cluster.run("db", "h1")
    held = cluster.contents()[cluster.keys.placement(VmName("db"))]
    plan = await apply(cluster, "vms: []\nfailover_domains: []", prune=True)
    assert actions(plan) == {"vm db": "removed", "vm web": "removed", "failover domain home": "removed"}
    snapshot = await cluster.client.read()
    assert snapshot.domains == {}
    assert sorted(noted.value.vm for noted in snapshot.removed.values()) == ["db", "web"]
    assert all(vm.spec is None for vm in snapshot.vms.values())
    assert cluster.contents()[cluster.keys.placement(VmName("db"))] == held
    assert snapshot.config.profile == "tuned"  # a section that is absent is left alone
    assert snapshot.nodes[NodeName("h2")].spec is not None


async def test_pruning_does_not_take_a_domain_from_a_vm_that_stays(cluster: Cluster) -> None:
    cluster.join("h1", "h2")
    await apply(cluster, DOCUMENT)
    before = cluster.contents()
    with pytest.raises(Rejected, match="home: would be pruned, but vm web names it"):
        await apply(cluster, "failover_domains: []", prune=True)
    assert cluster.contents() == before


UUID = "6f9619ff-8b86-4011-b42d-00c04fc964ff"
XML = "<domain><name>{}</name><memory>1</memory></domain>"
BAD = [
    pytest.param(
        "failover_domains:\n  - name: d\n    members:\n      - node: h1\n      - node: h9",
        ["c.yaml:5: failover_domains[d].members[1].node: 'h9': there is no such node (accepted: h1"],
        id="failover domain with an unknown node",
    ),
    pytest.param(
        f"vms:\n  - name: new\n    xml: {XML.format('new')}\n    failover_domain: hme",
        ["c.yaml:4: vms[new].failover_domain: 'hme': there is no such failover domain"],
        id="unknown failover domain",
    ),
    pytest.param(
        f"vms:\n  - name: new\n    xml: {XML.format('web')}",
        ["c.yaml:3: vms[new].xml: the domain XML's <name> is 'web', which is another vm (accepted: 'new'"],
        id="xml of another vm",
    ),
    pytest.param(
        "vms:\n  - name: new\n    xml: <domain><nam", ["c.yaml:3: vms[new].xml: the domain XML is broken"], id="xml"
    ),
    pytest.param(
        "vms:\n  - name: new\n    xml: <domain><memory>1</memory></domain>",
        ["c.yaml:3: vms[new].xml: the domain XML has no <name>"],
        id="xml without a name",
    ),
    pytest.param(
        "vms:\n"
        f"  - name: a\n    xml: <domain><name>a</name><uuid>{UUID}</uuid><memory>1</memory></domain>\n"
        f"  - name: b\n    xml: <domain><name>b</name><uuid>{UUID}</uuid><memory>1</memory></domain>",
        [f"c.yaml:5: vms[b].xml: the domain XML's <uuid> {UUID} is vm a's"],
        id="one uuid twice in a document",
    ),
    pytest.param(
        "vms:\n  - name: new\n    xml: <domain><name>new</name><uuid>{uuid}</uuid><memory>1</memory></domain>",
        ["c.yaml:3: vms[new].xml: the domain XML's <uuid> {uuid} is vm web's"],
        id="uuid of another vm",
    ),
    pytest.param(
        "config:\n  timing:\n    lease_ttl_s: 1",
        ["c.yaml:3: config.timing.lease_ttl_s: 1: this etcd grants no lease shorter than 2 s (accepted: at least 2"],
        id="lease below etcd's floor",
    ),
    pytest.param(
        f"config:\n  timing: {{lease_ttl_s: 1}}\nvms:\n  - name: new\n    xml: {XML.format('other')}",
        ["c.yaml:2: config.timing.lease_ttl_s: 1", "c.yaml:5: vms[new].xml"],
        id="several things at once",
    ),
]


@pytest.mark.parametrize(("text", "said"), BAD)
async def test_a_document_that_does_not_fit_the_cluster_is_refused_as_a_whole(
    cluster: Cluster, text: str, said: list[str]
) -> None:
    cluster.join("h1")
    spec = await vms.add_vm(cluster.client, "web", xml_of("web"))
    before = cluster.contents()
    with pytest.raises(Rejected) as refused:
        await apply(cluster, text.replace("{uuid}", spec.uuid))
    for words in said:
        assert words.replace("{uuid}", spec.uuid) in str(refused.value)
    assert cluster.contents() == before


async def test_an_xml_file_is_named_when_its_xml_is_wrong(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "web.xml").write_text("<domain>\n<name>web</nam>")
    loaded = load_document("vms: [{name: web, xml_file: web.xml}]", file="c.yaml", base=tmp_path)
    with pytest.raises(Rejected, match=r"web\.xml: the domain XML is broken at line 2"):
        await prepare(cluster.client, loaded)


async def test_what_others_changed_since_the_diff_is_not_overwritten(cluster: Cluster) -> None:
    cluster.join("h1")
    await apply(cluster, DOCUMENT)
    plan = await prepare(cluster.client, load_document(DOCUMENT.replace("pause", "live"), file="c.yaml", base=Path()))
    await vms.edit(cluster.client, "web", priority=7)
    before = cluster.contents()
    with pytest.raises(Refused, match="nothing was written"):
        await commit(cluster.client, plan)
    assert cluster.contents() == before


async def test_a_domain_removed_since_the_diff_is_noticed(cluster: Cluster) -> None:
    cluster.join("h1", "h2")
    await apply(cluster, DOCUMENT.partition("vms:")[0])
    plan = await prepare(cluster.client, load_document(f"vms:{DOCUMENT.partition('vms:')[2]}", file="c", base=Path()))
    cluster.delete(cluster.keys.domain("home"))
    with pytest.raises(Refused):
        await commit(cluster.client, plan)


async def test_a_large_document_is_written_in_several_transactions(cluster: Cluster) -> None:
    text = "vms:\n" + "".join(f"  - name: v{i}\n    xml: {XML.format(f'v{i}')}\n" for i in range(250))
    before = cluster.etcd.revision
    plan = await apply(cluster, text)
    assert plan.count("created") == 250
    assert cluster.etcd.revision == before + 7
    assert len((await cluster.client.read()).vms) == 250


async def test_an_export_applies_to_itself_without_a_change(cluster: Cluster) -> None:
    cluster.join("h1")
    await apply(cluster, DOCUMENT)
    await nodes.drain(cluster.client, "h2", why="new memory")
    await vms.set_desired(cluster.client, "db", Desired.DISABLED)
    await vms.edit(cluster.client, "web", xml=xml_of("web"), max_restarts=3, restart_window_s=60)
    plan = await apply(cluster, export(await cluster.client.read()), prune=True)
    assert plan.is_empty


async def test_an_export_of_an_empty_cluster_applies_to_itself(cluster: Cluster) -> None:
    assert (await apply(cluster, export(await cluster.client.read()), prune=True)).is_empty


@settings(max_examples=25, deadline=None)
@given(
    text=st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=40),
    blanks=st.sampled_from(["", "\n", "  \n", "\t\n", "\r\n", "\n\n", " "]),
)
def test_an_export_carries_any_xml_text_unharmed(text: str, blanks: str) -> None:
    async def scenario() -> None:
        cluster = Cluster()
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        xml = f"<domain>{blanks}<name>web</name>{blanks}<title>{escaped}</title><memory>1</memory></domain>{blanks}"
        try:
            await vms.add_vm(cluster.client, "web", xml)
        except Rejected:
            return  # characters that XML itself does not take
        assert (await apply(cluster, export(await cluster.client.read()))).is_empty

    run_virtual(scenario())


FILES, STORED = "config: {fencing: {secrets: files}}\n", "config: {fencing: {secrets: stored}}\n"


def fenced_with(options: str, *, node: str = "h1", agent: str = "fence_ipmilan") -> str:
    return f"nodes:\n  - name: {node}\n    fence: [{{agent: {agent}, options: {{ip: 10.0.0.1, {options}}}}}]\n"


WITH_PASSWORD = fenced_with("password: hunter2, passwd: x")
WITH_SCRIPT = fenced_with("password_script: /etc/vmha/bmc")


async def brought(cluster: Cluster, text: str) -> list[str]:
    return secrets_brought(load_document(text, file="c.yaml", base=Path()).document, await cluster.client.read())


async def test_password_that_a_document_brings_is_told_once_and_not_said(cluster: Cluster) -> None:
    (line,) = await brought(cluster, WITH_PASSWORD)
    assert line.startswith("fence_ipmilan of h1: passwd, password can be read by everybody who reads the cluster")
    assert "password_script" in line
    assert "hunter2" not in line
    await apply(cluster, STORED + WITH_PASSWORD)
    assert await brought(cluster, WITH_PASSWORD) == []
    assert await brought(cluster, WITH_SCRIPT) == []


@pytest.mark.parametrize("before", [None, FILES, STORED])
@pytest.mark.parametrize("together", ["", FILES, "config: {profile: tuned}\n"])
async def test_password_in_a_fence_device_is_refused_unless_it_is_asked_for_in_words(
    cluster: Cluster, before: str | None, together: str
) -> None:
    if before:
        await apply(cluster, before)
    if before == STORED and not together:
        assert (await apply(cluster, WITH_PASSWORD)).count("created") == 1
        return
    held = cluster.contents()
    with pytest.raises(Rejected) as refused:
        await apply(cluster, together + WITH_PASSWORD)
    said = str(refused.value)
    assert "nodes[h1].fence[0].options.password: a secret, and fencing.secrets is files" in said
    assert "nodes[h1].fence[0].options.passwd: " in said
    assert "accepted: password_script: a program on the hosts that prints it" in said
    assert "fencing: {secrets: stored}" in said
    assert "hunter2" not in said
    assert cluster.contents() == held
    assert (await apply(cluster, together + WITH_SCRIPT)).count("created") >= 1


@pytest.mark.parametrize("option", ["community: hush", "apikey: hush", "token: hush", "hexadecimal_kg: a0a0"])
async def test_secret_that_no_agent_has_a_program_for_is_refused_with_another_way(
    cluster: Cluster, option: str
) -> None:
    with pytest.raises(Rejected, match=r"accepted: a fence agent of your own on the hosts that adds it"):
        await apply(cluster, fenced_with(option))


async def test_option_that_is_empty_or_says_where_the_secret_is_is_none(cluster: Cluster) -> None:
    plan = await apply(
        cluster, fenced_with('password: "", passwd_script: /x, key_file: /y, snmp_priv_passwd_script: /z')
    )
    assert plan.count("created") == 1


async def test_password_that_is_stored_already_stays_and_nothing_that_leaves_it_is_refused(cluster: Cluster) -> None:
    await apply(cluster, STORED + fenced_with("password: hunter2"))
    await apply(cluster, FILES)
    assert (await apply(cluster, fenced_with("password: hunter2"))).is_empty
    assert (await apply(cluster, export(await cluster.client.read()))).is_empty
    assert (await apply(cluster, fenced_with("password: hunter2, lanplus: '1'"))).count("changed") == 1
    assert (await apply(cluster, fenced_with("passwd: hunter2", agent="/usr/sbin/fence_ipmilan"))).count("changed") == 1
    for text in (fenced_with("password: hunter3"), fenced_with("password: hunter2", node="h2")):
        with pytest.raises(Rejected, match="a secret, and"):
            await apply(cluster, text)
    await apply(cluster, WITH_SCRIPT)
    with pytest.raises(Rejected, match="a secret, and"):
        await apply(cluster, fenced_with("password: hunter2"))  # it is out, and does not come back


async def test_cluster_whose_settings_were_stored_with_passwords_keeps_taking_them(cluster: Cluster) -> None:
    cluster.put_raw(cluster.keys.config, b'{"fencing": {"secrets": "stored"}}')
    assert (await apply(cluster, WITH_PASSWORD)).count("created") == 1
