"""The agent: keeps the session, publishes what it sees, and makes its node match the placements that name it.

Level, not edge: a change of a key or of a guest only marks a vm as worth a look. What is done follows from the look.
"""

import asyncio
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import replace

import structlog

from vmha.agent.account import Account
from vmha.agent.again import Again
from vmha.agent.beside import Beside
from vmha.agent.by_its_name import by_its_name
from vmha.agent.checkups import Checkups
from vmha.agent.claims import Claims
from vmha.agent.gate_lists import GateLists
from vmha.agent.health import HealthWatch
from vmha.agent.inventory import Inventory
from vmha.agent.left_overs import LeftOvers
from vmha.agent.memory import Memory, try_of
from vmha.agent.migration_watch import MigrationWatch
from vmha.agent.outlook import Outlook
from vmha.agent.pauses import Pauses
from vmha.agent.ports import AgentPorts
from vmha.agent.session import SessionKeeper
from vmha.agent.worker import Worker
from vmha.fencing.gate_files import Gate, GateUnavailable
from vmha.hypervisor.files import HostFiles
from vmha.hypervisor.port import Hypervisor
from vmha.model.clock import Clock
from vmha.model.errors import Refused, VmhaError
from vmha.model.ids import Revision, VmName
from vmha.model.keys import Keys, decode, split_key
from vmha.model.records import Hand, Observation, Phase, Placement, SeenState, Stored
from vmha.policy.at_node.health import Consequence
from vmha.policy.at_node.reconcile import Action, needs_fresh_reading
from vmha.policy.at_node.tracking import find_rightful
from vmha.policy.state.causes import of_state
from vmha.policy.state.snapshot import Snapshot, VmView
from vmha.probing.port import Probes
from vmha.store.journal import Journal
from vmha.store.mirror import Mirror
from vmha.store.port import Created, LeaseGone, Store
from vmha.tracing.operation import operation

log = structlog.get_logger(__name__)

RETRY_S = 1.0
GATE_RETRY_S = 5.0
SWEEP_S = 10.0
LEAVE_LOOK_S = 0.1
GLANCES_AT_ONCE, LOOKS_AT_ONCE = 2000, 100
"""Vms that are glanced at, or looked at, before the loop has a turn: some milliseconds."""


