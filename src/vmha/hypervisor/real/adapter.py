"""The hypervisor port on a real libvirtd.

Promises: every call ends by its own deadline with an answer or HypervisorUnavailable; a frozen libvirtd or QEMU never
holds up the event loop, nor calls about other guests; a lost connection is opened again, and whoever subscribed is told
to look at everything. Does not: judge definitions, decide anything, or undo what goes on without it (a migration whose
agent stops goes on).

An agent's restart loses nothing that matters: what a domain is, is read from libvirt and its metadata each time (see
``states``). Only how a domain ended is known from events alone, and unknown for the time without a connection.
"""

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from vmha.hypervisor.calls import CallOverdue
from vmha.hypervisor.lifecycle import Endings, Lifecycle, Stopped
from vmha.hypervisor.port import (
    DomainEvent,
    DomainExists,
    DomainMissing,
    DomainView,
    Ending,
    HostCapacity,
    HostDefinition,
    HostTraits,
    HypervisorUnavailable,
    MigrationOrder,
    SaveFailed,
    StartFailed,
    Tag,
)
from vmha.hypervisor.real import (
    acting,
    events,
    guest_agent,
    knocking,
    migration,
    monitor_watch,
    reading,
    saving,
    traits,
)
from vmha.hypervisor.real.calling import call as _call
from vmha.hypervisor.real.connection import Channel, Channels, Link
from vmha.hypervisor.real.mending import Mending
from vmha.hypervisor.real.qemu_log import recall_migration
from vmha.hypervisor.real.reaching import LibvirtWays
from vmha.hypervisor.real.reading import RawDomain
from vmha.hypervisor.real.translate import words
from vmha.hypervisor.real.ways_out import WaysOut
from vmha.hypervisor.states import (
    Job,
    Mark,
    Paused,
    RawState,
    classify,
    has_switched,
    is_broken_half,
    is_finished_handover,
    needs_job,
    reason_word,
)
from vmha.model import domain_xml
from vmha.model.clock import Clock
from vmha.model.domain_xml import DomainFacts, TagFacts
from vmha.model.errors import Refused, Rejected, VmhaError
from vmha.model.ids import VmName
from vmha.model.migration import Arrival, MigrationProgress

if TYPE_CHECKING:
    import libvirt

T = TypeVar("T")

LOOK_TIMEOUT_S = 5.0
ASK_TIMEOUT_S = 1.0
ACT_TIMEOUT_S = 5.0
CALL_OFF_TIMEOUT_S = 15.0  # libvirt gives a QEMU 10 s between SIGTERM and SIGKILL


