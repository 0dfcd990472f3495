"""The leader tells hooks what happened, from the journal, and keeps in etcd how far each has been told.

    journal --listing, then watch--> one bounded queue a hook --one at a time, in order--> delivery --> ``hooks/<name>``

Promised: what was in the journal when the hook was there is delivered **at least once**, in the order in which it was
written, also over changes of the leader: the next one goes on where the record says the last one was. An event may
come twice (its ``id`` tells); it may come late. Not promised: a hook that is ``QUEUE`` events behind loses the oldest
ones, a webhook that fails for ``give_up_s`` loses the event, a program that fails is not run again. Each is counted in
the record and told once in the journal.

It never holds up anything: it is a task of its own, decides nothing, and takes no part in plans. A hook that hangs
costs one slot of ``AT_ONCE`` for its timeout.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace

import structlog

from vmha.hooks.port import Delivery
from vmha.leader.executor import Deposed
from vmha.model.clock import Clock
from vmha.model.errors import VmhaError
from vmha.model.hooks import OWN, TEST, Hook, event_of
from vmha.model.ids import NodeName, Revision, Term
from vmha.model.keys import Keys, decode, encode
from vmha.model.records import HookState, JournalEntry
from vmha.model.settings import ClusterConfig
from vmha.store.journal import Journal
from vmha.store.port import Created, KeyValue, LeaseGone, Put, Store
from vmha.tracing.operation import operation

log = structlog.get_logger(__name__)

AT_ONCE = 4
QUEUE = 1000
LOOK_S = 0.5
RESTART_S = 2.0
FIRST_REST_S, LONGEST_REST_S = 1.0, 60.0
_LAST = "\U0010ffff"
"""In place of an entry's id: every entry of that revision has been looked at."""
IDLE_MARK_S = 30.0
"""How often it is noted that there was nothing to tell."""


@dataclass(slots=True, kw_only=True)
class _Line:
    """What waits for one hook. ``seen``: everything up to there has been looked at."""

    hook: Hook
    state: HookState
    waiting: deque[tuple[Revision, JournalEntry]] = field(default_factory=deque)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    seen: Revision = Revision(0)
    is_told: bool = False  # that it fails, or falls behind
    dropped_before: int = 0


