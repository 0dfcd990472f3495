"""The end of a session in good order: its beat is taken away when nothing of the cluster runs on its node any more.

What others conclude from that is that nothing does, and they start elsewhere at once what was on its way here. So it
is looked anew, and as of that very beat: whoever has libvirt itself let a guest run here has to see a later one first
(agent/alive.py), and who is asked by the record of a migration is on record by then.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from vmha.agent.namesakes import NotYetError
from vmha.agent.rejoin import Rejoin
from vmha.agent.session_state import Session, beat_timeout_s
from vmha.fencing.port import Guard
from vmha.model.errors import VmhaError
from vmha.model.ids import NodeName, Revision
from vmha.model.keys import Keys
from vmha.store.port import Delete, KeyValue, Modified, Store

log = structlog.get_logger(__name__)

LOOK_AROUND = 4
"""A look may take this part of the hold: no beat is sent meanwhile."""

IsEmpty = Callable[[Revision], Awaitable[bool]]
"""Looks anew whether nothing runs here, or is on its way here, knowing all that was on record at that revision."""


class Farewell:
    """``beat_key``: who writes the beat, or takes it away, is alone at it. ``is_said``: the session is not to go on."""

    def __init__(self, store: Store, keys: Keys, guard: Guard, node: NodeName, rejoin: Rejoin) -> None:
        self._store, self._keys, self._guard, self._node, self._rejoin = store, keys, guard, node, rejoin
        self.beat_key = asyncio.Lock()
        self.is_said = self._may_be_said = self._is_taken_back = False

    async def say(self, session: Session, is_empty: IsEmpty) -> None:
        """The beat goes first, so that nothing can be claimed under it, and the guard is disarmed after that: the other
        way round, a vm that is claimed in between would run with nothing to end it.

        Raises:
            NotYetError: something is here, or on its way here.
            VmhaError: from the store, or the guard.
        """
        key = self._keys.beat(self._node)
        self._is_taken_back = False
        async with self.beat_key:
            await _look_around(session, is_empty)
            self._may_be_said = True  # whatever is heard of it
            result = await self._store.txn(
                [Modified(key, session.beat_modified)],
                [Delete(key), Delete(self._keys.session(self._node))],
                timeout_s=beat_timeout_s(session.timing, session.timing.hold_s),
                idempotent=True,
            )
        found = result.found.get(key)
        if not result.succeeded and found is not None:
            self._may_be_said = False
            if found.create_revision == session.beat_created:
                raise NotYetError("a beat of this session was committed meanwhile")
            session.end("evicted: the beat key is another's")
            return
        self.is_said = True
        session.end("left in good order")
        await self._guard.disarm(session.id)

    def take_back(self) -> None:
        """The node stays. If it turns out that it had been said all the same, a new session begins."""
        self._is_taken_back = True

    def beat_committed(self) -> None:
        """It was not said, and can not be any more: it was to follow the beat before this one. A beat that is missing
        from now on is missing for another reason, and guests may run under it.
        """
        self._may_be_said = False

    async def was_said(self, session: Session, found: KeyValue | None) -> bool:
        """A beat finds none to follow. So it is where the answer to ``say`` was lost: it is not to be put back."""
        if found is not None or not self._may_be_said:
            return False
        try:
            if await self._rejoin.is_evicted(session):
                return False
        except VmhaError as error:
            log.warning("whether this node has left is not known yet", why=str(error))
            return True
        try:
            await self._guard.disarm(session.id)
        except VmhaError as error:
            log.warning("left, and the guard counts on", why=str(error))
        self.is_said, self._may_be_said = not self._is_taken_back, False
        session.end("left in good order")
        return True


async def _look_around(session: Session, is_empty: IsEmpty) -> None:
    try:
        async with asyncio.timeout(session.timing.hold_s / LOOK_AROUND):
            if await is_empty(session.beat_modified):
                return
    except TimeoutError:
        pass
    raise NotYetError("something is here, or on its way here, or that is not known yet")
