"""Which vms may run on a node at all, whatever its state and its room: by their failover domain and hard rules."""

from collections.abc import Iterator

from vmha.model.ids import NodeName
from vmha.model.vm import VmSpec
from vmha.policy.affinity import misfit
from vmha.policy.snapshot import Snapshot


def vms_that_may_run_on(node: NodeName, snapshot: Snapshot) -> Iterator[VmSpec]:
    of = {name: service for service in snapshot.services.values() for name in service.members}
    labels = [rule for rule in snapshot.rules.values() if rule.hard and rule.vms]
    for _, vm in sorted(snapshot.vms.items()):
        if vm.spec is None:
            continue
        spec = vm.spec.value
        service = of.get(spec.name)
        domain = snapshot.domains.get((service.failover_domain if service else spec.failover_domain) or "")
        if domain is not None and domain.restricted and node not in {member.node for member in domain.members}:
            continue
        if any(spec.name in rule.vms and misfit(rule, node, snapshot) for rule in labels):
            continue
        yield spec
