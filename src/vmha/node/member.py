"""One member of the cluster: an agent, a candidate for leadership, and the mirror both decide on.

The same object runs on real hosts and in the simulation; only the ports it is given differ.
"""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from vmha.agent.agent import Agent
from vmha.agent.failsafe import Failsafe
from vmha.agent.namesakes import Namesakes
from vmha.agent.session import Identity, SessionKeeper
from vmha.fencing.gate_files import Gate
from vmha.fencing.port import Guard
from vmha.fencing.power import PowerSwitch
from vmha.hooks.port import Delivery
from vmha.hypervisor.files import HostFiles, LocalFiles
from vmha.hypervisor.port import Hypervisor, HypervisorUnavailable
from vmha.leader.hooks import Hooks
from vmha.leader.leader import Leader
from vmha.model.clock import Clock
from vmha.model.errors import Rejected, VmhaError
from vmha.model.ids import NodeName, SessionId
from vmha.model.keys import Keys
from vmha.model.records import Hand
from vmha.model.schema import Software
from vmha.peers.heartbeat import Heartbeat
from vmha.peers.port import Channel
from vmha.policy.members.failsafe import Promiser
from vmha.policy.state.snapshot import PeersSay
from vmha.probing.port import Probes
from vmha.store.mirror import Mirror
from vmha.store.port import Store

log = structlog.get_logger(__name__)

