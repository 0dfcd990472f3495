"""What each attribute of a <vm> becomes, value by value."""

from typing import Any

import pytest

from tests.unit.operator.rgmanager.conf import conf, definitions, imported, only, vm_of
from vmha.operator.rgmanager.findings import Kind

DOMAINS = """
<failoverdomains>
  <failoverdomain name="home" ordered="1"><failoverdomainnode name="n1"/></failoverdomain>
</failoverdomains>
"""
ENDED_STAYS = {"on_guest_shutdown": "stop", "on_outside_stop": "stop"}
"""RGManager disabled such a vm when its guest powered itself off, too."""

TAKEN, CHANGED, LEFT = Kind.TAKEN, Kind.CHANGED, Kind.NOT_TAKEN


STATUS_PROGRAM = {
    "name": "status_program",
    "command": ["exec bash -c /bin/check"],
    "shell": True,
    "interval_s": 20,
    "timeout_s": 60,
    "start_timeout_s": 300,
    "start_gate": True,
    "failures": 1,
}


@pytest.mark.parametrize(
    ("attribute", "value", "kind", "fields"),
    [
        ("domain", "home", TAKEN, {"failover_domain": "home"}),
        ("domain", "HOME", CHANGED, {"failover_domain": "home"}),
        ("domain", "away", CHANGED, {}),
        ("autostart", "1", CHANGED, {}),
        ("autostart", "0", CHANGED, {"autostart": False}),
        ("autostart", "yes", CHANGED, {}),
        ("autostart", "maybe", CHANGED, {"autostart": False}),
        ("exclusive", "0", TAKEN, {}),
        ("exclusive", "1", TAKEN, {"exclusive": 1}),
        ("exclusive", "yes", TAKEN, {"exclusive": 1}),
        ("exclusive", "3", CHANGED, {"exclusive": 3}),
        ("recovery", "restart", TAKEN, {"recovery": "restart"}),
        ("recovery", "relocate", CHANGED, {"recovery": "relocate"}),
        ("recovery", "disable", CHANGED, {"recovery": "disable", **ENDED_STAYS}),
        ("recovery", "restart-disable", CHANGED, {"recovery": "restart-disable"}),
        ("recovery", "please-disable", CHANGED, {"recovery": "restart-disable"}),
        ("recovery", "reboot", LEFT, {}),
        ("recovery", "", LEFT, {}),
        ("max_restarts", "3", TAKEN, {"max_restarts": 3}),
        ("max_restarts", "-1", LEFT, {}),
        ("max_restarts", "3x", LEFT, {}),
        ("restart_expire_time", "600", TAKEN, {"restart_window_s": 600}),
        ("restart_expire_time", "1h30m", TAKEN, {"restart_window_s": 5400}),
        ("restart_expire_time", "2d", TAKEN, {"restart_window_s": 172800}),
        ("restart_expire_time", "soon", LEFT, {}),
        ("migrate", "live", TAKEN, {"migration": {"style": "live"}}),
        ("migrate", "pause", TAKEN, {"migration": {"style": "pause"}}),
        ("migrate", "cold", CHANGED, {"migration": {"style": "pause"}}),
        ("migrate_options", "--auto-converge", TAKEN, {"migration": {"auto_converge": True}}),
        ("migrate_options", "--bandwidth 40", TAKEN, {"migration": {"bandwidth_mib_s": 40}}),
        ("migrate_options", "--bandwidth=40", TAKEN, {"migration": {"bandwidth_mib_s": 40}}),
        ("migrate_options", "--bandwidth", LEFT, {}),
        ("migrate_options", "--unsafe", LEFT, {}),
        ("migrate_options", "--copy-storage-all", LEFT, {}),
        ("migrate_options", "--p2p", TAKEN, {}),
        ("migrate_options", "'", LEFT, {}),
        ("migrate_options", "--tunnelled", TAKEN, {"migration": {"tunnelled": True}}),
        ("tunnelled", "yes", TAKEN, {"migration": {"tunnelled": True, "transport": "ssh"}}),
        ("tunnelled", "no", TAKEN, {}),
        ("use_virsh", "1", TAKEN, {}),
        ("use_virsh", "0", CHANGED, {}),
        ("hypervisor", "qemu", TAKEN, {}),
        ("hypervisor", "xen", LEFT, {}),
        ("hypervisor", "vmware", LEFT, {}),
        ("hypervisor_uri", "qemu:///system", TAKEN, {}),
        ("hypervisor_uri", "xen:///", LEFT, {}),
        ("migration_uri", "auto", CHANGED, {}),
        ("migration_uri", "qemu+ssh://%s/system", TAKEN, {"migration": {"transport": "ssh"}}),
        ("migration_uri", "qemu+tcp://%s/system", TAKEN, {"migration": {"transport": "tcp"}}),
        ("migration_uri", "qemu+tls://%s/system", CHANGED, {"migration": {"transport": "tls"}}),
        ("migration_uri", "qemu+ssh://vm@%s:2222/system", CHANGED, {"migration": {"transport": "ssh"}}),
        ("migration_uri", "xenmigr://%s/", LEFT, {}),
        ("migration_uri", "qemu+tls://fixed/system", LEFT, {}),
        ("snapshot", "", TAKEN, {}),
        ("snapshot", "/snap", CHANGED, {"saved_state": {"directory": "/snap"}}),
        ("snapshot", "snap", LEFT, {}),
        ("depend", "vm:db", LEFT, {}),
        ("depend", "vm:web", LEFT, {}),
        ("depend", "service:nfs", LEFT, {}),
        ("depend", "web", LEFT, {}),
        ("depend_mode", "hard", LEFT, {}),
        ("depend_mode", "firm", LEFT, {}),
        ("status_program", "", TAKEN, {}),
        ("status_program", "/bin/check", CHANGED, {"probes": [STATUS_PROGRAM]}),
        ("no_kill", "yes", TAKEN, {"no_kill": True}),
        ("no_kill", "ON", TAKEN, {"no_kill": True}),
        ("no_kill", "false", TAKEN, {}),
        ("no_kill", "Yes", LEFT, {}),
        ("priority", "1", LEFT, {}),
        ("__enforce_timeouts", "1", TAKEN, {}),
        ("__enforce_timeouts", "0", CHANGED, {}),
        ("__max_failures", "2", LEFT, {}),
        ("__failure_expire_time", "5m", LEFT, {}),
        ("__independent_subtree", "1", LEFT, {}),
        ("__max_restarts", "1", LEFT, {}),
        ("__restart_expire_time", "1m", LEFT, {}),
        ("recvery", "restart", LEFT, {}),
    ],
)
def test_an_attribute_becomes_a_field_or_is_told(
    attribute: str, value: str, kind: Kind, fields: dict[str, Any]
) -> None:
    result = imported(conf(f'{DOMAINS}<vm name="web" {attribute}="{value}"/>'))
    found = only(result, attribute)
    assert (found.kind, found.value, found.element) == (kind, value, "rm/vm[web]")
    vm = vm_of(result)
    assert {key: vm[key] for key in vm.keys() - {"name", "xml"}} == fields


