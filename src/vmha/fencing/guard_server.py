"""The guard's only loop: one poll over the socket, its clients, and the pidfds of dying guests.

Nothing in it waits except the poll. A client that is slow, silent, endless or talks nonsense costs itself its
connection and the guard nothing; an error inside the guard is noted and the loop goes on, because a guard that ended
over a bad line would be the failure it is there for. Standard library only: the guard imports this.
"""

import contextlib
import errno
import os
import select
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vmha.fencing.deadline import EXPIRED, State, Verdict
from vmha.fencing.guard_keeper import SCAN_EVERY_S, Keeper
from vmha.fencing.guard_log import Log, cause_of_loss
from vmha.fencing.guard_protocol import MAX_LINE_BYTES, NonsenseError, encode, parse_request
from vmha.fencing.killing import Killing

MAX_CLIENTS = 32
# An agent asks and is answered within a second; whoever holds a connection longer without a word is gone.
CLIENT_IDLE_S = 30.0
# On a unix socket a connection beyond the backlog fails at once for an asyncio client, so it is generous.
BACKLOG = 128
READ_BYTES = 65536


@dataclass(slots=True)
class _Client:
    socket: socket.socket
    heard_at: float
    pending: bytearray = field(default_factory=bytearray)
    answer: bytearray = field(default_factory=bytearray)
    is_ending: bool = False  # close when the answer is out

    @property
    def has_line(self) -> bool:
        return not self.is_ending and not self.answer and b"\n" in self.pending

    def answer_next(self, answer: Callable[[bytes], dict[str, Any]]) -> None:
        line, _, rest = bytes(self.pending).partition(b"\n")
        self.pending = bytearray(rest)
        if line.strip():
            self.answer += encode(answer(line))


class GuardServer:
    """Serves one keeper on one unix socket until ``stop`` was called.

    Args:
        describe: what this guard adds to a status: who it is and what it can do.
        now: seconds on CLOCK_BOOTTIME.
        node: this one, as the cluster calls it.
    """

    def __init__(
        self,
        socket_path: Path,
        keeper: Keeper,
        killing: Killing,
        *,
        describe: Callable[[dict[str, Any]], dict[str, Any]],
        now: Callable[[], float],
        log: Log,
        node: str,
    ) -> None:
        self._keeper = keeper
        self._killing = killing
        self._describe = describe
        self._now = now
        self._log = log
        self._node = node
        self._clients: dict[int, _Client] = {}
        self._is_stopping = False
        self._wake_fd = -1
        self._path = socket_path
        self._listener = _listen(socket_path)

    def stop(self) -> None:
        """End the loop at its next turn. Safe in a signal handler."""
        self._is_stopping = True

    def wake_on(self, fd: int) -> None:
        """Take a turn when ``fd`` is readable: the pipe of signal.set_wakeup_fd."""
        self._wake_fd = fd

    def serve(self) -> None:
        """Run until stopped."""
        last_words = ""
        while not self._is_stopping:
            try:
                self._turn()
            except Exception as error:  # whatever it is: the guard must go on (see above)
                words = f"internal error: {error!r}"
                if words != last_words:
                    self._keeper.note(words, self._now())
                    self._log("internal error", level="error", error=repr(error))
                last_words = words
                # What is due may be just what failed: the loop must not spin at real-time priority.
                select.select([], [], [], SCAN_EVERY_S)
        self._keeper.close()
        for number in list(self._clients):
            self._drop(number)
        self._listener.close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)

    def _turn(self) -> None:
        before = self._keeper.state
        self._keeper.tick(self._now())
        self._tell_change(before)
        for number, events in self._poll():
            if number == self._listener.fileno():
                self._accept()
            elif number == self._wake_fd:
                os.read(number, READ_BYTES)
            elif number in self._clients:
                self._serve_client(number, events)
        for number in [number for number, client in self._clients.items() if client.has_line]:
            # One line per client and turn: nobody who talks without a pause puts the next tick off.
            self._clients[number].answer_next(self._answer)
        self._drop_idle()

    def _poll(self) -> list[tuple[int, int]]:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        for number, client in self._clients.items():
            poll.register(number, select.POLLOUT if client.answer else select.POLLIN)
        for number in (*self._killing.pidfds, self._wake_fd):
            if number >= 0:
                poll.register(number, select.POLLIN)
        wait_s = self._keeper.wake_in_s(self._now())
        if any(client.has_line for client in self._clients.values()):
            wait_s = 0.0
        elif self._clients:
            wait_s = min(CLIENT_IDLE_S, CLIENT_IDLE_S if wait_s is None else wait_s)
        # poll() counts whole milliseconds: one more, or the loop would turn idly until the instant comes.
        return poll.poll(None if wait_s is None else int(wait_s * 1000) + 1)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                raise
            return
        connection.setblocking(False)
        if len(self._clients) >= MAX_CLIENTS:
            # The longest silent makes room: a new agent must get through whatever old clients left open.
            self._drop(min(self._clients, key=lambda number: self._clients[number].heard_at))
        self._clients[connection.fileno()] = _Client(connection, self._now())

    def _serve_client(self, number: int, events: int) -> None:
        client = self._clients[number]
        try:
            if events & select.POLLOUT:
                self._send(client)
            elif events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                self._receive(client)
        except BlockingIOError:
            return
        except OSError:
            client.is_ending, client.answer = True, bytearray()
        if client.is_ending and not client.answer:
            self._drop(number)

    def _receive(self, client: _Client) -> None:
        data = client.socket.recv(READ_BYTES)
        client.heard_at = self._now()
        client.is_ending = not data
        client.pending += data
        if len(client.pending) > MAX_LINE_BYTES and not client.has_line:
            client.answer += encode(_refusal(f"a line is longer than {MAX_LINE_BYTES} bytes"))
            client.pending.clear()
            client.is_ending = True

    def _send(self, client: _Client) -> None:
        sent = client.socket.send(client.answer)
        del client.answer[:sent]

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = parse_request(line)
        except NonsenseError as error:
            return _refusal(str(error))
        # The time of the request is now, not when this turn of the loop began: deciding on an old instant could
        # accept a beat after the deadline.
        now = self._now()
        before = self._keeper.state
        is_done, verdict, words = self._keeper.answer(request, now)
        self._tell_change(before)
        status = self._keeper.status(now)
        answer: dict[str, Any] = {"ok": is_done, "status": {**status, **self._describe(status)}}
        return answer if is_done else {**answer, "error": verdict, "message": words}

    def _tell_change(self, before: State) -> None:
        after = self._keeper.state
        if after is before:
            return
        status = self._keeper.status(self._now())
        session = str(status["session"])
        is_over = after in EXPIRED
        ended = (status["last_kill"] or {}).get("guests", ()) if is_over else ()
        self._log(
            "state changed",
            level="warning" if is_over else "info",
            cause=cause_of_loss(self._node, session) if is_over else None,
            was=before.value,
            state=after.value,
            session=session,
            why=str(status["cause"]),
            guests=", ".join(guest["name"] for guest in ended),
        )

    def _drop_idle(self) -> None:
        now = self._now()
        for number, client in list(self._clients.items()):
            if now - client.heard_at > CLIENT_IDLE_S:
                self._drop(number)

    def _drop(self, number: int) -> None:
        self._clients.pop(number).socket.close()


def _refusal(words: str) -> dict[str, Any]:
    return {"ok": False, "error": Verdict.INVALID.value, "message": words}


def _listen(path: Path) -> socket.socket:
    # The caller holds the lock of this run directory, so a socket that is there was left by a guard that is gone.
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener
