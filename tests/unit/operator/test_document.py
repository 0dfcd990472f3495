"""The document of apply: all that is wrong is told at once, by file, line, field, value and what is accepted."""

from pathlib import Path

import pytest

from tests.unit.operator.cluster import xml_of
from vmha.model.errors import Rejected
from vmha.operator.document import json_schema, load_document


def refusal(text: str, base: Path = Path("/nonexistent")) -> list[str]:
    with pytest.raises(Rejected) as refused:
        load_document(text, file="c.yaml", base=base)
    return str(refused.value).splitlines()


BAD = [
    pytest.param(
        "vmz: []", ["c.yaml:1: vmz: unknown key", "did you mean vms?", "accepted: schema, config"], id="top key"
    ),
    pytest.param(
        "vms:\n  - name: web\n    xml: x\n    recovry: restart",
        ["c.yaml:4: vms[web].recovry: unknown key", "did you mean recovery?"],
        id="unknown key of a vm",
    ),
    pytest.param(
        "vms:\n  - name: web\n    xml: x\n    migration:\n      stile: live",
        ["c.yaml:5: vms[web].migration.stile: unknown key", "did you mean style?", "handover"],
        id="unknown key further in",
    ),
    pytest.param(
        "config:\n  capacity:\n    memory_overcomit: 1.5",
        ["c.yaml:3: config.capacity.memory_overcomit: unknown key", "did you mean memory_overcommit?", "reserve_mib"],
        id="unknown setting",
    ),
    pytest.param(
        "vms:\n  - name: web\n    xml: x\n    recovery: reboot",
        ["c.yaml:4: vms[web].recovery: 'reboot'", "accepted: 'restart', 'relocate', 'disable' or 'restart-disable'"],
        id="unknown word",
    ),
    pytest.param(
        "vms:\n  - name: web\n    xml: x\n    priority: 2000",
        ["c.yaml:4: vms[web].priority: 2000", "accepted: less than or equal to 1000"],
        id="number out of range",
    ),
    pytest.param(
        "vms:\n  - name: web\n    xml: x\n    priority: '7'",
        ["c.yaml:4: vms[web].priority: '7'", "accepted: a valid integer"],
        id="text for a number",
    ),
    pytest.param("vms:\n  - xml: x", ["c.yaml:2: vms[0].name: is missing"], id="missing name"),
    pytest.param(
        "vms:\n  - name: no\n    xml: x", ["c.yaml:2: vms[0].name: False", "string"], id="a name YAML misreads"
    ),
    pytest.param(
        "vms:\n  - name: a/b\n    xml: x",
        ["c.yaml:2: vms[a/b].name: 'a/b'", "accepted: letters, digits"],
        id="bad name",
    ),
    pytest.param(
        "vms:\n  - name: web",
        ["c.yaml:2: vms[web]: xml, xml_file, definition: exactly one", "none"],
        id="vm without xml",
    ),
    pytest.param(
        "vms:\n  - name: web\n    xml: x\n    definition: {persistent: true}",
        ["c.yaml:2: vms[web]: xml, xml_file, definition: exactly one", "xml and definition"],
        id="vm with xml and a place for it",
    ),
    pytest.param(
        "vms:\n  - name: web\n    definition:\n      file: web.xml",
        ["c.yaml:4: vms[web].definition.file: 'web.xml' (accepted: an absolute path without '..')"],
        id="definition in a relative file",
    ),
    pytest.param(
        "vms:\n  - name: web\n    definition: {file: /gfs/web.xml, persistent: true}",
        ["vms[web].definition: file and persistent is given (accepted: exactly one of file, path, persistent)"],
        id="definition in two places",
    ),
    pytest.param(
        "vms:\n  - name: web\n    definition: {}", ["vms[web].definition: nothing is given"], id="definition nowhere"
    ),
    pytest.param(
        "vms:\n  - name: web\n    definition: {fil: /gfs/web.xml}",
        ["vms[web].definition.fil: unknown key, did you mean file?"],
        id="unknown key of a definition",
    ),
    pytest.param(
        "vms:\n  - name: web\n    definition: {persistent: true}\n    uuid: 12",
        ["c.yaml:4: vms[web].uuid: 12"],
        id="uuid that is none",
    ),
    pytest.param(
        "vms:\n  - name: web\n    xml: x\n    memory_mib: 5",
        ["vms[web]: memory_mib: follows from the XML (accepted: only together with definition)"],
        id="memory beside xml",
    ),
    pytest.param(
        "vms:\n  - name: web\n    xml: x\n    saved_state: {directory: saves}",
        ["vms[web].saved_state.directory: 'saves' (accepted: an absolute path"],
        id="saved state in a relative directory",
    ),
    pytest.param(
        "vms:\n  - name: web\n    xml: x\n    xml_file: y", ["c.yaml:4: vms[web].xml_file: 'y'"], id="vm with two xmls"
    ),
    pytest.param(
        "vms:\n  - name: web\n    xml_file: web.xml",
        ["c.yaml:3: vms[web].xml_file: 'web.xml': /nonexistent/web.xml: no such file"],
        id="xml file that is not there",
    ),
    pytest.param(
        "vms:\n  - {name: a, xml: x}\n  - {name: a, xml: y}", ["c.yaml:3: vms[a].name: 'a': named twice"], id="vm twice"
    ),
    pytest.param("vms:\n  name: web", ["c.yaml:1: vms: a mapping (accepted: a list)"], id="no list"),
    pytest.param("vms: []\nvms: []", ["c.yaml:2: vms: the key is given twice, in line 1 too"], id="key twice"),
    pytest.param("- a", ["c.yaml:1: the document is a list", "accepted: keys: schema"], id="no mapping"),
    pytest.param("a: b: c", ["c.yaml:1: mapping values are not allowed"], id="no YAML"),
    pytest.param("a: [\n\n", ["c.yaml:3", "accepted: YAML"], id="unfinished YAML"),
    pytest.param("vms: !!python/name:os.system x", ["c.yaml:1: could not determine a constructor"], id="code in YAML"),
    pytest.param("a: &a [*a]", ["too large"], id="YAML that bites its tail"),
    pytest.param(
        "config:\n  profile: fast", ["c.yaml:2: config.profile: 'fast'", "'default' or 'tuned'"], id="profile"
    ),
    pytest.param(
        "config:\n  timing:\n    hold_s: 10\n    watchdog_s: 60",
        ["c.yaml:2: config.timing: watchdog_s: 60", "accepted: at most 5.5"],
        id="watchdog longer than the fence delay",
    ),
    pytest.param(
        "config:\n  timing: {lease_ttl_s: 12}",
        ["c.yaml:2: config.timing: lease_ttl_s: 12: must end before the hold (accepted: below 10)"],
        id="lease longer than the hold",
    ),
    pytest.param(
        "config:\n  fencing: {accept: [guard_elapsed]}",
        ["c.yaml:2: config.fencing: accept", "operator_confirmed"],
        id="accept",
    ),
    pytest.param(
        "failover_domains:\n  - name: d\n    members: [{node: h1}, {node: h1}]",
        ["c.yaml:2: failover_domains[d]: members: h1: named twice"],
        id="member twice",
    ),
    pytest.param(
        "failover_domains:\n  - name: d\n    members: []", ["failover_domains[d]", "at least one"], id="no member"
    ),
    pytest.param(
        "nodes:\n  - {name: h1, fence: [{agent: ''}]}", ["c.yaml:2: nodes[h1].fence[0].agent: ''"], id="agent"
    ),
    pytest.param(
        "vms:\n  - name: web\n    xml: x\n    priority: 1001",
        ["c.yaml:4: vms[web].priority: 1001 (accepted: less than or equal to 1000)"],
        id="priority just out of range",
    ),
    pytest.param(
        "nodes:\n  - {name: h1, memory_mib: 0}\n  - {name: h2, vcpus: -4}",
        [
            "c.yaml:2: nodes[h1].memory_mib: 0 (accepted: greater than or equal to 1)",
            "c.yaml:3: nodes[h2].vcpus: -4 (accepted: greater than or equal to 1)",
        ],
        id="node without memory or processors",
    ),
    pytest.param(
        "config:\n  capacity:\n    reserve_mib: -1\n    memory_overcommit: 0\n    vcpu_overcommit: -0.5",
        [
            "c.yaml:3: config.capacity.reserve_mib: -1 (accepted: greater than or equal to 0)",
            "c.yaml:4: config.capacity.memory_overcommit: 0 (accepted: greater than or equal to 0.1)",
            "c.yaml:5: config.capacity.vcpu_overcommit: -0.5 (accepted: greater than or equal to 0)",
        ],
        id="capacity below what there can be",
    ),
    pytest.param(
        "config:\n  capacity:\n    memory_overcommit: .nan\n    vcpu_overcommit: .inf",
        [
            "c.yaml:3: config.capacity.memory_overcommit: nan (accepted: a finite number)",
            "c.yaml:4: config.capacity.vcpu_overcommit: inf (accepted: a finite number)",
        ],
        id="overcommit that is no number",
    ),
    pytest.param(
        "nodes:\n  - name: h1\n    capacity:\n      memory_overcommit: .inf\n      vcpu_overcommit: .nan",
        [
            "c.yaml:4: nodes[h1].capacity.memory_overcommit: inf (accepted: a finite number)",
            "c.yaml:5: nodes[h1].capacity.vcpu_overcommit: nan (accepted: a finite number)",
        ],
        id="a node's overcommit that is no number",
    ),
    pytest.param("schema: 2", ["c.yaml:1: schema: 2", "less than or equal to 1"], id="a later schema"),
]