@pytest.mark.parametrize(
    ("attribute", "value", "accepted"),
    [
        ("recovery", "reboot", "restart, relocate, disable, restart-disable"),
        ("max_restarts", "many", "a whole number, 0: no limit"),
        ("restart_expire_time", "soon", "seconds, or numbers with s, m, h, d, w or y"),
        ("no_kill", "maybe", "yes, true, 1"),
        ("migrate", "cold", "live, pause"),
        ("autostart", "true", "1, 0"),
        ("domain", "away", "home"),
        ("migration_mapping", "n1", "node:address"),
        ("migration_mapping", "n9:a", "n1, n2, n3"),
        ("hypervisor", "vmware", "qemu, auto"),
        ("depend_mode", "firm", "hard, soft"),
        ("recvery", "restart", "recovery"),
    ],
)
def test_a_wrong_value_is_told_with_what_would_be_accepted(attribute: str, value: str, accepted: str) -> None:
    result = imported(conf(f'{DOMAINS}<vm name="web" {attribute}="{value}"/>'))
    found = only(result, attribute)
    assert accepted in found.accepted
    line = found.say("cluster.conf")
    assert line.startswith(f'cluster.conf:{found.line}: rm/vm[web] {attribute}="{value}": ')
    assert "(accepted: " in line


@pytest.mark.parametrize(
    ("autostart", "start", "desired"),
    [("1", True, "running"), ("yes", True, "running"), ("0", True, None), ("no", True, None), ("1", False, None)],
)
def test_nothing_is_wanted_running_unless_it_is_asked_for(autostart: str, start: bool, desired: str | None) -> None:
    result = imported(conf(f'<vm name="web" autostart="{autostart}"/>'), start=start)
    assert vm_of(result).get("desired") == desired


def test_autostart_yes_is_told_to_have_meant_off() -> None:
    found = only(imported(conf('<vm name="web" autostart="yes"/>')), "autostart")
    assert "RGManager read it as off" in found.text


def test_a_vm_without_autostart_is_wanted_by_start() -> None:
    assert vm_of(imported(conf('<vm name="web"/>'), start=True))["desired"] == "running"


def test_a_disabled_rgmanager_wants_nothing_running() -> None:
    result = imported(conf('<vm name="web" autostart="1"/>', rm_attributes='disabled="1"'), start=True)
    assert "desired" not in vm_of(result)


@pytest.mark.parametrize(
    ("action", "value", "kind", "fields"),
    [
        ("start", "10m", CHANGED, {"start_timeout_s": 600}),
        ("stop", "300", CHANGED, {"stop_timeout_s": 300}),
        ("migrate", "20m", CHANGED, {"migration": {"timeout_s": 1200}}),
        ("migrate", "1", LEFT, {}),
        ("start", "0", LEFT, {}),
        ("start", "2d", LEFT, {}),
        ("start", "long", LEFT, {}),
        ("status", "10", LEFT, {}),
        ("reconfig", "10", LEFT, {}),
    ],
)
def test_timeouts_of_actions(action: str, value: str, kind: Kind, fields: dict[str, Any]) -> None:
    result = imported(conf(f'<vm name="web">\n<action name="{action}" timeout="{value}"/></vm>'))
    found = only(result, "timeout")
    assert (found.kind, found.about) == (kind, "vm web")
    vm = vm_of(result)
    assert {key: vm[key] for key in vm.keys() - {"name", "xml"}} == fields


