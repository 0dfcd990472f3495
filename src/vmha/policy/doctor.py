"""What a doctor finds: from what the store says of itself, what is on record, and what every agent said of its host.

Pure: facts in, findings out, each with its remedy. Every kind is in ``KINDS``, and in docs/reference/doctor.md.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from vmha.model.checkup import CheckupAnswer
from vmha.model.ids import NodeName
from vmha.model.records import ArmedLevel
from vmha.model.settings import ClusterConfig
from vmha.model.store_health import LONG_HISTORY, StoreHealth
from vmha.policy.membership import Condition, Verdict
from vmha.policy.snapshot import Snapshot

CLOCK_SLACK_S = 1.0
SIZE_BYTES = 1_300_000_000
"""Of etcd's default quota of 2 GB."""


class Severity(StrEnum):
    ERROR = "error"  # something will not work when it is needed
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``about``: nodes, vms or endpoints, in the order in which the text names them."""

    kind: str
    severity: Severity
    about: tuple[str, ...]
    text: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """An agent's answer; it came between the two instants, by the wall clock of who asked."""

    answer: CheckupAnswer
    asked_at: float
    heard_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """``answers``: of every node that answered. ``unfit_cpus``: whose guests could not run there, of those compared."""

    snapshot: Snapshot
    verdicts: Mapping[NodeName, Verdict]
    store: StoreHealth
    answers: Mapping[NodeName, Heard] = field(default_factory=dict)
    unfit_cpus: Mapping[NodeName, tuple[NodeName, ...]] = field(default_factory=dict)


KINDS: dict[str, tuple[Severity, str]] = {
    "etcd-member-down": (Severity.ERROR, "start etcd there, or take the endpoint out of the agents' settings"),
    "etcd-alarm": (Severity.ERROR, "NOSPACE: etcdctl compact, defrag, alarm disarm; CORRUPT: restore that member"),
    "etcd-version": (Severity.ERROR, "upgrade etcd: 3.5.0 to 3.5.5 can lose or corrupt what they hold"),
    "etcd-versions-differ": (Severity.WARNING, "finish the upgrade of etcd: all members of one version"),
    "etcd-members": (Severity.WARNING, "three or five members, on hosts that do not fail together"),
    "etcd-endpoints": (Severity.WARNING, "name every member of etcd in endpoints, here and on the nodes"),
    "etcd-size": (Severity.WARNING, "etcdctl defrag, one member at a time; raise --quota-backend-bytes if it grows"),
    "etcd-no-compaction": (
        Severity.WARNING,
        "start etcd with --auto-compaction-retention=1h",
    ),
    "etcd-slow-elections": (Severity.WARNING, "lower etcd's --election-timeout, or choose the profile default"),
    "no-leader": (Severity.ERROR, "vmha node list: an agent has to reach etcd and have a session"),
    "unreadable-key": (Severity.ERROR, "look at the key with etcdctl get, and apply the object anew (vmha apply)"),
    "node-not-armed": (Severity.ERROR, "start vmha-guard on it: without it nothing ends its guests when it is cut off"),
    "node-without-watchdog": (
        Severity.WARNING,
        "load a watchdog driver: a guard that hangs is not reset",
    ),
    "node-not-fit": (Severity.ERROR, "vmha node why NODE says what is wrong there"),
    "node-silent": (Severity.ERROR, "vmha node why NODE says what its vms wait for"),
    "node-without-answer": (
        Severity.ERROR,
        "look at its agent's log, and at its version",
    ),
    "agents-differ": (Severity.WARNING, "finish the upgrade of vmha: agents of one version on all nodes"),
    "clock-off": (Severity.WARNING, "run an NTP client (chrony) on it"),
    "unreachable": (Severity.ERROR, "as the text says; vms can not migrate that way"),
    "kinds-differ": (Severity.ERROR, "switch virtualisation on in that host's firmware, or load kvm"),
    "cpu-unfit": (
        Severity.ERROR,
        "give guests what virsh hypervisor-cpu-baseline finds, or part the hosts by rules",
    ),
    "machine-missing": (
        Severity.ERROR,
        "install the same QEMU there, or choose another machine type in its XML",
    ),
    "machines-differ": (
        Severity.WARNING,
        "the same QEMU on all hosts: a newer machine type can not go to the others",
    ),
    "disk-unseen": (
        Severity.ERROR,
        "connect its storage there, or keep the vm off that node (vmha rule add)",
    ),
    "autostart-mark": (
        Severity.ERROR,
        "virsh autostart --disable NAME there: it starts beside the cluster",
    ),
    "definition-kept": (
        Severity.WARNING,
        "virsh undefine NAME there, if it is nobody's only copy",
    ),
    "name-clash": (Severity.ERROR, "rename or undefine that domain: the vm can neither start nor migrate there"),
    "uuid-clash": (Severity.ERROR, "give that domain another uuid: the vm can neither start nor migrate there"),
}
"""Each kind with its severity and what to do about it, the way to ``docs/reference/doctor.md``."""


