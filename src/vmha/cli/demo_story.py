"""The demo's story, act by act. It says nothing that was not seen to happen, and stops at the first thing that did not.

Three sources, none of which trusts another: the cluster's own records and journal in etcd; the shared storage's server,
which sees every write and from which host it came; and the disk, to which the guest itself wrote its ticks.

The failover domain prefers h1, then h2, then h3. So the guest starts on h1, is migrated away and back by hand, loses
h1 to a power cut, and comes home from h2 by itself when h1 is back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from vmha.cli.demo_screen import DemoScreen
from vmha.lab import client as lab_client
from vmha.lab.guests import WitnessVerdict, add_witness, verdict_of
from vmha.lab.layout import LabDir
from vmha.lab.witness.entry import HEAD_OFFSET, SECTOR, find_entry
from vmha.model.errors import Retryable, VmhaError
from vmha.model.ids import Revision
from vmha.model.records import FenceRecord, JournalEntry, Verb
from vmha.model.vm import Desired, FailoverDomain, FailoverDomainMember
from vmha.operator import domains, follow, requests, vms
from vmha.operator.client import OperatorClient
from vmha.operator.overview import Overview, overview
from vmha.operator.why import sentences, why
from vmha.policy.telling.explain import VmState

VM = "web"
HOME = "home"
HOSTS = ("h1", "h2", "h3")
_LOOK_S = 0.04
_TELLING = ("assign", "claimed", "migrate", "handed-over", "arrived", "fenced", "recover", "failback")
_NOWHERE = (VmState.UNKNOWN, VmState.RECOVERING, VmState.WAITING)
_FIRST_TICKS = 10  # about a second of life, so that there is something to lose
_BOOT_S, _MOVE_S, _RECOVER_S, _RETURN_S = 30.0, 30.0, 60.0, 60.0

T = TypeVar("T")


class NotSeen(VmhaError):
    """What an act was to show did not happen in time, or something else did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """The guest's newest tick: who wrote it (by the storage server), what it says (by the disk), and when (clock)."""

    host: str
    nonce: int
    tick: int
    boots: int
    at_s: float


