"""What is kept along with the changes is what going through all vms would find."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.support.clusters import KEYS, WHY
from vmha.model.ids import Epoch, LeaseId, NodeName, Revision, SessionId, VmName
from vmha.model.keys import encode
from vmha.model.records import Phase, Placement, RemovedVm
from vmha.model.vm import VmSpec
from vmha.policy.members.membership import former_sessions
from vmha.policy.state.assemble import Assembler

NODES = [NodeName("n1"), NodeName("n2")]
NAMES = [VmName(name) for name in ("a", "b", "c")]
UUID, OTHER = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"

a_change = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from(["spec", "placement", "no spec", "no placement", "removed", "no removed", "copy"]),
    st.sampled_from([*NODES, None]),
    st.sampled_from(list(Phase)),
    st.integers(1, 9),
)


def agree(assembler: Assembler) -> None:
    snapshot, kept = assembler.snapshot(Revision(100)), assembler.indexes
    vms = snapshot.vms
    defined = [vm.spec.created for vm in vms.values() if vm.spec]
    assert kept.newest_definition() == max([*defined, *(one.created for one in snapshot.removed.values())], default=0)
    assert kept.assigned == {
        name: vm.placement for name, vm in vms.items() if vm.placement and vm.placement.value.phase is Phase.ASSIGNED
    }
    by_identity = {
        identity: name for name in sorted(vms) if (spec := vms[name].spec) for identity in (spec.value.uuid, name)
    }
    for identity in (*NAMES, UUID, OTHER):
        assert kept.named(identity) == by_identity.get(identity)
    for node in NODES:
        here = {name: vm for name, vm in vms.items() if vm.placement and vm.placement.value.node == node}
        assert kept.on(node) == here
        assert former_sessions(snapshot, node, None, vms=kept.on(node)) == former_sessions(snapshot, node, None)


@given(st.lists(a_change, max_size=25))
def test_indexes_are_what_going_through_all_vms_finds_after_any_changes(
    changes: list[tuple[VmName, str, NodeName | None, Phase, int]],
) -> None:
    """Also when a store that was restored defines the same vms at other, earlier revisions."""
    assembler = Assembler(KEYS)
    placed = Placement(vm=NAMES[0], epoch=Epoch(1), phase=Phase.HELD, reason=WHY, since=0.0)
    for name, what, node, phase, number in changes:
        created = Revision(number)
        match what:
            case "spec":
                value = encode(VmSpec(name=name, xml="<domain/>", uuid=UUID if number % 3 else OTHER))
                assembler.put(KEYS.vm_spec(name), value, created=created, modified=created, lease=LeaseId(0))
            case "placement":
                session = SessionId(f"s-{number}") if node else None
                value = encode(replace(placed, vm=name, phase=phase, node=node, session=session))
                assembler.put(KEYS.placement(name), value, created=created, modified=created, lease=LeaseId(0))
            case "removed":
                value = encode(RemovedVm(id="r", vm=name, uuid=UUID, at=0.0))
                assembler.put(KEYS.removed("r"), value, created=created, modified=created, lease=LeaseId(0))
            case "no removed":
                assembler.delete(KEYS.removed("r"))
            case "no spec":
                assembler.delete(KEYS.vm_spec(name))
            case "no placement":
                assembler.delete(KEYS.placement(name))
            case _:
                left, assembler = assembler, assembler.copy()
                left.delete(KEYS.placement(name))
                agree(left)
        agree(assembler)