def test_an_enforced_timeout_means_what_it_meant() -> None:
    result = imported(conf('<vm name="web" __enforce_timeouts="1"><action name="start" timeout="60"/></vm>'))
    assert only(result, "timeout").kind is TAKEN


def test_migration_mapping_becomes_the_address_of_its_nodes() -> None:
    result = imported(conf('<vm name="web" migration_mapping="n1:n1-mig, n2:n2-mig"/>'))
    assert result.document["nodes"] == [
        {"name": "n1", "migration_address": "n1-mig"},
        {"name": "n2", "migration_address": "n2-mig"},
        {"name": "n3"},
    ]


def test_a_node_has_one_migration_address_for_all_vms() -> None:
    rm = '<vm name="web" migration_mapping="n1:a"/>\n<vm name="db" migration_mapping="n1:b"/>'
    result = imported(conf(rm), definitions("web", "db"))
    assert result.document["nodes"][0] == {"name": "n1", "migration_address": "a"}
    (refused,) = [f for f in result.findings if f.kind is LEFT and f.attribute == "migration_mapping"]
    assert (refused.line, refused.about) == (3, "vm db")
    assert "n1 has the migration address a already" in refused.text


def test_a_need_is_taken_where_both_vms_are_and_in_the_mode_that_was_written() -> None:
    rm = '<vm name="db"/>\n<vm name="web" depend="vm:db"/>'
    result = imported(conf(rm), definitions("web", "db"))
    assert vm_of(result)["depends_on"] == [{"vm": "db", "mode": "hard"}]
    assert only(result, "depend").kind is TAKEN
    rm = rm.replace("vm:db", 'vm:db" depend_mode="soft')
    soft = imported(conf(rm), definitions("web", "db"))
    assert vm_of(soft)["depends_on"] == [{"vm": "db", "mode": "soft"}]
    assert only(soft, "depend_mode").kind is CHANGED
    assert "RGManager read it in central mode only" in only(soft, "depend_mode").text


def test_a_need_of_a_vm_that_is_not_taken_or_that_closes_a_circle_is_left_out() -> None:
    rm = '<vm name="db"/>\n<vm name="web" depend="vm:db"/>'
    missing = imported(conf(rm), definitions("web"))
    assert "depends_on" not in vm_of(missing)
    assert "vm db is not taken" in only(missing, "depend").text
    circle = imported(conf(rm.replace('name="db"', 'name="db" depend="vm:web"')), definitions("web", "db"))
    assert vm_of(circle, "db")["depends_on"] == [{"vm": "web", "mode": "hard"}]
    assert "depends_on" not in vm_of(circle)
    (left,) = [f for f in circle.findings if f.attribute == "depend" and f.kind is LEFT]
    assert "web -> db -> web" in left.text


def test_node_names_in_a_mapping_are_exact() -> None:
    """RGManager matched parts of names: mynode2's address for n2."""
    nodes = '<clusternodes><clusternode name="mynode2"/><clusternode name="node2"/></clusternodes>'
    result = imported(conf('<vm name="web" migration_mapping="mynode2:wrong,node2:right"/>', nodes=nodes))
    assert {node["name"]: node["migration_address"] for node in result.document["nodes"]} == {
        "mynode2": "wrong",
        "node2": "right",
    }


def test_a_status_program_keeps_its_tolerance_and_its_times() -> None:
    result = imported(
        conf(
            '<vm name="web" status_program="check --fast" __max_failures="2" __failure_expire_time="5m">'
            '<action name="status" depth="10" interval="30s" timeout="15"/>'
            '<action name="status" depth="*" interval="1"/><action name="status" depth="0" interval="5"/></vm>'
        )
    )
    tolerated = {"failures": 0, "max_failures": 2, "failure_window_s": 300, "interval_s": 1, "timeout_s": 15}
    command = ["exec bash -c 'check --fast'"]
    assert vm_of(result)["probes"] == [{**STATUS_PROGRAM, **tolerated, "command": command}]
    assert only(result, "__max_failures").kind is TAKEN


def test_a_tolerance_without_its_window_is_told_and_the_first_failure_counts() -> None:
    result = imported(conf('<vm name="web" status_program="check" __max_failures="2"/>'))
    assert only(result, "__max_failures").kind is LEFT
    assert vm_of(result)["probes"][0]["failures"] == 1


def test_a_tunnelled_vm_with_a_uri_of_its_own_is_tunnelled_through_that() -> None:
    result = imported(conf(f'{DOMAINS}<vm name="web" tunnelled="yes" migration_uri="qemu+tls://%s/system"/>'))
    assert vm_of(result)["migration"] == {"tunnelled": True, "transport": "tls"}
