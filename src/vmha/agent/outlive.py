"""While no beat commits: the promises of all peers stand in for it, and the guests go on (policy/members/failsafe.py).

The guard hears of them as of beats: by the instant at which the question was sent to which all said yes. Who may be
asked, and for how long, is what the beats said that may be on record; after a restart of this process that is not
known until one is committed.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Protocol

import structlog

from vmha.agent.session_state import Session
from vmha.fencing.port import Guard, SessionExpired
from vmha.model.clock import Clock
from vmha.model.errors import VmhaError
from vmha.model.ids import NodeName, SessionId
from vmha.policy.members.failsafe import LATE_BEATS, Terms, longest_s, whom_to_ask

log = structlog.get_logger(__name__)

RETRY_S = 0.1


class Outliving(Protocol):
    """What keeps the guests running while the store does not answer anybody: the peers' promises."""

    @property
    def address(self) -> str:
        """Where this agent's peers reach it; empty: there is no channel."""

    def terms(self) -> Terms:
        """What the next beat is to say."""

    async def all_promise(self, session: SessionId, names: Collection[NodeName], *, timeout_s: float) -> bool:
        """Ask all of them now. False unless every one says yes."""


class NoPeers:
    """No channel is configured: nobody can be asked."""

    address = ""

    def terms(self) -> Terms:
        return Terms(why_none="this node has no channel to its peers (peers_secret_file)")

    async def all_promise(self, session: SessionId, names: Collection[NodeName], *, timeout_s: float) -> bool:
        return False


async def outlive(
    session: Session, peers: Outliving, guard: Guard, clock: Clock, list_managed: Callable[[], Collection[str] | None]
) -> None:
    """Ask whenever a beat is late, until the session is over."""
    has_promises = False
    while not session.over.is_set():
        beat_s = session.timing.beat_s
        due = max(session.sent_at + beat_s * LATE_BEATS, session.promised_at + beat_s)
        sent_at = clock.now()
        names = whom_to_ask(session.said) if sent_at < session.sent_at + longest_s(session.said) else ()
        if sent_at < due or not names:
            has_promises &= session.promised_at > session.sent_at
            await asyncio.sleep(max(due - sent_at, RETRY_S))
            continue
        all_promise = await peers.all_promise(session.id, names, timeout_s=min(1.0, beat_s))
        if all_promise and await _hold_on(session, sent_at, guard, list_managed) and not has_promises:
            log.warning("the store does not answer; failsafe: all peers promise", peers=len(names))
        has_promises = all_promise
        await asyncio.sleep(RETRY_S)


async def _hold_on(
    session: Session, sent_at: float, guard: Guard, list_managed: Callable[[], Collection[str] | None]
) -> bool:
    """All peers promised, asked at ``sent_at``: for the guard that is a beat."""
    try:
        session.guard = await guard.beat(
            session.id, sent_at=sent_at, committed_at=session.sent_at, managed=list_managed()
        )
    except SessionExpired as error:
        session.end(f"the guard: {error}")
        return False
    except VmhaError as error:
        log.warning("the guard was not told of the peers' promise", why=str(error))
        return False
    session.promised_at = max(session.promised_at, sent_at)
    return True
