"""A listing that is taken whole is what its keys, put one by one, come to."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.clusters import KEYS, WHY
from vmha.model import usual
from vmha.model.holds import Hold
from vmha.model.ids import Epoch, LeaseId, NodeName, Revision, SessionId, VmName
from vmha.model.keys import KEY_TYPES, encode
from vmha.model.records import Observation, Phase, Placement, RemovedVm, SeenState
from vmha.model.vm import NodeSpec, VmSpec
from vmha.policy.state.assemble import Assembler
from vmha.policy.state.filling import PARTS, Filling
from vmha.store.port import KeyValue

NODES = [NodeName("n1"), NodeName("n2"), NodeName("n10")]
NAMES = [VmName(name) for name in ("a", "b", "c")]


def records_of(vm: VmName) -> list[tuple[str, Any]]:
    placement = Placement(
        vm=vm, epoch=Epoch(1), phase=Phase.HELD, reason=WHY, since=1.5, node=NODES[0], session=SessionId("s")
    )
    seen = Observation(vm=vm, node=NODES[0], session=SessionId("s"), state=SeenState.RUNNING)
    return [
        (KEYS.vm_spec(vm), VmSpec(name=vm, xml="<domain/>", uuid=f"uuid of {vm}")),
        (KEYS.placement(vm), placement),
        (KEYS.placement(vm), replace(placement, phase=Phase.ASSIGNED, session=None)),
        (KEYS.freeze(vm), Hold(author="somebody", at=1.0)),
        *((KEYS.observation(node, vm), replace(seen, node=node)) for node in NODES),
        (KEYS.placement(vm), replace(placement, vm=VmName("another"))),
        (KEYS.observation(NODES[1], vm), seen),
    ]


WRITTEN = [(key, encode(record)) for vm in NAMES for key, record in records_of(vm)]
WRITTEN += [(KEYS.node_spec(node), encode(NodeSpec(name=node))) for node in NODES]
WRITTEN += [
    (KEYS.removed("r"), encode(RemovedVm(id="r", vm=NAMES[0], at=0.0))),
    (KEYS.vm_spec(VmName("bad")), b"{"),
    (KEYS.placement(VmName("bad")), b'{"vm": "bad"}'),
    (KEYS.vm_spec(VmName("\u00e4")), b"{}"),
    (KEYS.prefix + "vms/a/later", b"{}"),
    (KEYS.prefix + "vms/a", b"{}"),
    (KEYS.prefix + "nodes/n1/vms/a/later", b"{}"),
]


@pytest.mark.parametrize("few", [0, 300])
@given(listed=st.lists(st.sampled_from(WRITTEN), unique_by=lambda one: one[0]), pages=st.integers(1, 4))
def test_a_listing_taken_whole_is_what_its_keys_put_one_by_one_come_to(
    few: int, listed: list[tuple[str, bytes]], pages: int
) -> None:
    items = [
        KeyValue(key=key, value=value, create_revision=Revision(number), mod_revision=Revision(number + 1))
        for number, (key, value) in enumerate(sorted(listed), start=1)
    ]
    filling, one_by_one = Filling(KEYS), Assembler(KEYS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(usual, "_FEW", few)
        for start in range(0, len(items), pages):
            filling.take(items[start : start + pages])
    for kv in items:
        one_by_one.put(kv.key, kv.value, created=kv.create_revision, modified=kv.mod_revision, lease=LeaseId(0))
    filled = filling.done()
    at_once, step_by_step = filled.snapshot(Revision(99)), one_by_one.snapshot(Revision(99))
    assert at_once == step_by_step
    assert list(at_once.vms) == list(step_by_step.vms)
    assert [list(vm.seen) for vm in at_once.vms.values()] == [list(vm.seen) for vm in step_by_step.vms.values()]
    for node in NODES:
        assert dict(filled.indexes.on(node)) == dict(one_by_one.indexes.on(node))
    assert filled.indexes.assigned == one_by_one.indexes.assigned
    assert filled.indexes.newest_definition() == one_by_one.indexes.newest_definition()
    assert [filled.indexes.named(name) for name in NAMES] == [one_by_one.indexes.named(name) for name in NAMES]


def test_whatever_is_kept_of_a_vm_is_taken() -> None:
    kept = {shape[-1]: kind for shape, kind in KEY_TYPES if shape[0] == "vms"}
    assert kept == PARTS
