"""Answers check-ups (``vmha doctor``): looks at this host and at its ways to the others, and says what it found.

Asked for by a key, answered by one, both on the asker's lease. It is nobody's duty: it waits for nothing that matters,
decides nothing, and one at a time is looked for.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice

import structlog

from vmha.agent.disk_servers import find_unserved
from vmha.agent.ports import AgentPorts
from vmha.agent.trying import Trying
from vmha.hypervisor.files import FileTrouble
from vmha.hypervisor.port import DomainState
from vmha.model.checkup import Checkup, CheckupAnswer, Kept
from vmha.model.domain_needs import NetworkDisk, needs_of
from vmha.model.errors import VmhaError
from vmha.model.ids import NodeName
from vmha.model.keys import decode, encode
from vmha.policy.placing.may_run import vms_that_may_run_on
from vmha.store.port import Created, Exists, KeyValue, Put

log = structlog.get_logger(__name__)

DOOR_PATIENCES = 3.0
"""So many of the asker's patiences a door stays open: first all have to answer, then all knock."""
DOMAINS_AT_MOST = 1000
VMS_AT_MOST = 200
"""A value in etcd has a bound, and nobody reads ten thousand lines."""
SERVERS_AT_MOST = 100
SLICE = 20
"""So many vms' XML are read in one turn of the event loop: some milliseconds."""


@dataclass(slots=True)
class _Missing:
    """Of the vms that may run here: the disks that are not seen, the machine types that are not there. And what is yet
    to be tried, the disks on the network.
    """

    unseen: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)
    disks: dict[str, tuple[NetworkDisk, ...]] = field(default_factory=dict)


class Checkups:
    def __init__(self, ports: AgentPorts, *, migration_uri: str) -> None:
        self._ports = ports
        self._trying = Trying(ports.hypervisor.ways, migration_uri=migration_uri, read_snapshot=ports.read_snapshot)
        self._asked: asyncio.Queue[str] = asyncio.Queue(maxsize=8)

    def heard(self, checkup: str) -> None:
        """One was asked for, or is over."""
        with suppress(asyncio.QueueFull):  # whoever asks so often asks again
            self._asked.put_nowait(checkup)

    async def run(self) -> None:
        while True:
            checkup = await self._asked.get()
            try:
                known = await self._ports.store.get(self._ports.keys.checkup(checkup))
                if known is not None:
                    await self._answer(known)
            except Exception as error:  # nobody's duty: whatever it meets must not end the agent
                log.warning("check-up not answered", checkup=checkup, why=f"{type(error).__name__}: {error}")

    async def _answer(self, known: KeyValue) -> None:
        session, node = self._ports.keeper.current, self._ports.node
        if session is None:
            return
        asked = decode(Checkup, known.value, where=known.key)
        answer = CheckupAnswer(node=node, session=session.id, at=self._ports.clock.wall())
        try:
            if asked.only_domains:
                found = replace(answer, domains=await self._list_domains())
            else:
                again = asked.cpus or asked.doors
                found = await (self._ask_again(asked, answer) if again else self._look(asked, answer))
        except VmhaError as error:
            found = replace(answer, trouble=str(error))
        except Exception as error:  # XML that nobody foresaw, say: told, and no more than that
            found = replace(answer, trouble=f"{type(error).__name__}: {error}")
        found = replace(found, at=self._ports.clock.wall())
        mine = Created(self._ports.keys.beat(node), session.beat_created)
        key = self._ports.keys.checkup_answer(asked.id, node)
        await self._ports.store.txn([mine, Exists(known.key)], [Put(key, encode(found), known.lease)])

    async def _ask_again(self, asked: Checkup, answer: CheckupAnswer) -> CheckupAnswer:
        """With what the others have answered."""
        answer = await self._compare(asked, answer) if asked.cpus else answer
        return await self._knock(asked, answer) if asked.doors else answer

    async def _compare(self, asked: Checkup, answer: CheckupAnswer) -> CheckupAnswer:
        can = {cpu: await self._ports.hypervisor.compare_cpu(cpu) for cpu in sorted(set(asked.cpus.values()))}
        unfit = (name for name, cpu in sorted(asked.cpus.items()) if name != answer.node and not can[cpu])
        return replace(answer, unfit_cpus=tuple(unfit))

    async def _knock(self, asked: Checkup, answer: CheckupAnswer) -> CheckupAnswer:
        shut, distrusted = await self._trying.knock_at_all(answer.node, asked.doors)
        return replace(answer, shut=shut, distrusted=distrusted)

    async def _look(self, asked: Checkup, answer: CheckupAnswer) -> CheckupAnswer:
        traits = await self._ports.hypervisor.traits()
        door = await self._ports.hypervisor.ways.open_door(for_s=DOOR_PATIENCES * asked.patience_s)
        missing = await self._look_for_what_vms_need(answer.node, set(traits.machines))
        unseen, lacking = missing.unseen, missing.lacking
        ways, unserved = await asyncio.gather(
            self._trying.reach_all(answer.node), find_unserved(self._ports.hypervisor.ways, missing.disks)
        )
        return replace(
            answer,
            kind=traits.kind,
            arch=traits.arch,
            machines=traits.machines,
            cpu=traits.cpu,
            reached=ways.reached,
            unreached=ways.unreached,
            barred=ways.barred,
            by_tls=ways.by_tls,
            tls_lets_in=await self._ports.hypervisor.ways.whom_tls_lets_in(),
            door=door,
            unseen=dict(islice(unseen.items(), VMS_AT_MOST)),
            lacking=dict(islice(lacking.items(), VMS_AT_MOST)),
            more=max(0, len(unseen) - VMS_AT_MOST) + max(0, len(lacking) - VMS_AT_MOST),
            unserved=unserved[:SERVERS_AT_MOST],
            more_unserved=max(0, len(unserved) - SERVERS_AT_MOST),
            domains=await self._list_domains(),
        )

    async def _look_for_what_vms_need(self, me: NodeName, machines: set[str]) -> "_Missing":
        """In slices: there may be many."""
        seen: dict[str, bool] = {}
        missing = _Missing()
        for count, vm in enumerate(vms_that_may_run_on(me, self._ports.read_snapshot())):
            if count % SLICE == 0:
                await asyncio.sleep(0)
            needs = needs_of(vm.xml)
            if needs.machine and needs.machine not in machines:
                missing.lacking[vm.name] = needs.machine
            for path in needs.paths:
                if path not in seen:
                    with suppress(FileTrouble):
                        seen[path] = await self._ports.files.is_there(path)
            if unseen := tuple(path for path in needs.paths if not seen.get(path, False)):
                missing.unseen[vm.name] = unseen
            if needs.disks:
                missing.disks[vm.name] = needs.disks
        return missing

    async def _list_domains(self) -> tuple[Kept, ...]:
        marked = {(one.name, one.uuid): one.autostart for one in await self._ports.hypervisor.definitions()}
        found = [
            Kept(
                name=view.name,
                uuid=view.uuid,
                runs=view.state is not DomainState.SHUTOFF,
                autostart=marked.get((view.name, view.uuid), False),
                ours=view.tag is not None and view.tag.cluster == self._ports.keys.cluster,
                state=view.state,
            )
            for view in await self._ports.hypervisor.inventory()
        ]
        return tuple(found[:DOMAINS_AT_MOST])