class Hooks:
    """``run`` is forever; it works while this node leads and there are hooks."""

    def __init__(
        self,
        *,
        store: Store,
        keys: Keys,
        clock: Clock,
        node: NodeName,
        delivery: Delivery,
        read_config: Callable[[], ClusterConfig],
        read_term: Callable[[], Term | None],
        queue: int = QUEUE,
    ) -> None:
        self._store, self._keys, self._clock, self._node = store, keys, clock, node
        self._delivery, self._read_config, self._read_term = delivery, read_config, read_term
        self._queue = queue
        self._journal = Journal(store, keys, clock, node, days=lambda: read_config().journal_days)
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        while True:
            term, hooks = self._read_term(), self._read_config().hooks
            if term is None or not hooks:
                await asyncio.sleep(LOOK_S)
                continue
            serving = asyncio.create_task(self._serve(term, hooks), name="hooks: serve")
            try:
                while not serving.done() and (self._read_term(), self._read_config().hooks) == (term, hooks):
                    await asyncio.wait({serving}, timeout=LOOK_S)
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)  # of its own cancellation nothing is raised here
            if not serving.cancelled() and (error := serving.exception()) is not None:
                log.warning("hooks begin again", why=_words(error))
                await asyncio.sleep(RESTART_S)

    async def _serve(self, term: Term, hooks: tuple[Hook, ...]) -> None:
        config = await self._store.get(self._keys.config)
        listing = await self._store.list(self._keys.journal(""))
        known = await self._read_states()
        since = config.mod_revision if config else listing.revision
        lines = [self._line(hook, known.get(hook.name), since, listing.revision) for hook in hooks]
        for line in lines:
            await self._write(term, line)
        for kv in sorted(listing.items, key=lambda kv: (kv.mod_revision, kv.key)):
            self._take(kv, lines)
        async with asyncio.TaskGroup() as tasks:
            for line in lines:
                line.seen = max(line.seen, listing.revision)
                tasks.create_task(self._tell(term, line), name=f"hook-{line.hook.name}")
            tasks.create_task(self._follow(Revision(listing.revision + 1), lines), name="hooks: follow")

    async def _read_states(self) -> dict[str, HookState]:
        prefix = self._keys.hook("")
        states = (await self._store.list(prefix)).items
        return {kv.key.removeprefix(prefix): decode(HookState, kv.value, where=kv.key) for kv in states}

    def _line(self, hook: Hook, state: HookState | None, since: Revision, now: Revision) -> _Line:
        """A hook that is new is told what happened ``since`` the settings were written, however late a leader sees it.

        One whose record is of a store's other history is told what happens from now on.
        """
        if state is None or state.revision > now:
            state = HookState(hook=hook.name, revision=since if state is None else now, entry=_LAST)
        return _Line(hook=hook, state=replace(state, by=self._node), seen=state.revision)

    async def _follow(self, start: Revision, lines: list[_Line]) -> None:
        async for batch in self._store.watch(self._keys.journal(""), start_revision=start):
            for change in sorted(batch.changes, key=lambda change: change.key):
                if change.kv is not None:
                    self._take(change.kv, lines)
            for line in lines:
                line.seen = max(line.seen, batch.revision)

    def _take(self, kv: KeyValue, lines: list[_Line]) -> None:
        try:
            entry = decode(JournalEntry, kv.value, where=kv.key)
        except VmhaError as error:
            log.warning("an entry of the journal is told to no hook", why=str(error))
            return
        test_of = entry.text.partition(" ")[0] if entry.kind == TEST else ""
        for line in lines:
            at = (line.state.revision, line.state.entry)
            if (kv.mod_revision, entry.id) <= at or not line.hook.wants(entry.kind, test_of):
                continue
            if len(line.waiting) >= self._queue:
                line.waiting.popleft()
                line.state = replace(line.state, dropped=line.state.dropped + 1)
            line.waiting.append((kv.mod_revision, entry))
            line.more.set()

    async def _tell(self, term: Term, line: _Line) -> None:
        while True:
            line.more.clear()
            if not line.waiting:
                with suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_MARK_S):
                        await line.more.wait()
            if not line.waiting:
                if line.seen > line.state.revision:
                    line.state = replace(line.state, revision=line.seen, entry=_LAST)
                    await self._write(term, line)
                continue
            revision, entry = line.waiting[0]
            done, said, tries = await self._try_until_given_up(line.hook, entry)
            if line.waiting and line.waiting[0][1] is entry:
                line.waiting.popleft()
            line.state = replace(
                line.state,
                revision=revision,
                entry=entry.id,
                delivered=line.state.delivered + done,
                failed=line.state.failed + (not done),
                last=entry.id,
                last_done=done,
                last_said=said,
                last_at=self._clock.wall(),
            )
            await self._write(term, line)
            with operation("hook", entry.cause):
                await self._tell_trouble(line, done=done, said=said, tries=tries)

    async def _try_until_given_up(self, hook: Hook, entry: JournalEntry) -> tuple[bool, str, int]:
        body = event_document(self._keys.cluster, entry)
        give_up_at, rest_s, tries = self._clock.now() + hook.give_up_s, FIRST_REST_S, 0
        while True:
            tries += 1
            with operation("hook", entry.cause, vm=entry.vm, node=entry.node):
                async with self._slots:
                    answer = await self._delivery.deliver(hook, body)
                log.info("hook told", hook=hook.name, id=entry.id, done=answer.is_done, tries=tries)
            left = give_up_at - self._clock.now()
            if answer.is_done or answer.is_final or entry.kind == TEST or left <= 0:
                return answer.is_done, answer.said, tries
            await asyncio.sleep(min(rest_s, left))
            rest_s = min(LONGEST_REST_S, 2 * rest_s)

    async def _tell_trouble(self, line: _Line, *, done: bool, said: str, tries: int) -> None:
        """Once, until it works again."""
        name, state, trouble = line.hook.name, line.state, ""
        if not done:
            trouble = f"hook {name} was not told {state.last}, after {tries} tries: {said}"
        elif state.dropped > line.dropped_before:
            trouble = f"hook {name} is behind: {state.dropped} events were not told to it so far"
        line.dropped_before = state.dropped
        if not trouble or line.is_told:
            line.is_told = bool(trouble)
            return
        line.is_told = True
        log.warning("hook in trouble", hook=name, failed=state.failed, dropped=state.dropped)
        with suppress(VmhaError):
            await self._journal.refresh()
            try:
                await self._store.txn([], [self._journal.entry(f"{OWN}trouble", trouble)])
            except LeaseGone:
                self._journal.forget_lease()
                raise

    async def _write(self, term: Term, line: _Line) -> None:
        """As the leader, or not at all."""
        office = Created(self._keys.leader, Revision(term))
        put = Put(self._keys.hook(line.hook.name), encode(line.state))
        if not (await self._store.txn([office], [put])).succeeded:
            raise Deposed("the leader key is not ours any more")


def event_document(cluster: str, entry: JournalEntry) -> bytes:
    """What a hook is told: one JSON object."""
    plain = asdict(entry)
    return json.dumps(
        {
            "schema": 1,
            "cluster": cluster,
            "id": entry.id,
            "event": event_of(entry.kind),
            "kind": entry.kind,
            "at": entry.at,
            "by": entry.by,
            "vm": entry.vm,
            "node": entry.node,
            "text": entry.text,
            "cause": entry.cause,
            "reason": plain["reason"],
            "hand": plain["hand"],
        }
    ).encode()


def _words(error: BaseException) -> str:
    return "; ".join(map(_words, error.exceptions)) if isinstance(error, BaseExceptionGroup) else str(error)
