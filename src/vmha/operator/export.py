"""The cluster's definitions as a document: applied to the same cluster it changes nothing."""

from typing import Any

import yaml
from pydantic import BaseModel

from vmha.model.vm import Desired, VmSpec
from vmha.operator.definition import FOLLOWS
from vmha.policy.state.snapshot import Snapshot


def export(snapshot: Snapshot) -> str:
    """The document, as YAML. Fields that have their default are left out."""
    nodes = [view.spec.value for _, view in sorted(snapshot.nodes.items()) if view.spec]
    specs = [vm.spec.value for _, vm in sorted(snapshot.vms.items()) if vm.spec]
    document: dict[str, Any] = {
        "config": {"profile": str(snapshot.config.profile), **_told(snapshot.config)},
        "failover_domains": [_told(domain) for _, domain in sorted(snapshot.domains.items())],
        "nodes": [_told(node) for node in nodes],
        "vms": [_vm(spec) for spec in specs],
    }
    if snapshot.services:
        document["services"] = [_told(service) for _, service in sorted(snapshot.services.items())]
    if snapshot.rules:
        document["rules"] = [_told(rule) for _, rule in sorted(snapshot.rules.items())]
    return to_yaml(document)


def to_yaml(document: dict[str, Any]) -> str:
    """A document's text, for people to read and edit."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _told(record: BaseModel) -> dict[str, Any]:
    plain: dict[str, Any] = record.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return plain


def _vm(spec: VmSpec) -> dict[str, Any]:
    plain = _told(spec)
    for key in (*FOLLOWS, "desired_why", "xml"):
        plain.pop(key, None)
    if spec.desired is Desired.AS_FOUND:
        plain.pop("desired", None)
    if spec.definition is not None:
        return {**plain, "uuid": spec.uuid, "memory_mib": spec.memory_mib}
    return {**plain, "xml": spec.xml}


class _Dumper(yaml.SafeDumper):
    """Text of several lines is written as it is, so that people can read and edit it."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)