class Agent:
    """``run`` is the whole life of the agent's duties on its node, whatever leads the cluster."""

    def __init__(
        self,
        *,
        store: Store,
        keys: Keys,
        clock: Clock,
        mirror: Mirror,
        hypervisor: Hypervisor,
        files: HostFiles,
        keeper: SessionKeeper,
        gate: Gate,
        migration_uri: str,
        address: str,
        migration_address: str,
        probes: Probes | None = None,
    ) -> None:
        names: dict[VmName, str] = {}
        gone: dict[VmName, str] = {}
        self._mirror, self._prefix = mirror, keys.prefix
        self._ports = ports = AgentPorts(
            store=store,
            keys=keys,
            journal=Journal(store, keys, clock, keeper.node, days=lambda: mirror.config.journal_days),
            read_snapshot=mirror.snapshot,
            mirror=mirror,
            keeper=keeper,
            hypervisor=by_its_name(hypervisor, names, gone),
            files=files,
            gate=gate,
            clock=clock,
        )
        self._claims = Claims(ports)
        self._health = HealthWatch(ports, probes=probes, on_change=self._health_changed)
        self.inventory = Inventory(ports, on_change=self._mark, read_health=self._health.health, names=names, gone=gone)
        self._pauses = Pauses(clock, self._mark)
        self._claims.forget = self.inventory.forget
        self._watch = MigrationWatch(ports=ports, inventory=self.inventory)
        self._memory = Memory()
        self._worker = Worker(
            ports,
            self.inventory,
            self._claims,
            self._memory,
            migration_uri=migration_uri,
            watch=self._watch,
            health=self._health,
            pauses=self._pauses,
        )
        self.left_overs = LeftOvers(ports, self._claims, on_change=self._wake_now)
        self._beside = Beside(
            ports=replace(ports, hypervisor=hypervisor),
            inventory=self.inventory,
            claims=self._claims,
            tell=self._tell,
            look_again=self._mark,
        )
        self._checkups = Checkups(ports, migration_uri=migration_uri)
        self.inventory.may_vouch = lambda: not self._worker.starts.starts_a_removed_one()
        self.account = Account(
            ports,
            self.inventory,
            address=address,
            migration_address=migration_address,
            read_left_overs=lambda: self.left_overs.found,
            has_migrated=lambda placement: self._memory.migrated.get(placement.vm) == try_of(placement),
        )
        self._gate_lists = GateLists(ports)
        self._again = Again()
        self.is_called_off = False
        self._dirty: set[VmName] = set()
        self._wake = asyncio.Event()
        self._busy: dict[VmName, asyncio.Task[None]] = {}
        self._outlook = Outlook(
            ports=ports,
            inventory=self.inventory,
            health=self._health,
            pauses=self._pauses,
            memory=self._memory,
            mark=self._mark,
        )
        mirror.subscribe(self._keys_changed)

    @property
    def is_at_rest(self) -> bool:
        """No start is under way: nothing that an earlier session began can still come to life."""
        return not self._memory.starting

    async def run(self) -> None:
        self._ports.gate.clear()  # a former process may have left a grant behind
        await self._mirror.synced.wait()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._ports.keeper.run(), name="session")
            tasks.create_task(self.inventory.run(), name="inventory")
            tasks.create_task(self._reconcile_on(tasks), name="reconciler")
            tasks.create_task(self._sweep_on(), name="sweep")
            tasks.create_task(self._health.run(), name="health")
            tasks.create_task(self.left_overs.run(), name="left-overs")
            tasks.create_task(self._checkups.run(), name="check-ups")

    def session_changed(self) -> None:
        """The session began, ended, or changed its armed level."""
        self.inventory.look_again()
        self._mark(set(self._mirror.vms))

    async def leave(self, *, migrate_s: float, stop_s: float) -> bool:
        """The host shuts down: have the vms moved away, then the rest stopped, then end the session.

        False: guests are left, or the store did not answer. The session stays then, and the guard counts on.
        """
        self.account.is_leaving, self.is_called_off = True, False
        for patience_s in (migrate_s, stop_s):
            self._wake.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    while not await self._try_to_leave():
                        if self.is_called_off:
                            return False
                        await asyncio.sleep(LEAVE_LOOK_S)
                    return True
            self.account.stops_vms = True
        return False

    def call_off_leaving(self) -> None:
        """Nobody waits for it any more: ``leave`` ends soon, whatever has come of it by then."""
        self.is_called_off = True

    def stay(self, by: Hand | None) -> None:
        """It has not left, and its host stays: it takes vms again. What was stopped meanwhile starts."""
        if self.account.is_leaving and not self._ports.keeper.has_left:
            self._ports.keeper.stay()
            self.account.is_leaving = self.account.stops_vms = False
            self.account.stay_is_asked(by)
            self._wake.set()

    async def _try_to_leave(self) -> bool:
        if self._busy or self.inventory.reading is None or self.inventory.managed_uuids() or self._claimed_here():
            return False
        try:
            await self.account.publish()  # whose word it is, before the session ends under which that is told
            await self._ports.keeper.leave(self._is_empty)
        except VmhaError as error:
            log.warning("not left yet", why=str(error))
            return False
        return True

    async def _is_empty(self, as_of: Revision) -> bool:
        """Looks anew, knowing all that was on record at ``as_of``."""
        if not await self._mirror.caught_up(as_of):
            return False
        await self.inventory.refresh()
        return not (self._busy or self.inventory.managed_uuids() or self._claimed_here())

    def _claimed_here(self) -> bool:
        """Or on its way here: a session that ends before it has come is taken for over, with all that runs in it."""
        me = self._ports.node
        held = (vm.placement.value for vm in self._mirror.vms.values() if vm.placement)
        return any(
            one.target == me or (one.node == me and one.phase not in (Phase.STOPPED, Phase.DEPARTED)) for one in held
        )

    # --- what to look at

    def _mark(self, vms: set[VmName]) -> None:
        self._dirty |= vms
        self._wake.set()

    def _keys_changed(self, keys: tuple[str, ...]) -> None:
        vms = set()
        for key in keys:
            match split_key(self._prefix, key):
                case ("nodes", _, "beat"):
                    pass  # by far the most, and nothing to us
                case ("nodes", node, "vms", vm):
                    vms.add(VmName(vm))
                    if node == self._ports.node:
                        self.inventory.shown(VmName(vm))
                case ("vms", vm, part):
                    vms.add(VmName(vm))
                    if part == "spec":
                        self._gate_lists.is_stale = True
                        self._wake.set()
                case ("history",) | ("pause",) | ("schema",):
                    self.session_changed()  # what was published may be gone from the store; what waited may begin
                case ("checkups", checkup):
                    self._checkups.heard(checkup)
                case ("removed", *_):
                    self.inventory.look_again()
                case ("nodes", _, "status") | ("fencing", _):
                    vms |= self._ended_as_they_came()
                case ("config",):
                    self._gate_lists.is_stale = True
                    self._wake.set()
                case ("nodes", node, "spec") if node == self._ports.node:
                    self._gate_lists.is_stale = True
                    self._wake.set()
        if vms:
            if ours := {vm for vm in vms if vm in self._busy or self._outlook.concerns(vm, self._mirror.vm(vm))}:
                self._mark(ours)
            if self.inventory.newest_definition() > self.inventory.looked_for:
                self.inventory.look_again()  # it may run here already

    def _ended_as_they_came(self) -> set[VmName]:
        """Whoever sent them learns from that what became of them."""
        return {one.vm for status in self._mirror.statuses() for one in status.ended_arrivals}

    def _health_changed(self, vm: VmName) -> None:
        local = self.inventory.reading.local(vm) if self.inventory.reading else None
        if local is None:
            return
        self.inventory.show_health(vm, self._health.health(vm, local.epoch))
        judged = self._health.judged(vm, local.epoch)
        if judged and judged.consequence is not Consequence.NONE:
            self._mark({vm})

    async def _sweep_on(self) -> None:
        """The backstop: everything is worth a look now and then."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.account.look_whether_it_stands()
            self.session_changed()

    # --- looking and doing

    async def _reconcile_on(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            dirty, self._dirty = self._dirty, set()
            vms = sorted(await self._ours(dirty))  # only then: the sweep comes by all vms of the cluster
            try:
                await self._tell_gate(vms)
                await self.account.publish()
                await self.account.answer_for_predecessors()
            except VmhaError as error:
                log.warning("status not published", why=str(error))
                self._wake_later(RETRY_S)
            for number, vm in enumerate(vms, start=1):
                if vm in self._busy:
                    self._watch.look(vm)
                else:
                    self._begin(vm, tasks)
                if number % LOOKS_AT_ONCE == 0:
                    await asyncio.sleep(0)

    async def _ours(self, vms: Collection[VmName]) -> list[VmName]:
        """Those of them that concern this node."""
        found = []
        for number, vm in enumerate(vms, start=1):
            if vm in self._busy or self._outlook.concerns(vm, self._mirror.vm(vm)):
                found.append(vm)
            if number % GLANCES_AT_ONCE == 0:
                await asyncio.sleep(0)
        return found

    async def _tell_gate(self, changed: Iterable[VmName]) -> None:
        """A disk that is full keeps no claim of a former session waiting: it is told, and tried again."""
        trouble = ""
        try:
            if (session := self._ports.keeper.current) and not session.over.is_set():
                self._gate_lists.expect_arrivals(changed, session.id)
            await self._gate_lists.list_managed()
        except GateUnavailable as error:
            trouble = str(error)
            self._wake_later(GATE_RETRY_S)
        if trouble and trouble != self.account.gate_trouble:
            log.warning("the start gate is not told", why=trouble)
        self.account.gate_trouble = trouble

    def _begin(self, vm: VmName, tasks: asyncio.TaskGroup) -> None:
        if self._ports.keeper.why_too_old():
            return  # the guests go on under the session, and wait for an agent that reads what is said of them
        snapshot = self._mirror.snapshot()
        view = snapshot.vms.get(vm)
        if not self._outlook.concerns(vm, view):
            return
        if self.inventory.reading is not None:
            confirmed = self._ports.keeper.confirmed
            self._health.follow(vm, self.inventory.reading.local(vm), confirmed.id if confirmed else None)
        if self._beside.is_due(vm):
            self._set_about(vm, tasks.create_task(self._beside.treat(vm), name=f"beside-{vm}"))
            return
        action = self._outlook.decide(vm, view, view.placement if view else None, snapshot)
        if action in (Action.NOTHING, Action.WAIT):
            self._goes_on(vm)
        else:
            self._set_about(vm, tasks.create_task(self._carry_out(vm, action), name=f"{action}-{vm}"))

    def _set_about(self, vm: VmName, task: asyncio.Task[None]) -> None:
        self._busy[vm] = task
        task.add_done_callback(lambda _: self._done(vm))

    def _done(self, vm: VmName) -> None:
        self._busy.pop(vm, None)
        self._mark({vm})

    async def _carry_out(self, vm: VmName, action: Action) -> None:
        snapshot = self._mirror.snapshot()
        view = snapshot.vms.get(vm)
        read = view.placement if view else None
        with operation(str(action), of_state(read.value if read else None), vm=vm, node=self._ports.node):
            await self._carry_out_now(vm, action, snapshot, view, read)

    async def _carry_out_now(
        self, vm: VmName, action: Action, snapshot: Snapshot, view: VmView | None, read: Stored[Placement] | None
    ) -> None:
        try:
            if needs_fresh_reading(action):
                read = await self._claims.read(vm)
                await self.inventory.refresh()
                if not await self._is_confirmed(vm, view, snapshot):
                    return
            if self._outlook.decide(vm, view, read, snapshot) is not action:
                return  # the record that this task reads may be a later one: it may name another node by now
            if action is Action.CLEAR and self._is_second(vm):
                await self._tell(
                    vm, "duplicate-ended", f"the second copy that was paused on {self._ports.node} is ended"
                )
            log.info("doing", action=str(action), vm=vm)
            await self._worker.do(action, read, vm, view.spec.value if view and view.spec else None)
            if action is Action.ALARM_DUPLICATE:
                self._outlook.alarmed.add(vm)
            self.inventory.look_again()
            await self._settle(vm)
            self._goes_on(vm)
        except Refused as error:
            await self._pause_after(vm, action, read.modified if read else Revision(0), error)
        except VmhaError as error:
            log.warning("not done", action=str(action), vm=vm, why=str(error))
            await asyncio.sleep(RETRY_S)

    async def _pause_after(self, vm: VmName, action: Action, under: Revision, error: Refused) -> None:
        row = self._again.refused(vm, action, under, error)
        log.info("decided again", action=str(action), vm=vm, why=str(error), pause_s=row.pause_s)
        if row.is_told:
            self.inventory.show_progress(vm, f"{action} is refused: {error}")
        await asyncio.sleep(row.pause_s)

    def _goes_on(self, vm: VmName) -> None:
        if self._again.ends(vm):
            self.inventory.show_progress(vm, "")

    async def _is_confirmed(self, vm: VmName, view: VmView | None, snapshot: Snapshot) -> bool:
        """Before a copy here is touched: the store itself says that the holder's still runs. It is on record then."""
        rightful = find_rightful(view, self._ports.node, snapshot) if view else None
        if rightful is None:
            return True  # nothing of this is about a second copy
        known = await self._ports.store.get(self._ports.keys.observation(rightful.node, vm))
        if known is None or decode(Observation, known.value, where=known.key).state is not SeenState.RUNNING:
            return False
        text = f"it ran on {self._ports.node} too, while {rightful.node} holds it"
        is_told = await self._tell(vm, "duplicate", text)
        if is_told:
            log.warning("a second copy runs here", vm=vm, holder=rightful.node)
        return is_told

    def _is_second(self, vm: VmName) -> bool:
        local = self.inventory.reading.local(vm) if self.inventory.reading else None
        return local is not None and local.second

    async def _tell(self, vm: VmName, kind: str, text: str) -> bool:
        """Into the journal, by a session that lives. False: it does not."""
        await self._ports.journal.refresh()
        entry = self._ports.journal.entry(kind, text, vm=vm, node=self._ports.node)
        session = self._ports.keeper.current
        if session is None:
            return False
        beat = Created(self._ports.keys.beat(self._ports.node), session.beat_created)
        try:
            return (await self._ports.store.txn([beat], [entry])).succeeded
        except LeaseGone:
            self._ports.journal.forget_lease()
            raise

    async def _settle(self, vm: VmName) -> None:
        """Let the mirror see what was written, so that the next look is not at the past."""
        with suppress(VmhaError):
            now = await self._claims.read(vm)
            if now:
                await self._mirror.caught_up(now.modified)
            await self.inventory.refresh()

    def _wake_now(self) -> None:
        self._wake.set()

    def _wake_later(self, delay_s: float) -> None:
        asyncio.get_running_loop().call_later(delay_s, self._wake.set)

    def note_outage(self, silent_s: float) -> None:
        """The store answers again, and the guests here went on meanwhile."""
        self.account.note_outage(silent_s)
        self._wake.set()
