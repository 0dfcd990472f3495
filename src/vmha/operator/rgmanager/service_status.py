"""What clustat showed, taken from one reading of the cluster: members and services, as text and as XML.

Node ids are cman's; vmha has none. A node's id here is its place in the sorted list of nodes, from 1 on: it changes
when a node is added before it. RGManager's members that vmha can not have (estranged, a quorum disk) never occur.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from time import ctime
from xml.sax.saxutils import quoteattr

from vmha.model.vm import Desired
from vmha.operator.overview import overview
from vmha.operator.rgmanager.answers import RgState, rg_state
from vmha.operator.service_view import MemberLine, ServiceLine, service_lines
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.telling.explain import VmState

NOBODY = "none"
XML_VERSION = "4.1.1"
FROZEN_FLAG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """``leads``: the node whose agent decides, RGManager's "master"."""

    name: str
    id: int
    is_online: bool
    is_local: bool
    leads: bool

    @property
    def status(self) -> str:
        words = ["Online" if self.is_online else "Offline"]
        words += ["Local"] if self.is_local else []
        words += ["rgmanager"] if self.is_online else []
        return ", ".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One service. Owners are '' when nobody owns it; ``since`` in seconds since 1970, 0 when it never moved."""

    name: str
    state: RgState
    owner: str
    last_owner: str
    restarts: int
    since: float
    is_frozen: bool = False

    @property
    def owner_or_last(self) -> str:
        return self.owner or f"({self.last_owner or NOBODY})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    cluster: str
    generation: int
    members: tuple[Member, ...]
    groups: tuple[Group, ...]
    warnings: tuple[str, ...]
    at: float

    @property
    def local_id(self) -> int | None:
        return next((member.id for member in self.members if member.is_local), None)

    def find_member(self, name: str) -> Member | None:
        return next((member for member in self.members if member.name == name), None)

    def find_group(self, name: str) -> Group | None:
        """By ``vm:NAME``, ``service:NAME``, or a vm's NAME alone."""
        wanted = name if name.startswith(("vm:", "service:")) else f"vm:{name}"
        return next((group for group in self.groups if group.name == wanted), None)


def read_status(snapshot: Snapshot, *, cluster: str, wall: float, local: str) -> Status:
    """Args:
    snapshot: One reading.
    cluster: Its name.
    wall: The time, in seconds since 1970.
    local: The node that asks; it need not be one of the cluster.
    """
    shown = overview(snapshot, cluster=cluster, wall=wall)
    leader = shown.leader.node if shown.leader else None
    members = tuple(
        Member(
            name=line.name,
            id=number,
            is_online=shown.verdicts[line.name].is_alive,
            is_local=line.name == local,
            leads=line.name == leader,
        )
        for number, line in enumerate(shown.nodes, start=1)
    )
    groups = []
    for vm in shown.vms:
        if vm.state is VmState.UNMANAGED:
            continue
        placement = snapshot.vms[vm.name].placement
        state = rg_state(vm.state)
        groups.append(
            Group(
                name=f"vm:{vm.name}",
                state=state,
                owner=(vm.node or "") if state.has_owner else "",
                last_owner=vm.last_node or ((vm.node or "") if not state.has_owner else ""),
                restarts=len(placement.value.restarts) if placement else 0,
                since=vm.since,
                is_frozen=bool(vm.frozen),
            )
        )
    groups += [_of_service(line, groups) for line in service_lines(snapshot, wall=wall)]
    return Status(
        cluster=cluster,
        generation=int(snapshot.revision),
        members=members,
        groups=tuple(groups),
        warnings=shown.warnings,
        at=wall,
    )


def _of_service(line: ServiceLine, vms: Sequence[Group]) -> Group:
    """Started when all of it that is to run does; what one of it lacks shows."""
    parts = [group for member in line.vms for group in vms if group.name == f"vm:{member.name}"]
    to_run = [part for part, vm in zip(parts, _known(line), strict=True) if vm.desired is Desired.RUNNING] or parts
    states = {part.state for part in to_run}
    state = next((state for state in _WORST_FIRST if state in states), RgState.STOPPED)
    if state is RgState.STOPPED and states & {RgState.STARTED, RgState.STARTING}:
        state = RgState.STARTING  # they start one after another
    last = next((part.owner_or_last for part in parts if part.last_owner), "")
    return Group(
        name=f"service:{line.name}",
        state=state,
        owner=(line.node or "") if state.has_owner else "",
        last_owner=last.strip("()"),
        restarts=sum(part.restarts for part in parts),
        since=max((part.since for part in parts), default=0.0),
        is_frozen=any(part.is_frozen for part in parts),
    )


