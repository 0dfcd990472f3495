"""The document that ``vmha simulate`` reads: a cluster, what runs in it, and what happens to it, step by step.

docs/reference/simulation.md explains it with examples; ``vmha simulate --schema`` prints its JSON Schema.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from vmha.model.document import Document
from vmha.model.health import Probe
from vmha.model.relations import Needs, Rank
from vmha.model.rules import Labels, Rule
from vmha.model.service import Service
from vmha.model.settings import ClusterConfig
from vmha.model.standing import Failback, OnPause
from vmha.model.vm import AfterShutdown, Desired, FailoverDomain, Migration, Name, NodeCapacity, OnDuplicate, Recovery
from vmha.operator.rules import conflicts

Seconds = Annotated[float, Field(ge=0, le=1_000_000)]
Count = Annotated[int, Field(ge=1, le=1000)]


class Fence(StrEnum):
    """A node's power switch, as fence agents reach it."""

    WORKS = "works"
    BROKEN = "broken"
    NONE = "none"


class SimNode(Document):
    name: Name
    memory_mib: Annotated[int, Field(ge=1)] = 16384
    vcpus: Annotated[int, Field(ge=1)] = 8
    watchdog_s: Annotated[int, Field(ge=0, le=600)] = Field(
        default=0, description="Timeout of its watchdog device in seconds; 0: it has none."
    )
    fence: bool | Fence = Field(default=False, description="true or 'works', 'broken', false or 'none'.")
    on: bool = Field(default=True, description="Has power when the simulation begins.")
    labels: Labels = Field(default_factory=dict, description="What rules tell it by.")
    capacity: NodeCapacity = NodeCapacity()
    maintenance: bool = Field(default=False, description="Drained when the simulation begins.")

    @property
    def switch(self) -> Fence:
        if isinstance(self.fence, bool):
            return Fence.WORKS if self.fence else Fence.NONE
        return self.fence


class StartFault(Document):
    node: Name
    times: Count = 1
    message: str = "could not open its disk"


class SimFaults(Document):
    """What goes wrong with a vm by itself."""

    start_fails: tuple[StartFault, ...] = ()
    migration_fails: Annotated[int, Field(ge=0, le=1000)] = Field(default=0, description="So many times, half-way.")
    ignores_acpi: bool = Field(default=False, description="The guest does not react to a shutdown.")


class SimVm(Document):
    """A vm as ``vmha apply`` takes it, but for its XML, which follows from its size."""

    name: Name
    memory_mib: Annotated[int, Field(ge=1)] = 1024
    vcpus: Annotated[int, Field(ge=1)] = 1
    desired: Desired = Desired.RUNNING
    failover_domain: Name | None = None
    priority: Annotated[int, Field(ge=0, le=1000)] = 100
    recovery: Recovery = Recovery.RESTART
    max_restarts: Annotated[int, Field(ge=0)] = 0
    restart_window_s: Annotated[float, Field(ge=0)] = 0.0
    on_guest_shutdown: AfterShutdown = AfterShutdown.RESTART
    on_outside_stop: AfterShutdown = AfterShutdown.RESTART
    start_timeout_s: Annotated[float, Field(ge=1, le=86400)] = 60.0
    stop_timeout_s: Annotated[float, Field(ge=1, le=86400)] = 120.0
    no_kill: bool = False
    migration: Migration = Migration()
    probes: tuple[Probe, ...] = ()
    autostart: bool = True
    exclusive: Rank = 0
    depends_on: Needs = ()
    failback: Failback = Failback()
    on_pause: OnPause = OnPause()
    on_duplicate: OnDuplicate = OnDuplicate.PAUSE
    running_on: Name | None = Field(default=None, description="Runs there already, started by hand, before vmha.")
    migration_s: Annotated[float, Field(gt=0, le=86400)] | None = Field(
        default=None, description="How long its migrations take (0.5 s when not given)."
    )
    faults: SimFaults = SimFaults()

    def spec_fields(self) -> dict[str, Any]:
        """What ``vmha.operator`` takes; the rest is the simulation's."""
        own = {"name", "vcpus", "memory_mib", "running_on", "migration_s", "faults"}
        return {field: getattr(self, field) for field in type(self).model_fields if field not in own}


class VmTo(Document):
    vm: Name
    to: Name