class Story:
    """One telling, in a lab that is up."""

    def __init__(self, lab: LabDir, client: OperatorClient, screen: DemoScreen) -> None:
        self._lab = lab
        self._client = client
        self._screen = screen
        self._clock = client.clock

    async def tell(self) -> WitnessVerdict:
        """All acts but the first, which built the lab.

        Raises:
            NotSeen: and what.
            VmhaError: an operation failed.
        """
        listening = asyncio.create_task(self._repeat_journal(await self._now()), name="demo journal")
        try:
            await self._hosts_join()
            at_home = await self._vm_starts()
            moved = await self._migrates(at_home)
            recovered = await self._power_cut(moved)
            await self._comes_home(recovered)
            return await self._verdict()
        finally:
            listening.cancel()
            await asyncio.wait([listening])

    # -- the acts ----------------------------------------------------------------------------------------------------

    async def _hosts_join(self) -> None:
        def all_here(shown: Overview) -> Overview | None:
            ready = [node for node in shown.nodes if node.eligible]
            return shown if shown.leader and len(ready) == len(HOSTS) else None

        shown = await self._cluster("every host has joined, and one leads", all_here, _BOOT_S)
        assert shown.leader
        levels = sorted({str(node.armed) for node in shown.nodes})
        self._screen.seen(
            f"three hosts, each with its own kernel namespaces, libvirtd, agent and guard; {shown.leader.node} leads; "
            f"fencing armed without any set-up: {', '.join(levels)}"
        )
        await self._screen.pause()

    async def _vm_starts(self) -> Pulse:
        self._screen.act("A vm that would rather live on h1")
        ranks = " ".join(f"--member {host}:{rank}" for rank, host in enumerate(HOSTS, start=1))
        self._screen.command(f"vmha domain add {HOME} --ordered {ranks}")
        members = tuple(FailoverDomainMember(node=host, priority=rank) for rank, host in enumerate(HOSTS, start=1))
        await domains.add_domain(self._client, FailoverDomain(name=HOME, ordered=True, members=members))
        self._screen.command(f"vmha lab vm add {VM} --failover-domain {HOME}")
        witness = await asyncio.to_thread(add_witness, self._lab, VM)
        await vms.add_vm(self._client, VM, witness.xml, start=True, failover_domain=HOME)
        await follow.wait(self._client, follow.vm_is(self._client, VM, Desired.RUNNING), timeout_s=_BOOT_S)
        pulse = await self._ticks_on(HOSTS[0], boots=1, ticks=_FIRST_TICKS, timeout_s=_BOOT_S)
        self._screen.seen(
            f"{VM} ticks on {pulse.host}: a QEMU guest that writes nine numbered ticks a second to its shared disk, "
            f"signed with a random number drawn at its boot ({_short(pulse.nonce)})"
        )
        await self._screen.pause()
        return pulse

    async def _migrates(self, before: Pulse) -> Pulse:
        self._screen.act("Live migration, there and back")
        for host in (HOSTS[1], HOSTS[0]):
            self._screen.count_from_here()
            self._screen.command(f"vmha vm migrate {VM} --to {host}")
            request = await requests.submit(self._client, Verb.MIGRATE, vm=VM, node=host)
            began_s = self._clock.now()
            ended = follow.request_ended(self._client, request.id, vm=VM)
            await follow.wait(self._client, ended, timeout_s=_MOVE_S)
            took_s = self._clock.now() - began_s
            pulse = await self._ticks_on(host, boots=before.boots, timeout_s=_MOVE_S)
            self._same_life(before, pulse)
            self._screen.seen(
                f"{VM} ticks on {host} after {took_s:.1f} s, its memory intact: still boot {_short(pulse.nonce)}, "
                f"which only its memory knows, and tick {before.tick} went on to {pulse.tick}"
            )
            before = pulse
        await self._screen.pause()
        return before

    async def _power_cut(self, before: Pulse) -> Pulse:
        lost = before.host
        self._screen.act(f"The power of {lost} is cut")
        self._screen.command(f"vmha lab kill {lost}")
        led = (await self._cluster("one leads", lambda shown: shown.leader, _BOOT_S)).node
        cut_s, last_tick_s = self._clock.now(), (await self._pulse_now()).at_s
        await asyncio.to_thread(lab_client.ask, self._lab, "kill", node=lost)
        self._screen.heard(f"{lost} is dark: cables first, then everything on it at once, without a goodbye")
        if led == lost:
            self._screen.heard(f"{lost} was the leader, too: another has to be elected first")
        watching = asyncio.create_task(self._repeat_state(), name="demo state")
        try:
            pulse = await self._ticks_on(HOSTS[1], boots=before.boots + 1, timeout_s=_RECOVER_S)
        finally:
            watching.cancel()
            await asyncio.wait([watching])
        proof = await self._proof_for(lost)
        self._screen.seen(
            f"{VM} ticks on {pulse.host} {pulse.at_s - cut_s:.1f} s after the cut "
            f"({pulse.at_s - last_tick_s:.1f} s after its last tick on {lost})"
        )
        self._screen.say(f"proof that it no longer ran on {lost}: {proof.proof} ({proof.how})")
        self._screen.command(f"vmha vm why {VM}")
        snapshot = await self._client.read()
        for line in sentences(why(snapshot, VM, wall=self._clock.wall())):
            if not line.startswith("Now "):
                self._screen.say(line)
        await self._screen.pause()
        return pulse

    async def _comes_home(self, before: Pulse) -> None:
        home = HOSTS[0]
        self._screen.act(f"{home} comes back")
        self._screen.command(f"vmha lab start {home}")
        began_s = self._clock.now()
        await asyncio.to_thread(lab_client.ask, self._lab, "start", node=home, timeout_s=90.0)
        self._screen.heard(f"{home} has power again and its libvirtd answers; nobody asks for a migration")
        pulse = await self._ticks_on(home, boots=before.boots, timeout_s=_RETURN_S)
        self._same_life(before, pulse)
        await self._cluster("it is at rest", _is_running_on(home), _MOVE_S)
        self._screen.seen(
            f"{VM} came home by live migration, {pulse.at_s - began_s:.1f} s after the power: still boot "
            f"{_short(pulse.nonce)}, tick {before.tick} went on to {pulse.tick}"
        )
        await self._screen.pause()

    async def _verdict(self) -> WitnessVerdict:
        self._screen.act("The verdict, from the disk")
        self._screen.command(f"vmha lab verdict {VM}")
        verdict = await asyncio.to_thread(verdict_of, self._lab, VM)
        self._screen.say(verdict.sentence())
        expected = {"boots": 2, "migrations_survived": 3, "ran_twice": False}
        found = {name: getattr(verdict, name) for name in expected}
        if found != expected:
            raise NotSeen(f"the disk says {found}, the story was {expected}")
        self._screen.seen(
            "never two: two boots, one after the other, and three migrations that the guest did not notice; "
            "no tick is missing, doubled or out of order"
        )
        return verdict

    # -- looking -----------------------------------------------------------------------------------------------------

    async def _ticks_on(self, host: str, *, boots: int, timeout_s: float, ticks: int = 1) -> Pulse:
        """The first tick that is seen on ``host`` of the guest's boot number ``boots``, from tick ``ticks`` on."""

        async def look() -> Pulse | None:
            pulse = await asyncio.to_thread(self._pulse)
            if pulse and pulse.boots > boots:
                raise NotSeen(f"{VM} booted anew on {pulse.host}, which nobody expected")
            is_it = pulse and pulse.host == host and pulse.boots == boots and pulse.tick >= ticks
            return pulse if is_it else None

        return await self._until(f"{VM} ticks on {host}", look, timeout_s)

    async def _pulse_now(self) -> Pulse:
        async def look() -> Pulse | None:
            return await asyncio.to_thread(self._pulse)

        return await self._until(f"{VM} ticks", look, _BOOT_S)

    def _pulse(self) -> Pulse | None:
        """What storage and disk say now; None when they do not speak of the same moment, or of none yet."""
        before, entry, after = self._writer(), self._head(), self._writer()
        if not before or not after or entry is None or before["writer"] != after["writer"]:
            return None
        at_s = self._clock.now() - after["since_last_write_s"]
        host = after["writer"].split("#")[0]
        return Pulse(host=host, nonce=entry.nonce, tick=entry.tick, boots=entry.boots, at_s=at_s)

    def _writer(self) -> dict[str, Any]:
        found: dict[str, Any] = lab_client.ask(self._lab, "storage").get(VM, {})
        return found if found.get("writes") else {}

    def _head(self) -> Any:
        with self._lab.image(VM).open("rb") as disk:
            disk.seek(HEAD_OFFSET)
            return find_entry(disk.read(SECTOR))

    def _same_life(self, before: Pulse, after: Pulse) -> None:
        if after.nonce != before.nonce or after.tick <= before.tick:
            raise NotSeen(f"{VM} did not keep its memory: {before} became {after}")

    async def _cluster(self, what: str, look: Callable[[Overview], T | None], timeout_s: float) -> T:
        async def read() -> T | None:
            return look(await self._overview())

        return await self._until(what, read, timeout_s)

    async def _overview(self) -> Overview:
        snapshot = await self._client.read()
        return overview(snapshot, cluster=self._client.keys.cluster, wall=self._clock.wall())

    async def _proof_for(self, node: str) -> FenceRecord:
        snapshot = await self._client.read()
        proofs = [record for record in snapshot.fenced.values() if record.node == node]
        if not proofs:
            raise NotSeen(f"{VM} runs again, and there is no proof on record that {node} was empty")
        return max(proofs, key=lambda record: record.at)

    async def _until(self, what: str, look: Callable[[], Awaitable[T | None]], timeout_s: float) -> T:
        end_s = self._clock.now() + timeout_s
        while (found := await look()) is None:
            if self._clock.now() > end_s:
                raise NotSeen(f"not within {timeout_s:.0f} s: {what}")
            self._screen.waiting(f"until {what}")
            await asyncio.sleep(_LOOK_S)
        return found

    # -- what is heard meanwhile -------------------------------------------------------------------------------------

    async def _now(self) -> Revision:
        _, revision = await self._client.journal()
        return revision

    async def _repeat_journal(self, after: Revision) -> None:
        """Every line of the cluster's journal that belongs to the story, as it is written."""
        with self._lost_sight_of("the journal"):
            async for entry in self._client.journal_follow(after):
                if entry.kind in _TELLING:
                    self._screen.heard(_in_words(entry), ago_s=self._clock.wall() - entry.at)

    async def _repeat_state(self) -> None:
        """What the cluster says of the vm while nobody may run it, whenever that changes."""
        said = ""
        with self._lost_sight_of("the cluster"):
            async for snapshot in self._client.snapshots():
                shown = overview(snapshot, cluster=self._client.keys.cluster, wall=self._clock.wall())
                summary = next((vm for vm in shown.vms if vm.name == VM), None)
                if summary and summary.state in _NOWHERE and summary.reason != said:
                    said = summary.reason
                    self._screen.heard(f"status  {VM} is {summary.state}: {said}")

    @contextmanager
    def _lost_sight_of(self, what: str) -> Iterator[None]:
        """What is only told in passing must not end the story; the acts themselves look on their own."""
        try:
            yield
        except Retryable as error:
            self._screen.heard(f"{what} can not be followed any more: {error}")


def _is_running_on(host: str) -> Callable[[Overview], bool | None]:
    def look(shown: Overview) -> bool | None:
        return any(vm.name == VM and vm.state is VmState.RUNNING and vm.node == host for vm in shown.vms) or None

    return look


def _in_words(entry: JournalEntry) -> str:
    about = " ".join(filter(None, (entry.vm, entry.node)))
    return f"{entry.kind}  {about}: {entry.text}"


def _short(nonce: int) -> str:
    return f"{nonce & 0xFFFFFFFF:08x}"
