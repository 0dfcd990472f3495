"""What a doctor finds: from what the store says of itself, what is on record, and what every agent said of its host.

Pure: facts in, findings out, each with its remedy. Every kind is in ``KINDS``, and in docs/reference/doctor.md.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from vmha.model.checkup import CheckupAnswer
from vmha.model.domain_secrets import REMEDY as KEEP_OUT
from vmha.model.domain_secrets import find_passwords, say_readable
from vmha.model.fence_answer import FenceAnswer
from vmha.model.ids import NodeName
from vmha.model.records import ArmedLevel
from vmha.model.settings import ClusterConfig, FenceSecrets
from vmha.model.store_health import LONG_HISTORY, StoreHealth
from vmha.policy.members.membership import Condition, Verdict
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.telling.another_store import REMEDY, SILENT, left_at_another, say_left
from vmha.policy.telling.doctor_fence import fence_findings, readable_secrets

CLOCK_SLACK_S = 1.0
DEFAULT_QUOTA_BYTES = 2 << 30
"""Etcd's own, where its settings name none."""
FULL = 0.6
"""Of its quota: more of it used is told."""


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
    """``answers``: of every node that answered. ``again``: of those that were then asked with what all had said.

    ``can_ask`` False: the store has no space for a question, and that is told.
    ``store_id``: of the etcd that all of this was read from.
    ``fence``: of the nodes' fence devices, asked from here. None: they were not, because this is no node.
    """

    snapshot: Snapshot
    verdicts: Mapping[NodeName, Verdict]
    store: StoreHealth
    answers: Mapping[NodeName, Heard] = field(default_factory=dict)
    again: Mapping[NodeName, CheckupAnswer] = field(default_factory=dict)
    can_ask: bool = True
    store_id: str = ""
    fence: Mapping[NodeName, tuple[FenceAnswer, ...]] | None = field(default_factory=dict)