class VmMaybeTo(Document):
    vm: Name
    to: Name | None = None


class VmOn(Document):
    vm: Name
    on: Name


class StartWillFail(StartFault):
    vm: Name


class MigrationWillFail(Document):
    vm: Name
    times: Count = 1


class Step(Document):
    """One thing that happens: exactly one verb. ``at`` in seconds since the vms were added; without it the step waits
    until the cluster has come to rest."""

    at: Seconds | None = None

    # hosts
    power_off: Name | None = Field(default=None, description="Node: the cord is pulled.")
    power_on: Name | None = Field(default=None, description="Node: booted, its services up.")
    shutdown: Name | None = Field(default=None, description="Node: in good order, its vms leave first.")
    cut: Name | None = Field(default=None, description="Node: no network.")
    heal: Name | None = None
    freeze: Name | None = Field(default=None, description="Node: the whole machine stands still.")
    thaw: Name | None = None
    agent_stop: Name | None = Field(default=None, description="Node: its agent is killed and stays away.")
    agent_start: Name | None = None
    libvirtd_stop: Name | None = None
    libvirtd_start: Name | None = None
    break_switch: Name | None = Field(default=None, description="Node: its power switch does not answer.")
    mend_switch: Name | None = None
    # the store
    etcd_stop: Literal[True] | None = None
    etcd_start: Literal[True] | None = None
    # an operator
    drain: Name | None = None
    undrain: Name | None = None
    confirm_off: Name | None = Field(default=None, description="Node: an operator's word that it is off.")
    add: SimVm | None = None
    remove: Name | None = None
    start: Name | None = None
    stop: Name | None = None
    enable: Name | None = None
    disable: Name | None = None
    restart: Name | None = None
    migrate: VmTo | None = None
    relocate: VmMaybeTo | None = None
    confirm_gone: Name | None = None
    # the guest
    guest_crash: Name | None = Field(default=None, description="Vm: its QEMU dies.")
    guest_hang: Name | None = Field(default=None, description="Vm: it runs, and answers no probe until it is booted.")
    guest_shutdown: Name | None = Field(default=None, description="Vm: the guest powers itself off.")
    # by hand, past vmha
    virsh_start: VmOn | None = None
    virsh_destroy: Name | None = None
    virsh_suspend: Name | None = None
    virsh_resume: Name | None = None
    virsh_migrate: VmTo | None = Field(default=None, description="'to' a name that is no node leaves the cluster.")
    # faults to come
    fail_start: StartWillFail | None = None
    fail_migration: MigrationWillFail | None = None
    # nothing
    wait: Seconds | None = Field(default=None, description="So many seconds.")

    @model_validator(mode="after")
    def _one_verb(self) -> Self:
        verbs = self.given()
        if len(verbs) != 1:
            said = f"names {' and '.join(verbs)}" if verbs else "names no verb"
            raise ValueError(f"{said} (accepted: exactly one of {', '.join(VERBS)})")
        return self

    def given(self) -> list[str]:
        return [verb for verb in VERBS if getattr(self, verb) is not None]

    @property
    def verb(self) -> str:
        return self.given()[0]

    @property
    def argument(self) -> Any:
        return getattr(self, self.verb)


VERBS = tuple(name for name in Step.model_fields if name != "at")
_HOST_VERBS = ("power_off", "power_on", "shutdown", "cut", "heal", "freeze", "thaw", "break_switch", "mend_switch")
_DAEMON_VERBS = ("agent_stop", "agent_start", "libvirtd_stop", "libvirtd_start")
NODE_VERBS = frozenset((*_HOST_VERBS, *_DAEMON_VERBS, "drain", "undrain", "confirm_off"))


class Settling(Document):
    """When is the cluster at rest: nothing planned, nothing under way, nothing changed for ``quiet_s``."""

    quiet_s: Annotated[float, Field(gt=0, le=3600)] = 4.0
    at_most_s: Annotated[float, Field(gt=0, le=86400)] = Field(
        default=300.0, description="A step that waits for rest happens after this long all the same."
    )


