"""``vmha doctor``: asks every agent for a check-up through etcd, collects the answers, and has them examined."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, replace
from itertools import groupby
from typing import Any

from vmha.model.checkup import Checkup, CheckupAnswer, Door
from vmha.model.errors import VmhaError
from vmha.model.fence_answer import FenceAnswer, FenceSays
from vmha.model.ids import NodeName, Revision
from vmha.model.keys import decode, encode
from vmha.model.vm import FenceDeviceSpec
from vmha.operator.client import OperatorClient
from vmha.policy.members.membership import Verdict, counted, moment_of_one_reading
from vmha.policy.plan import judge_all
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.telling.doctor import Facts, Finding, Heard, Severity, examine
from vmha.store.port import NoSpace, Put

ANSWER_S = 15.0
"""An agent tries the ways to the others for up to 8 s, 8 at once."""


AskDevices = Callable[
    [Mapping[NodeName, Sequence[FenceDeviceSpec]]], Awaitable[dict[NodeName, tuple[FenceAnswer, ...]]]
]


async def diagnose(
    client: OperatorClient,
    *,
    timeout_s: float = ANSWER_S,
    ask_devices: AskDevices | None = None,
    here: str | None = None,
) -> tuple[Finding, ...]:
    """Writes nothing but the two questions, which end with their lease.

    Args:
        ask_devices: asks the nodes' fence devices meanwhile, from this host. None: they are left out.
        here: this host, which asks them only if it is a node of the cluster. None: it does in any case.

    Raises:
        Unavailable: the store does not answer.
    """
    store = await client.store.health()
    snapshot = await client.read()
    verdicts = _verdicts(client, snapshot)
    alive = [name for name, verdict in verdicts.items() if verdict.is_alive]
    is_here = here is None or here in snapshot.nodes
    asking = asyncio.create_task(_devices(client, snapshot, ask_devices if is_here else None), name="ask-fence")
    try:
        answers, again, can_ask = await _agents(client, alive, timeout_s)
        fence = await asking
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)  # no program is left behind
    return examine(
        Facts(
            snapshot=snapshot,
            verdicts=verdicts,
            store=store,
            answers=answers,
            again=again,
            can_ask=can_ask,
            store_id=client.store.cluster_id,
            fence=None if ask_devices and not is_here else fence,
        )
    )


async def _agents(
    client: OperatorClient, alive: Collection[NodeName], timeout_s: float
) -> tuple[dict[NodeName, Heard], dict[NodeName, CheckupAnswer], bool]:
    """What they say, what they say to what all have said, and whether the store took the question at all."""
    try:
        answers = await ask(client, alive, timeout_s)
    except NoSpace:
        return {}, {}, False
    alike = _alike({name: heard.answer.cpu for name, heard in sorted(answers.items()) if heard.answer.cpu})
    doors = {name: heard.answer.door for name, heard in answers.items() if heard.answer.door}
    cpus = {same[0]: cpu for cpu, same in alike.items()} if sum(map(len, alike.values())) > 1 else {}
    again = await ask(client, list(answers), timeout_s, cpus=cpus, doors=doors) if cpus or doors else {}
    return answers, {name: _of_all(heard.answer, alike) for name, heard in again.items()}, True


async def _devices(
    client: OperatorClient, snapshot: Snapshot, ask_devices: AskDevices | None
) -> dict[NodeName, tuple[FenceAnswer, ...]]:
    nodes = {
        name: view.spec.value.fence for name, view in snapshot.nodes.items() if view.spec and view.spec.value.fence
    }
    if ask_devices is None or not nodes:
        return {}
    said = await ask_devices(nodes)
    off = [name for name, answers in said.items() if any(one.says is FenceSays.OFF for one in answers)]
    later = _verdicts(client, await client.read()) if off else {}
    for name in off:
        if name not in later or not later[name].is_alive:  # it went off meanwhile, and is no contradiction
            said[name] = tuple(one for one in said[name] if one.says is not FenceSays.OFF)
    return said


def _verdicts(client: OperatorClient, snapshot: Snapshot) -> Mapping[NodeName, Verdict]:
    return judge_all(snapshot, moment_of_one_reading(snapshot, wall=client.clock.wall()))


def _alike(cpus: Mapping[NodeName, str]) -> dict[str, list[NodeName]]:
    """Each processor is asked for once, by one of its nodes: of five hundred descriptions no value of etcd has room."""
    found: dict[str, list[NodeName]] = {}
    for name, cpu in cpus.items():
        found.setdefault(cpu, []).append(name)
    return found


def _of_all(answer: CheckupAnswer, alike: Mapping[str, list[NodeName]]) -> CheckupAnswer:
    """What it said of one node's processor, said of all nodes that have the same."""
    if answer.unfit_cpus is None:
        return answer
    asked = set(answer.unfit_cpus)
    unfit = [name for same in alike.values() if same[0] in asked for name in same if name != answer.node]
    return replace(answer, unfit_cpus=tuple(sorted(unfit)))