HYPERVISOR_RETRY_S = 1.0
LISTED_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The world, as one member meets it."""

    store: Store
    hypervisor: Hypervisor
    guard: Guard
    power: PowerSwitch
    gate: Gate
    clock: Clock
    probes: Probes | None = None  # None: no probe is asked, and what has one is of unknown health
    files: HostFiles = field(default_factory=LocalFiles)
    hooks: Delivery | None = None  # None: hooks are not told by this node when it leads
    peers: Channel | None = None  # None: no channel to the other agents, so no fast suspicion and no failsafe


class Member:
    def __init__(
        self,
        ports: Ports,
        identity: Identity,
        keys: Keys,
        *,
        migration_uri: str,
        migration_address: str,
        threads: bool = True,
        software: Software | None = None,
    ) -> None:
        self.node: NodeName = identity.node
        self._ports = ports
        self.mirror = Mirror(ports.store, keys, ports.clock)
        self.failsafe: Failsafe | None = None
        self.heartbeat: Heartbeat | None = None
        if ports.peers:
            self.failsafe, self.heartbeat = self._among_peers(ports.peers)
        self.keeper = SessionKeeper(
            store=ports.store,
            keys=keys,
            clock=ports.clock,
            guard=ports.guard,
            identity=identity,
            read_config=lambda: self.mirror.config,
            list_managed=self._list_managed,
            is_at_rest=lambda: self.agent.is_at_rest,
            is_empty=self._is_empty,
            on_change=self._session_changed,
            peers=self.failsafe,
            on_bridged=self._bridged,
            read_listed_at=lambda: self.mirror.listed_at,
            on_went_back=self.mirror.distrust,
            software=software,
            read_schema=lambda: self.mirror.schema,
            namesakes=Namesakes(
                clock=ports.clock,
                boot_id=identity.boot_id,
                host=identity.host,
                read_beat_s=lambda: self.mirror.config.clockwork.beat_s,
                find_node=self._find_node,
            ),
        )
        self.agent = Agent(
            store=ports.store,
            keys=keys,
            clock=ports.clock,
            mirror=self.mirror,
            hypervisor=ports.hypervisor,
            files=ports.files,
            keeper=self.keeper,
            gate=ports.gate,
            migration_uri=migration_uri,
            address=identity.address,
            migration_address=migration_address,
            probes=ports.probes,
        )
        self.leader = Leader(
            store=ports.store,
            keys=keys,
            clock=ports.clock,
            mirror=self.mirror,
            node=identity.node,
            power=ports.power,
            read_session=lambda: self.keeper.current,
            store_live_s=self.keeper.store_live_s,
            peers_say=self.heartbeat.say if self.heartbeat else PeersSay,
            may_decide=self.keeper.has_confirmed,
            may_lead=lambda: not self.keeper.why_too_old(),
            threads=threads,
        )

        self.hooks: Hooks | None = None
        if ports.hooks:
            self.hooks = Hooks(
                store=ports.store,
                keys=keys,
                clock=ports.clock,
                node=identity.node,
                delivery=ports.hooks,
                read_config=lambda: self.mirror.config,
                read_term=lambda: self.leader.term,
            )

    def _among_peers(self, channel: Channel) -> tuple[Failsafe, Heartbeat]:
        heartbeat = Heartbeat(
            channel=channel,
            clock=self._ports.clock,
            read_peers=self._addresses,
            read_timing=lambda: self.mirror.config.clockwork,
            on_change=self._peers_changed,
        )
        failsafe = Failsafe(
            channel=channel, mirror=self.mirror, node=self.node, read_self=self._as_promiser, pong=heartbeat.answer
        )
        return failsafe, heartbeat

    def _addresses(self) -> Mapping[NodeName, str]:
        return self.failsafe.addresses() if self.failsafe else {}

    def _find_node(self, session: SessionId) -> NodeName | None:
        nodes = self.mirror.snapshot().nodes
        return next((name for name, view in nodes.items() if view.session_id == session), None)

    def _peers_changed(self) -> None:
        self.leader.look_again()

    def _bridged(self, silent_s: float) -> None:
        self.agent.note_outage(silent_s)

    def _as_promiser(self) -> Promiser:
        return Promiser(
            node=self.node,
            has_session=self.keeper.is_alive(),
            store_answers=self.keeper.store_answers(),
            has_read=self.mirror.synced.is_set(),
            fencing=self.leader.cuts.sessions,
        )

    def _list_managed(self) -> Collection[str] | None:
        """None: nobody has looked yet, since this process began; what its guard was told before holds on."""
        inventory = self.agent.inventory
        return None if inventory.reading is None else inventory.managed_uuids()

    async def _is_empty(self) -> bool:
        """Nothing is here, and nothing that was ours is remembered to have been taken to where it may run on."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LISTED_WITHIN_S):
                await self.mirror.synced.wait()
        if not (self.mirror.synced.is_set() and await self.agent.inventory.is_empty()):
            return False
        return not await self.agent.account.remembers_departures()

    def _session_changed(self) -> None:
        self.agent.session_changed()
        self.leader.look_again()

    async def run(self) -> None:
        """Until cancelled. Cancelling touches no guest and leaves the session to the next process on this node."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._open_hypervisor(), name="hypervisor")
                tasks.create_task(self.mirror.run(), name="mirror")
                tasks.create_task(self.agent.run(), name="agent")
                tasks.create_task(self.leader.run(), name="leader")
                if self.hooks:
                    tasks.create_task(self.hooks.run(), name="hooks")
                if self._ports.peers and self.failsafe and self.heartbeat:
                    tasks.create_task(self._ports.peers.run(self.failsafe.answer), name="peers")
                    tasks.create_task(self.heartbeat.run(), name="heartbeat")
        except ExceptionGroup as group:
            rejected, rest = group.split(Rejected)
            if rejected is None or rest is not None:
                raise
            raise _first(rejected) from None  # no binding to libvirt, say: one line for whoever started the agent
        finally:
            await self._ports.hypervisor.close()

    async def _open_hypervisor(self) -> None:
        """libvirtd may be down when the agent starts: the beats must go on all the same, or its guests would end."""
        while True:
            try:
                await self._ports.hypervisor.open()
            except HypervisorUnavailable as error:
                log.warning("no hypervisor yet", why=str(error))
                await asyncio.sleep(HYPERVISOR_RETRY_S)
            else:
                self.agent.inventory.look_again()
                return

    async def leave(self, by: Hand | None = None, *, goes_off: bool = True) -> bool:
        """An orderly shutdown of the host: vms away, office given up, session ended. False: guests are left; where the
        host does not go off all the same, all is as before then.

        It takes ``on_host_shutdown``'s times at the most.
        """
        wanted = self.mirror.config.on_host_shutdown
        self.agent.account.leave_is_asked(by)
        left = await self.agent.leave(migrate_s=wanted.migrate_s, stop_s=wanted.stop_s) or self.keeper.has_left
        if left or (goes_off and not self.agent.is_called_off):
            await self.leader.resign()
        elif not self.agent.is_called_off:  # else whoever called it off says so
            self.agent.stay(None)
        return left

    async def stay(self, by: Hand | None) -> bool:
        """Leaving is taken back. False: it has left."""
        self.agent.stay(by)
        with suppress(VmhaError):  # else soon
            await self.agent.account.publish()
        return not self.keeper.has_left


def _first(group: ExceptionGroup[Rejected]) -> Exception:
    """Of the errors in a group of groups."""
    found: Exception = group
    while isinstance(found, ExceptionGroup):
        found = found.exceptions[0]
    return found