@pytest.mark.parametrize(("text", "said"), BAD)
def test_a_bad_document_is_refused_with_place_value_and_what_is_accepted(text: str, said: list[str]) -> None:
    lines = refusal(text)
    for words in said:
        assert any(words in line for line in lines), lines


def test_everything_that_is_wrong_is_told_at_once_in_the_order_of_lines() -> None:
    text = (
        "vms:\n  - name: a\n    xml_file: nope.xml\n    priority: -1\n"
        "  - {name: b, xml: x, colour: red}\nconfig: {profile: fast}"
    )
    told = [line.split(": ")[:2] for line in refusal(text)]
    assert told == [
        ["c.yaml:3", "vms[a].xml_file"],
        ["c.yaml:4", "vms[a].priority"],
        ["c.yaml:5", "vms[b].colour"],
        ["c.yaml:6", "config.profile"],
    ]


def test_a_swelling_document_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "too large" in refusal("\n".join(lines))[0]


def test_xml_files_are_relative_to_the_document(tmp_path: Path) -> None:
    (tmp_path / "web.xml").write_text(xml_of("web"))
    loaded = load_document("vms: [{name: web, xml_file: web.xml}]", file="c.yaml", base=tmp_path)
    assert loaded.xmls == {"web": (xml_of("web"), str(tmp_path / "web.xml"))}


