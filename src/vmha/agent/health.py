"""Asks the probes of the guests that run here under a claim of ours, and keeps what they answered.

One task a probe, that asks, waits and asks again; at most ``AT_ONCE`` questions are open on a node. Nobody waits for
an answer but that task. What the answers mean is ``at_node.health``'s; what follows from it, ``at_node.reconcile``'s:
here a vm is only marked as worth a look. The observation shows what is known, and changes only when the verdict does.

A run is one epoch of a guest on this node: a restart or an arrival begins with nothing known, but for what an earlier
process of this agent has published of the same epoch.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog

from vmha.agent.ports import AgentPorts
from vmha.hypervisor.port import GuestAgentMissing, GuestAgentSilent
from vmha.model.errors import VmhaError
from vmha.model.health import Probe, ProbeKind
from vmha.model.ids import Epoch, SessionId, VmName
from vmha.model.records import Health, HealthState, Phase, SeenState
from vmha.model.vm import VmSpec
from vmha.policy.at_node.health import Answer, Asked, Judged, Record, judge
from vmha.policy.at_node.known import Local
from vmha.probing.port import Probes, Question, Reply

log = structlog.get_logger(__name__)

AT_ONCE = 16
NOT_ASKED = "this agent asks no probes"


@dataclass(slots=True)
class _Run:
    epoch: Epoch | None
    probes: tuple[Probe, ...]
    records: dict[str, Record]
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    shown: Health | None = None

    def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        self.tasks = []


class HealthWatch:
    """``started``: under which epoch this process has begun a start that is not known to be over yet."""

    def __init__(
        self,
        ports: AgentPorts,
        *,
        probes: Probes | None,
        on_change: Callable[[VmName], None],
    ) -> None:
        self._ports, self._probes, self._on_change = ports, probes, on_change
        self._runs: dict[VmName, _Run] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._room = asyncio.Semaphore(AT_ONCE)
        self.started: dict[VmName, Epoch] = {}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as self._tasks:
            await asyncio.Event().wait()

    def follow(self, vm: VmName, local: Local | None, session: SessionId | None) -> None:
        """Whoever looks at a vm says here what it has seen: asks, goes on asking, or stops."""
        view = self._ports.mirror.vm(vm)
        spec = view.spec.value if view and view.spec else None
        if local is None or spec is None or not spec.probes:
            self._forget(vm)
            return
        run = self._of(vm, local.epoch, spec)
        placement = view.placement.value if view and view.placement else None
        is_ours = placement is not None and placement.phase is Phase.HELD and placement.session == session
        if not is_ours or local.state is not SeenState.RUNNING or local.migrating:
            run.stop()
        elif not run.tasks and self._tasks is not None:
            run.tasks = [
                self._tasks.create_task(self._ask_on(vm, spec.uuid, run, probe), name=f"probe-{vm}-{probe.title}")
                for probe in run.probes
            ]

    def health(self, vm: VmName, epoch: Epoch | None) -> Health | None:
        """For the observation. None: it has no probes."""
        view = self._ports.mirror.vm(vm)
        spec = view.spec.value if view and view.spec else None
        if spec is None or not spec.probes:
            return None
        run = self._of(vm, epoch, spec)
        judged = self._judge(vm, run, spec)
        if run.shown is None or (judged and _gist(judged.health) != _gist(run.shown)):
            run.shown = judged.health if judged else None
        return run.shown

    def judged(self, vm: VmName, epoch: Epoch | None) -> Judged | None:
        """What follows now. None: nothing is known of that run."""
        view, run = self._ports.mirror.vm(vm), self._runs.get(vm)
        if run is None or view is None or view.spec is None or run.epoch != epoch:
            return None
        return self._judge(vm, run, view.spec.value)

    def _judge(self, vm: VmName, run: _Run, spec: VmSpec) -> Judged | None:
        is_starting = run.epoch is not None and self.started.get(vm) == run.epoch
        now = self._ports.clock.now()
        return judge(run.probes, run.records, now=now, is_starting=is_starting, no_kill=spec.no_kill)

    def _of(self, vm: VmName, epoch: Epoch | None, spec: VmSpec) -> _Run:
        run = self._runs.get(vm)
        if run is not None and (run.epoch, run.probes) == (epoch, spec.probes):
            return run
        self._forget(vm)
        if epoch is not None and (before := self._published_before(vm, epoch)) and before.gated:
            self.started.setdefault(vm, epoch)
        begun = Record(since=self._ports.clock.now(), has_answered=self._was_well(vm, epoch))
        run = self._runs[vm] = _Run(epoch, spec.probes, {probe.title: begun for probe in spec.probes})
        return run

    def _was_well(self, vm: VmName, epoch: Epoch | None) -> bool:
        """So an earlier process of this agent has published of this very run."""
        before = self._published_before(vm, epoch) if epoch is not None else None
        return before is not None and before.state is HealthState.HEALTHY

    def _published_before(self, vm: VmName, epoch: Epoch) -> Health | None:
        view = self._ports.mirror.vm(vm)
        seen = view.seen.get(self._ports.node) if view else None
        return seen.health if seen is not None and seen.epoch == epoch else None

    def _forget(self, vm: VmName) -> None:
        run = self._runs.pop(vm, None)
        if run is not None:
            run.stop()

    async def _ask_on(self, vm: VmName, uuid: str, run: _Run, probe: Probe) -> None:
        question = Question(vm=vm, uuid=uuid, node=self._ports.node, probe=probe)
        begin = run.records[probe.title].since + probe.initial_delay_s - self._ports.clock.now()
        await asyncio.sleep(max(0.0, begin))
        while True:
            async with self._room:
                reply = await self._ask(question)
            asked = Asked(at=self._ports.clock.now(), answer=reply.answer, text=reply.text)
            run.records[probe.title] = run.records[probe.title].took(asked)
            self._on_change(vm)
            await asyncio.sleep(probe.interval_s)

    async def _ask(self, question: Question) -> Reply:
        try:
            if question.probe.kind is ProbeKind.AGENT:
                return await self._ping(question)
            return await self._probes.ask(question) if self._probes else Reply(Answer.NONE, NOT_ASKED)
        except Exception as error:  # a probe must not end the agent, whatever it meets
            log.warning("probe not asked", vm=question.vm, probe=question.probe.title, why=repr(error))
            return Reply(Answer.NONE, repr(error))

    async def _ping(self, question: Question) -> Reply:
        try:
            await self._ports.hypervisor.ping_agent(question.vm, timeout_s=question.probe.timeout_s)
        except GuestAgentMissing as error:
            return Reply(Answer.NONE, str(error))
        except GuestAgentSilent as error:
            return Reply(Answer.BAD, str(error))
        except VmhaError as error:
            return Reply(Answer.NONE, str(error))
        return Reply(Answer.GOOD)


def _gist(health: Health) -> Health:
    """Words may count, or repeat what a program prints: only a new verdict is worth a write."""
    return replace(health, text="")
