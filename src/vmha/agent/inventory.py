"""What runs on this node, kept up to date by the hypervisor's events and published as observations.

An event only says "look again"; a slow poll is the backstop. Until the first whole inventory of a session has been
published, the node may receive no vm: nobody could know what it runs already.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from vmha.agent.ports import AgentPorts
from vmha.agent.session_state import Session
from vmha.hypervisor.port import DomainEvent, DomainState, DomainView
from vmha.model.errors import VmhaError
from vmha.model.ids import Epoch, Revision, SessionId, VmName
from vmha.model.keys import encode
from vmha.model.migration import MigrationProgress
from vmha.model.records import Health, Observation, SeenState
from vmha.policy.at_node.beside import in_order
from vmha.policy.at_node.known import Local
from vmha.policy.at_node.sightings import began, sighting
from vmha.policy.deciding.post_copy import POSTCOPY
from vmha.policy.members.removed import identities
from vmha.policy.state.causes import of_state
from vmha.store.bell import Bell
from vmha.store.port import Compare, Created, Delete, LeaseGone, Op, Put

log = structlog.get_logger(__name__)

POLL_S = 10.0
RETRY_S = 0.5
OPS_PER_TXN = 100
_STOPPED_IN_ITS_RUN = ("ioerror", "watchdog")
"""By what libvirt says of it. What came in standing is said to have been paused by a user, whatever had stopped it."""

_SEEN = {
    DomainState.RUNNING: SeenState.RUNNING,
    DomainState.PAUSED: SeenState.PAUSED,
    DomainState.INCOMING: SeenState.INCOMING,
    DomainState.ARRIVED: SeenState.ARRIVED,
    DomainState.OUTGOING: SeenState.OUTGOING,
    DomainState.SHUTTING_DOWN: SeenState.STOPPING,
    DomainState.CRASHED: SeenState.CRASHED,
}


@dataclass(frozen=True, slots=True)
class Reading:
    """The node's guests at one look: those of the cluster, by vm. ``beside``: more of the same vm."""

    domains: dict[VmName, DomainView]
    beside: dict[VmName, tuple[DomainView, ...]] = field(default_factory=dict)

    def local(self, vm: VmName) -> Local | None:
        view = self.domains.get(vm)
        return _as_local(vm, view) if view is not None else None

    def others(self, vm: VmName) -> tuple[Local, ...]:
        return tuple(_as_local(vm, view) for view in self.beside.get(vm, ()))

    def of(self, vm: VmName) -> tuple[DomainView, ...]:
        """All of them."""
        return (self.domains[vm], *self.beside.get(vm, ())) if vm in self.domains else ()


def _as_local(vm: VmName, view: DomainView) -> Local:
    return Local(
        state=_SEEN[view.state],
        reason=view.reason,
        epoch=view.tag.epoch if view.tag else None,
        tagged=view.tag is not None,
        second=view.tag is not None and view.tag.second,
        aside=view.tag is not None and view.tag.aside,
        migrating=view.migrating,
        has_switched=view.state is DomainState.OUTGOING and view.reason.startswith(POSTCOPY),
        silent=view.silent,
        is_pulling=view.state is DomainState.RUNNING and view.reason == POSTCOPY,
        name=view.name if view.name != vm else "",
    )


