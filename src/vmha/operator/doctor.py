"""``vmha doctor``: asks every agent for a check-up through etcd, collects the answers, and has them examined."""

import asyncio
import contextlib
from collections.abc import Collection
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from vmha.model.checkup import Checkup, CheckupAnswer
from vmha.model.errors import VmhaError
from vmha.model.ids import NodeName, Revision
from vmha.model.keys import decode, encode
from vmha.operator.client import OperatorClient
from vmha.policy.doctor import Facts, Finding, Heard, Severity, examine
from vmha.policy.membership import moment_of_one_reading
from vmha.policy.plan import judge_all
from vmha.store.port import Put

ANSWER_S = 15.0
"""An agent tries the ways to the others for up to 8 s, 8 at once."""


async def diagnose(client: OperatorClient, *, timeout_s: float = ANSWER_S) -> tuple[Finding, ...]:
    """Writes nothing but the two questions, which end with their lease.

    Raises:
        Unavailable: the store does not answer.
    """
    store = await client.store.health()
    snapshot = await client.read()
    verdicts = judge_all(snapshot, moment_of_one_reading(snapshot, wall=client.clock.wall()))
    alive = [name for name, verdict in verdicts.items() if verdict.is_alive]
    answers = await ask(client, {}, alive, timeout_s)
    cpus = {name: heard.answer.cpu for name, heard in answers.items() if heard.answer.cpu}
    compared = await ask(client, cpus, list(answers), timeout_s) if len(cpus) > 1 else {}
    return examine(
        Facts(
            snapshot=snapshot,
            verdicts=verdicts,
            store=store,
            answers=answers,
            unfit_cpus={name: heard.answer.unfit_cpus or () for name, heard in compared.items()},
        )
    )


async def ask(
    client: OperatorClient,
    cpus: dict[NodeName, str],
    nodes: Collection[NodeName],
    timeout_s: float,
    *,
    only_domains: bool = False,
) -> dict[NodeName, Heard]:
    """Those that answer in time. The answers go with the lease of the question."""
    if not nodes:
        return {}
    id_ = str(client.new_request_id())
    lease = await client.store.grant(max(5, int(timeout_s) + 5))
    asked_at = client.clock.wall()
    asked = Checkup(id=id_, author=client.author, at=asked_at, cpus=cpus, only_domains=only_domains)
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


def sentences(findings: tuple[Finding, ...]) -> list[str]:
    """For people: each with its remedy in the line below."""
    if not findings:
        return ["Nothing was found that would be in the way."]
    lines = []
    for one in findings:
        lines += [f"{one.severity}: {one.text} [{one.kind}]", f"  -> {one.remedy}"]
    errors = sum(one.severity is Severity.ERROR for one in findings)
    return [*lines, f"{errors} errors, {len(findings) - errors} warnings."]


def as_plain(findings: tuple[Finding, ...]) -> list[dict[str, Any]]:
    return [asdict(one) for one in findings]
