"""``vmha leave`` and the agent it tells: by a signal to whoever holds the lock, answered by a file."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from tests.support.until import until
from vmha.model.clock import SystemClock
from vmha.model.errors import Refused, Rejected
from vmha.model.records import Hand
from vmha.node.leaving import Left, Word, ask_to_leave, ask_to_stay, take_word, tell
from vmha.node.member import Member
from vmha.node.process import _hear, _leave_when, only_agent

ANN = Hand(author="ann@kvm1", why="the host shuts down")


@pytest.fixture
def answers() -> Iterator[list[Left]]:
    """What this process, as the agent, says when it is told."""
    said: list[Left] = []
    yield said
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)


@pytest.mark.parametrize("is_empty", [True, False])
async def test_agent_that_holds_the_lock_is_told_and_what_came_of_it_is_returned(
    tmp_path: Path, answers: list[Left], is_empty: bool
) -> None:
    answers.append(Left(is_empty=is_empty))
    tell(tmp_path, Left(is_empty=not is_empty))  # of an earlier time
    with only_agent(tmp_path):
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, lambda: tell(tmp_path, answers[0]))
        left = await ask_to_leave(tmp_path, SystemClock(), timeout_s=30.0, by=ANN)
        asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)
    assert left == answers[0]
    assert take_word(tmp_path) == Word(by=ANN, goes_off=False)
    assert take_word(tmp_path) == Word(), "it is said once"


async def test_agent_that_says_nothing_is_not_waited_for_for_ever(tmp_path: Path, answers: list[Left]) -> None:
    with only_agent(tmp_path):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        with pytest.raises(Refused, match="has not left within"):
            await ask_to_leave(tmp_path, SystemClock(), timeout_s=0.3, by=ANN)


async def test_agent_that_could_not_leave_hears_it_when_it_is_asked_again(tmp_path: Path) -> None:
    class Full:
        """A member with guests, until they are seen to."""

        is_empty = False

        async def leave(self, by: Hand | None, *, goes_off: bool) -> bool:
            assert not goes_off
            assert by == ANN
            return self.is_empty

    member, told = Full(), asyncio.Event()
    listening = asyncio.create_task(_leave_when(told, cast(Member, member), tmp_path))
    with only_agent(tmp_path):
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, told.set)
        try:
            for is_empty in (False, True):
                member.is_empty = is_empty
                left = await ask_to_leave(tmp_path, SystemClock(), timeout_s=10.0, by=ANN)
                assert left == Left(is_empty=is_empty)
        finally:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)
            listening.cancel()


async def test_agent_that_could_not_say_what_came_of_it_hears_it_when_it_is_asked_again(tmp_path: Path) -> None:
    class Empty:
        left = 0

        async def leave(self, by: Hand | None, *, goes_off: bool) -> bool:
            assert goes_off, "nobody has said that it stays on"
            self.left += 1
            return True

    member, told = Empty(), asyncio.Event()
    in_the_way = tmp_path / "left.new"
    in_the_way.mkdir()
    listening = asyncio.create_task(_leave_when(told, cast(Member, member), tmp_path))
    told.set()
    await until(lambda: member.left == 1 and not told.is_set(), what="it to be told")
    in_the_way.rmdir()
    told.set()
    try:
        await until((tmp_path / "left.json").exists, what="its answer")
    finally:
        listening.cancel()


async def test_nobody_is_signalled_where_no_agent_holds_the_lock(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="no agent runs here"):
        await ask_to_leave(tmp_path, SystemClock(), timeout_s=1.0, by=ANN)
    (tmp_path / "agent.lock").write_text(str(os.getpid()))  # it stays when its agent is gone
    with pytest.raises(Rejected, match="no agent runs here"):
        await ask_to_leave(tmp_path, SystemClock(), timeout_s=1.0, by=ANN)


@pytest.mark.parametrize("said", [None, "", "[]", '{"author": "ann"}', "{"])
def test_whoever_sent_the_signal_without_a_word_is_nobody(tmp_path: Path, said: str | None) -> None:
    if said is not None:
        (tmp_path / "leave.json").write_text(said)
    assert take_word(tmp_path) == Word(by=None, stays=False, goes_off=True)


class Stuck:
    """A member whose guests do not leave, and that leaves off only when it is told so."""

    def __init__(self) -> None:
        self.agent, self.is_leaving, self.calls, self._called_off = self, False, list[str](), asyncio.Event()

    def call_off_leaving(self) -> None:
        self._called_off.set()

    async def leave(self, by: Hand | None, *, goes_off: bool) -> bool:
        self.is_leaving = True
        self._called_off.clear()
        await self._called_off.wait()
        return False

    async def stay(self, by: Hand | None) -> bool:
        assert by == ANN
        self.is_leaving = False
        return True


@asynccontextmanager
async def agent(run_dir: Path, member: Stuck) -> AsyncIterator[None]:
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    listening = asyncio.create_task(_leave_when(told, cast(Member, member), run_dir))
    with only_agent(run_dir):
        loop.add_signal_handler(signal.SIGUSR1, _hear, told, cast(Member, member), run_dir)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGUSR1)
            listening.cancel()


async def test_agent_that_is_not_waited_for_any_longer_stays(tmp_path: Path) -> None:
    member = Stuck()
    async with agent(tmp_path, member):
        with pytest.raises(Refused, match="it is told to stay"):
            await ask_to_leave(tmp_path, SystemClock(), timeout_s=0.5, by=ANN)
        await until(lambda: not member.is_leaving, what="it stays")


async def test_agent_whose_asker_is_interrupted_stays(tmp_path: Path) -> None:
    member = Stuck()
    async with agent(tmp_path, member):
        asking = asyncio.create_task(ask_to_leave(tmp_path, SystemClock(), timeout_s=30.0, by=ANN))
        await until(lambda: member.is_leaving, what="it is told")
        asking.cancel()
        await until(lambda: not member.is_leaving, what="it stays")


async def test_agent_whose_host_goes_off_is_left_alone(tmp_path: Path) -> None:
    member = Stuck()
    async with agent(tmp_path, member):
        with pytest.raises(Refused, match="the guard counts on"):
            await ask_to_leave(tmp_path, SystemClock(), timeout_s=0.5, by=ANN, goes_off=True)
        assert member.is_leaving
        assert take_word(tmp_path) == Word(), "nobody has it stay"


async def test_agent_that_leaves_is_told_by_another_to_stay(tmp_path: Path) -> None:
    member = Stuck()
    async with agent(tmp_path, member):
        asking = asyncio.create_task(ask_to_leave(tmp_path, SystemClock(), timeout_s=30.0, by=ANN, goes_off=True))
        await until(lambda: member.is_leaving, what="it is told")
        assert await ask_to_stay(tmp_path, SystemClock(), timeout_s=30.0, by=ANN) == Left(is_empty=False)
        await until(lambda: not member.is_leaving, what="it stays")
        assert await asking == Left(is_empty=False)
