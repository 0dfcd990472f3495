"""Which vms may run on a node at all, whatever its state and its room: by their failover domain and hard rules."""

from collections.abc import Iterator

from vmha.model.ids import NodeName
from vmha.model.vm import VmSpec
from vmha.policy.placing.rule_book import misfit
from vmha.policy.state.snapshot import Snapshot


def vms_that_may_run_on(node: NodeName, snapshot: Snapshot) -> Iterator[VmSpec]:
    may = MayRun(snapshot)
    return (vm.spec.value for _, vm in sorted(snapshot.vms.items()) if vm.spec and may.run(vm.spec.value, node))


class MayRun:
    """The same of single vms; what it needs of all services and rules is looked for once."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._service_of = {name: service for service in snapshot.services.values() for name in service.members}
        self._rules = [rule for rule in snapshot.rules.values() if rule.hard and rule.vms]

    def run(self, spec: VmSpec, node: NodeName) -> bool:
        service = self._service_of.get(spec.name)
        domain = self._snapshot.domains.get((service.failover_domain if service else spec.failover_domain) or "")
        if domain is not None and domain.restricted and all(member.node != node for member in domain.members):
            return False
        return not any(spec.name in rule.vms and misfit(rule, node, self._snapshot) for rule in self._rules)
