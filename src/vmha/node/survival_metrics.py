"""What Prometheus reads of N+1, of the node that leads: would the loss of any one node be survived?

Worked out anew only when something of it has changed: a beat has not. In a large cluster that is done in a thread, and
a scrape tells what was found last. It looks for as long as the leader does for its journal; of nodes that were not
looked at by then nothing is told but how many they are.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import Metric

from vmha.leader.survival import PATIENCE_S
from vmha.model.clock import Clock, Patience
from vmha.node.metric_families import family, single
from vmha.policy.members.membership import moment_of_one_reading
from vmha.policy.plan import judge_all
from vmha.policy.state.reservation import room_of
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.telling.survival import Survival, survival

IN_A_THREAD_FROM = 500
"""Vms."""


class SurvivalMetrics:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._key: tuple[Any, ...] = ()
        self._found: Survival | None = None
        self._at_work: asyncio.Task[None] | None = None

    def collect(self, snapshot: Snapshot, *, wall: float) -> Iterator[Metric]:
        self._look(snapshot, wall)
        found = self._found
        if found is None:
            return
        if found.survives is not None:
            yield single("vmha_survives_node_loss", found.survives)
        vms = {loss.node: len(loss.vms) for loss in found.losses}
        known = () if found.on_their_way else tuple(node for node in snapshot.nodes if node not in found.unknown)
        yield family("vmha_node_loss_vms", {node: vms.get(node, 0) for node in known})
        unknown = len(snapshot.nodes) if found.on_their_way else len(found.unknown)
        yield single("vmha_node_loss_unknown_nodes", unknown)

    def _look(self, snapshot: Snapshot, wall: float) -> None:
        moment = moment_of_one_reading(snapshot, wall=wall)
        verdicts = judge_all(snapshot, moment)
        nodes = tuple((one, room_of(snapshot.nodes[name], snapshot.config)) for name, one in verdicts.items())
        # By the mappings themselves, which the mirror makes anew when something in them changes, and keeps otherwise.
        parts = (snapshot.vms, snapshot.config, snapshot.domains, snapshot.rules, snapshot.services, snapshot.fenced)
        is_known = len(self._key) == 2 and self._key[1] == nodes
        if is_known and all(old is new for old, new in zip(self._key[0], parts, strict=True)):
            return
        if len(snapshot.vms) < IN_A_THREAD_FROM:
            goes_on = Patience(self._clock, PATIENCE_S)
            self._key, self._found = (parts, nodes), survival(snapshot, moment, verdicts=verdicts, goes_on=goes_on)
            return
        if self._at_work is None or self._at_work.done():

            async def work() -> None:
                goes_on = Patience(self._clock, PATIENCE_S)
                found = await asyncio.to_thread(survival, snapshot, moment, verdicts=verdicts, goes_on=goes_on)
                self._key, self._found = (parts, nodes), found

            self._at_work = asyncio.get_running_loop().create_task(work(), name="survival for metrics")