class Scenario(Document):
    name: str = ""
    config: ClusterConfig = ClusterConfig()
    nodes: Annotated[tuple[SimNode, ...], Field(min_length=1, max_length=100)]
    failover_domains: tuple[FailoverDomain, ...] = ()
    vms: tuple[SimVm, ...] = ()
    services: tuple[Service, ...] = ()
    rules: tuple[Rule, ...] = ()
    settling: Settling = Settling()
    steps: tuple[Step, ...] = ()

    def misfits(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """References that lead nowhere, names given twice, times that go back: place and words."""
        nodes = [node.name for node in self.nodes]
        domains = [domain.name for domain in self.failover_domains]
        yield from _twice("nodes", nodes)
        yield from _twice("failover_domains", domains)
        yield from _twice("vms", [vm.name for vm in self.vms])
        yield from _twice("services", [service.name for service in self.services])
        yield from _twice("rules", [rule.name for rule in self.rules])
        for at, domain in enumerate(self.failover_domains):
            for number, member in enumerate(domain.members):
                yield from _unknown(("failover_domains", at, "members", number, "node"), "node", member.node, nodes)
        for at, vm in enumerate(self.vms):
            yield from _misfits_of_vm(("vms", at), vm, nodes, domains)
        vms = [vm.name for vm in self.vms]
        for at, service in enumerate(self.services):
            for number, name in enumerate(service.members):
                yield from _unknown(("services", at, "members", number), "vm", name, vms)
            if (name := service.failover_domain or "") and name not in domains:
                yield from _unknown(("services", at, "failover_domain"), "failover domain", name, domains)
        for at, rule in enumerate(self.rules):
            for number, name in enumerate(rule.names):
                yield from _unknown(("rules", at, rule.kind, number), "vm", name, vms)
        rules = {rule.name: rule for rule in self.rules}
        for conflict in conflicts(rules, self.services):
            yield ("rules", list(rules).index(conflict.rules[-1])), conflict.text
        latest = 0.0
        for at, step in enumerate(self.steps):
            place: tuple[str | int, ...] = ("steps", at)
            if step.at is not None:
                if step.at < latest:
                    yield (*place, "at"), f"{step.at:g}: comes before the step above (accepted: at least {latest:g})"
                latest = max(latest, step.at)
            if step.add:
                yield from _misfits_of_vm((*place, "add"), step.add, nodes, domains)
                vms.append(step.add.name)
            yield from _misfits_of_step(place, step, nodes, vms)


def _misfits_of_vm(
    place: tuple[str | int, ...], vm: SimVm, nodes: list[str], domains: list[str]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if vm.failover_domain:
        yield from _unknown((*place, "failover_domain"), "failover domain", vm.failover_domain, domains)
    if vm.running_on:
        yield from _unknown((*place, "running_on"), "node", vm.running_on, nodes)
    for number, fault in enumerate(vm.faults.start_fails):
        yield from _unknown((*place, "faults", "start_fails", number, "node"), "node", fault.node, nodes)


def _misfits_of_step(
    place: tuple[str | int, ...], step: Step, nodes: list[str], vms: list[str]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    place = (*place, step.verb)
    match step.argument:
        case str(name) if step.verb in NODE_VERBS:
            yield from _unknown(place, "node", name, nodes)
        case str(name):
            yield from _unknown(place, "vm", name, vms)
        case VmTo(vm=vm, to=to) | VmMaybeTo(vm=vm, to=to):
            yield from _unknown((*place, "vm"), "vm", vm, vms)
            if to is not None and step.verb != "virsh_migrate":
                yield from _unknown((*place, "to"), "node", to, nodes)
        case VmOn(vm=vm, on=on):
            yield from _unknown((*place, "vm"), "vm", vm, vms)
            yield from _unknown((*place, "on"), "node", on, nodes)
        case StartWillFail(vm=vm, node=node):
            yield from _unknown((*place, "vm"), "vm", vm, vms)
            yield from _unknown((*place, "node"), "node", node, nodes)
        case MigrationWillFail(vm=vm):
            yield from _unknown((*place, "vm"), "vm", vm, vms)


def _unknown(
    place: tuple[str | int, ...], kind: str, name: str, known: list[str]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if name not in known:
        yield place, f"{name!r}: no such {kind} (accepted: {', '.join(sorted(set(known))) or f'there is no {kind}'})"


def _twice(part: str, names: list[str]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for at, name in enumerate(names):
        if name in names[:at]:
            yield (part, at, "name"), f"{name!r}: given twice (accepted: each name once)"