def _known(line: ServiceLine) -> list[MemberLine]:
    return [vm for vm in line.vms if vm.state is not None]


_WORST_FIRST = (
    RgState.FAILED,
    RgState.RECOVERING,
    RgState.STOPPED,
    RgState.DISABLED,
    RgState.STARTING,
    RgState.STOPPING,
    RgState.STARTED,
)


# --- text


def as_text(status: Status, *, long: bool = False) -> list[str]:
    """The whole screen."""
    services = group_text(status.groups, long=long)
    return [*header(status), *member_text(status.members), *(["", *services] if services else [])]


def header(status: Status) -> list[str]:
    return [f"Cluster Status for {status.cluster} @ {ctime(status.at)}", "Member Status: Quorate", ""]


def member_text(members: tuple[Member, ...]) -> list[str]:
    rows = [(member.name, f"{member.id:4d}", member.status) for member in members]
    return _table(("Member Name", "ID  ", "Status"), ("------ ----", "----", "------"), rows)


def group_text(groups: tuple[Group, ...], *, long: bool = False) -> list[str]:
    if not groups:
        return []
    if long:
        return ["Service Information", "------- -----------", "", *(line for each in groups for line in _long(each))]
    rows = [(each.name, each.owner_or_last, each.state.word + (" [Z]" if each.is_frozen else "")) for each in groups]
    titles = ("Service Name", "Owner (Last)", "State")
    return _table(titles, ("------- ----", "----- ------", "-----"), rows)


def _long(group: Group) -> list[str]:
    return [
        f"Service Name      : {group.name}",
        f"  Current State   : {group.state.word} ({int(group.state)})",
        f"  Flags           : {'frozen (1)' if group.is_frozen else 'none (0)'}",
        f"  Owner           : {group.owner or NOBODY}",
        f"  Last Owner      : {group.last_owner or NOBODY}",
        f"  Last Transition : {ctime(group.since) if group.since else 'never'}",
        "",
    ]


def _table(titles: tuple[str, ...], rules: tuple[str, ...], rows: list[tuple[str, str, str]]) -> list[str]:
    """Columns are as wide as they have to be: a name that is cut short is one that a script does not find."""
    widths = [max(len(cell) for cell in column) for column in zip(titles, *rows, strict=True)]
    return [
        " " + " ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (titles, rules, *rows)
    ]


# --- XML


def as_xml(status: Status) -> str:
    """``clustat -x``, attribute for attribute."""
    identity = zlib.crc32(status.cluster.encode()) & 0xFFFF
    lines = [
        '<?xml version="1.0"?>',
        f'<clustat version="{XML_VERSION}">',
        f"  <cluster{_attributes(name=status.cluster, id=identity, generation=status.generation)}/>",
        f"  <quorum{_attributes(quorate=1, groupmember=int(status.local_id is not None))}/>",
        "  <nodes>",
        *(f"    <node{_member_attributes(member)}/>" for member in status.members),
        "  </nodes>",
        "  <groups>",
        *(f"    <group{_group_attributes(group)}/>" for group in status.groups),
        "  </groups>",
        "</clustat>",
    ]
    return "\n".join(lines)


def _member_attributes(member: Member) -> str:
    return _attributes(
        name=member.name,
        state=int(member.is_online),
        local=int(member.is_local),
        estranged=0,
        rgmanager=int(member.is_online),
        rgmanager_master=int(member.leads),
        qdisk=0,
        nodeid=f"0x{member.id:08x}",
    )


def _group_attributes(group: Group) -> str:
    return _attributes(
        name=group.name,
        state=int(group.state),
        state_str=group.state.word,
        flags=FROZEN_FLAG if group.is_frozen else 0,
        flags_str="frozen" if group.is_frozen else "",
        owner=group.owner or NOBODY,
        last_owner=group.last_owner or NOBODY,
        restarts=group.restarts,
        last_transition=int(group.since),
        last_transition_str=ctime(group.since) if group.since else "",
    )


def _attributes(**values: str | int) -> str:
    return "".join(f" {key}={quoteattr(str(value))}" for key, value in values.items())
