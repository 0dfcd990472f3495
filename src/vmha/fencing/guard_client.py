"""The guard process behind the port ``Guard``: one short connection to its unix socket per call.

None of them is kept: a guard that was killed and started anew is found again without any thought, and an answer that
came too late can not be taken for that of the next question. One more is held only to notice when the guard ends.
"""

import asyncio
import contextlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from vmha.fencing.deadline import State, Verdict
from vmha.fencing.guard_protocol import MAX_LINE_BYTES, encode
from vmha.fencing.guard_state import restore_kill
from vmha.fencing.port import Check, GuardStatus, GuardUnavailable, Level, refusal
from vmha.model.ids import SessionId

PING_EVERY_S = 0.5
PING_ANSWER_S = 1.0


class GuardClient:
    """Talks to the guard listening on ``socket_path``."""

    def __init__(self, socket_path: str | Path) -> None:
        self._path = str(socket_path)

    async def arm(
        self,
        session: SessionId,
        *,
        hold_s: float,
        kill_lead_s: float,
        sent_at: float,
        committed_at: float | None = None,
        watchdog_s: int = 0,
        managed: Collection[str] | None = None,
        timeout_s: float = 0.5,
    ) -> GuardStatus:
        """See ``Guard.arm``."""
        request = {
            "op": "arm",
            "session": session,
            "hold_s": hold_s,
            "kill_lead_s": kill_lead_s,
            "sent_at": sent_at,
            "committed_at": committed_at,
            "watchdog_s": watchdog_s,
            "managed": _listed(managed),
        }
        return await self._ask(request, timeout_s)

    async def beat(
        self,
        session: SessionId,
        *,
        sent_at: float,
        committed_at: float | None = None,
        managed: Collection[str] | None = None,
        timeout_s: float = 0.5,
    ) -> GuardStatus:
        """See ``Guard.beat``."""
        request = {
            "op": "beat",
            "session": session,
            "sent_at": sent_at,
            "committed_at": committed_at,
            "managed": _listed(managed),
        }
        return await self._ask(request, timeout_s)

    async def expire(self, session: SessionId, *, cause: str, timeout_s: float = 0.5) -> GuardStatus:
        """See ``Guard.expire``."""
        return await self._ask({"op": "expire", "session": session, "cause": cause}, timeout_s)

    async def disarm(self, session: SessionId, *, timeout_s: float = 0.5) -> GuardStatus:
        """See ``Guard.disarm``."""
        return await self._ask({"op": "disarm", "session": session}, timeout_s)

    async def status(self, *, timeout_s: float = 0.5) -> GuardStatus:
        """See ``Guard.status``."""
        return await self._ask({"op": "status"}, timeout_s)

    async def gone(self) -> None:
        """See ``Guard.gone``. The one connection that is kept: the kernel closes it in the instant the guard ends."""
        while await self._is_held():
            with contextlib.suppress(GuardUnavailable):
                await self.status(timeout_s=PING_ANSWER_S)
                continue  # it was this process that stood still, or the guard has begun anew
            return

    async def _is_held(self) -> bool:
        """Hold a connection until it breaks (False) or a ping on it is not answered (True)."""
        try:
            async with asyncio.timeout(PING_ANSWER_S):
                reader, writer = await asyncio.open_unix_connection(self._path, limit=MAX_LINE_BYTES)
        except (OSError, TimeoutError):
            return False
        try:
            while True:
                writer.write(encode({"op": "ping"}))
                async with asyncio.timeout(PING_ANSWER_S):
                    line = await reader.readline()
                if not line.endswith(b"\n"):
                    return False
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PING_EVERY_S):
                        if not await reader.read(1):
                            return False
        except TimeoutError:
            return True
        except (OSError, ValueError):
            return False
        finally:
            writer.close()

    async def _ask(self, request: dict[str, Any], timeout_s: float) -> GuardStatus:
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._exchange(encode(request))
        except TimeoutError as error:
            raise GuardUnavailable(f"the guard at {self._path} did not answer within {timeout_s:g} s") from error
        except (OSError, ValueError) as error:
            raise GuardUnavailable(f"no guard answers at {self._path}: {error}") from error
        try:
            answer = json.loads(line)
            is_done = answer["ok"] is True
            status = _read_status(answer["status"]) if is_done else None
            verdict = None if is_done else Verdict(answer["error"])
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise GuardUnavailable(f"the answer of the guard at {self._path} is none: {line[:100]!r}") from error
        if status is None or verdict is not None:
            raise refusal(verdict or Verdict.INVALID, f"the guard says: {answer.get('message', '')}")
        return status

    async def _exchange(self, line: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._path, limit=MAX_LINE_BYTES)
        try:
            writer.write(line)
            await writer.drain()
            answer = await reader.readline()
        finally:
            # Not waiting for the close to be complete: on cancellation, too, this must return at once.
            writer.close()
        if not answer.endswith(b"\n"):
            raise ConnectionError("it closed the connection without an answer")
        return answer


def _listed(managed: Collection[str] | None) -> list[str] | None:
    return None if managed is None else sorted(managed)


def _read_status(fields: dict[str, Any]) -> GuardStatus:
    watchdog, kill = fields["watchdog"], fields.get("last_kill")
    return GuardStatus(
        state=State(fields["state"]),
        level=Level(fields["level"]),
        session=SessionId(fields["session"]) if fields["session"] else None,
        cause=fields.get("cause", ""),
        deadline=fields.get("deadline"),
        kill_at=fields.get("kill_at"),
        committed_at=fields.get("committed_at"),
        watchdog_s=watchdog["timeout_s"] if watchdog["armed"] else 0,
        watchdog_note=watchdog["reason"],
        guests=tuple(fields.get("guests", ())),
        unclear=tuple(fields.get("unclear", ())),
        last_kill=restore_kill(kill) if kill else None,
        self_test=_read_checks(fields.get("self_test", {})),
        hardening=_read_checks(fields.get("hardening", {})),
        notes=tuple(fields.get("notes", ())),
    )


def _read_checks(fields: dict[str, str]) -> tuple[Check, ...]:
    return tuple(Check(name=name, outcome=outcome) for name, outcome in sorted(fields.items()))
