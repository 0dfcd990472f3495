"""A watch that survives its members: one etcd watch per stream, resumed elsewhere from the next revision.

It promises every change from the start revision on, in order, one ``Batch`` per revision, no revision split or seen
twice, or else one of the port's errors. It does not promise haste: after the member in use stops answering, changes
come 2 to 4 s later.

Why it is built this way (all met in etcd 3.4 and 3.5):

- One watch per stream, because the refusal of a forbidden watch carries watch id 0, which another watch may have.
- Silence is told from peace by asking: after each quiet second a progress request goes out, and a member that answers
  nothing for ``silence_s`` is left. HTTP/2 pings do not tell, a member without quorum answers them. The revision in a
  progress answer is not believed: events at or below it were seen to come later.
- ``fragment`` lets etcd cut a response that is too large; the pieces are joined before anything is delivered.
- A store restored from a backup goes on at a lower revision under the same cluster id, and a resumed watch would see
  nothing for a long time, without an error. So the revision at which a member creates the watch is compared with what
  was seen. One that is lower may also be a follower that lags: only a linearizable read tells.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from vmha.model.ids import Revision
from vmha.store import wire
from vmha.store.channels import Member, Metadata, Ring
from vmha.store.convert import change, encode_key, prefix_end
from vmha.store.port import Batch, Compacted, Denied, Unavailable, WentBack
from vmha.store.translate import translate

_ASK_AFTER_S: Final = 1.0
_SILENCE_S: Final = 3.0
_PAUSE_S: Final = 0.1
_LOWER_ANSWERS: Final = 3
"""How often the store must be found below what was seen before that is believed."""


async def watch(
    ring: Ring,
    prefix: str,
    *,
    start_revision: Revision,
    attempt_s: float,
    give_up_s: float,
    current_revision: Callable[[], Awaitable[int]],
) -> AsyncGenerator[Batch, None]:
    """The changes under ``prefix`` from ``start_revision`` on.

    Args:
        ring: The members.
        prefix: Of the keys.
        start_revision: The first revision wanted. The one before it counts as seen.
        attempt_s: How long a member may take to log in.
        give_up_s: How long to go from member to member without an answer.
        current_revision: Reads the store's revision linearizably.

    Raises:
        Compacted: the start is no longer kept.
        WentBack: the store's revision is below what was seen.
        Denied: this user may not watch this prefix.
        Unavailable: no member answered for ``give_up_s``, or the store was closed.
    """
    loop = asyncio.get_running_loop()
    wanted = max(1, start_revision)
    lower_answers = denials = 0
    answered_at = loop.time()
    reason = "no answer"
    while True:
        member = ring.current()
        try:
            async with _open(ring, member, prefix, wanted, attempt_s) as stream:
                # A member that is frozen is left sooner, by whoever asks something meanwhile; a slow one gets its time.
                created = await stream.receive(_SILENCE_S)
                _check_refusal(created, member, wanted)
                denials = 0
                if created.header.revision < wanted - 1:
                    if await current_revision() < wanted - 1:
                        lower_answers += 1
                        if lower_answers >= _LOWER_ANSWERS:
                            raise WentBack(_went_back(ring, wanted - 1, created.header.revision))
                    raise Unavailable(f"etcd at {member.name}: it lags behind")
                lower_answers = 0
                pieces: list[wire.Event] = []
                while True:
                    response = await stream.receive(_SILENCE_S)
                    ring.check(response.header, member)
                    _check_refusal(response, member, wanted)
                    answered_at = loop.time()
                    pieces += response.events
                    if response.fragment:
                        continue
                    for batch in _batches(pieces):
                        # Some members send again, or send older events for a start that was still in the future.
                        if batch.revision >= wanted:
                            wanted = batch.revision + 1
                            yield batch
                    pieces = []
                    answered_at = loop.time()  # the reader's own time does not count as silence
        except Denied:
            denials += 1
            if denials > 1 or not member.has_login:
                raise  # else its token had expired: it logs in again
        except Unavailable as error:
            ring.leave(member)
            reason = str(error).partition(": ")[2] or reason
        if loop.time() - answered_at > give_up_s:
            raise Unavailable(f"no answer from etcd at {ring.names} to a watch for {give_up_s:.1f} s ({reason})")
        await asyncio.sleep(_PAUSE_S)


def _batches(events: Sequence[wire.Event]) -> Iterator[Batch]:
    """Events as they came, cut where the revision changes; each read when it is asked for, there may be thousands."""
    for revision, same in itertools.groupby(events, key=lambda event: event.kv.mod_revision):
        yield Batch(revision=Revision(revision), changes=tuple(map(change, same)))


def _check_refusal(response: wire.WatchResponse, member: Member, wanted: int) -> None:
    if response.compact_revision:
        raise Compacted(f"revision {wanted} is compacted: etcd keeps from {response.compact_revision} on")
    if response.canceled:
        reason = response.cancel_reason or "it ended the watch"
        text = f"etcd at {member.name}: {reason.removeprefix('etcdserver: ')}"
        if any(words in reason.lower() for words in ("permission denied", "auth", "user name is empty")):
            raise Denied(text)
        raise Unavailable(text)


def _went_back(ring: Ring, seen: int, now: int) -> str:
    return f"etcd at {ring.names} is at revision {now}, but {seen} was seen before: restored from a backup?"


class _Stream:
    """One watch on one member."""

    def __init__(self, ring: Ring, member: Member, metadata: Metadata) -> None:
        self._member = member
        self._left = asyncio.create_task(ring.moved.wait(), name="watch: member left")
        self._call = member.watch.Watch(metadata=metadata)
        self._reading: asyncio.Task[object] | None = None

    async def create(self, prefix: str, wanted: int) -> None:
        request = wire.WatchCreateRequest(
            key=encode_key(prefix) or b"\0", range_end=prefix_end(prefix), start_revision=wanted, fragment=True
        )
        await self._write(wire.WatchRequest(create_request=request))

    async def receive(self, silence_s: float) -> wire.WatchResponse:
        """The next response.

        Raises:
            Unavailable: the stream ended, the member was left, or it was silent for ``silence_s``.
        """
        loop = asyncio.get_running_loop()
        end_at = loop.time() + silence_s
        while True:
            # A task of its own, because gRPC ends the whole call when one read is cancelled: a read that is to be
            # bounded must go on while we ask for progress.
            self._reading = self._reading or asyncio.create_task(self._read(), name="watch: read")
            wait_s = min(_ASK_AFTER_S, end_at - loop.time())
            await asyncio.wait({self._reading, self._left}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            if self._reading.done():
                reading, self._reading = self._reading, None
                return self._result(reading)
            if self._left.done():
                raise Unavailable(f"etcd at {self._member.name}: another request found it silent")
            if loop.time() >= end_at:
                raise Unavailable(f"etcd at {self._member.name}: silent for {silence_s:.1f} s")
            await self._write(wire.WatchRequest(progress_request=wire.WatchProgressRequest()))

    async def _read(self) -> object:
        return await self._call.read()

    def _result(self, reading: asyncio.Task[object]) -> wire.WatchResponse:
        try:
            response = reading.result()
        except wire.AioRpcError as error:
            raise self._translated(error) from error
        except (asyncio.CancelledError, asyncio.InvalidStateError, wire.UsageError) as error:
            raise Unavailable(f"etcd at {self._member.name}: the connection was closed") from error
        if not isinstance(response, wire.WatchResponse):
            raise Unavailable(f"etcd at {self._member.name}: it ended the stream")
        return response

    async def _write(self, request: wire.WatchRequest) -> None:
        try:
            async with asyncio.timeout(_SILENCE_S):
                await self._call.write(request)
        except wire.AioRpcError as error:
            raise self._translated(error) from error
        except TimeoutError as error:
            raise Unavailable(f"etcd at {self._member.name}: it takes no more requests") from error
        except (asyncio.InvalidStateError, wire.UsageError) as error:
            raise Unavailable(f"etcd at {self._member.name}: the stream had ended") from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise Unavailable(f"etcd at {self._member.name}: the connection was closed") from None

    def _translated(self, error: wire.AioRpcError) -> Exception:
        return translate(error.code(), error.details() or "", write=False, endpoint=self._member.name)

    async def close(self) -> None:
        """Ends the watch on the member too, and waits for the own tasks."""
        self._call.cancel()
        tasks = [task for task in (self._reading, self._left) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _open(
    ring: Ring, member: Member, prefix: str, wanted: int, attempt_s: float
) -> AsyncGenerator[_Stream, None]:
    try:
        metadata = await member.metadata(timeout_s=attempt_s)
    except wire.AioRpcError as error:
        raise translate(error.code(), error.details() or "", write=False, endpoint=member.name) from error
    stream = _Stream(ring, member, metadata)
    try:
        await stream.create(prefix, wanted)
        yield stream
    except Denied:
        member.forget_token(metadata)  # it may be the token that was refused, not the user
        raise
    finally:
        await stream.close()
