"""``vmha verify``: every host's libvirt is asked, through its agent, and the answers are held against the record."""

from dataclasses import asdict
from typing import Any

from vmha.model.ids import NodeName
from vmha.operator.client import OperatorClient
from vmha.operator.doctor import ask
from vmha.policy.members.membership import moment_of_one_reading
from vmha.policy.plan import judge_all
from vmha.policy.telling.verify import GOOD, Verdict, Verified
from vmha.policy.telling.verify import verify as judge

NAMED_AT_MOST = 20
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
        heard = await ask(client, alive, timeout_s, only_domains=True)
        answers = {name: one.answer for name, one in heard.items()}
        found = judge(before, await client.read(), answers)
        if attempt == ROUNDS - 1 or not any(one.verdict is Verdict.MOVING for one in found.vms):
            break
    return found


def sentences(found: Verified, *, at_most: int | None = None) -> list[str]:
    """For people. ``at_most``: so many of each verdict and of nodes without an answer; all that run twice."""
    lines = []
    by_verdict: dict[Verdict, list[str]] = {}
    for one in found.vms:
        if one.verdict not in GOOD:
            by_verdict.setdefault(one.verdict, []).append(f"{one.vm}: {one.verdict.upper()}: {one.text}")
    for verdict, said in by_verdict.items():
        lines += said if verdict is Verdict.TWICE else _cut(said, at_most, f"vms {verdict.upper()}")
    lines += _cut([f"{node} {why}" for node, why in found.silent.items()], at_most, "nodes without an answer")
    once = sum(one.verdict is Verdict.ONCE for one in found.vms)
    asked = ", ".join(found.asked) if len(found.asked) <= NAMED_AT_MOST else f"{len(found.asked)} nodes"
    nowhere = sum(one.verdict is Verdict.NOWHERE for one in found.vms)
    run = f"{once} of {len(found.vms)} vms run, each once; {nowhere} run nowhere"
    lines.append(f"{run}. Libvirt was asked on: {asked or 'nobody'}.")
    if any(one.verdict is Verdict.TWICE for one in found.vms):
        lines.append("A VM HAS MORE THAN ONE QEMU.")
    elif not found.is_proven:
        lines.append("That no vm runs twice is NOT verified.")
    return lines


def _cut(lines: list[str], at_most: int | None, what: str) -> list[str]:
    if at_most is None or len(lines) <= at_most:
        return lines
    return [*lines[:at_most], f"... and {len(lines) - at_most} more {what} (--all)"]


def as_plain(found: Verified) -> dict[str, Any]:
    return {"proven": found.is_proven, **asdict(found)}
