"""Whole files: the samples, what refers to what, where definitions are found, and files that are broken."""

import pytest

from tests.unit.operator.cluster import Cluster, xml_of
from tests.unit.operator.rgmanager.conf import (
    SAMPLES,
    Files,
    assert_readable,
    conf,
    definitions,
    findings,
    imported,
    only,
    vm_of,
)
from vmha.model.ids import VmName
from vmha.model.vm import Desired
from vmha.operator.apply import commit, prepare
from vmha.operator.rgmanager.findings import Kind
from vmha.operator.rgmanager.report import as_lines

FARM = (SAMPLES / "vmfarm.cluster.conf").read_bytes()
TWO = (SAMPLES / "two-node-central.cluster.conf").read_bytes()
SHARED = Files(
    {f"/mnt/gfs2/guests/{name}.xml": xml_of(name) for name in ("db1", "web1", "build1", "appl1")}
    | {"/etc/libvirt/qemu/gpu1.xml": xml_of("gpu1")}
)


# -- the samples ------------------------------------------------------------------------------------------------------


def test_a_farm_is_taken_whole() -> None:
    result = imported(FARM, SHARED)
    assert result.is_complete
    plain = {
        vm["name"]: {key: value for key, value in vm.items() if key not in ("name", "xml")}
        for vm in result.document["vms"]
    }
    assert plain == {
        "db1": {
            "failover_domain": "licensed-pair",
            "recovery": "restart",
            "max_restarts": 2,
            "restart_window_s": 600,
            "no_kill": True,
            "start_timeout_s": 600,
            "stop_timeout_s": 300,
            "migration": {"style": "live"},
            "probes": [
                {
                    "name": "status_program",
                    "command": ["exec bash -c /usr/local/bin/check-db1"],
                    "shell": True,
                    "interval_s": 60,
                    "timeout_s": 30,
                    "start_timeout_s": 300,
                    "start_gate": True,
                    "failures": 0,
                    "max_failures": 2,
                    "failure_window_s": 300,
                }
            ],
        },
        "web1": {
            "failover_domain": "prefer-kvm1",
            "recovery": "relocate",
            "migration": {"style": "live", "tunnelled": True, "transport": "ssh"},
            "depends_on": [{"vm": "db1", "mode": "hard"}],
        },
        "build1": {
            "failover_domain": "any-of-two",
            "autostart": False,
            "recovery": "disable",
            "on_guest_shutdown": "stop",
            "on_outside_stop": "stop",
            "migration": {"style": "pause", "transport": "tcp"},
            "saved_state": {"directory": "/mnt/gfs2/snap"},
        },
        "gpu1": {"exclusive": 1, "recovery": "restart-disable", "max_restarts": 3, "restart_window_s": 3600},
        "appl1": {"failover_domain": "any-of-two"},
    }
    assert result.document["nodes"][0] == {
        "name": "kvm1.example.com",
        "fence": [
            {
                "agent": "fence_ipmilan",
                "options": {
                    "ipaddr": "10.9.0.1",
                    "login": "adm",
                    "passwd_script": "/etc/vmha/fence/ipmi-kvm1-passwd",
                },
            }
        ],
        "migration_address": "kvm1-mig",
    }
    pair = result.document["failover_domains"][1]
    assert pair == {
        "name": "licensed-pair",
        "ordered": True,
        "restricted": True,
        "nofailback": True,
        "members": [{"node": "kvm1.example.com", "priority": 1}, {"node": "kvm2.example.com", "priority": 2}],
    }


def test_what_the_farm_loses_is_told_line_by_line() -> None:
    result = imported(FARM, SHARED)
    lost = {
        (f.line, f.attribute) for f in result.findings if f.kind is Kind.NOT_TAKEN and f.element.startswith("rm/vm")
    }
    assert lost == {
        *((49, name) for name in ("name", "depth", "interval", "timeout")),
        (54, "migrate_options"),
    }
    told = "\n".join(as_lines(result))
    assert "rm/service[nfs]/script[nfs]" in told
    assert "was part of service appliance" in told


def test_central_processing_is_told_and_its_vms_are_taken() -> None:
    result = imported(TWO, Files({f"/shared/vm/{name}.xml": xml_of(name) for name in ("master", "slave")}))
    assert result.is_complete
    assert only(result, "central_processing").kind is Kind.CHANGED
    events = [f for f in result.findings if f.element.startswith("rm/events/event") and not f.attribute]
    assert {f.element for f in events} == {"rm/events/event[master-up]", "rm/events/event[node-up]"}
    assert [node["fence"][0]["options"]["port"] for node in result.document["nodes"]] == ["1", "2"]
    assert "a third machine" in "\n".join(as_lines(result))


