"""What a vm says about others, held against the cluster: what it needs is there, and nothing needs itself."""

from collections.abc import Collection, Iterable, Iterator, Mapping

from vmha.model.errors import Rejected
from vmha.model.ids import VmName
from vmha.model.relations import find_cycle
from vmha.model.vm import VmSpec
from vmha.operator.errors import unknown_name
from vmha.operator.yaml_source import Complaint
from vmha.policy.state.snapshot import Snapshot

NO_CIRCLE = "an order in which they can start"


def check_needs(spec: VmSpec, snapshot: Snapshot) -> None:
    """Raises: UnknownName with the near names, or Rejected with the circle."""
    needs = {**needs_of(specs_of(snapshot)), spec.name: [need.vm for need in spec.depends_on]}
    for name in needs[spec.name]:
        if name not in needs:
            raise unknown_name("vm", name, needs)
    if cycle := find_cycle(needs, spec.name):
        raise Rejected(f"vm {spec.name}: depends_on: {in_a_circle(cycle)}", accepted=NO_CIRCLE)


def wrong_needs(specs: Mapping[str, VmSpec], others: Iterable[VmSpec]) -> Iterator[Complaint]:
    """The same of a document, whose vms are ``specs`` in its order; ``others`` stay beside them."""
    needs = {**needs_of(others), **needs_of(specs.values())}
    for index, spec in enumerate(specs.values()):
        for place, need in enumerate(spec.depends_on):
            path = ("vms", index, "depends_on", place)
            if need.vm not in needs:
                yield Complaint(path=path, text=f"{need.vm!r}: there is no such vm (accepted: {_some(needs)})")
            elif cycle := find_cycle({**needs, spec.name: [need.vm]}, spec.name):
                yield Complaint(path=path, text=f"{in_a_circle(cycle)} (accepted: {NO_CIRCLE})")


def all_needed(spec: VmSpec, snapshot: Snapshot) -> list[VmName]:
    """Directly or by others. Whoever changes one of them at the same time might close a circle."""
    needs = needs_of(specs_of(snapshot))
    found = dict.fromkeys(need.vm for need in spec.depends_on)
    names = list(found)
    for name in names:
        names += [needed for needed in needs.get(name, ()) if needed not in found]
        found |= dict.fromkeys(needs.get(name, ()))
    return [VmName(name) for name in names]


def who_needs(name: str, snapshot: Snapshot) -> list[str]:
    return sorted(spec.name for spec in specs_of(snapshot) if any(need.vm == name for need in spec.depends_on))


def specs_of(snapshot: Snapshot) -> list[VmSpec]:
    return [vm.spec.value for vm in snapshot.vms.values() if vm.spec]


def needs_of(specs: Iterable[VmSpec]) -> dict[str, list[str]]:
    return {spec.name: [need.vm for need in spec.depends_on] for spec in specs}


def in_a_circle(names: Iterable[str]) -> str:
    return f"these need each other in a circle: {' -> '.join(names)}"


def _some(names: Collection[str]) -> str:
    known = sorted(names)
    return ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
