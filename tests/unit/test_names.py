"""One rule for names of vms, nodes, failover domains, services, hooks and probes, whatever the way in."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from tests.unit.operator.cluster import Cluster, xml_of
from tests.unit.operator.rgmanager.conf import conf, definitions, imported
from vmha.cli.exits import ExitCode
from vmha.cli.main import run
from vmha.model.errors import Rejected
from vmha.model.health import Probe
from vmha.model.hooks import Hook
from vmha.model.relations import Dependency
from vmha.model.rules import Rule
from vmha.model.service import Service
from vmha.model.vm import FailoverDomain, FailoverDomainMember, NodeSpec, VmSpec
from vmha.node.settings import read_settings
from vmha.operator import vms
from vmha.operator.document import load_document
from vmha.operator.errors import UnknownName

ACCEPTED = [
    "web",
    "Web-1",
    "a",
    "7",
    "web_1.example.org",
    "a+b",
    "user@host",
    "00:16:3e",
    "x" * 63,
    "web-",
    "a..b",
]
REFUSED = {
    "nothing": "",
    "blank": " ",
    "space inside": "a b",
    "space before": " web",
    "space behind": "web ",
    "new line behind": "web\n",
    "tab": "a\tb",
    "leading dash": "-rf",
    "leading dashes": "--help",
    "leading dot": ".hidden",
    "parent directory": "..",
    "path": "a/b",
    "path upwards": "../../etc/passwd",
    "backslash": "a\\b",
    "letters with marks": "büro",
    "combining marks": "bu\u0308ro",
    "other script": "虚拟机",
    "looks like latin": "wеb",
    "full width": "ｗｅｂ",
    "digits of another script": "web٣",
    "right to left": "web\u202egnp",
    "zero width": "we\u200bb",
    "smiley": "web🙂",
    "null": "we\0b",
    "escape": "we\x1b[31mb",
    "64 characters": "x" * 64,
    "very long": "x" * 100_000,
    "shell": "$(reboot)",
    "quotes": 'a"b',
    "markup": "a<b>&c;",
    "wild card": "*",
    "comma": "a,b",
}

MODELS: dict[str, Callable[[str], BaseModel]] = {
    "vm": lambda name: VmSpec(name=name, xml="<domain/>", uuid="u"),
    "failover domain of a vm": lambda name: VmSpec(name="v", xml="<domain/>", uuid="u", failover_domain=name),
    "failover domain": lambda name: FailoverDomain(name=name, members=(FailoverDomainMember(node="n"),)),
    "member of a failover domain": lambda name: FailoverDomainMember(node=name),
    "node": lambda name: NodeSpec(name=name),
    "service": lambda name: Service(name=name, members=("web",)),
    "member of a service": lambda name: Service(name="s", members=(name,)),
    "what a vm needs": lambda name: Dependency(vm=name),
    "label of a node": lambda name: NodeSpec(name="n", labels={name: name}),
    "rule": lambda name: Rule(name=name, apart=("web", "db")),
    "vm of a rule": lambda name: Rule(name="r", apart=("another", name)),
    "hook": lambda name: Hook.model_validate({"name": name, "on": ["*"], "exec": "tell"}),
    "probe": lambda name: Probe(name=name, tcp="localhost:80"),
}


def every(names: dict[str, str]) -> Any:
    return pytest.mark.parametrize("name", names.values(), ids=names.keys())


@every(REFUSED)
@pytest.mark.parametrize("what", MODELS)
def test_record_with_such_a_name_is_refused(what: str, name: str) -> None:
    with pytest.raises(ValidationError, match=r"pattern|at most 63"):
        MODELS[what](name)


@pytest.mark.parametrize("name", ACCEPTED)
@pytest.mark.parametrize("what", MODELS)
def test_record_with_such_a_name_is_taken(what: str, name: str) -> None:
    assert name in MODELS[what](name).model_dump_json()


def settings(tmp_path: Path, key: str, name: str) -> Path:
    path = tmp_path / "vmha.toml"
    escaped = "".join(f"\\U{ord(letter):08x}" for letter in name)
    path.write_text(f'endpoints = ["127.0.0.1:2379"]\n{key} = "{escaped}"\n')
    return path


@pytest.mark.parametrize("key", ["cluster", "node"])
def test_settings_of_a_node_follow_the_rule(tmp_path: Path, key: str) -> None:
    for name in REFUSED.values():
        with pytest.raises(Rejected, match=key):
            read_settings(settings(tmp_path, key, name))
    for name in ACCEPTED:
        assert getattr(read_settings(settings(tmp_path, key, name)), key) == name


async def _add(cluster: Cluster, name: str) -> Any:
    return await vms.add_vm(cluster.client, name, xml_of(name).replace("&", "&amp;").replace("<b>", "&lt;b&gt;"))


async def _prefer(cluster: Cluster, name: str) -> Any:
    return await vms.add_vm(cluster.client, "v", xml_of("v"), node_preference=[name])


@every(REFUSED)
@pytest.mark.parametrize("give", [_add, _prefer])
async def test_operator_who_gives_such_a_name_is_told_and_nothing_is_written(
    give: Callable[[Cluster, str], Awaitable[Any]], name: str
) -> None:
    cluster = Cluster()
    with pytest.raises(Rejected):
        await give(cluster, name)
    assert cluster.contents() == {}


@every(REFUSED)
@pytest.mark.parametrize("verb", [vms.remove_vm, vms.enable, vms.edit])
async def test_verb_about_such_a_name_finds_nobody_and_nothing_else(
    verb: Callable[..., Awaitable[Any]], name: str
) -> None:
    """Neither a key of another kind nor a vm whose name begins alike."""
    cluster = Cluster()
    for other in ("web", "x" * 63):
        await vms.add_vm(cluster.client, other, xml_of(other))
    before = cluster.contents()
    with pytest.raises(UnknownName):
        await verb(cluster.client, name)
    assert cluster.contents() == before


@pytest.mark.parametrize(
    "document",
    [
        {"vms": [{"name": "NAME", "xml": "<domain type='kvm'><name>v</name><memory>1</memory></domain>"}]},
        {"failover_domains": [{"name": "NAME", "members": [{"node": "n"}]}]},
        {"failover_domains": [{"name": "d", "members": [{"node": "NAME"}]}]},
        {"nodes": [{"name": "NAME"}]},
        {"services": [{"name": "NAME", "members": ["v"]}]},
    ],
    ids=["vm", "domain", "member", "node", "service"],
)
def test_document_with_such_a_name_is_refused_by_its_line(document: dict[str, Any]) -> None:
    import json

    for name in REFUSED.values():
        text = json.dumps(document).replace('"NAME"', json.dumps(name))  # JSON is YAML
        with pytest.raises(Rejected, match=r"vmha\.yaml:1"):
            load_document(text, file="vmha.yaml", base=Path())
    for name in ACCEPTED:
        assert load_document(json.dumps(document).replace("NAME", name), file="vmha.yaml", base=Path())


@pytest.mark.parametrize("name", [name for name in REFUSED.values() if name.isprintable() and len(name) < 1000])
def test_import_leaves_a_vm_of_such_a_name_out_and_says_so(name: str) -> None:
    from xml.sax.saxutils import quoteattr

    result = imported(conf(f"<vm name={quoteattr(name)}/>"), definitions("web"))
    assert result.document["vms"] == []


@pytest.mark.parametrize("name", ACCEPTED)
def test_import_takes_a_vm_whose_name_is_one(name: str) -> None:
    assert [vm["name"] for vm in imported(conf(f'<vm name="{name}"/>'), definitions(name)).document["vms"]] == [name]


@pytest.mark.parametrize("words", [["vm", "start"], ["node", "drain"], ["domain", "remove"], ["service", "show"]])
def test_name_with_a_leading_dash_is_an_unknown_option_to_the_command_line(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words, "-rf"]) == ExitCode.BAD_INPUT
    assert "No such option" in capsys.readouterr().err