@pytest.mark.parametrize("data", [FARM, TWO], ids=["vmfarm", "two-node-central"])
async def test_an_imported_file_can_be_applied_and_starts_nothing(data: bytes, cluster: Cluster) -> None:
    vms = ("db1", "web1", "build1", "gpu1", "appl1", "master", "slave")
    result = imported(data, definitions(*vms))
    assert result.is_complete
    plan = await prepare(cluster.client, assert_readable(result))
    await commit(cluster.client, plan)
    snapshot = await cluster.client.read()
    assert {view.name for view in snapshot.vms.values()} == {vm["name"] for vm in result.document["vms"]}
    specs = [view.spec.value for view in snapshot.vms.values() if view.spec]
    assert {spec.desired for spec in specs} == {Desired.AS_FOUND}
    again = await prepare(cluster.client, assert_readable(result))
    assert again.is_empty


# -- what refers to what ----------------------------------------------------------------------------------------------


def test_defaults_hold_for_inline_vms_and_their_own_attributes_win() -> None:
    rm = """<resource-defaults><vm name="d" recovery="relocate" max_restarts="3"/></resource-defaults>
    <vm name="web"/><vm name="db" recovery="disable"/>"""
    result = imported(conf(rm))
    assert (vm_of(result)["recovery"], vm_of(result)["max_restarts"]) == ("relocate", 3)
    assert (vm_of(result, "db")["recovery"], vm_of(result, "db")["max_restarts"]) == ("disable", 3)
    inherited = [f for f in findings(result, "max_restarts") if f.about]
    assert [f.about for f in inherited] == ["vm web", "vm db"]


def test_a_ref_stands_for_its_resource_and_what_is_written_beside_it_is_ignored() -> None:
    rm = """<resources><vm name="web" recovery="relocate"/></resources>
    <resource-defaults><vm max_restarts="3"/></resource-defaults>
    <vm ref="web" recovery="disable" __enforce_timeouts="1"><action name="stop" timeout="60"/></vm>"""
    result = imported(conf(rm))
    vm = vm_of(result)
    assert (vm["recovery"], vm["stop_timeout_s"], vm.get("max_restarts")) == ("relocate", 60, None)
    assert {f.kind for f in findings(result, "recovery")} == {Kind.CHANGED, Kind.NOT_TAKEN}


def test_a_ref_to_nothing_is_told_with_the_resources_there_are() -> None:
    result = imported(conf('<resources><vm name="web"/></resources><vm ref="wbe"/>'))
    assert result.document["vms"] == []
    assert (only(result, "ref").kind, only(result, "ref").accepted) == (Kind.NOT_TAKEN, "web")


def test_a_resource_is_run_once_however_often_it_is_referred_to() -> None:
    result = imported(conf('<resources><vm name="web"/></resources><vm ref="web"/><vm ref="web"/>'))
    assert [vm["name"] for vm in result.document["vms"]] == ["web"]
    assert [f.kind for f in findings(result, "ref")] == [Kind.TAKEN, Kind.NOT_TAKEN]


def test_a_resource_that_nothing_refers_to_is_not_run() -> None:
    result = imported(conf('<resources><vm name="web"/><ip address="10.0.0.1"/></resources>'))
    assert result.document["vms"] == []
    (left,) = [f for f in findings(result, "name") if f.element == "rm/resources/vm[web]"]
    assert "nothing refers to it" in left.text
    assert only(result, "address").kind is Kind.NOT_TAKEN


def test_the_second_vm_of_a_name_is_left_out() -> None:
    result = imported(conf('<vm name="web" recovery="disable"/>\n<vm name="web" recovery="relocate"/>'))
    assert [vm["recovery"] for vm in result.document["vms"]] == ["disable"]
    assert result.counts["vms"].left_out == ("web",)
    (second,) = [f for f in findings(result, "name", Kind.NOT_TAKEN) if f.line == 3]
    assert "in line 2; the first one counts" in second.text


def test_vms_inside_a_service_are_one_of_vmhas_and_follow_its_policy() -> None:
    rm = """<failoverdomains><failoverdomain name="d"><failoverdomainnode name="n1"/></failoverdomain></failoverdomains>
    <service name="s" domain="d" recovery="relocate"><ip address="10.0.0.1">
    <vm name="web" recovery="disable"/></ip></service>"""
    result = imported(conf(rm))
    assert (vm_of(result)["failover_domain"], vm_of(result)["recovery"]) == ("d", "relocate")
    assert "10.0.0.1" in [f.value for f in result.findings if f.kind is Kind.NOT_TAKEN]
    service = {"name": "s", "members": ["web"], "failover_domain": "d", "recovery": "relocate"}
    assert result.document["services"] == [service]


