"""Renewing leases over one stream that stays open: a single renewal costs one message each way.

Only one request is ever outstanding. An answer that does not come within an attempt is never waited for later: the
stream is dropped with it and the next one goes to another member, because a member that was paused answers the queued
requests when it comes back, with a time to live that the cluster's leader never granted. A follower whose leader hangs
keeps a renewal for up to 7 s; a short attempt and the next endpoint need 2 to 3 s. When the next one is silent as well,
the attempts grow, and nobody leaves a member for being as slow as all the others: that would end the watches.
"""

import asyncio
from typing import Final

from vmha.model.ids import LeaseId
from vmha.store import wire
from vmha.store.channels import Member, Metadata, Ring
from vmha.store.port import LeaseGone, Unavailable
from vmha.store.translate import translate, wants_login

_PAUSE_S: Final = 0.05

_Call = wire.StreamStreamCall[wire.LeaseKeepAliveRequest, wire.LeaseKeepAliveResponse]


def attempt_s(silent: int, first_s: float, timeout_s: float, members: int) -> float:
    """How long the next member is given, after ``silent`` of them said nothing, in seconds.

    The first ones must be left quickly, for they may be frozen. When the next one says nothing either, all of them may
    be slow: each is given twice as long as the one before. With several members the second gets its turn, with twice
    the time, before ``timeout_s`` is over.
    """
    first_s = min(first_s, timeout_s / 3) if members > 1 else first_s
    return min(first_s * 2.0**silent, timeout_s)


class Renewals:
    """The stream of renewals of one store."""

    def __init__(self, ring: Ring, *, attempt_s: float) -> None:
        self._ring = ring
        self._first_s = attempt_s
        self._one_at_a_time = asyncio.Lock()
        self._open: tuple[Member, _Call] | None = None

    async def renew(self, lease: LeaseId, *, timeout_s: float) -> int:
        """Renews once and returns the granted time to live in seconds.

        Raises:
            LeaseGone: the store says so.
            Unavailable: no member answered within ``timeout_s``.
            Denied: this user may not.
        """
        reason = "another renewal was still waiting"
        asked: list[str] = []
        silent: list[tuple[Member, float]] = []
        clock = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(timeout_s), self._one_at_a_time:
                member = self._ring.current()
                while True:
                    asked.append(member.name)
                    given_s, began_at = attempt_s(len(silent), self._first_s, timeout_s, len(self._ring)), clock()
                    try:
                        ttl_s = await self._attempt(member, lease, given_s)
                    except Unavailable as error:
                        reason = str(error).partition(": ")[2] or "no answer"
                        if clock() - began_at < given_s:
                            self._ring.leave(member)  # it said so; silence may also mean that all of them are slow
                        silent.append((member, given_s))
                    else:
                        for other, had_s in silent:
                            if clock() - began_at < had_s:
                                self._ring.leave(other)
                        return ttl_s
                    await asyncio.sleep(_PAUSE_S)
                    member = self._ring.after(member)
        except TimeoutError as error:
            names = ", ".join(dict.fromkeys(asked)) or self._ring.name
            raise Unavailable(f"no answer from etcd at {names} within {timeout_s:.1f} s ({reason})") from error

    async def _attempt(self, member: Member, lease: LeaseId, attempt_s: float) -> int:
        answered = False
        metadata: Metadata = ()
        try:
            async with asyncio.timeout(attempt_s):
                metadata = await member.metadata(timeout_s=attempt_s)
                call = self._stream(member, metadata)
                await call.write(wire.LeaseKeepAliveRequest(ID=lease))
                answer = await call.read()
            if answer is wire.EOF or not isinstance(answer, wire.LeaseKeepAliveResponse) or lease != answer.ID:
                raise Unavailable(f"etcd at {member.name}: it ended the stream of renewals")
            self._ring.check(answer.header, member)
            answered = True
        except wire.AioRpcError as error:
            if wants_login(error.code(), error.details() or "") and member.forget_token(metadata):
                raise Unavailable(f"etcd at {member.name}: the login had expired") from error
            raise translate(error.code(), error.details() or "", write=False, endpoint=member.name) from error
        except TimeoutError as error:
            raise Unavailable(f"etcd at {member.name}: no answer within {attempt_s:.1f} s") from error
        except (asyncio.InvalidStateError, wire.UsageError) as error:  # the stream, or its channel, had ended before
            raise Unavailable(f"etcd at {member.name}: the stream of renewals had ended") from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise Unavailable(f"the connection to etcd at {member.name} was closed") from None
        finally:
            if not answered:
                self._drop()
        if answer.TTL <= 0:
            raise LeaseGone(f"etcd at {member.name}: the lease {lease:x} is gone")
        return answer.TTL

    def _stream(self, member: Member, metadata: Metadata) -> _Call:
        if self._open is not None:
            opened_at, call = self._open
            if opened_at is member and not call.done():
                return call
            self._drop()
        call = member.lease.LeaseKeepAlive(metadata=metadata)
        self._open = (member, call)
        return call

    def _drop(self) -> None:
        if self._open is not None:
            _, call = self._open
            self._open = None
            call.cancel()

    async def close(self) -> None:
        """Ends the stream; a renewal that waits on it raises ``Unavailable``."""
        self._drop()