def examine(facts: Facts) -> tuple[Finding, ...]:
    """The errors first, then in the order of ``KINDS``."""
    found = [finding for look in _LOOKS for finding in look(facts)]
    order = list(KINDS)
    return tuple(sorted(found, key=lambda one: (one.severity is not Severity.ERROR, order.index(one.kind), one.about)))


def _found(kind: str, text: str, *about: str, remedy: str = "") -> Finding:
    severity, known = KINDS[kind]
    return Finding(kind=kind, severity=severity, about=about, text=text, remedy=remedy or known)


def _store(facts: Facts) -> Iterator[Finding]:
    return examine_store(facts.store, facts.snapshot.config)


def examine_store(store: StoreHealth, config: ClusterConfig) -> Iterator[Finding]:
    """What etcd says of itself, for a cluster of these settings."""
    for member in store.members:
        if member.trouble:
            yield _found("etcd-member-down", f"etcd at {member.endpoint}: {member.trouble}", member.endpoint)
        if member.version.startswith("3.5.") and member.version.split(".")[2] in tuple("012345"):
            yield _found("etcd-version", f"etcd at {member.endpoint} is {member.version}", member.endpoint)
        if member.size_bytes > SIZE_BYTES:
            size = f"{member.size_bytes / 1e9:.1f} GB"
            yield _found("etcd-size", f"etcd at {member.endpoint} holds {size} on its disk", member.endpoint)
    versions = sorted({member.version for member in store.members if member.version})
    if len(versions) > 1:
        yield _found("etcd-versions-differ", f"etcd's members are of versions {', '.join(versions)}")
    for alarm in store.alarms:
        yield _found("etcd-alarm", f"etcd has raised the alarm {alarm}")
    if store.member_count and (store.member_count < 3 or store.member_count % 2 == 0):
        count = store.member_count
        lost = (count - 1) // 2
        yield _found("etcd-members", f"etcd has {count} member{'s' * (count > 1)}: it survives the loss of {lost}")
    if store.member_count > len(store.members):
        known = ", ".join(member.endpoint for member in store.members)
        yield _found("etcd-endpoints", f"etcd has {store.member_count} members, and only {known} is known here")
    if store.long_history:
        yield _found("etcd-no-compaction", f"etcd still keeps what was changed {LONG_HISTORY} revisions ago")
    if store.least_ttl_s > config.clockwork.lease_ttl_s:
        wanted_s = config.clockwork.lease_ttl_s
        text = f"etcd grants no lease below {store.least_ttl_s} s; the profile counts on {wanted_s} s"
        yield _found("etcd-slow-elections", text)


def _records(facts: Facts) -> Iterator[Finding]:
    if facts.snapshot.leader is None:
        yield _found("no-leader", "no agent leads: nothing is started, moved or recovered")
    for key, why in sorted(facts.snapshot.problems.items()):
        yield _found("unreadable-key", why, key)


_SILENT = (Condition.SUSPECT, Condition.FENCING, Condition.LOST, Condition.OFFLINE)


