"""``vmha verify``: every host's libvirt is asked, through its agent, and the answers are held against the record."""

from dataclasses import asdict
from typing import Any

from vmha.model.ids import NodeName
from vmha.operator.client import OperatorClient
from vmha.operator.doctor import ask
from vmha.policy.membership import moment_of_one_reading
from vmha.policy.plan import judge_all
from vmha.policy.verify import GOOD, Verdict, Verified
from vmha.policy.verify import verify as judge

ROUNDS = 3
"""Whoever was on its way is looked at again so often."""


async def verify(client: OperatorClient, *, timeout_s: float) -> Verified:
    """Writes nothing but the question, which ends with its lease.

    Raises:
        Unavailable: the store does not answer.
    """
    for attempt in range(ROUNDS):
        before = await client.read()
        verdicts = judge_all(before, moment_of_one_reading(before, wall=client.clock.wall()))
        alive: list[NodeName] = [name for name, verdict in verdicts.items() if verdict.is_alive]
        heard = await ask(client, {}, alive, timeout_s, only_domains=True)
        answers = {name: one.answer for name, one in heard.items()}
        found = judge(before, await client.read(), answers)
        if attempt == ROUNDS - 1 or not any(one.verdict is Verdict.MOVING for one in found.vms):
            break
    return found


def sentences(found: Verified) -> list[str]:
    lines = [f"{one.vm}: {one.verdict.upper()}: {one.text}" for one in found.vms if one.verdict not in GOOD]
    lines += [f"{node} {why}" for node, why in found.silent.items()]
    once = sum(one.verdict is Verdict.ONCE for one in found.vms)
    asked = ", ".join(found.asked) or "nobody"
    nowhere = sum(one.verdict is Verdict.NOWHERE for one in found.vms)
    lines.append(
        f"{once} of {len(found.vms)} vms run, each once; {nowhere} run nowhere. Libvirt was asked on: {asked}."
    )
    if any(one.verdict is Verdict.TWICE for one in found.vms):
        lines.append("A VM HAS MORE THAN ONE QEMU.")
    elif not found.is_proven:
        lines.append("That no vm runs twice is NOT verified.")
    return lines


def as_plain(found: Verified) -> dict[str, Any]:
    return {"proven": found.is_proven, **asdict(found)}
