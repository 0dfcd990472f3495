"""The lab's cluster as chaos needs it: its operator's verbs, and what it says of itself right now.

What vmha says is used to aim ("the host of v1", "the leader") and to know when it has come to rest. It never speaks in
the verdict of "never two".
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

from vmha.lab.chaos.schedule import Preference
from vmha.lab.guests import Witness
from vmha.lab.layout import CLUSTER, LabDir
from vmha.model.clock import Clock
from vmha.model.errors import VmhaError
from vmha.model.ids import VmName
from vmha.model.keys import Keys
from vmha.model.records import JournalEntry, Phase, Verb
from vmha.model.vm import Desired, FailoverDomain, FailoverDomainMember, Migration, Recovery
from vmha.operator import domains, nodes, overview, requests, vms
from vmha.operator.client import OperatorClient
from vmha.policy.members.membership import Condition
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.telling.explain import VmState
from vmha.store.etcd import EtcdStore
from vmha.store.port import KeyValue

STOP_TIMEOUT_S = 4.0
LARGE_GOES_AT_MIB_S = 8
"""What a large guest is made of is copied in two or three seconds."""
_LOOK_AGAIN_S = 0.3
_RESTING_RULE = "it-ends-again-and-again"


@dataclass(frozen=True, slots=True, kw_only=True)
class VmSays:
    """A vm as vmha sees it."""

    node: str
    state: str
    reason: str
    is_resting: bool


class Cluster:
    """Use as a context manager: it keeps a watch, and its last reading when the store does not answer."""

    def __init__(self, lab: LabDir, clock: Clock) -> None:
        self._lab = lab
        self._clock = clock
        self._latest: Snapshot | None = None

    async def __aenter__(self) -> "Cluster":
        self._store = EtcdStore([f"unix:{self._lab.etcd}"])
        self.client = OperatorClient(self._store, Keys(CLUSTER), self._clock, author="chaos")
        self._watch = asyncio.create_task(self._keep_watch(), name="chaos watch")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)
        await self._store.close()

    async def _keep_watch(self) -> None:
        while True:
            with suppress(VmhaError):
                async with aclosing(self.client.snapshots()) as snapshots:
                    async for snapshot in snapshots:
                        self._latest = snapshot
            await asyncio.sleep(_LOOK_AGAIN_S)

    # -- aiming ------------------------------------------------------------------------------------------------------

    def holder(self, vm: str) -> str:
        """The host that has the vm, by the last reading; '' when none has."""
        view = self._latest.vms.get(VmName(vm)) if self._latest else None
        placement = view.placement.value if view and view.placement else None
        return str(placement.node or "") if placement and placement.phase is not Phase.STOPPED else ""

    def leader(self) -> str:
        """'' when there is none."""
        leader = self._latest.leader if self._latest else None
        return str(leader.value.node) if leader else ""

    # -- the operator's verbs ------------------------------------------------------------------------------------------

    async def add_guest(self, witness: Witness, preference: Preference) -> None:
        domain, bandwidth = None, LARGE_GOES_AT_MIB_S if preference.is_large else None
        if preference.hosts:
            domain = f"for-{preference.vm}"
            members = tuple(
                FailoverDomainMember(node=host, priority=rank) for rank, host in enumerate(preference.hosts, start=1)
            )
            await domains.add_domain(
                self.client,
                FailoverDomain(name=domain, ordered=True, nofailback=not preference.fails_back, members=members),
            )
        await vms.add_vm(
            self.client,
            witness.name,
            witness.xml,
            start=True,
            failover_domain=domain,
            recovery=Recovery.RELOCATE if preference.relocates else Recovery.RESTART,
            stop_timeout_s=STOP_TIMEOUT_S,
            migration=Migration(style=preference.style, bandwidth_mib_s=bandwidth),
        )

    async def ask(self, verb: Verb, vm: str, to: str) -> None:
        await requests.submit(self.client, verb, vm=vm, node=to or None)

    async def want(self, vm: str, desired: Desired) -> None:
        await vms.set_desired(self.client, vm, desired)

    async def drain(self, host: str) -> None:
        await nodes.drain(self.client, host)

    async def undrain(self, host: str) -> None:
        await nodes.undrain(self.client, host)

    # -- what it says of itself ----------------------------------------------------------------------------------------

    async def beats(self) -> dict[str, int]:
        """The revision of each node's last beat. Raises: Retryable."""
        snapshot = await self.client.read()
        return {str(name): view.beat.modified if view.beat else 0 for name, view in snapshot.nodes.items()}

    async def pending(self, beats_before: Mapping[str, int]) -> str:
        """What keeps the cluster from rest; '' when nothing does.

        Args:
            beats_before: As they were at the end of healing. A node counts only with a newer one: a host that was
                switched off and on within its old session's lease looks alive until the lease is over.

        Raises:
            Retryable: the store does not answer.
        """
        snapshot = await self.client.read()
        seen = overview.overview(snapshot, cluster=CLUSTER, wall=self._clock.wall())
        waiting = [] if seen.leader else ["there is no leader"]
        waiting += [f"{node.name} {node.why_not}" for node in seen.nodes if node.condition is not Condition.ONLINE]
        waiting += [
            f"{name} has not beaten since"
            for name, view in snapshot.nodes.items()
            if view.beat is None or view.beat.modified <= beats_before.get(str(name), 0)
        ]
        waiting += [f"{vm.name} is {vm.state}: {vm.reason}" for vm in seen.vms if vm.state is not VmState.RUNNING]
        return "; ".join(waiting)

    def says(self, vm: str) -> VmSays:
        """By the last reading."""
        if self._latest is None or VmName(vm) not in self._latest.vms:
            return VmSays(node="", state="unknown", reason="the cluster was never read", is_resting=False)
        seen = overview.overview(self._latest, cluster=CLUSTER, wall=self._clock.wall())
        line = next(line for line in seen.vms if line.name == vm)
        return VmSays(
            node=str(line.node or ""),
            state=str(line.state),
            reason=line.reason,
            is_resting=line.rule == _RESTING_RULE,
        )

    async def journal(self) -> list[JournalEntry]:
        return (await self.client.journal())[0]

    async def everything(self) -> Sequence[KeyValue]:
        return (await self._store.list(Keys(CLUSTER).prefix, timeout_s=5.0)).items
