"""This agent among its peers: it answers their pings, promises what it can keep, and asks for their promises.

What may be promised, and what follows from it, stands in ``members/failsafe.py``; here it is carried out. A promise is
given in one step of the event loop: look, begin to count the asker's silence anew, answer.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping

import structlog

from vmha.model.errors import VmhaError
from vmha.model.ids import NodeName, SessionId
from vmha.peers.port import Answer, AskPromise, Channel, Peer, Ping, Pong, Request, Word
from vmha.policy.members.failsafe import Promiser, Terms, refuse_promise, terms_of
from vmha.store.mirror import Mirror

log = structlog.get_logger(__name__)


class Failsafe:
    """``vmha.agent.outlive.Outliving`` over the channel between the agents.

    Args:
        read_self: what this agent knows of itself at this instant.
        pong: the answer to a ping.
    """

    def __init__(
        self,
        *,
        channel: Channel,
        mirror: Mirror,
        node: NodeName,
        read_self: Callable[[], Promiser],
        pong: Callable[[], Pong],
    ) -> None:
        self._channel, self._mirror, self._node = channel, mirror, node
        self._read_self, self._pong = read_self, pong
        self._refusals: dict[NodeName, str] = {}

    @property
    def address(self) -> str:
        return self._channel.address

    def terms(self) -> Terms:
        addresses = {name: beat.peers_address for name, beat in self._mirror.beats()}
        is_one_unread = any(key.endswith("/beat") for key in self._mirror.problems)
        return terms_of(self._mirror.config, addresses, self._node, has_channel=True, is_one_unread=is_one_unread)

    def addresses(self) -> Mapping[NodeName, str]:
        """Where the other nodes' agents answer, by their last beats."""
        return {
            name: beat.peers_address for name, beat in self._mirror.beats() if name != self._node and beat.peers_address
        }

    # --- being asked

    def answer(self, asker: NodeName, request: Request) -> Answer:
        match request:
            case Ping():
                return self._pong()
            case AskPromise():
                return Word(refusal=self._promise(asker, request.session))

    def _promise(self, asker: NodeName, session: SessionId) -> str:
        refusal = refuse_promise(asker, session, self._mirror.snapshot(), self._read_self())
        if not refusal and not self._mirror.promise(asker):
            return f"{self._node} has never seen a beat of {asker}"
        return refusal

    # --- asking

    async def all_promise(self, session: SessionId, names: Collection[NodeName], *, timeout_s: float) -> bool:
        addresses = self.addresses()
        unknown = [name for name in names if name not in addresses]
        asked = [
            self._ask(Peer(node=name, address=addresses[name]), session, timeout_s)
            for name in names
            if name in addresses
        ]
        refusals = dict.fromkeys(unknown, "its address is not known") | dict(await asyncio.gather(*asked))
        refusals = {name: why for name, why in sorted(refusals.items()) if why}
        if refusals != self._refusals:
            self._refusals = refusals
            if refusals:
                log.warning("no failsafe: not all peers promise, guests here end at the guard's deadline", why=refusals)
        return not refusals

    async def _ask(self, peer: Peer, session: SessionId, timeout_s: float) -> tuple[NodeName, str]:
        try:
            word = await self._channel.ask(peer, AskPromise(session=session), timeout_s=timeout_s)
        except VmhaError as error:
            return peer.node, str(error)
        return peer.node, word.refusal if isinstance(word, Word) else "its answer is none"