KINDS: dict[str, tuple[Severity, str]] = {
    "etcd-member-down": (Severity.ERROR, "start etcd there, or take the endpoint out of the agents' settings"),
    "etcd-alarm": (Severity.ERROR, "NOSPACE: etcdctl compact, defrag, alarm disarm; CORRUPT: restore that member"),
    "etcd-version": (Severity.ERROR, "upgrade etcd: 3.5.0 to 3.5.5 can lose or corrupt what they hold"),
    "etcd-versions-differ": (Severity.WARNING, "finish the upgrade of etcd: all members of one version"),
    "etcd-members": (Severity.WARNING, "three or five members, on hosts that do not fail together"),
    "etcd-endpoints": (Severity.WARNING, "name every member of etcd in endpoints, here and on the nodes"),
    "etcd-size": (Severity.WARNING, "etcdctl defrag, one member at a time; raise --quota-backend-bytes if it grows"),
    "etcd-quota": (
        Severity.WARNING,
        "start every member with --quota-backend-bytes=4294967296: one that is full takes no write at all",
    ),
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
    "node-at-another-etcd": (Severity.ERROR, REMEDY),
    "node-without-answer": (
        Severity.ERROR,
        "look at its agent's log, and at its version",
    ),
    "agents-differ": (Severity.WARNING, "finish the upgrade of vmha: agents of one version on all nodes"),
    "clock-off": (Severity.WARNING, "run an NTP client (chrony) on it"),
    "fence-says-off": (
        Severity.ERROR,
        "right its options (address, plug) at once: of another machine its word for off would run a vm twice",
    ),
    "fence-missing": (
        Severity.ERROR,
        "install it on every node (apt-get install fence-agents): whichever leads runs it",
    ),
    "fence-login": (
        Severity.ERROR,
        "right user, password or plug in its options (vmha apply), or the user's rights",
    ),
    "fence-hangs": (Severity.ERROR, "see that the device answers to this host; one that is slow needs more timeout_s"),
    "fence-garbles": (Severity.ERROR, "try it by hand: it has to end with 0 for on, 2 for off, 1 when it can not tell"),
    "fence-fails": (Severity.ERROR, "try it by hand with action=status: the address, the device, its network"),
    "fence-slow": (Severity.WARNING, "find out what it waits for; for IPMI name a cipher in its options"),
    "fence-secret-readable": (
        Severity.WARNING,
        "keep it on the hosts: password_script, a program that prints it; then change it: backups have this one",
    ),
    "fence-secrets-stored": (
        Severity.WARNING,
        "umask 077; vmha export > c.yaml; sed -i 's/secrets: stored/secrets: files/' c.yaml; vmha apply c.yaml",
    ),
    "fence-not-asked": (Severity.WARNING, "vmha doctor on a node, or --fence to ask them from here, or --no-fence"),
    "unreachable": (Severity.ERROR, "as the text says; vms can not migrate that way"),
    "way-barred": (Severity.ERROR, "as the text says; or give those vms another migration.transport"),
    "ports-shut": (
        Severity.ERROR,
        "let TCP 49152 to 49215 (migration_port_min, _max in qemu.conf) through, or migrate tunnelled",
    ),
    "qemu-distrusts": (
        Severity.ERROR,
        "certificates of one authority in /etc/pki/qemu on both, naming the migration_address, or migrate tunnelled",
    ),
    "tls-lets-all-in": (
        Severity.WARNING,
        "have it know the hosts by a list of their names (vmha pki libvirt prints the line), and restart its daemon",
    ),
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
    "disk-unserved": (
        Severity.ERROR,
        "see that the server runs and is reached from there (cable, route, firewall), or keep the vm off that node",
    ),
    "disk-server-silent": (
        Severity.WARNING,
        "see that the server runs and is reached from there (cable, route, firewall)",
    ),
    "vm-secret-readable": (
        Severity.WARNING,
        f"keep it on the hosts: {KEEP_OUT}; then change it: backups have this one",
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
        quota = DEFAULT_QUOTA_BYTES if member.quota_bytes is None else member.quota_bytes
        if quota and member.size_bytes > FULL * quota:
            text = f"etcd at {member.endpoint} holds {_gb(member.size_bytes)} on its disk, and may hold {_gb(quota)}"
            yield _found("etcd-size", text, member.endpoint)
        if 0 < quota < DEFAULT_QUOTA_BYTES:
            text = f"etcd at {member.endpoint} may hold {_gb(quota)} only, and etcd's own default is 2.1 GB"
            yield _found("etcd-quota", text, member.endpoint)
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


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def _records(facts: Facts) -> Iterator[Finding]:
    if facts.snapshot.leader is None:
        yield _found("no-leader", "no agent leads: nothing is started, moved or recovered")
    for key, why in sorted(facts.snapshot.problems.items()):
        yield _found("unreadable-key", why, key)


def _nodes(facts: Facts) -> Iterator[Finding]:
    left = left_at_another(facts.snapshot, facts.verdicts, facts.store_id)
    if left:
        yield _found("node-at-another-etcd", say_left(facts.snapshot, left, facts.store_id), *left)
    for name, view in sorted(facts.snapshot.nodes.items()):
        verdict = facts.verdicts[name]
        if name in left:
            continue
        if verdict.condition in SILENT:
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
            if facts.can_ask:
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


def _fence(facts: Facts) -> Iterator[Finding]:
    if facts.fence is None:
        fenced = sorted(name for name, view in facts.snapshot.nodes.items() if view.spec and view.spec.value.fence)
        if fenced:
            some = _some(tuple(fenced))
            yield _found("fence-not-asked", f"fence devices ({some}) were not asked: this host is no node", *fenced)
        return
    for kind, text, node in fence_findings(facts.fence, facts.verdicts):
        yield _found(kind, text, node)


def _fence_secrets(facts: Facts) -> Iterator[Finding]:
    for kind, text, node in readable_secrets(facts.snapshot.nodes):
        yield _found(kind, text, node)
    if facts.snapshot.config.fencing.secrets is FenceSecrets.STORED:
        text = "by config (fencing.secrets: stored) a document may bring passwords of fence devices into etcd"
        yield _found("fence-secrets-stored", text)


def _vm_secrets(facts: Facts) -> Iterator[Finding]:
    for name, view in sorted(facts.snapshot.vms.items()):
        if view.spec and (places := find_passwords(view.spec.value.xml)):
            yield _found("vm-secret-readable", say_readable(name, list(places)), name)


def _pairs(facts: Facts) -> Iterator[Finding]:
    answers = {name: heard.answer for name, heard in sorted(facts.answers.items()) if not heard.answer.trouble}
    for name, answer in answers.items():
        for other, why in sorted(answer.unreached.items()):
            yield _found("unreachable", f"{name} can not migrate to {other}: {why}", name, other)
        for way in answer.barred:
            text = f"{name} can not migrate {_some(way.vms)} to {way.to} by {way.transport}: {way.why}"
            yield _found("way-barred", text, name, way.to, *way.vms)
        again = facts.again.get(name)
        if again is None:
            continue
        for other, why in sorted((again.shut or {}).items()):
            door = answers[other].door if other in answers else None
            port = f"port {door.port} of {other}" if door else other
            text = f"a guest's memory would not come from {name} to {port}, where QEMU would await it: {why}"
            yield _found("ports-shut", text, name, other)
        for other, why in sorted((again.distrusted or {}).items()):
            text = f"a guest's memory would not go encrypted from {name} to {other}: {why}"
            yield _found("qemu-distrusts", text, name, other)
        for other in again.unfit_cpus or ():
            text = f"{name} lacks what the processor of {other} gives a guest (host-model, by libvirt's comparison)"
            yield _found("cpu-unfit", text, other, name)
    by_tls = {other for answer in answers.values() for other in answer.by_tls}
    for name in sorted(by_tls & answers.keys()):
        if why := answers[name].tls_lets_in:
            text = f"libvirt of {name} lets others than the hosts in by TLS, and who is in is root: {why}"
            yield _found("tls-lets-all-in", text, name)
    if len({answer.kind for answer in answers.values()}) > 1:
        for name, answer in answers.items():
            if answer.kind != "kvm":
                yield _found("kinds-differ", f"{name} has no KVM ({answer.kind}), and others have", name)
    common = set.intersection(*(set(answer.machines) for answer in answers.values())) if answers else set()
    for name, answer in answers.items():
        if more := sorted(set(answer.machines) - common):
            few = _some(tuple(reversed(more)))
            yield _found("machines-differ", f"{name} has machine types that not all nodes have: {few}", name)


def _some(names: tuple[str, ...], at_most: int = 3, *, and_more: int = 0) -> str:
    left = max(0, len(names) - at_most) + and_more
    more = f" and {left} more" if left else ""
    return ", ".join(names[:at_most]) + more


def _vms(facts: Facts) -> Iterator[Finding]:
    for name, heard in sorted(facts.answers.items()):
        for vm, paths in sorted(heard.answer.unseen.items()):
            yield _found("disk-unseen", f"{name} may run {vm}, and does not see {', '.join(paths)}", name, vm)
        for vm, machine in sorted(heard.answer.lacking.items()):
            yield _found("machine-missing", f"{name} may run {vm}, and has no machine type {machine}", name, vm)
        if heard.answer.more:
            kind = "disk-unseen" if heard.answer.unseen else "machine-missing"
            yield _found(kind, f"{name} lacks the same for {heard.answer.more} more vms, not told one by one", name)


def _disk_servers(facts: Facts) -> Iterator[Finding]:
    for name, heard in sorted(facts.answers.items()):
        for one in heard.answer.unserved:
            vms, where = _some(one.vms, and_more=one.more), f"{one.server} ({one.protocol}): {one.why}"
            if one.is_spared:
                text = f"{name} may run {vms}, and of several servers of its disks does not reach {where}"
                yield _found("disk-server-silent", text, name, one.server, *one.vms)
            else:
                text = f"{name} may run {vms}, and does not reach the disks at {where}"
                yield _found("disk-unserved", text, name, one.server, *one.vms)
        if heard.answer.more_unserved:
            text = f"{name} does not reach {heard.answer.more_unserved} more servers of disks, not told one by one"
            yield _found("disk-unserved", text, name)


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


_LOOKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    _store,
    _records,
    _nodes,
    _clocks,
    _fence,
    _fence_secrets,
    _vm_secrets,
    _pairs,
    _vms,
    _disk_servers,
    _domains,
)
