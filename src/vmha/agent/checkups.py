"""Answers check-ups (``vmha doctor``): looks at this host and at its ways to the others, and says what it found.

Asked for by a key, answered by one, both on the asker's lease. It is nobody's duty: it waits for nothing that matters,
decides nothing, and one at a time is looked for.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import structlog

from vmha.agent.session import SessionKeeper
from vmha.hypervisor.files import FileTrouble, HostFiles
from vmha.hypervisor.port import DomainState, Hypervisor
from vmha.model.checkup import Checkup, CheckupAnswer, Kept
from vmha.model.clock import Clock
from vmha.model.domain_xml import disk_sources, machine_type
from vmha.model.errors import VmhaError
from vmha.model.ids import NodeName
from vmha.model.keys import Keys, decode, encode
from vmha.model.transport import route
from vmha.policy.may_run import vms_that_may_run_on
from vmha.policy.snapshot import Snapshot
from vmha.store.port import Created, Exists, KeyValue, Put, Store

log = structlog.get_logger(__name__)

REACH_TIMEOUT_S = 8.0
AT_ONCE = 8
DOMAINS_AT_MOST = 1000


class Checkups:
    def __init__(
        self,
        *,
        store: Store,
        keys: Keys,
        clock: Clock,
        hypervisor: Hypervisor,
        files: HostFiles,
        keeper: SessionKeeper,
        migration_uri: str,
        read_snapshot: Callable[[], Snapshot],
    ) -> None:
        self._store, self._keys, self._clock = store, keys, clock
        self._hypervisor, self._files, self._keeper = hypervisor, files, keeper
        self._migration_uri, self._read_snapshot = migration_uri, read_snapshot
        self._asked: asyncio.Queue[str] = asyncio.Queue(maxsize=8)

    def heard(self, checkup: str) -> None:
        """One was asked for, or is over."""
        with suppress(asyncio.QueueFull):  # whoever asks so often asks again
            self._asked.put_nowait(checkup)

    async def run(self) -> None:
        while True:
            checkup = await self._asked.get()
            try:
                known = await self._store.get(self._keys.checkup(checkup))
                if known is not None:
                    await self._answer(known)
            except Exception as error:  # nobody's duty: whatever it meets must not end the agent
                log.warning("check-up not answered", checkup=checkup, why=f"{type(error).__name__}: {error}")

    async def _answer(self, known: KeyValue) -> None:
        session, node = self._keeper.current, self._keeper.node
        if session is None:
            return
        asked = decode(Checkup, known.value, where=known.key)
        answer = CheckupAnswer(node=node, session=session.id, at=self._clock.wall())
        try:
            if asked.only_domains:
                found = replace(answer, domains=await self._list_domains())
            else:
                found = await (self._compare(asked, answer) if asked.cpus else self._look(answer))
        except VmhaError as error:
            found = replace(answer, trouble=str(error))
        except Exception as error:  # XML that nobody foresaw, say: told, and no more than that
            found = replace(answer, trouble=f"{type(error).__name__}: {error}")
        found = replace(found, at=self._clock.wall())
        mine = Created(self._keys.beat(node), session.beat_created)
        key = self._keys.checkup_answer(asked.id, node)
        await self._store.txn([mine, Exists(known.key)], [Put(key, encode(found), known.lease)])

    async def _compare(self, asked: Checkup, answer: CheckupAnswer) -> CheckupAnswer:
        can = {cpu: await self._hypervisor.compare_cpu(cpu) for cpu in sorted(set(asked.cpus.values()))}
        unfit = (name for name, cpu in sorted(asked.cpus.items()) if name != answer.node and not can[cpu])
        return replace(answer, unfit_cpus=tuple(unfit))

    async def _look(self, answer: CheckupAnswer) -> CheckupAnswer:
        traits = await self._hypervisor.traits()
        reached = await self._reach_all(answer.node)
        return replace(
            answer,
            kind=traits.kind,
            arch=traits.arch,
            machines=traits.machines,
            cpu=traits.cpu,
            reached=tuple(name for name, why in reached.items() if not why),
            unreached={name: why for name, why in reached.items() if why},
            unseen=await self._look_for_disks(answer.node),
            lacking=self._lacking(answer.node, set(traits.machines)),
            domains=await self._list_domains(),
        )

    async def _reach_all(self, me: NodeName) -> dict[NodeName, str]:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(address: str) -> str:
            if not address:
                return "it says no address to migrate to"
            to = route(address, node_uri=self._migration_uri, transport=None, is_tunnelled=False)
            async with gate:
                return await self._hypervisor.try_reach(to.target_uri, timeout_s=REACH_TIMEOUT_S)

        to: dict[NodeName, str] = {}
        for name, view in sorted(self._read_snapshot().nodes.items()):
            if name != me and view.current_status is not None:
                said = view.spec.value.migration_address if view.spec else None
                to[name] = said or view.current_status.migration_address
        answers = await asyncio.gather(*map(one, to.values()))
        return dict(zip(to, answers, strict=True))

    async def _look_for_disks(self, me: NodeName) -> dict[str, tuple[str, ...]]:
        seen: dict[str, bool] = {}
        unseen: dict[str, tuple[str, ...]] = {}
        for vm in vms_that_may_run_on(me, self._read_snapshot()):
            for path in (paths := disk_sources(vm.xml)):
                if path not in seen:
                    with suppress(FileTrouble):
                        seen[path] = await self._files.is_there(path)
            if missing := tuple(path for path in paths if not seen.get(path, False)):
                unseen[vm.name] = missing
        return unseen

    def _lacking(self, me: NodeName, machines: set[str]) -> dict[str, str]:
        asked = {vm.name: machine_type(vm.xml) for vm in vms_that_may_run_on(me, self._read_snapshot())}
        return {name: machine for name, machine in asked.items() if machine and machine not in machines}

    async def _list_domains(self) -> tuple[Kept, ...]:
        marked = {(one.name, one.uuid): one.autostart for one in await self._hypervisor.definitions()}
        found = [
            Kept(
                name=view.name,
                uuid=view.uuid,
                runs=view.state is not DomainState.SHUTOFF,
                autostart=marked.get((view.name, view.uuid), False),
                ours=view.tag is not None and view.tag.cluster == self._keys.cluster,
                state=view.state,
            )
            for view in await self._hypervisor.inventory()
        ]
        return tuple(found[:DOMAINS_AT_MOST])