def test_merged_keys_and_anchors_are_taken(tmp_path: Path) -> None:
    text = "vms:\n  - &base {name: a, xml: x, priority: 7}\n  - {<<: *base, name: b}"
    loaded = load_document(text, file="c.yaml", base=tmp_path)
    assert [(vm.name, vm.priority) for vm in loaded.document.vms or ()] == [("a", 7), ("b", 7)]


def test_an_empty_document_names_nothing(tmp_path: Path) -> None:
    loaded = load_document("# nothing yet\n", file="c.yaml", base=tmp_path)
    assert loaded.document.vms is None


def test_the_schema_knows_every_section() -> None:
    schema = json_schema()
    assert {"config", "failover_domains", "nodes", "vms"} <= set(schema["properties"])
    vm = schema["$defs"]["VmEntry"]
    assert "xml_file" in vm["properties"]
    assert "desired_why" not in vm["properties"]
    assert {"file", "path", "persistent"} == set(schema["$defs"]["DefinitionSource"]["properties"])
    assert vm["additionalProperties"] is False


def test_post_copy_is_taken_only_where_libvirt_switches_by_itself():
    vm = "vms:\n  - name: web\n    xml: x\n    migration:\n      style: post-copy\n"
    (said,) = refusal(vm)
    assert "vms[web].migration: style: post-copy: does not go with handover: safe" in said
    assert "(accepted: handover: libvirt, or style: live or pause)" in said
    assert "costs the guest" in said
    (said,) = refusal(vm + "      handover: libvirt\n      parallel_connections: 2\n")
    assert "does not go with parallel_connections" in said
    (said,) = refusal(vm + "      handover: libvirt\n      post_copy_after_s: 700\n")
    assert "post_copy_after_s: 700: would never come, timeout_s is 600 (accepted: less than that)" in said
