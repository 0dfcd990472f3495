"""What operators define, change and take away, and how they want a vm, for the journal: names of fields, never values.

As ``hand.py``, of what lasts without being a hold.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from vmha.model.by_hand import ADDED, APPLIED, CHANGED, REMOVED, WANTED
from vmha.model.ids import NodeName, VmName
from vmha.model.vm import Desired, NodeSpec, VmSpec
from vmha.operator.hand import Told, because
from vmha.policy.state.causes import of_wanted
from vmha.policy.state.snapshot import VmView

NAMED = 20
_DESIRED = ("desired", "desired_why")  # told by ``wanted``
_MAINTENANCE = ("maintenance", "maintenance_why")  # told by ``hand.drained``


def put(
    kind: str,
    name: str,
    old: BaseModel | None,
    new: BaseModel,
    by: str,
    *,
    less: Collection[str] = _DESIRED,
    why: str = "",
) -> Told:
    """``kind``: vm, node, service, rule, failover domain, config. ``less``: fields that are told otherwise.

    ``why``: in its author's own words.
    """
    what = f"{kind} {name}".rstrip()
    if old is None:
        return Told(kind=ADDED, text=because(f"{what} is added by {by}", why), why=why, **_about(kind, name))
    said = ", ".join(field for field in _changed(old, new) if field not in less)
    return Told(kind=CHANGED, text=because(f"{what} is changed by {by}: {said}", why), why=why, **_about(kind, name))


def _changed(old: BaseModel, new: BaseModel) -> list[str]:
    return [field for field in type(new).model_fields if getattr(old, field, None) != getattr(new, field)]


def put_by_document(kind: str, name: str, old: BaseModel | None, new: BaseModel, author: str) -> list[Told]:
    """As ``put``; nothing, if only the desired state of a vm, or the drain of a node, is changed: that has its own."""
    is_drain = isinstance(new, NodeSpec) and (not isinstance(old, NodeSpec) or old.maintenance != new.maintenance)
    less = (*_DESIRED, *_MAINTENANCE) if is_drain else _DESIRED
    if old is not None and not {*_changed(old, new)} - {*less}:
        return []
    return [put(kind, name, old, new, by_document(author), less=less)]


def vm_by_document(vm: VmView | None, old: VmSpec | None, new: VmSpec, author: str) -> list[Told]:
    """Of a vm that is new one entry, also if it is to start: a transaction has room for so many."""
    told = put_by_document("vm", new.name, old, new, author)
    if new.desired is (old.desired if old else Desired.AS_FOUND):
        return told
    start = wanted(vm, new)
    if old is None:
        return [replace(one, text=f"{one.text}, and wanted {new.desired}", cause=start.cause) for one in told]
    return [*told, start]


def by_document(author: str) -> str:
    return f"a document that {author} applied"


def added(spec: VmSpec, by: str) -> list[Told]:
    """A vm, and that it is to start if it is."""
    told = put("vm", spec.name, None, spec, by)
    if spec.desired is not Desired.RUNNING:
        return [told]
    start = wanted(None, spec)
    return [replace(told, cause=start.cause), start]


def removed(kind: str, name: str, by: str, more: str = "", *, why: str = "") -> Told:
    text = because(f"{kind} {name} is removed by {by}{more}", why)
    return Told(kind=REMOVED, text=text, why=why, **_about(kind, name))


def _about(kind: str, name: str) -> dict[str, Any]:
    return {"vm": VmName(name)} if kind == "vm" else {"node": NodeName(name)} if kind == "node" else {}


def wanted(vm: VmView | None, new: VmSpec, why: str = "") -> Told:
    """With the cause of what follows from it. ``why``: its author's own words, which ``desired_why`` ends with."""
    placement = vm.placement.value if vm and vm.placement else None
    name = VmName(new.name)
    said = f": {new.desired_why}" if new.desired_why else ""
    cause = of_wanted(name, new.desired, placement)
    return Told(kind=WANTED, text=f"wanted {new.desired}{said}", why=why, vm=name, cause=cause)


def applied(changes: Iterable[tuple[str, str]], by: str) -> Told:
    """``changes``: what was done, and with what."""
    said: dict[str, list[str]] = {}
    for did, what in changes:
        said.setdefault(did, []).append(what)
    text = "; ".join(f"{did} {_some(names)}" for did, names in said.items())
    return Told(kind=APPLIED, text=f"a document is applied by {by}: {text}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