def _nodes(facts: Facts) -> Iterator[Finding]:
    for name, view in sorted(facts.snapshot.nodes.items()):
        verdict = facts.verdicts[name]
        if verdict.condition in _SILENT:
            yield _found("node-silent", f"{name} {verdict.refusal}", name)
            continue
        status = view.current_status
        if status is not None and status.armed is ArmedLevel.NONE:
            yield _found("node-not-armed", f"{name} has no guard armed", name)
        elif verdict.condition in (Condition.UNFIT, Condition.JOINING):
            yield _found("node-not-fit", f"{name} {verdict.refusal}", name)
        elif status is not None and status.armed is ArmedLevel.GUARD:
            notes = f" ({'; '.join(status.notes)})" if status.notes else ""
            yield _found("node-without-watchdog", f"{name} fences itself by its guard alone{notes}", name)
        heard = facts.answers.get(name)
        if heard is None:
            yield _found("node-without-answer", f"{name} has not answered the check-up", name)
        elif heard.answer.trouble:
            yield _found("node-without-answer", f"{name} could not look: {heard.answer.trouble}", name)
    versions = {view.session.value.version for view in facts.snapshot.nodes.values() if view.session}
    if len(versions) > 1:
        yield _found("agents-differ", f"agents are of versions {', '.join(sorted(versions))}")


def _clocks(facts: Facts) -> Iterator[Finding]:
    for name, heard in sorted(facts.answers.items()):
        ahead, behind = heard.answer.at - heard.heard_at, heard.asked_at - heard.answer.at
        if max(ahead, behind) > CLOCK_SLACK_S:
            how = f"{ahead:.1f} s ahead of" if ahead > behind else f"{behind:.1f} s behind"
            yield _found("clock-off", f"the clock of {name} is {how} the one here", name)


def _pairs(facts: Facts) -> Iterator[Finding]:
    answers = {name: heard.answer for name, heard in sorted(facts.answers.items()) if not heard.answer.trouble}
    for name, answer in answers.items():
        for other, why in sorted(answer.unreached.items()):
            yield _found("unreachable", f"{name} can not migrate to {other}: {why}", name, other)
        for other in facts.unfit_cpus.get(name, ()):
            text = f"{name} lacks what the processor of {other} gives a guest (host-model, by libvirt's comparison)"
            yield _found("cpu-unfit", text, other, name)
    if len({answer.kind for answer in answers.values()}) > 1:
        for name, answer in answers.items():
            if answer.kind != "kvm":
                yield _found("kinds-differ", f"{name} has no KVM ({answer.kind}), and others have", name)
    common = set.intersection(*(set(answer.machines) for answer in answers.values())) if answers else set()
    for name, answer in answers.items():
        if more := sorted(set(answer.machines) - common):
            few = ", ".join(more[-3:]) + (f" and {len(more) - 3} more" if len(more) > 3 else "")
            yield _found("machines-differ", f"{name} has machine types that not all nodes have: {few}", name)


def _vms(facts: Facts) -> Iterator[Finding]:
    for name, heard in sorted(facts.answers.items()):
        for vm, paths in sorted(heard.answer.unseen.items()):
            yield _found("disk-unseen", f"{name} may run {vm}, and does not see {', '.join(paths)}", name, vm)
        for vm, machine in sorted(heard.answer.lacking.items()):
            yield _found("machine-missing", f"{name} may run {vm}, and has no machine type {machine}", name, vm)


def _domains(facts: Facts) -> Iterator[Finding]:
    specs = {name: vm.spec.value for name, vm in facts.snapshot.vms.items() if vm.spec}
    by_uuid = {spec.uuid.lower(): spec for spec in specs.values()}
    by_name = {spec.name: spec for spec in specs.values()}
    for name, heard in sorted(facts.answers.items()):
        for one in heard.answer.domains:
            same_name, same_uuid = by_name.get(one.name), by_uuid.get(one.uuid.lower())
            spec = same_name or same_uuid
            if spec is None:
                continue
            if same_name is None:
                text = f"{name} has a domain {one.name} with the uuid of {spec.name}"
                yield _found("uuid-clash", text, name, spec.name)
            elif one.uuid.lower() != spec.uuid.lower():
                text = f"{name} has another domain {one.name} (uuid {one.uuid}, the vm's is {spec.uuid})"
                yield _found("name-clash", text, name, spec.name)
            elif not one.runs and not (spec.definition is not None and spec.definition.persistent):
                yield _found("definition-kept", f"{name} keeps a persistent definition of {spec.name}", name, spec.name)
            if one.autostart:
                yield _found("autostart-mark", f"{name} has an autostart mark on {one.name}", name, spec.name)


_LOOKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (_store, _records, _nodes, _clocks, _pairs, _vms, _domains)
