"""The one way in which something is done from here, by a page or by a program: the plan first, then the deed.

Whoever asks has been told a plan, and says which (``seen``, its digest). It is made anew from what is so now, and the
deed is done only if it is still the same; else the new one is told instead. Who asked is the author of what is written.
"""

import asyncio
import hashlib
from dataclasses import dataclass

from vmha.operator.client import OperatorClient
from vmha.policy.state.snapshot import Snapshot
from vmha.web.verbs import Rehearsal, Wish, deed, rehearse


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """What would happen, and the cluster in which it would."""

    wish: Wish
    found: Rehearsal
    snapshot: Snapshot

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.found.gist.encode(errors="replace")).hexdigest()[:32]


class NotConfirmed(Exception):
    """Nothing is done: ``rehearsed`` is what has to be read first."""

    def __init__(self, message: str, rehearsed: Rehearsed) -> None:
        super().__init__(message)
        self.rehearsed = rehearsed


class Guarded:
    def __init__(self, client: OperatorClient) -> None:
        self.client = client

    def client_of(self, author: str) -> OperatorClient:
        """Whatever it writes says who asked."""
        ours = self.client
        return OperatorClient(ours.store, ours.keys, ours.clock, author=author)

    async def rehearse(self, wish: Wish, author: str, snapshot: Snapshot | None = None) -> Rehearsed:
        """Writes nothing.

        Raises:
            VmhaError: it can be seen to be impossible, or the cluster does not answer.
        """
        client = self.client_of(author)
        read = snapshot or await client.read()
        return Rehearsed(wish=wish, found=await asyncio.to_thread(rehearse, client, read, wish), snapshot=read)

    async def do(self, wish: Wish, author: str, *, seen: str, all_the_same: bool) -> Rehearsed:
        """Raises:
        NotConfirmed: the plan is another one than was seen, or leaves what nobody has agreed to leave.
        VmhaError: as ``rehearse``; nothing is known to be done.
        """
        rehearsed = await self.rehearse(wish, author)
        if seen != rehearsed.digest:
            raise NotConfirmed("Meanwhile the cluster has changed: this is what would happen now.", rehearsed)
        if rehearsed.found.left and not all_the_same:
            said = "Some vms can not leave: say that it is to be done all the same, or leave it."
            raise NotConfirmed(said, rehearsed)
        await deed(wish.verb).ask(self.client_of(author), wish)
        return rehearsed
