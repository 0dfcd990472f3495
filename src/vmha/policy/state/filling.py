"""A whole listing taken into an assembler that knows nothing yet, page by page: each vm is put together once.

It comes to what ``Assembler.put`` of each key would (tests/unit/policy/test_filling.py), in a third of the time.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from vmha.model.errors import Rejected
from vmha.model.holds import Hold
from vmha.model.ids import LeaseId, NodeName, Revision, VmName
from vmha.model.keys import Keys
from vmha.model.records import Observation, Placement, Stored
from vmha.model.usual import Usual
from vmha.model.vm import VmSpec
from vmha.policy.state.assemble import Assembler, of_another
from vmha.policy.state.snapshot import VmView

PARTS: Mapping[str, type] = {"spec": VmSpec, "placement": Placement, "freeze": Hold}
"""What is kept of a vm under ``vms/<vm>/``."""


class Listed(Protocol):
    """One key of a listing."""

    @property
    def key(self) -> str: ...
    @property
    def value(self) -> bytes: ...
    @property
    def create_revision(self) -> Revision: ...
    @property
    def mod_revision(self) -> Revision: ...
    @property
    def lease(self) -> LeaseId: ...


class Filling:
    """``take`` what is listed, each key once; then ``done``."""

    def __init__(self, keys: Keys) -> None:
        self._prefix = keys.prefix
        self._assembler = Assembler(keys)
        self._vms: dict[VmName, dict[str, Any]] = {}
        self._usual = Usual()

    def take(self, listed: Iterable[Listed]) -> None:
        cut = len(self._prefix)
        for kv in listed:
            match kv.key[cut:].split("/"):
                case ["vms", name, part] if part in PARTS:
                    record = self._read(PARTS[part], kv, name)
                    if record is not None:
                        stored = Stored(record, kv.create_revision, kv.mod_revision, kv.lease)
                        self._parts_of(name)[part] = stored
                case ["nodes", node, "vms", name]:
                    record = self._read(Observation, kv, name, node)
                    if record is not None:
                        self._parts_of(name)["seen"][NodeName(node)] = record
                case _:
                    self._assembler.put(
                        kv.key, kv.value, created=kv.create_revision, modified=kv.mod_revision, lease=kv.lease
                    )

    def done(self) -> Assembler:
        for name, parts in self._vms.items():
            if len(parts["seen"]) > 1:
                parts["seen"] = dict(sorted(parts["seen"].items()))
            self._assembler.put_vm(VmView(name=name, **parts))
        return self._assembler

    def _parts_of(self, name: str) -> dict[str, Any]:
        parts = self._vms.get(VmName(name))
        if parts is None:
            self._vms[VmName(name)] = parts = {"seen": {}}
        return parts

    def _read(self, kind: type, kv: Listed, name: str, node: str = "") -> Any | None:
        if not kv.key.isascii():
            return None
        try:
            record: Any = self._usual.read(kind, kv.value, where=kv.key)
        except Rejected as error:
            self._assembler.put_problem(kv.key, str(error))
            return None
        whose = record.name if kind is VmSpec else name if kind is Hold else record.vm
        if whose != name or (node and record.node != node):
            self._assembler.put_problem(kv.key, of_another(kv.key))
            return None
        return record