class Inventory:
    """``run`` keeps it; ``reading`` is the newest look (None: the hypervisor has not answered yet)."""

    def __init__(
        self,
        ports: AgentPorts,
        *,
        on_change: Callable[[set[VmName]], None],
        read_health: Callable[[VmName, Epoch | None], Health | None] = lambda _vm, _epoch: None,
        names: dict[VmName, str] | None = None,
        gone: dict[VmName, str] | None = None,
    ) -> None:
        self._names, self._gone = {} if names is None else names, {} if gone is None else gone
        self._ports, self._on_change, self._read_health = ports, on_change, read_health
        self._look = Bell()
        self._published: dict[VmName, Observation] = {}
        self._shown: set[VmName] = set()  # of whom the store has shown something else than what was published
        self._written_at = Revision(0)
        self._published_in: tuple[SessionId, str] | None = None  # and since which restore of the store
        self._progress: dict[VmName, str] = {}
        self._migrations: dict[VmName, MigrationProgress] = {}
        self._stopped_at: dict[str, float] = {}
        self._let_go_at: dict[str, float] = {}
        self._have_run: set[str] = set()  # since their QEMU began
        self._is_new = True  # this process has published nothing yet
        self.reading: Reading | None = None
        self.trouble = "the hypervisor has not answered yet"
        self.looked_for = Revision(0)
        """The newest definition of a vm that the published inventory has looked for."""
        self.may_vouch: Callable[[], bool] = lambda: True
        """Whether what is not here now will not be here in a moment: no start of a removed vm is under way."""
        ports.hypervisor.subscribe(self._heard)

    def _heard(self, event: DomainEvent) -> None:
        if event.kind == "suspended":
            self._stopped_at[event.name] = self._ports.clock.now()
            self._let_go_at.pop(event.name, None)
        elif event.kind == "resumed":
            self._let_go_at[event.name] = self._ports.clock.now()
            self._have_run.add(event.name)
        elif event.kind == "started":
            self._have_run.discard(event.name)
        elif event.ending is not None:
            self._stopped_at.pop(event.name, None)
            self._let_go_at.pop(event.name, None)
        if event.name:
            self._on_change({VmName(event.name), *(vm for vm, name in self._names.items() if name == event.name)})
        self._look.set()

    def look_again(self) -> None:
        self._look.set()

    def is_published(self, session: Session | None) -> bool:
        """Has a whole inventory been published in this session, and does the hypervisor still answer?"""
        return session is not None and self._published_in == (session.id, self.history) and not self.trouble

    @property
    def history(self) -> str:
        """The newest record of a restored store: what was published before it may be gone from the store."""
        return self._ports.mirror.restored_as

    def shown(self, vm: VmName) -> None:
        """The store shows a new observation of it by this node, or none any more."""
        if vm not in self._published:
            self._shown.add(vm)

    def forget(self, vm: VmName) -> None:
        """Its observation was taken away together with its claim."""
        self._published.pop(vm, None)
        self._progress.pop(vm, None)

    def show_progress(self, vm: VmName, text: str) -> None:
        """What a long operation has to say; shown with the observation. '' takes it away."""
        if self._progress.get(vm, "") != text:
            self._progress[vm] = text
            self._look.set()

    def show_health(self, vm: VmName, health: Health | None) -> None:
        """Another verdict of its probes is published at once."""
        published = self._published.get(vm)
        if published is not None and published.health != health:
            self._look.set()

    def show_migration(self, vm: VmName, progress: MigrationProgress | None) -> None:
        """How far a migration out of here is; None: it is over."""
        if self._migrations.get(vm) != progress:
            if progress is None:
                del self._migrations[vm]
            else:
                self._migrations[vm] = progress
            self._look.set()

    def stood_s(self, vm: VmName) -> float | None:
        """For how long its guest stood here before it was last let go, if this process has seen both."""
        name = self._names.get(vm, str(vm))
        if name not in self._stopped_at or name not in self._let_go_at:
            return None
        return self._let_go_at[name] - self._stopped_at[name]

    def managed_uuids(self) -> tuple[str, ...]:
        """Identities of this node's guests of the cluster, for the guard; those of removed vms are nobody's."""
        if self.reading is None:
            return ()
        vms = self._ports.mirror.vms
        ours = (
            view.uuid
            for vm in self.reading.domains
            for view in self.reading.of(vm)
            if view.tag is not None or ((known := vms.get(vm)) is not None and (known.spec or known.placement))
        )
        return tuple(sorted(ours))

    async def run(self) -> None:
        while True:
            self._look.clear()
            pause = POLL_S if await self._look_and_publish() else RETRY_S
            await self._look.wait(pause)

    async def refresh(self) -> Reading:
        """Look now. Raises ``HypervisorUnavailable`` when it does not answer: unknown is not absent."""
        views = await self._ports.hypervisor.inventory()
        removed = dict(identities(self._ports.mirror.removed))
        found: dict[VmName, list[DomainView]] = {}
        for view in views:
            vm = self._vm_of(view, removed)
            if vm is not None and view.state is not DomainState.SHUTOFF:
                found.setdefault(vm, []).append(view)
        reading = self._sorted(found)
        for vm, view in reading.domains.items():
            self._note_name(vm, view.name)
        self._recall_names(reading.domains)
        self._note_gone(reading.domains)
        self._have_run = {
            view.name
            for vm in found
            for view in found[vm]
            if view.state is DomainState.RUNNING or view.name in self._have_run
        }
        before = self.reading or Reading({})
        self.reading, self.trouble = reading, ""
        changed = {vm for vm in found.keys() | before.domains.keys() if before.of(vm) != reading.of(vm)}
        if changed:
            self._on_change(changed)
        return self.reading

    def _sorted(self, found: Mapping[VmName, list[DomainView]]) -> Reading:
        """By the one of each vm that is the vm's."""
        domains: dict[VmName, DomainView] = {}
        beside: dict[VmName, tuple[DomainView, ...]] = {}
        vms, me = self._ports.mirror.vms, self._ports.node
        for vm, views in found.items():
            domains[vm] = views[0]
            if len(views) == 1:
                continue
            placed = view.placement.value if (view := vms.get(vm)) and view.placement else None
            last = self.reading.local(vm) if self.reading else None
            by_name = {view.name if view.name != vm else "": view for view in views}
            guests = (_as_local(vm, view) for view in views)
            ordered = in_order(guests, placed, me=me, before=last.name if last else None)
            domains[vm], *others = (by_name[guest.name] for guest in ordered)
            beside[vm] = tuple(others)
        return Reading(domains, beside)

    def _note_name(self, vm: VmName, name: str) -> None:
        """It stays known when the guest has gone: how it ended is asked then."""
        if name != vm:
            self._names[vm] = name
        else:
            self._names.pop(vm, None)

    def _recall_names(self, here: Mapping[VmName, DomainView]) -> None:
        """Of what has gone while no agent was here: a former process has put on record what it was called."""
        for vm, view in self._ports.mirror.indexes.on(self._ports.node).items():
            held = view.placement.value if view.placement else None
            if held is not None and held.guest and held.session is not None and vm not in here:
                self._names.setdefault(vm, held.guest)

    def _note_gone(self, here: Mapping[VmName, DomainView]) -> None:
        """Of those that this node holds, whose own guest has gone while a second copy stands here."""
        for vm, view in here.items():
            if view.tag is None or not view.tag.second:
                self._gone.pop(vm, None)
            elif (own := self._own_name(vm)) not in (None, view.name):
                self._gone[vm] = own
        for vm in [vm for vm in self._gone if vm not in here and self._own_name(vm) is None]:
            del self._gone[vm]

    def _own_name(self, vm: VmName) -> str | None:
        """As it is on record. None: this node does not hold it."""
        known = self._ports.mirror.vm(vm)
        held = known.placement.value if known and known.placement else None
        if held is None or held.node != self._ports.keeper.node or held.session is None:
            return None
        return held.guest or str(vm)

    def is_beside_its_own(self, vm: VmName) -> bool:
        """What is here of it is a second copy, and its own guest, which this node held, has gone by itself."""
        return vm in self._gone

    async def is_empty(self) -> bool:
        """Looks now. Has no vm of the cluster a QEMU here? Unknown is not empty."""
        try:
            return not (await self.refresh()).domains
        except VmhaError as error:
            log.warning("no inventory", why=str(error))
            return False

    async def _look_and_publish(self) -> bool:
        newest = self.newest_definition() if self.may_vouch() else self.looked_for
        try:
            await self.refresh()
        except VmhaError as error:
            self.trouble = str(error)
            log.warning("no inventory", why=str(error))
            return False
        session = self._ports.keeper.current
        if session is None or session.over.is_set():
            return False
        try:
            done = await self._publish(session)
        except VmhaError as error:
            log.warning("inventory not published", why=str(error))
            if isinstance(error, LeaseGone):
                self._ports.journal.forget_lease()
            self._published_in = None  # what has been written is not known: all of it anew
            return False
        if done and newest > self.looked_for:
            self.looked_for = newest
            self._on_change(set())
        return done

    def newest_definition(self) -> Revision:
        """A guest of a vm that is defined later may be here, nobody's yet; or of one that was removed, nobody's now."""
        return self._ports.mirror.indexes.newest_definition()

    def _vm_of(self, view: DomainView, removed: Mapping[str, VmName]) -> VmName | None:
        """Ours by its tag, else by its uuid or name: somebody may have started it by hand.

        By name too, because libvirt draws a new uuid for every start of an XML that has none: such a guest writes to
        the same disks, and a second one must not be started beside it.
        """
        by_name = self._ports.mirror.indexes.named
        known = (by_name(identity) or removed.get(identity) for identity in (view.uuid, view.name))
        named = next((vm for vm in known if vm is not None), None)
        if view.tag is not None and view.tag.cluster == self._ports.keys.cluster and view.tag.vm in (view.name, named):
            return view.tag.vm  # a copy of its XML under another name and uuid bears the mark too, and is not it
        return named

    async def _publish(self, session: Session) -> bool:
        """Write the differences; all of it in the first look of a session. False: to be tried again."""
        assert self.reading
        node = self._ports.node
        now = (session.id, self.history)
        whole = self._published_in != now
        known = await self._stored_before() if whole else self._published_still()
        if self._is_new:
            self._recall_who_has_run(session)
        wanted: dict[VmName, Observation] = {}
        ops: list[Op] = []
        for vm, view in sorted(self.reading.domains.items()):
            before = None if whole else known.get(vm)
            if before is None or self._observe(vm, view, session, since=before.since) != before:
                wanted[vm] = self._observe(vm, view, session, since=self._ports.clock.wall())
                ops.append(Put(self._ports.keys.observation(node, vm), encode(wanted[vm])))
                ops += await self._told(before, wanted[vm], is_new=not whole and vm not in known)
            else:
                wanted[vm] = before
        there = known.keys() | self._published.keys() | self._put_back()
        ops += [Delete(self._ports.keys.observation(node, vm)) for vm in sorted(there - wanted.keys())]
        guarded: list[Compare] = [Created(self._ports.keys.beat(node), session.beat_created)]
        for start in range(0, len(ops), OPS_PER_TXN):
            result = await self._ports.store.txn(guarded, ops[start : start + OPS_PER_TXN])
            if not result.succeeded:
                self._published_in = None
                session.hurry.set()  # evicted, or the store went back: its next beat finds out (agent/rejoin.py)
                return False
            self._written_at = max(self._written_at, result.revision)
        self._published, self._is_new = wanted, False
        if whole:
            self._published_in = now
            self._on_change(set(wanted))
        return True

    def _published_still(self) -> dict[VmName, Observation]:
        """Without what the store shows otherwise: a write that was given up for lost may be committed behind those that
        came after it.
        """
        mirror, node = self._ports.mirror, self._ports.node
        if mirror.revision < self._written_at:
            return self._published
        seen = {vm: view.seen.get(node) if (view := mirror.vm(vm)) else None for vm in self._published}
        return {vm: told for vm, told in self._published.items() if _is_same(told, seen[vm])}

    def _put_back(self) -> set[VmName]:
        """What was taken away, or never published, and is in the store all the same: by such a write, too."""
        mirror, node = self._ports.mirror, self._ports.node
        if mirror.revision < self._written_at:
            return set()
        self._shown = {vm for vm in self._shown if (view := mirror.vm(vm)) and node in view.seen}
        return self._shown

    async def _told(self, before: Observation | None, now: Observation, *, is_new: bool) -> list[Op]:
        view = self._ports.mirror.vm(now.vm)
        placement = view.placement.value if view and view.placement else None
        told = sighting(before, now, placement) if before else began(now, placement) if is_new else None
        if told is None:
            return []
        await self._ports.journal.refresh()
        kind, text = told
        return [self._ports.journal.entry(kind, text, vm=now.vm, node=now.node, cause=of_state(placement))]

    def _recall_who_has_run(self, session: Session) -> None:
        """What the process before this one has shown in the same session, of the same run of a guest."""
        vms, node = self._ports.mirror.vms, self._ports.keeper.node
        for vm, view in self.reading.domains.items() if self.reading else ():
            seen = known.seen.get(node) if (known := vms.get(vm)) else None
            if seen is None or (seen.session, seen.uuid) != (session.id, view.uuid):
                continue
            is_same_run = view.tag is not None and view.tag.epoch == seen.epoch
            if is_same_run and (seen.has_run or seen.state is SeenState.RUNNING):
                self._have_run.add(view.name)

    async def _stored_before(self) -> dict[VmName, Observation | None]:
        prefix = self._ports.keys.observation(self._ports.node, VmName(""))
        listing = await self._ports.store.list(prefix)
        return {VmName(kv.key.removeprefix(prefix)): None for kv in listing.items}

    def _observe(self, vm: VmName, view: DomainView, session: Session, *, since: float) -> Observation:
        others = self.reading.beside.get(vm, ()) if self.reading else ()
        return Observation(
            vm=vm,
            node=self._ports.node,
            session=session.id,
            state=_SEEN[view.state],
            reason=view.reason,
            epoch=view.tag.epoch if view.tag else None,
            uuid=view.uuid,
            since=since,
            progress=self._progress.get(vm, ""),
            second=view.tag is not None and view.tag.second,
            health=self._read_health(vm, view.tag.epoch if view.tag else None),
            migration=self._migrations.get(vm),
            silent=view.silent,
            has_run=view.state is DomainState.PAUSED and self._has_run(view),
            also_running=tuple(sorted(one.name for one in others if one.state is DomainState.RUNNING)),
            also_standing=tuple(sorted(one.name for one in others if one.state is not DomainState.RUNNING)),
        )

    def _has_run(self, view: DomainView) -> bool:
        return view.name in self._have_run or view.reason in _STOPPED_IN_ITS_RUN


def _is_same(told: Observation, stored: Observation | None) -> bool:
    return stored is not None and (told.session, told.state, told.epoch, told.second) == (
        stored.session,
        stored.state,
        stored.epoch,
        stored.second,
    )
