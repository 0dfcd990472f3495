"""Who of the peers is there, asked several times a second: fast suspicion, never a proof (members/membership.py).

For each peer: when its *host* last gave any sign of life, when its *agent* last answered, and whom that agent does not
hear itself. A refused connection is a sign of life of the host: an agent that is restarted must not cost its guests
anything.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from vmha.model.clock import Clock
from vmha.model.errors import VmhaError
from vmha.model.ids import NodeName
from vmha.model.settings import Timing
from vmha.peers.port import Channel, HostSilent, Peer, Ping, Pong, Unwelcome
from vmha.policy.state.snapshot import PeersSay

log = structlog.get_logger(__name__)

LOOK_AT_PEERS_S = 0.5
_PING, _HEARS_ALL = Ping(), Pong()


@dataclass(slots=True)
class _Known:
    peer: Peer
    task: "asyncio.Task[None]"
    alive_at: float | None = None  # None: never yet; nobody is missed who was never seen
    answered_at: float = float("-inf")
    unheard: frozenset[NodeName] = frozenset()
    is_unwelcome: bool = False


class Heartbeat:
    """``run`` asks; ``say`` reads; ``answer`` is what a peer is told.

    Args:
        read_peers: who is to be asked, and where.
        on_change: somebody fell silent or spoke again, by our own or by another's account.
    """

    def __init__(
        self,
        *,
        channel: Channel,
        clock: Clock,
        read_peers: Callable[[], Mapping[NodeName, str]],
        read_timing: Callable[[], Timing],
        on_change: Callable[[], None],
    ) -> None:
        self._channel, self._clock = channel, clock
        self._read_peers, self._read_timing, self._on_change = read_peers, read_timing, on_change
        self._known: dict[NodeName, _Known] = {}
        self._seen: tuple[set[NodeName], dict[NodeName, frozenset[NodeName]]] = (set(), {})

    def answer(self) -> Pong:
        unheard = self._unheard(self._clock.now(), self._read_timing().suspect_by_peers_s)
        return Pong(unheard=tuple(sorted(unheard))) if unheard else _HEARS_ALL

    def say(self) -> PeersSay:
        now = self._clock.now()
        witnesses = self._witnesses(now, self._read_timing().suspect_by_peers_s)
        return PeersSay(
            unheard_s={n: now - known.alive_at for n, known in self._known.items() if known.alive_at is not None},
            witnesses=dict(sorted(witnesses.items())),
        )

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                wanted = self._read_peers()
                for name, known in list(self._known.items()):
                    if wanted.get(name) != known.peer.address:
                        known.task.cancel()
                        del self._known[name]
                for name, address in sorted(wanted.items()):
                    if name not in self._known:
                        peer = Peer(node=name, address=address)
                        self._known[name] = _Known(peer, tasks.create_task(self._ping_on(peer), name=f"ping-{name}"))
                self._notice()
                await asyncio.sleep(LOOK_AT_PEERS_S)

    async def _ping_on(self, peer: Peer) -> None:
        await asyncio.sleep(0)  # until it stands in the book
        while (known := self._known.get(peer.node)) and known.peer == peer:
            begun, timing = self._clock.now(), self._read_timing()
            await self._ping(known, timing.suspect_by_peers_s / 2)
            self._notice()
            await asyncio.sleep(max(0.01, begun + timing.ping_s - self._clock.now()))

    async def _ping(self, known: _Known, timeout_s: float) -> None:
        try:
            pong = await self._channel.ask(known.peer, _PING, timeout_s=timeout_s)
        except HostSilent:
            return
        except Unwelcome as error:
            if not known.is_unwelcome:
                log.error("a peer does not accept this agent, or is none", why=str(error))
            known.is_unwelcome, known.alive_at = True, self._clock.now()
            return
        except VmhaError:
            known.alive_at = self._clock.now()
            return
        known.alive_at = known.answered_at = self._clock.now()
        known.unheard = frozenset(pong.unheard) if isinstance(pong, Pong) else frozenset()
        known.is_unwelcome = False

    def _unheard(self, now: float, gone_s: float) -> set[NodeName]:
        """Whose host we do not hear."""
        return {n for n, known in self._known.items() if known.alive_at is not None and now - known.alive_at >= gone_s}

    def _witnesses(self, now: float, gone_s: float) -> dict[NodeName, frozenset[NodeName]]:
        """Of each agent that answers, whom that one does not hear."""
        return {n: known.unheard for n, known in self._known.items() if now - known.answered_at < gone_s}

    def _notice(self) -> None:
        """Tell of changes that may change a verdict, not of every pong."""
        now, gone_s = self._clock.now(), self._read_timing().suspect_by_peers_s
        gist = (self._unheard(now, gone_s), self._witnesses(now, gone_s))
        if gist != self._seen:
            self._seen = gist
            self._on_change()
