"""The lab's own cluster, asked from outside the lab: through the socket behind which a living etcd member answers."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

from vmha.lab.guests import Witness
from vmha.lab.layout import CLUSTER, FENCE_AGENT, LabDir
from vmha.model.clock import SystemClock
from vmha.model.document import Document
from vmha.model.errors import Rejected
from vmha.model.ids import NodeName
from vmha.model.keys import Keys, encode
from vmha.model.settings import Profile
from vmha.model.vm import Desired, FenceDeviceSpec, NodeSpec
from vmha.operator import follow, vms
from vmha.operator.client import Edit, OperatorClient, Reading
from vmha.operator.errors import UnknownName
from vmha.store.etcd import EtcdStore
from vmha.store.port import Put

T = TypeVar("T")
Tell = Callable[[str], None]

WITNESS_STOP_S = 30.0
"""A witness guest is off a tick after its power button was pressed. One that is not, is ended by force."""


def find_profile(name: str) -> Profile:
    """Raises: Rejected when there is no such timing profile."""
    try:
        return Profile(name)
    except ValueError:
        raise Rejected(f"no timing profile {name!r}", accepted=", ".join(Profile)) from None


def configure(lab: LabDir, profile: Profile, *, fenced: Sequence[str]) -> None:
    """Set the cluster's timing profile, and the lab's power switch as fence device of the hosts ``fenced``."""

    async def work(client: OperatorClient) -> None:
        def decide(reading: Reading) -> Edit[None]:
            config = reading.snapshot.config
            documents: dict[str, Document] = {}
            if config.profile is not profile:
                documents[client.keys.config] = config.model_copy(update={"profile": profile})
            for host in fenced:
                view = reading.snapshot.nodes.get(NodeName(host))
                old = view.spec.value if view and view.spec else NodeSpec(name=host)
                if not old.fence:
                    new = old.model_copy(
                        update={"fence": (FenceDeviceSpec(agent=FENCE_AGENT, options={"plug": host}),)}
                    )
                    documents[client.keys.node_spec(NodeName(host))] = new
            return Edit(
                result=None,
                ops=[Put(key, encode(document)) for key, document in documents.items()],
                compares=[reading.unchanged(key) for key in documents],
            )

        await client.change(decide)

    _run(lab, work)


def await_members(lab: LabDir, hosts: Sequence[str], *, timeout_s: float) -> bool:
    """Wait until every host's agent says that it may receive vms and one of them leads. False: not within the time."""

    async def work(client: OperatorClient) -> bool:
        try:
            async with asyncio.timeout(timeout_s), aclosing(client.snapshots()) as snapshots:
                async for snapshot in snapshots:
                    statuses = [snapshot.nodes.get(NodeName(host)) for host in hosts]
                    ready = [view and view.current_status and view.current_status.eligible for view in statuses]
                    if snapshot.leader and all(ready):
                        return True
        except TimeoutError:
            pass
        return False

    return _run(lab, work)


def add_vm(lab: LabDir, witness: Witness, *, start: bool, failover_domain: str | None) -> None:
    """Make the witness guest a vm of the cluster."""

    async def work(client: OperatorClient) -> None:
        await vms.add_vm(
            client,
            witness.name,
            witness.xml,
            start=start,
            failover_domain=failover_domain,
            stop_timeout_s=WITNESS_STOP_S,
        )

    _run(lab, work)


def await_running(lab: LabDir, name: str, *, timeout_s: float, tell: Tell) -> None:
    """Return when the vm runs; ``tell`` says what is going on until then."""

    async def work(client: OperatorClient) -> None:
        goal = follow.vm_is(client, name, Desired.RUNNING)
        tell(await follow.wait(client, goal, timeout_s=timeout_s, tell=tell))

    _run(lab, work)


def remove_vm(lab: LabDir, name: str, *, timeout_s: float, tell: Tell) -> None:
    """Stop the vm, then take it out of the cluster. A witness guest that is no vm of the cluster needs neither."""

    async def work(client: OperatorClient) -> None:
        try:
            await vms.set_desired(client, name, Desired.STOPPED)
        except UnknownName:
            return
        await follow.wait(client, follow.vm_is(client, name, Desired.STOPPED), timeout_s=timeout_s, tell=tell)
        await vms.remove_vm(client, name)

    _run(lab, work)


def _run(lab: LabDir, work: Callable[[OperatorClient], Awaitable[T]]) -> T:
    async def run() -> T:
        store = EtcdStore([f"unix:{lab.etcd}"])
        try:
            return await work(OperatorClient(store, Keys(CLUSTER), SystemClock(), author="vmha lab"))
        finally:
            await store.close()

    return asyncio.run(run())