SHOP_FILES = Files({f"/etc/libvirt/qemu/{name}.xml": xml_of(name) for name in ("db", "app", "web")})


def test_order_of_a_services_vms_is_that_of_the_file_and_who_needs_the_service_needs_all_of_them() -> None:
    rm = """<service name="s"><vm name="db"/><vm name="app"/></service><vm name="web" depend="service:s"/>"""
    result = imported(conf(rm), SHOP_FILES)
    assert result.document["services"] == [{"name": "s", "members": ["db", "app"]}]
    (web,) = [vm for vm in result.document["vms"] if vm["name"] == "web"]
    assert web["depends_on"] == [{"vm": "db", "mode": "hard"}, {"vm": "app", "mode": "hard"}]


@pytest.mark.parametrize(
    ("service", "words"),
    [
        ('<service name="s" exclusive="1"><vm name="db"/><vm name="app"/></service>', "it is exclusive"),
        ('<service name="a b"><vm name="db"/><vm name="app"/></service>', "name:"),
        ('<service><vm name="db"/><vm name="app"/></service>', "it has no name"),
        ('<service name="s"><vm name="db" depend="vm:app"/><vm name="app"/></service>', "db -> app -> db"),
    ],
)
def test_a_service_that_can_not_be_one_here_is_told_and_its_vms_are_taken(service: str, words: str) -> None:
    result = imported(conf(service), SHOP_FILES)
    assert "services" not in result.document
    (told,) = [f.text for f in result.findings if "is not taken as a service" in f.text]
    assert words in told
    assert [vm["name"] for vm in result.document["vms"]] == ["db", "app"]


def test_a_vm_with_resources_below_it_is_not_taken() -> None:
    result = imported(conf('<vm name="web"><fs name="data" device="/dev/vg/d"/></vm>'))
    assert result.document["vms"] == []
    assert "<fs>" in " ".join(as_lines(result))


def test_a_vm_without_a_name_is_told_by_its_line() -> None:
    result = imported(conf('<vm recovery="restart"/>'))
    assert result.counts["vms"].left_out == ("in line 2",)
    assert "a vm without a name" in only(result, "recovery").text


@pytest.mark.parametrize("name", ["büro", "-rf", "a b", "x" * 64, "../../etc/passwd", ""])
def test_names_that_vmha_does_not_take_are_told(name: str) -> None:
    files = Files({f"/etc/libvirt/qemu/{name}.xml": xml_of(name)})
    result = imported(conf(f'<vm name="{name}"/>'), files)
    assert result.document["vms"] == []
    (found,) = findings(result, "name", Kind.NOT_TAKEN)[:1]
    assert found.value == name


def test_an_unknown_child_of_rm_is_told() -> None:
    result = imported(conf('<vmm name="web"/>'))
    assert "no resource that RGManager knew" in findings(result, "name")[-1].text


# -- failover domains and nodes ---------------------------------------------------------------------------------------


def domain(inner: str, flags: str = 'ordered="1"') -> str:
    return (
        f'<failoverdomains><failoverdomain name="d" {flags}>{inner}</failoverdomain></failoverdomains>\n'
        '<vm name="web" domain="d"/>'
    )


def test_a_member_that_is_no_node_is_told_and_left_out() -> None:
    inner = '<failoverdomainnode name="N1" priority="1"/><failoverdomainnode name="n2" priority="2"/>'
    result = imported(conf(domain(inner)))
    (taken,) = result.document["failover_domains"]
    assert taken["members"] == [{"node": "n2", "priority": 2}]
    (left,) = [f for f in findings(result, "name", Kind.NOT_TAKEN) if f.value == "N1"]
    assert left.accepted == "n1, n2, n3"


def test_a_restricted_domain_without_nodes_keeps_its_vms_from_running_anywhere() -> None:
    result = imported(conf(domain('<failoverdomainnode name="n9"/>', 'restricted="1"')))
    assert (result.document["failover_domains"], result.document["vms"]) == ([], [])
    assert only(result, "domain").kind is Kind.NOT_TAKEN


def test_an_unrestricted_domain_without_nodes_is_no_domain() -> None:
    result = imported(conf(domain("", "")))
    assert "failover_domain" not in vm_of(result)
    assert only(result, "domain").kind is Kind.CHANGED