class LibvirtHypervisor:
    """One host's libvirtd.

    Args:
        uri: libvirt's address, e.g. "qemu:///system".
        cluster: whose tags may be mended (see ``states``); other clusters' guests are shown and left alone.
        clock: for the words of errors.
        log_dir: where libvirtd writes its guests' logs, on this host. None: what nobody saw is not known.
        before_destroy: called in a thread with the name of a guest whose QEMU is about to be ended by force.
        knocks: this process is on libvirtd's own host, and tries the way to a migration's target first.
        ask_every_s, silent_s: see ``monitor_watch``.
    """

    def __init__(
        self,
        uri: str,
        *,
        cluster: str,
        clock: Clock,
        log_dir: Path | None = None,
        before_destroy: Callable[[str], object] = lambda _: None,
        knocks: bool = False,
        ask_every_s: float = monitor_watch.ASK_EVERY_S,
        silent_s: float = monitor_watch.SILENT_S,
    ) -> None:
        self._knocks = knocks
        self._cluster, self._log_dir, self._before_destroy = cluster, log_dir, before_destroy
        self._link = Link(uri, clock=clock, register=self._register, on_up=self._on_up, on_down=self._on_down)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: list[Callable[[DomainEvent], None]] = []
        self._endings = Endings()
        self._ways_out = WaysOut()
        self._unanswered_starts: set[str] = set()
        self._boots_again: Counter[str] = Counter()
        self._tagging: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._pinging = asyncio.Semaphore(guest_agent.AT_ONCE)
        self._mending = Mending(self._tagging)
        self._monitors = monitor_watch.MonitorWatch(clock, self._tell, ask_every_s=ask_every_s, silent_s=silent_s)
        self.ways = LibvirtWays()

    async def open(self) -> None:
        """
        Raises:
            HypervisorUnavailable: libvirtd cannot be reached; call again later.
            Rejected: Python's binding to libvirt is missing.
        """
        self._loop = asyncio.get_running_loop()
        await self._link.open()

    async def close(self) -> None:
        await self._mending.close()
        await self._monitors.close()
        self._listeners.clear()
        await self.ways.close()
        await self._link.close()

    def subscribe(self, listener: Callable[[DomainEvent], None]) -> None:
        self._listeners.append(listener)

    def find_ending(self, name: str) -> Ending | None:
        return self._endings.find(name)

    def find_departure(self, name: str) -> Arrival | None:
        return self._endings.find_departure(name)

    async def recall_migration(self, name: str) -> str | None:
        return await recall_migration(self._log_dir, name)

    # ---------------------------------------------------------------- looking

    async def inventory(self) -> tuple[DomainView, ...]:
        channels = self._link.channels
        raws = await self._read_domains(channels)
        jobs = await self._read_jobs(channels, raws)
        for raw in raws:
            if is_finished_handover(raw.state, raw.mark) and raw.tag is not None and raw.tag.cluster == self._cluster:
                self._mending.mend(channels.act, raw.name)
        self._monitors.look(channels, self._at_rest(raws))
        return tuple(self._view(raw, jobs.get(raw.name, Job.NOT_ASKED)) for raw in raws)

    async def capacity(self) -> HostCapacity:
        return await _call(self._link.channels.look, reading.read_capacity, "read the capacity", LOOK_TIMEOUT_S)

    async def traits(self) -> HostTraits:
        return await _call(self._link.channels.look, traits.read_traits, "read what QEMU offers", ACT_TIMEOUT_S)

    async def compare_cpu(self, cpu: str) -> bool:
        return await _call(self._link.channels.look, lambda one: traits.compare(one, cpu), "compare", ACT_TIMEOUT_S)

    async def migration_progress(self, name: str) -> MigrationProgress | None:
        ask, what = self._link.channels.ask, f"ask how the migration of {name} goes"
        return await _call(ask, lambda one: reading.read_progress(one, name), what, ACT_TIMEOUT_S)

    async def read_arrival(self, name: str) -> Arrival | None:
        ask, what = self._link.channels.ask, f"ask how {name} came here"
        return await _call(ask, lambda one: reading.read_arrival(one, name), what, ACT_TIMEOUT_S)

    # ---------------------------------------------------------------- acting

    async def start(self, xml: str, *, timeout_s: float = 60.0) -> None:
        """See the port. A start that libvirtd has not answered is taken back as soon as it does."""
        try:
            facts = domain_xml.parse_domain(xml)
        except Rejected as error:
            raise StartFailed(str(error)) from error

        def create(connection: "libvirt.virConnect") -> str:
            return connection.createXML(xml, 0).UUIDString()

        await self._bring_up(f"start {facts.name}", facts, create, self._link.channels.start, timeout_s)

    async def _bring_up(
        self,
        what: str,
        facts: DomainFacts,
        create: Callable[["libvirt.virConnect"], str],
        channel: Channel,
        timeout_s: float,
    ) -> None:
        """``create`` makes the guest run and returns its uuid."""
        channels = self._link.channels
        if facts.name in self._unanswered_starts:
            raise HypervisorUnavailable(f"{what}: libvirtd has not yet answered an earlier start of it")
        answered = self._answered(facts.name)

        def work(connection: "libvirt.virConnect") -> str:
            import libvirt

            try:
                return create(connection)
            except libvirt.libvirtError as error:
                answered()
                if acting.is_clash(connection, error, facts):
                    raise DomainExists(f"{what}: {words(error)}") from error
                raise

        def take_back(connection: "libvirt.virConnect", uuid: str) -> None:
            try:
                connection.lookupByUUIDString(uuid).destroy()
            finally:
                answered()

        self._unanswered_starts.add(facts.name)
        try:
            await _call(channel, work, what, timeout_s, failure=StartFailed, when_late=take_back)
        except CallOverdue as error:
            if not error.is_begun:
                self._unanswered_starts.discard(facts.name)
                raise
            await self._call_off(channels, facts.name)
            raise HypervisorUnavailable(f"{error}; it was called off") from error
        except BaseException:
            self._unanswered_starts.discard(facts.name)
            raise
        self._unanswered_starts.discard(facts.name)

    async def _call_off(self, channels: Channels, name: str) -> None:
        def work(connection: "libvirt.virConnect") -> None:
            acting.call_off(connection, name)

        with contextlib.suppress(VmhaError):
            await _call(channels.act, work, f"call off the start of {name}", CALL_OFF_TIMEOUT_S)

    def _answered(self, name: str) -> Callable[[], None]:
        """What a thread calls when an earlier start of ``name`` can no longer bring a guest up."""
        loop = asyncio.get_running_loop()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has closed
                loop.call_soon_threadsafe(self._unanswered_starts.discard, name)

        return tell

    async def find_definition(self, name: str) -> str | None:
        look, what = self._link.channels.look, f"read the definition of {name}"
        return await _call(look, lambda one: saving.find_definition(one, name), what, LOOK_TIMEOUT_S)

    async def definitions(self) -> tuple[HostDefinition, ...]:
        what = "list the persistent definitions"
        return await _call(self._link.channels.look, saving.read_definitions, what, LOOK_TIMEOUT_S)

    async def save(self, name: str, path: str, *, timeout_s: float) -> None:
        channels = self._link.channels

        what, call_off = f"save {name}", f"call off the saving of {name}"
        try:
            await _call(channels.save, lambda one: one.lookupByName(name).save(path), what, timeout_s)
        except CallOverdue as error:
            if not error.is_begun:
                raise
            if await _call(channels.act, lambda one: saving.abort_save(one, name), call_off, ACT_TIMEOUT_S):
                raise SaveFailed(f"{what}: it took longer than {timeout_s:g} s and was called off") from error
            raise
        except (DomainMissing, HypervisorUnavailable):
            raise
        except Refused as error:
            raise SaveFailed(str(error)) from error

    async def restore(self, path: str, *, name: str, uuid: str, saved: Tag, tag: Tag, timeout_s: float) -> None:
        facts = DomainFacts(name=VmName(name), uuid=uuid, memory_mib=0, vcpus=0, kind="")

        def create(connection: "libvirt.virConnect") -> str:
            import libvirt

            xml = saving.saved_xml(connection, path, name=name, uuid=uuid, saved=saved, tag=tag)
            connection.restoreFlags(path, xml, libvirt.VIR_DOMAIN_SAVE_RUNNING)
            return uuid

        channel = self._link.channels.save
        await self._bring_up(f"restore {name} from {path}", facts, create, channel, timeout_s)

    async def resume(self, name: str) -> None:
        """Let a guest run; ends the hand-over of one that ARRIVED.

        Raises:
            DomainMissing
            Refused: it is still on its way in, or libvirt refuses, e.g. for a lock another host holds.
            HypervisorUnavailable
        """
        channels = self._link.channels
        seen_arriving = self._endings.is_incoming(name)

        def work(connection: "libvirt.virConnect") -> None:
            acting.resume(connection.lookupByName(name), seen_arriving=seen_arriving)

        async with self._tagging[name]:
            await _call(channels.act, work, f"resume {name}", ACT_TIMEOUT_S)

    async def suspend(self, name: str) -> None:
        await self._act(f"suspend {name}", name, lambda domain: domain.suspend())

    async def shutdown(self, name: str, *, by_agent: bool = False) -> None:
        if not by_agent:
            await self._act(f"shut down {name}", name, acting.press_power_button)
            return
        async with self._pinging:
            await guest_agent.shutdown(self._link.channels.ask, name)

    async def reboot(self, name: str) -> None:
        await self._act(f"reboot {name}", name, lambda domain: domain.reboot())

    async def reset(self, name: str) -> None:
        await self._act(f"reset {name}", name, lambda domain: domain.reset())

    async def _act(self, what: str, name: str, work: Callable[["libvirt.virDomain"], object]) -> None:
        await _call(self._link.channels.act, lambda one: work(one.lookupByName(name)), what, ACT_TIMEOUT_S)

    def boots_again(self, name: str) -> int:
        return self._boots_again[name]

    async def destroy(self, name: str, *, timeout_s: float = 30.0) -> None:
        def work(connection: "libvirt.virConnect") -> None:
            self._before_destroy(name)
            acting.destroy(connection, name)

        await _call(self._link.channels.end, work, f"destroy {name}", timeout_s)

    async def ping_agent(self, name: str, *, timeout_s: float) -> None:
        async with self._pinging:
            await guest_agent.ping(self._link.channels.ask, name, timeout_s=timeout_s)

    async def set_tag(self, name: str, tag: Tag | None) -> None:
        def work(connection: "libvirt.virConnect") -> None:
            domain = connection.lookupByName(name)
            if tag is None:
                reading.write_tag(domain, None)
                return
            old = reading.read_tag(domain)
            handover = old.handover if old is not None else ""  # an arrived guest stays one under its new tag
            handover = Mark.SECOND if tag.second else Mark.ASIDE if tag.aside else handover
            reading.write_tag(domain, TagFacts(tag.cluster, tag.vm, tag.epoch, handover))

        async with self._tagging[name]:
            await _call(self._link.channels.act, work, f"set the tag of {name}", ACT_TIMEOUT_S)

    async def migrate(self, order: MigrationOrder) -> None:
        if order.name in self._ways_out.ours:
            raise Refused(f"{order.name} is being migrated already")
        if self._knocks:
            await knocking.ensure_somebody_answers(order.target_uri)
        self._ways_out.ours.add(order.name)
        try:
            await migration.carry_out(self._link.channels, order)
        except asyncio.CancelledError:
            self._ways_out.perhaps.add(order.name)  # it goes on without us
            raise
        finally:
            self._ways_out.ours.discard(order.name)

    async def start_post_copy(self, name: str) -> None:
        await migration.start_post_copy(self._link.channels, name)

    async def abort_migration(self, name: str) -> None:
        await migration.abort(self._link.channels, name)

    # ---------------------------------------------------------------- reading, inside

    async def _read_domains(self, channels: Channels) -> tuple[RawDomain, ...]:
        return await _call(channels.look, reading.read_domains, "list the domains", LOOK_TIMEOUT_S)

    async def _read_jobs(self, channels: Channels, raws: tuple[RawDomain, ...]) -> dict[str, Job]:
        """The jobs of those domains that may be migrating by somebody else's hand; at worst UNKNOWN."""
        ways = self._ways_out
        ways.here(raw.name for raw in raws if raw.has_qemu)
        asked = tuple(
            raw.name
            for raw in raws
            if raw.name not in ways.ours and (raw.name in ways.perhaps or needs_job(raw.state, raw.reason, raw.mark))
        )
        answers: dict[str, Job] = {}
        if asked and not channels.ask.is_full:
            with contextlib.suppress(VmhaError):
                await _call(
                    channels.ask,
                    lambda connection: reading.read_jobs(connection, asked, answers),
                    "ask for the domains' jobs",
                    ASK_TIMEOUT_S,
                )
        return ways.told(asked, answers)

    def _at_rest(self, raws: tuple[RawDomain, ...]) -> list[str]:
        """The cluster's that run, and are not known to be on their way anywhere."""
        ours = (raw for raw in raws if raw.tag is not None and raw.tag.cluster == self._cluster)
        leaving = self._ways_out.all
        return [raw.name for raw in ours if raw.state == RawState.RUNNING and raw.name not in leaving]

    def _view(self, raw: RawDomain, job: Job) -> DomainView:
        is_ours = raw.name in self._ways_out.ours
        tag = raw.tag
        return DomainView(
            name=raw.name,
            uuid=raw.uuid,
            state=classify(
                raw.state,
                raw.reason,
                mark=raw.mark,
                job=Job.MIGRATING_OUT if is_ours else job,
                seen_arriving=self._endings.is_incoming(raw.name) and not is_ours,
            ),
            reason=reason_word(raw.state, raw.reason),
            tag=None if tag is None else reading.tag_of(tag),
            persistent=raw.is_persistent,
            migrating=raw.has_qemu
            and not is_broken_half(raw.state, raw.reason)
            and (is_ours or job is Job.MIGRATING_OUT),
            silent=raw.name in self._monitors.silent and raw.state == RawState.RUNNING,
        )

    # ---------------------------------------------------------------- events

    def _register(self, connection: "libvirt.virConnect") -> list[int]:
        """Runs in a thread, as each set of connections is opened."""
        assert self._loop is not None
        return events.register(connection, self._loop, self)

    def on_lifecycle(self, name: str, event: int, detail: int) -> None:
        ending = self._endings.note(name, event, detail)
        if event == Lifecycle.STOPPED:
            self._ways_out.ended(name)
        kind = Lifecycle(event).word if event in tuple(Lifecycle) else f"event {event}"
        if event == Lifecycle.STOPPED and detail in tuple(Stopped):
            kind = f"{kind} {Stopped(detail).name.lower()}"
        self._tell(name, kind, ending)

    def on_watchdog(self, name: str, action: int) -> None:
        self._endings.note_watchdog(name, action)
        self._tell(name, "watchdog")

    def on_reboot(self, name: str) -> None:
        self._boots_again[name] += 1
        self._tell(name, "rebooted")

    def on_migration_pass(self, name: str, number: int) -> None:
        if name not in self._ways_out.ours:
            self._ways_out.perhaps.add(name)
        if number == 1:
            self._tell(name, "migrating")

    def on_departure(self, name: str, took: Arrival) -> None:
        self._endings.note_departure(name, took)

    def _tell(self, name: str, kind: str, ending: Ending | None = None) -> None:
        event = DomainEvent(name=name, kind=kind, ending=ending)
        for listener in tuple(self._listeners):
            listener(event)

    def on_change(self, name: str, kind: str) -> None:
        self._tell(name, kind)

    async def _on_up(self, channels: Channels) -> None:
        self._endings.begin_resync()
        raws = await self._read_domains(channels)
        with_qemu = [raw for raw in raws if raw.has_qemu]
        # A migration by hand, or our own from before a restart, announces itself only as it begins: ask once.
        self._ways_out.perhaps |= {raw.name for raw in with_qemu}
        jobs = await self._read_jobs(channels, raws)
        incoming = [
            raw.name
            for raw in with_qemu
            if (raw.state, raw.reason) == (RawState.PAUSED, Paused.MIGRATION)
            and (raw.mark.is_handover or jobs.get(raw.name) is Job.INCOMING)
        ]
        panicked = [raw.name for raw in with_qemu if raw.state == RawState.CRASHED]
        switched = [raw.name for raw in with_qemu if has_switched(raw.state, raw.reason)]
        self._endings.resync(
            present=[raw.name for raw in with_qemu], incoming=incoming, panicked=panicked, switched=switched
        )
        self._tell("", "connected")

    def _on_down(self, reason: str) -> None:
        self._tell("", f"disconnected: {reason}")
