"""One request, asked of one member and, while that one is silent, of the next one too.

    A asked ........................................... A's answer, late: taken
            |patience_s| B asked as well .... B's answer: taken; everybody leaves A, which is silent
                                 |patience_s| C asked as well ...          deadline: nobody answered

A frozen member must be left quickly, and a slow one must be given time; at first they look alike. So nobody's answer is
given up before the deadline: whoever answers first is believed. A store that takes seconds for every call, at all its
members, is thereby asked a few times more than it need be, and is not given up; and since the member asked first has a
head start, nobody goes from member to member (which would end the watches) only because all of them are slow.

Only reads and writes that may be repeated go to several members. Any other write is sent once, and again only when it
surely was not proposed.
"""

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Final, Protocol, TypeVar

from vmha.model.errors import VmhaError
from vmha.store import wire
from vmha.store.channels import HAS_LEADER, Member, Metadata, Ring
from vmha.store.port import Ambiguous, Unavailable
from vmha.store.translate import translate, wants_login

SHORTEST_ATTEMPT_S: Final = 0.005
_PAUSE_S: Final = 0.05


class _Answer(Protocol):
    @property
    def header(self) -> wire.ResponseHeader: ...


Req = TypeVar("Req")
Res = TypeVar("Res", bound=_Answer)


class Sending(Enum):
    """How often a request may go out."""

    READ = "any number of times"
    REPEATABLE = "any number of times, but it writes"
    ONCE = "once, unless it surely was not proposed"


async def ask_around(
    ring: Ring,
    method: Callable[[Member], wire.UnaryUnaryMultiCallable[Req, Res]],
    request: Req,
    sending: Sending,
    *,
    patience_s: float,
    timeout_s: float,
    told_s: float,
) -> Res:
    """The first answer; ``told_s`` is the timeout that messages name.

    Raises:
        Unavailable: no answer within ``timeout_s``; a write is surely not done.
        Ambiguous: no answer to a write, which may or may not be done.
        VmhaError: what a member refused, see the port.
    """
    end_at = _now() + timeout_s
    asked: list[str] = []
    waiting: dict[asyncio.Task[Res], Member] = {}  # in the order of asking
    unclear: Ambiguous | None = None
    try:
        while True:
            if (member := _find_next(ring, waiting)) is not None:
                asked.append(member.name)
                left_s = max(end_at - _now(), SHORTEST_ATTEMPT_S)
                asking = _ask(method(member), request, left_s, member, sending)
                waiting[asyncio.create_task(asking, name=f"etcd: ask {member.name}")] = member
            may_ask_on = sending is not Sending.ONCE and len(waiting) < len(ring)
            await asyncio.wait(waiting, timeout=patience_s if may_ask_on else None, return_when=asyncio.FIRST_COMPLETED)
            error: VmhaError | None = None
            for task in [task for task in waiting if task.done()]:
                silent = _asked_before(waiting, task)
                member = waiting.pop(task)
                try:
                    answer = task.result()
                    ring.check(answer.header, member)
                except (Ambiguous, Unavailable) as problem:
                    ring.leave(member)
                    error = problem
                    unclear = problem if isinstance(problem, Ambiguous) else unclear
                else:
                    for other in silent:
                        ring.leave(other)
                    return answer
            if error is None:
                continue  # silence so far
            pause_s = min(_PAUSE_S * len(asked), 4 * _PAUSE_S)
            is_over = end_at - _now() < pause_s + SHORTEST_ATTEMPT_S
            if (is_over and not waiting) or ring.closed or (unclear and sending is Sending.ONCE):
                within = f" within {told_s:.1f} s" if is_over else ""
                raise _give_up(", ".join(dict.fromkeys(asked)) + within, error, unclear) from error
            await asyncio.sleep(pause_s)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def _find_next(ring: Ring, waiting: dict[asyncio.Task[Res], Member]) -> Member | None:
    """The member in use, or the first one after it that is not being asked already."""
    member = ring.current()
    for _ in range(len(ring)):
        if member not in waiting.values():
            return member
        member = ring.after(member)
    return None


def _asked_before(waiting: dict[asyncio.Task[Res], Member], task: asyncio.Task[Res]) -> list[Member]:
    """Who has been asked for longer than this one, and was silent."""
    return [waiting[other] for other in list(waiting)[: list(waiting).index(task)] if not other.done()]


async def _ask(
    method: wire.UnaryUnaryMultiCallable[Req, Res],
    request: Req,
    attempt_s: float,
    member: Member,
    sending: Sending,
) -> Res:
    """One request to one member. Raises nothing but the port's errors."""
    write = sending is not Sending.READ
    metadata: Metadata = HAS_LEADER
    try:
        try:
            metadata = await member.metadata(timeout_s=attempt_s)
            return await method(request, timeout=attempt_s, metadata=metadata)
        except wire.AioRpcError as error:
            if not wants_login(error.code(), error.details() or "") or not member.forget_token(metadata):
                raise
        return await method(request, timeout=attempt_s, metadata=await member.metadata(timeout_s=attempt_s))
    except wire.AioRpcError as error:
        raise translate(error.code(), error.details() or "", write=write, endpoint=member.name) from error
    except wire.UsageError as error:  # the channel was closed before the request went out
        raise Unavailable(f"the connection to etcd at {member.name} is closed") from error
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # gRPC raises this in calls that are in flight when their channel is closed, though nobody cancelled the task.
        problem = f"the connection to etcd at {member.name} was closed during a request"
        raise (Ambiguous(problem) if write else Unavailable(problem)) from None


def _give_up(where: str, error: VmhaError, unclear: Ambiguous | None) -> Ambiguous | Unavailable:
    """The last word. One unclear attempt among refused ones still leaves the write unclear."""
    reason = str(error).partition(": ")[2]
    said = f" ({reason})" if reason and reason != "deadline exceeded" else ""
    if unclear is not None:
        return Ambiguous(f"no clear answer from etcd at {where}: the write may or may not be done{said}")
    return Unavailable(f"no answer from etcd at {where}{said}")


def _now() -> float:
    return asyncio.get_running_loop().time()
