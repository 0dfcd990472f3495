"""One round after the other: strike, heal, wait until the cluster has come to rest, judge.

::

    strikes of the round ----> heal ----> look every 0.2 s until every guest ticks and the cluster ----> judge
    (each at its instant)                 says the same twice, or the budget is used up

A round that the lab itself could not carry out counts as a violation: what was not played proves nothing.
"""

import asyncio
import shutil
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmha.lab import client
from vmha.lab.chaos.cluster import Cluster
from vmha.lab.chaos.evidence import keep_evidence
from vmha.lab.chaos.judge import Facts, GuestFacts, Outcome, Traces, judge, judge_unplayed
from vmha.lab.chaos.recovery import Recovery, budget_s
from vmha.lab.chaos.schedule import Fault, Preference, Round, Shape, draw_preferences, draw_round
from vmha.lab.chaos.strikes import Strikes
from vmha.lab.guests import Witness, add_witness
from vmha.lab.layout import LabDir
from vmha.lab.witness.verdict import read_disk
from vmha.model.clock import Clock
from vmha.model.errors import Retryable, VmhaError
from vmha.model.records import Verb
from vmha.policy.phases.stopped import LONGEST_RESTART_REST_S
from vmha.policy.telling.explain import VmState

FIRST_REST_S = 90.0
LARGE_MIB = 48
_LOOK_S = 0.2
_QUIET_LOOKS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was asked for. ``slack``: the budget of a recovery is multiplied by it, for a slow machine."""

    seed: int
    first_round: int
    rounds: int
    shape: Shape
    profile: str
    slack: float = 1.0

    def draw(self, number: int) -> Round:
        return draw_round(self.seed, number, self.shape)

    @property
    def schedule(self) -> tuple[Round, ...]:
        return tuple(self.draw(number) for number in range(self.first_round, self.first_round + self.rounds))

    def replay_command(self, played: Round, fence: bool) -> str:
        """Plays this round alone."""
        shape = self.shape
        return (
            f"vmha lab chaos --seed {played.seed} --first-round {played.number} --rounds 1 --hosts {len(shape.hosts)} "
            f"--vms {len(shape.vms)} --etcd {len(shape.members)} --profile {self.profile} "
            f"{'--fence' if fence else '--no-fence'}"
        )


async def play(
    run: Run, lab: LabDir, clock: Clock, *, evidence: Callable[[Round], Path]
) -> AsyncGenerator[tuple[Outcome, Path | None], None]:
    """Add the guests, then yield the outcome of each round and, for a bad one, where its evidence is.

    Raises:
        Retryable: the guests did not come up at all.
    """
    async with Cluster(lab, clock) as cluster:
        player = _Player(run, lab, cluster, clock)
        await player.add_guests()
        for played in run.schedule:
            try:
                outcome = await player.play(played)
            except (VmhaError, OSError, TimeoutError) as error:
                outcome = judge_unplayed(played, str(error) or type(error).__name__)
            where = None
            if not outcome.is_good:
                where = evidence(played)
                await keep_evidence(where, lab, cluster, player.strikes.inside, outcome)
            yield outcome, where


class _Player:
    def __init__(self, run: Run, lab: LabDir, cluster: Cluster, clock: Clock) -> None:
        self._run = run
        self._lab = lab
        self._cluster = cluster
        self._clock = clock
        self._vms = run.shape.vms
        self._budget_s = budget_s(run.shape.timing) * run.slack
        self._seen: dict[str, Traces] = {}
        self._fenced_late: list[str] = []
        self._confirmed: list[str] = []
        self.strikes = Strikes(lab, run.shape, cluster, clock)

    async def add_guests(self) -> None:
        for preference in draw_preferences(self._run.seed, self._run.shape):
            await self._cluster.add_guest(await asyncio.to_thread(_make, self._lab, preference), preference)
        pending, _ = await self._await_rest(self._clock.now(), FIRST_REST_S * self._run.slack, {})
        if pending:
            raise Retryable(f"the guests did not come up: {pending}")
        self._seen = await self._traces()

    async def play(self, played: Round) -> Outcome:
        for vm in self._vms:
            await asyncio.to_thread(client.ask, self._lab, "mark", export=vm)
        self._fenced_late, self._confirmed = [], []
        began_s = self._clock.now()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self.strikes.play(strike, began_s), name=strike.words) for strike in played.strikes
            ]
        struck_s = self._clock.now() - began_s
        await self.strikes.mend_machines()
        healed_s = self._clock.now()
        await self.strikes.take_orders_back([s.target.name for s in played.strikes if s.fault is Fault.VIRSH_SUSPEND])
        beats = await self._beats()
        sent_by_hand = [s.target.name for s in played.strikes if s.fault is Fault.VIRSH_MIGRATE]
        pending, recovery = await self._await_rest(healed_s, self._budget_s, beats, sent_by_hand)
        rest_s = self._clock.now() - healed_s
        facts = Facts(
            done=tuple(task.result() for task in tasks),
            guests=await self._guest_facts(recovery),
            pending=pending,
            rest_s=round(rest_s, 2),
            budget_s=round(self._budget_s, 2),
            struck_s=round(struck_s, 2),
            healing_s=round(healed_s - began_s - struck_s, 2),
            fenced_late=tuple(self._fenced_late),
            confirmed_gone=tuple(self._confirmed),
        )
        return judge(played, facts)

    async def _beats(self) -> dict[str, int]:
        """As soon as the store answers: it may still be electing its leader."""
        end_s = self._clock.now() + self._budget_s
        while True:
            try:
                return await self._cluster.beats()
            except VmhaError:
                if self._clock.now() > end_s:
                    raise
            await asyncio.sleep(_LOOK_S)

    async def _await_rest(
        self, healed_s: float, within_s: float, beats: dict[str, int], sent_by_hand: Sequence[str] = ()
    ) -> tuple[str, Recovery]:
        """What is still pending in the end ('' nothing), and when the guests were back.

        A guest that vmha lets rest, because it ended again and again, is given that time too.
        """
        recovery = Recovery(healed_at_s=healed_s)
        quiet = 0
        while True:
            recovery.see(self._clock.now(), await self._silences())
            pending = await self._pending(beats)
            if pending:
                self._fenced_late += await self.strikes.switch_on()
                self._confirmed += await self._confirm_gone(sent_by_hand)
            silent = [vm for vm in self._vms if not recovery.is_ticking(vm)]
            quiet = 0 if pending or silent else quiet + 1
            if quiet >= _QUIET_LOOKS:
                return "", recovery
            rest_s = LONGEST_RESTART_REST_S if any(self._cluster.says(vm).is_resting for vm in self._vms) else 0.0
            if self._clock.now() > healed_s + within_s + rest_s:
                return pending or f"{', '.join(silent)} not ticking", recovery
            await asyncio.sleep(_LOOK_S)

    async def _confirm_gone(self, sent_by_hand: Sequence[str]) -> list[str]:
        """What a hand sent to a host that was lost with it: only the hand knows that it went nowhere else.

        An operator looks on every host, and then says so.
        """
        gone = [
            vm for vm in sent_by_hand if self._cluster.says(vm).state == VmState.DEPARTED and vm not in self._confirmed
        ]
        if not gone:
            return []
        qemus = await self._qemus()
        if len(qemus) < len(self._run.shape.hosts):
            return []  # one of them can not be asked yet
        gone = [vm for vm in gone if not any(vm in there for there in qemus.values())]
        try:
            for vm in gone:
                await self._cluster.ask(Verb.CONFIRM_GONE, vm, "")
        except VmhaError:
            return []
        return gone

    async def _pending(self, beats: dict[str, int]) -> str:
        try:
            return await self._cluster.pending(beats)
        except VmhaError as error:
            return str(error)

    # -- facts ---------------------------------------------------------------------------------------------------------

    async def _storage(self) -> dict[str, Any]:
        found: dict[str, Any] = await asyncio.to_thread(client.ask, self._lab, "storage")
        return found

    async def _silences(self) -> dict[str, float | None]:
        storage = await self._storage()
        return {vm: storage.get(vm, {}).get("since_last_write_s") for vm in self._vms}

    async def _traces(self) -> dict[str, Traces]:
        storage = await self._storage()
        found = {}
        for vm in self._vms:
            disk = await asyncio.to_thread(read_disk, self._lab.image(vm))
            found[vm] = Traces(
                boots=disk.boots,
                ticks=disk.ticks,
                returns=disk.returns,
                tick_breaks=disk.tick_breaks,
                foreign=disk.foreign,
                double_writers=storage.get(vm, {}).get("double_writers", 0),
            )
        return found

    async def _guest_facts(self, recovery: Recovery) -> tuple[GuestFacts, ...]:
        """Between two rounds nothing goes unseen: what one ended with is what the next is compared with."""
        before, qemus = self._seen, await self._qemus()
        after = self._seen = await self._traces()
        storage = await self._storage()
        facts = []
        for vm in self._vms:
            says = self._cluster.says(vm)
            facts.append(
                GuestFacts(
                    vm=vm,
                    before=before[vm],
                    after=after[vm],
                    back_s=recovery.back_s(vm),
                    outage_s=round(_outage_s(storage.get(vm)), 2),
                    state=says.state,
                    reason=says.reason,
                    qemus=tuple(host for host, there in qemus.items() if vm in there),
                )
            )
        return tuple(facts)

    async def _qemus(self) -> dict[str, Sequence[str]]:
        """The guests that have a QEMU, on each host, by its processes' own command lines."""
        hosts = self._run.shape.hosts
        said = await asyncio.gather(*(self.strikes.inside.run(host, _QEMUS) for host in hosts))
        return {host: each.text.split() for host, each in zip(hosts, said, strict=True) if each.code == 0}


def _make(lab: LabDir, preference: Preference) -> Witness:
    """A large guest has QEMU itself in its memory: a file of some MiB that is on every host, and hard to compress."""
    qemu = shutil.which("qemu-system-x86_64") if preference.is_large else None
    if qemu is None:
        return add_witness(lab, preference.vm)
    return add_witness(lab, preference.vm, memory_mib=LARGE_MIB, payload=Path(qemu))


def _outage_s(report: dict[str, Any] | None) -> float:
    """A gap that has not ended yet counts too."""
    return max(report["longest_gap_s"], report["since_last_write_s"] or 0.0) if report else 0.0


_QEMUS = r"ps -eo args | sed -n 's/^[^ ]*qemu-system.* guest=\([^,]*\),.*/\1/p'"