async def ask(
    client: OperatorClient,
    nodes: Collection[NodeName],
    timeout_s: float,
    *,
    cpus: Mapping[NodeName, str] | None = None,
    doors: Mapping[NodeName, Door] | None = None,
    only_domains: bool = False,
) -> dict[NodeName, Heard]:
    """Those that answer in time. The answers go with the lease of the question."""
    if not nodes:
        return {}
    id_ = str(client.new_request_id())
    lease = await client.store.grant(max(5, int(timeout_s) + 5))
    asked_at = client.clock.wall()
    asked = Checkup(
        id=id_,
        author=client.author,
        at=asked_at,
        cpus=dict(cpus or {}),
        doors=dict(doors or {}),
        patience_s=timeout_s,
        only_domains=only_domains,
    )
    written = await client.store.txn([], [Put(client.keys.checkup(id_), encode(asked), lease.id)])
    answers: dict[NodeName, Heard] = {}
    prefix = client.keys.checkup_answer(id_, NodeName(""))
    try:
        async with asyncio.timeout(timeout_s):
            watch = client.store.watch(prefix, start_revision=Revision(written.revision))
            async with aclosing(watch) as batches:  # type: ignore[type-var]
                async for batch in batches:
                    for change in batch.changes:
                        if change.kv is not None:
                            answer = decode(CheckupAnswer, change.kv.value, where=change.key)
                            heard = Heard(answer=answer, asked_at=asked_at, heard_at=client.clock.wall())
                            answers[answer.node] = heard
                    if set(nodes) <= answers.keys():
                        break
    except TimeoutError:
        pass  # who has not answered is a finding
    finally:
        with contextlib.suppress(VmhaError):  # it ends by itself
            await client.store.revoke(lease.id)
    return answers


def sentences(findings: tuple[Finding, ...], *, at_most: int | None = None) -> list[str]:
    """For people: what has one remedy, and that in the line below. ``at_most``: so many of each kind are told of."""
    if not findings:
        return ["Nothing was found that would be in the way."]
    lines = []
    for (kind, remedy), group in groupby(findings, key=lambda one: (one.kind, one.remedy)):
        found = list(group)
        told = found[:at_most] if at_most and len(found) > at_most + 1 else found
        lines += [f"{one.severity}: {one.text} [{kind}]" for one in told]
        if len(told) < len(found):
            lines.append(f"{found[0].severity}: ... and {len(found) - len(told)} more (--all) [{kind}]")
        lines.append(f"  -> {remedy}")
    errors = sum(one.severity is Severity.ERROR for one in findings)
    return [*lines, f"{counted(errors, 'error')}, {counted(len(findings) - errors, 'warning')}."]


def as_plain(findings: tuple[Finding, ...]) -> list[dict[str, Any]]:
    return [asdict(one) for one in findings]