@pytest.mark.parametrize(
    ("central", "priority", "member"),
    [
        ("0", "", {"node": "n1"}),
        ("1", "", {"node": "n1", "priority": 100}),
        ("0", 'priority="0"', {"node": "n1"}),
        ("0", 'priority="101"', {"node": "n1"}),
        ("1", 'priority="x"', {"node": "n1", "priority": 100}),
        ("0", 'priority="7"', {"node": "n1", "priority": 7}),
    ],
)
def test_a_missing_priority_means_what_it_meant_in_that_mode(
    central: str, priority: str, member: dict[str, object]
) -> None:
    data = conf(domain(f'<failoverdomainnode name="n1" {priority}/>'), rm_attributes=f'central_processing="{central}"')
    assert imported(data).document["failover_domains"][0]["members"] == [member]


def test_the_second_domain_and_the_second_member_of_a_name_are_left_out_and_the_list_goes_on() -> None:
    rm = """<failoverdomains>
    <failoverdomain name="d"><failoverdomainnode name="n1"/><failoverdomainnode name="n1"/>
      <failoverdomainnode name="n2"/></failoverdomain>
    <failoverdomain name="D"><failoverdomainnode name="n3"/></failoverdomain>
    <failoverdomain name="e"><failoverdomainnode name="n3"/></failoverdomain></failoverdomains>"""
    domains = imported(conf(rm)).document["failover_domains"]
    assert [(d["name"], [m["node"] for m in d["members"]]) for d in domains] == [("d", ["n1", "n2"]), ("e", ["n3"])]


@pytest.mark.parametrize(("value", "flag"), [("1", True), ("0", False), ("yes", False), ("2", True), ("", False)])
def test_a_domains_flags_are_numbers(value: str, flag: bool) -> None:
    result = imported(conf(domain('<failoverdomainnode name="n1"/>', f'restricted="{value}"')))
    assert result.document["failover_domains"][0].get("restricted", False) is flag


def fenced(methods: str, devices: str) -> bytes:
    node = f'<clusternodes><clusternode name="n1"><fence>{methods}</fence></clusternode></clusternodes>'
    return conf("", nodes=f"{node}<fencedevices>{devices}</fencedevices>")


APC = '<fencedevice name="a" agent="fence_apc" ipaddr="10.0.0.1" passwd="secret"/>'


def test_methods_are_tried_in_order_and_a_nodes_own_options_win() -> None:
    methods = """<method name="1"><device name="a" port="1" ipaddr="10.0.0.9"/></method>
    <method name="2"><device name="b"/></method>"""
    result = imported(fenced(methods, f'{APC}<fencedevice name="b" agent="fence_virsh"/>'))
    assert result.document["nodes"][0]["fence"] == [
        {
            "agent": "fence_apc",
            "options": {"ipaddr": "10.0.0.9", "passwd_script": "/etc/vmha/fence/a-passwd", "port": "1"},
        },
        {"agent": "fence_virsh"},
    ]


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ('<method name="1"><device name="a" port="1"/><device name="a" port="2"/></method>', "several devices"),
        ('<method name="1"><device name="zz"/></method>', "no such fence device"),
        ('<method name="1"><device name="scsi"/></method>', "takes the storage away"),
        ('<method name="1"><device name="manual"/></method>', "waits for a person"),
        ('<method name="1"><device name="a" action="on"/></method>', "does not switch the node off"),
        ('<method name="1"><device name="bare"/></method>', "has no agent"),
        ('<method name="1"/>', "has no device"),
        ('<method name="1"><device port="1"/></method>', "has no name"),
    ],
)
def test_what_proves_no_power_off_is_not_taken_for_one(methods: str, said: str) -> None:
    devices = (
        f'{APC}<fencedevice name="scsi" agent="fence_scsi"/><fencedevice name="manual" agent="fence_manual"/>'
        '<fencedevice name="bare"/>'
    )
    result = imported(fenced(methods, devices))
    assert result.document["nodes"] == [{"name": "n1"}]
    assert said in "\n".join(as_lines(result))


def test_a_reboot_becomes_a_power_off_and_is_told() -> None:
    result = imported(fenced('<method name="1"><device name="a" action="reboot"/></method>', APC))
    assert "action" not in result.document["nodes"][0]["fence"][0]["options"]
    assert only(result, "action").kind is Kind.CHANGED


def test_nodes_are_named_once_and_by_names_that_vmha_takes() -> None:
    nodes = """<clusternodes><clusternode name="n1"/><clusternode name="n1"/><clusternode name="knöten"/>
    <clusternode nodeid="4"/></clusternodes>"""
    result = imported(conf("", nodes=nodes))
    assert [node["name"] for node in result.document["nodes"]] == ["n1"]
    assert result.counts["nodes"].left_out == ("n1", "knöten", "in line 2")


