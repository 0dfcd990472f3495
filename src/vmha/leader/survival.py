"""The leader tells the journal when the loss of some node has come to cost vms, and when it no longer does.

It asks once in ``STANDS_S`` at most, only when something of the cluster has changed (a beat has not) and nothing was
decided for ``CALM_S``, and in a large cluster beside the loop. What has stood for that long is told
(policy/telling/survival_news.py).

It looks for ``PATIENCE_S`` at most. Where that does not do (large, and full to the brim) the nodes that were not looked
at are counted with the answer, and it is asked again after ``AGAIN_S`` though nothing has changed: the machine may have
had other things to do.
"""

import asyncio
from typing import Any

import structlog

from vmha.leader.executor import Executor
from vmha.model.clock import Clock, Patience
from vmha.model.errors import VmhaError
from vmha.model.ids import NodeName, Revision
from vmha.policy.members.membership import Verdict
from vmha.policy.state.reservation import room_of
from vmha.policy.state.snapshot import Moment, Snapshot
from vmha.policy.telling.survival import Survival, survival
from vmha.policy.telling.survival_news import STANDS_S, News, is_same, news_of

log = structlog.get_logger(__name__)

CALM_S = 3.0
"""While one decision follows the other the answer is another one each time, and the leader has better to do."""
BESIDE_THE_LOOP_FROM = 500
"""Vms."""
ON_THE_LOOP_S = 0.25
"""In a smaller one; what takes longer is asked beside it as well."""
PATIENCE_S = 2.0
AGAIN_S = 60.0


class SurvivalWatch:
    """One term's. ``look`` is called whenever a plan proposes nothing, ``stirred`` when it does."""

    def __init__(self, clock: Clock, *, threads: bool) -> None:
        self._clock, self._threads = clock, threads
        self._asked_of: tuple[Any, ...] = ()
        self._asked_at = float("-inf")
        self._patience: Patience | None = None
        self._found: Survival | None = None
        self._at_work: asyncio.Task[Survival] | None = None
        self._looked_at = float("-inf")
        self._stands: News | None = None
        self._stirred_at = float("-inf")

    def stirred(self, now: float) -> None:
        self._stirred_at = now

    async def look(
        self, snapshot: Snapshot, moment: Moment, verdicts: dict[NodeName, Verdict], executor: Executor
    ) -> Revision:
        """Returns the revision at which something was told, 0 when nothing was."""
        is_calm = moment.now - self._stirred_at >= CALM_S and not snapshot.unsettled
        if not is_calm or moment.now - self._looked_at < STANDS_S or moment.store_live_s < STANDS_S:
            return Revision(0)  # also while the store is away: whoever leads has more important things to wait for
        if not self._is_answered(snapshot, moment, verdicts) or self._found is None:
            return Revision(0)
        self._looked_at = moment.now
        news, before = news_of(self._found, snapshot, wall=moment.wall), self._stands
        self._stands = news
        if news is None or not is_same(news, before):
            return Revision(0)
        log.info("survival", kind=news.kind, text=news.text)
        self._stands = None
        try:
            return await executor.tell_survival(news)
        except VmhaError as error:
            log.warning("survival not told", why=str(error))
            return Revision(0)

    def end(self) -> None:
        if self._at_work is not None:
            self._at_work.cancel()

    def _is_answered(self, snapshot: Snapshot, moment: Moment, verdicts: dict[NodeName, Verdict]) -> bool:
        """Is ``_found`` an answer of now? False: it is being looked for."""
        if self._at_work is not None:
            if not self._at_work.done():
                return False
            self._found, self._at_work = self._at_work.result(), None
            return True
        key = _what_it_depends_on(snapshot, verdicts)
        is_lacking = self._patience is not None and self._patience.is_over
        is_due_again = is_lacking and moment.now - self._asked_at >= AGAIN_S
        if _is_same_key(key, self._asked_of) and not is_due_again:
            return True
        self._asked_of, self._asked_at = key, moment.now
        if not self._threads or len(snapshot.vms) < BESIDE_THE_LOOP_FROM:
            self._patience = Patience(self._clock, ON_THE_LOOP_S if self._threads else PATIENCE_S)
            self._found = survival(snapshot, moment, verdicts=verdicts, goes_on=self._patience)
            if not self._threads or not self._patience.is_over:
                return True
        self._patience = Patience(self._clock, PATIENCE_S)
        thinking = asyncio.to_thread(survival, snapshot, moment, verdicts=verdicts, goes_on=self._patience)
        self._at_work = asyncio.create_task(thinking, name="survival")
        return False


def _what_it_depends_on(snapshot: Snapshot, verdicts: dict[NodeName, Verdict]) -> tuple[Any, ...]:
    """By the mappings themselves, which the mirror makes anew when something in them changes, and keeps otherwise."""
    nodes = tuple((one, room_of(snapshot.nodes[name], snapshot.config)) for name, one in verdicts.items())
    parts = (snapshot.vms, snapshot.config, snapshot.domains, snapshot.rules, snapshot.services, snapshot.fenced)
    return (*parts, nodes)


def _is_same_key(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    if not other:
        return False
    return one[-1] == other[-1] and all(new is old for new, old in zip(one[:-1], other[:-1], strict=True))