# -- definitions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "there", "looked_for"),
    [
        ("", "/etc/libvirt/qemu/web.xml", 3),
        ('xmlfile="/x/other.xml"', "/x/other.xml", 4),
        ('xmlfile="/x/other.xml"', "/dir/other.xml", 1),
        ('path="/a:/b"', "/b/web.xml", 6),
        ('path="/a:/b"', "/a/web", 3),
        ('path="/etc/xen"', "/etc/libvirt/qemu/web.xml", 3),
        ('xmlfile="/x/other.xml" path="/a"', "/etc/libvirt/qemu/web.xml", 5),
        ('xmlfile="/x/other.xml"', "/dir/web.xml", 3),
    ],
)
def test_a_definition_is_looked_for_in_order(attributes: str, there: str, looked_for: int) -> None:
    files = Files({there: xml_of("web")})
    result = imported(conf(f'<vm name="web" {attributes}/>'), files, xml_dirs=["/dir/"])
    assert vm_of(result)["xml"] == xml_of("web")
    assert (files.asked[-1], len(files.asked)) == (there, looked_for)


def test_a_definition_that_is_nowhere_names_every_place() -> None:
    result = imported(conf('<vm name="web" path="/a:/b" recovery="restart"/>'), Files(), xml_dirs=["/dir"])
    assert result.document["vms"] == []
    text = only(result, "recovery").text
    assert text == "the vm is not taken; else: recovery: restart"
    (name,) = [f for f in findings(result, "name", Kind.NOT_TAKEN) if f.value == "web"]
    places = "/dir/web, /dir/web.xml, /a/web, /a/web.xml, /b/web, /b/web.xml, /etc/libvirt/qemu/web.xml"
    assert f"its definition was not found; looked for {places}" in name.text
    assert "--xml-dir DIR" in name.text


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        (xml_of("other"), "<name> is 'other' (accepted: 'web')"),
        ("<domain><name>web</nam", "the domain XML is broken at line 1"),
        ('<!DOCTYPE d [<!ENTITY a "a">]><domain><name>web</name></domain>', "document type declaration"),
        ("<network><name>web</name></network>", "root element is <network>"),
    ],
)
def test_a_file_that_is_not_this_vms_definition_is_told(xml: str, said: str) -> None:
    result = imported(conf('<vm name="web"/>'), Files({"/etc/libvirt/qemu/web.xml": xml}))
    assert result.document["vms"] == []
    assert said in "\n".join(as_lines(result))


@pytest.mark.parametrize(
    ("attributes", "definition"),
    [
        ("", {"persistent": True}),
        ('xmlfile="/x/web.xml"', {"file": "/x/web.xml"}),
        ('path="/a:/b"', {"path": ["/a", "/b"]}),
        ('path="/etc/xen"', {"persistent": True}),
        ('xmlfile="/x/web.xml" path="/a"', {"file": "/x/web.xml"}),
    ],
)
def test_definitions_can_stay_where_they_are(attributes: str, definition: dict[str, object]) -> None:
    files = Files()
    result = imported(conf(f'<vm name="web" {attributes}/>'), files, in_place=True)
    assert vm_of(result)["definition"] == definition
    assert "xml" not in vm_of(result)
    assert files.asked == []
    assert "read by a node at each start" in "\n".join(as_lines(result))


def test_a_relative_file_can_not_stay_where_it_is() -> None:
    result = imported(conf('<vm name="web" xmlfile="web.xml"/>'), Files(), in_place=True)
    assert result.document["vms"] == []
    assert "'web.xml' (accepted: an absolute path" in "\n".join(as_lines(result))


def test_a_uuid_is_one_vms() -> None:
    uuid = "6f9619ff-8b86-4011-b42d-00c04fc964ff"
    files = Files({f"/etc/libvirt/qemu/{name}.xml": xml_of(name, uuid=uuid) for name in ("web", "db")})
    result = imported(conf('<vm name="web"/><vm name="db"/>'), files)
    assert [vm["name"] for vm in result.document["vms"]] == ["web"]
    assert f"<uuid> {uuid} is vm web's" in "\n".join(as_lines(result))


async def test_definitions_come_through_byte_for_byte(cluster: Cluster) -> None:
    xml = "<domain>\n\t<name>web</name>\n  <memory>1</memory>   \n<!-- ü: #1 'x' \"y\" -->\n</domain>"
    result = imported(conf('<vm name="web"/>'), Files({"/etc/libvirt/qemu/web.xml": xml}))
    await commit(cluster.client, await prepare(cluster.client, assert_readable(result)))
    spec = (await cluster.client.read()).vms[VmName("web")].spec
    assert spec is not None
    assert spec.value.xml == xml
